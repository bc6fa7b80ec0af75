//! What a machine offers.

use model::{ImaginedNode, Inventory, NodeName};

use super::{
    field::mirror,
    kinds::{Amount, Cpu, Labels, Maybe, Parsed, Remark, Same},
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
});

mirror!(v1::ImaginedNode => ImaginedNode {
    name: Parsed<NodeName>,
    memory: Amount,
    cpus: Cpu,
    labels: Labels,
    arch: Maybe<Remark>,
});
