//! What a machine offers.

use model::{Allows, ImaginedNode, Inventory, NodeName, allow::PATHS_MAX};

use super::{
    field::mirror,
    kinds::{Amount, Cpu, GenericAmounts, Labels, Maybe, Message, Parsed, Remark, Same, Set, Word},
};
use crate::v1;

mirror!(v1::Inventory => Inventory {
    memory: Amount,
    memory_budget: Maybe<Amount>,
    memory_reserve: Amount,
    cpu: Cpu,
    arch: Remark,
    os: Remark,
    engine: Remark,
    agent_version: Remark,
    disk: Amount,
    disk_free: Amount,
    engine_ready: Same<bool>,
    ledger_error: Maybe<Remark>,
    allows: Maybe<Message<v1::Allows, Allows>>,
    generic: GenericAmounts,
});

mirror!(v1::Allows => Allows {
    capabilities: Set<Word, PATHS_MAX>,
    binds: Set<Word, PATHS_MAX>,
    sockets: Set<Word, PATHS_MAX>,
});

mirror!(v1::ImaginedNode => ImaginedNode {
    name: Parsed<NodeName>,
    memory: Amount,
    cpus: Cpu,
    labels: Labels,
    arch: Maybe<Remark>,
    generic: GenericAmounts,
});
