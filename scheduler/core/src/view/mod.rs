//! Answers to people and scripts, all made from the cluster and what the leader knows besides.

mod advise;
mod automatic;
mod drain;
mod explain;
mod losses;
mod memory;
mod nodes;
mod preview;
mod rebalance;
mod rollout;
mod stacks;
mod status;
mod succession;
mod tasks;
mod values;
mod what_if;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use model::{Bytes, TaskId, Timestamp, task::Telemetry};

use crate::{lease::Leases, waits::Waits};

pub use advise::advise;
pub use drain::{drain_plan, drain_stays};
#[cfg(test)]
pub(crate) use explain::fleet_for;
pub use explain::{explain, explain_on};
pub use losses::losses;
pub use nodes::{nodes, placement};
pub use preview::plan_view;
pub(crate) use preview::{settle, settle_seated};
pub use rebalance::rebalance;
pub use rollout::{RolloutView, rollout};
pub use stacks::{events, history, stacks, tokens};
pub use status::status;
pub use tasks::{remembered_tasks, tasks};
pub use what_if::{Supposition, what_if};

/// What is known besides the log, and the time of the question.
#[derive(Debug, Clone, Copy)]
pub struct Soft<'a> {
    /// The last telemetry of each task.
    pub telemetry: &'a BTreeMap<TaskId, Telemetry>,
    /// The time of the question.
    pub now: Timestamp,
    /// The leases the leader has granted, where it is the leader that is asked.
    pub leases: Option<&'a Leases>,
    /// What the leader waits for; where another one is asked, what the stamps say.
    pub waits: &'a Waits,
}

impl Soft<'_> {
    /// Nothing is known besides the log.
    pub const fn none(now: Timestamp) -> Self {
        static NONE: BTreeMap<TaskId, Telemetry> = BTreeMap::new();
        static STAMPS: Waits = Waits::imagined();
        Soft { telemetry: &NONE, now, leases: None, waits: &STAMPS }
    }

    fn memory_used(&self, task: TaskId) -> Option<Bytes> {
        self.telemetry.get(&task)?.memory_used
    }
}
