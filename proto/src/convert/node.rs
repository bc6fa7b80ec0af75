//! What a machine offers.

use model::Inventory;

use super::{
    field::mirror,
    kinds::{Amount, Cpu, Maybe, Remark, Same},
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
