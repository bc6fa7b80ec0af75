//! Machines: what they offer and whether they are there.

use std::collections::BTreeMap;

use crate::{Bytes, MilliCpu, NodeId, NodeName, Resources, Timestamp};

/// What a machine's agent reports it offers. Written by the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Memory the container engine reports.
    pub memory: Bytes,
    /// `--memory-budget`: never use more than this.
    pub memory_budget: Option<Bytes>,
    /// `--reserve-memory`: kept back for the engine and the system.
    pub memory_reserve: Bytes,
    /// CPU cores the engine reports.
    pub cpu: MilliCpu,
    /// Architecture as Docker names it: `arm64`, `amd64`.
    pub arch: String,
    /// Operating system as Docker names it: `linux`.
    pub os: String,
    /// Engine name and version, e.g. `docker 20.10.24`.
    pub engine: String,
    /// The agent's own version.
    pub agent_version: String,
    /// Size of the disk that holds the engine's data.
    pub disk: Bytes,
    /// What is free of it.
    pub disk_free: Bytes,
    /// False while the engine does not answer; the rest is then the last known.
    pub engine_ready: bool,
}

impl Inventory {
    /// What may be reserved: min(capacity, budget) − reserve.
    pub fn allocatable(&self) -> Resources {
        let capacity = self.memory_budget.map_or(self.memory, |budget| budget.min(self.memory));
        Resources { memory: capacity.saturating_sub(self.memory_reserve), cpu: self.cpu }
    }
}

/// Whether a machine is there. Written by liveness, from heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// Heartbeats arrive.
    Ready,
    /// Late: nothing new is placed there, nothing is moved yet.
    Unreachable,
    /// Gone for long enough that movable tasks are replaced.
    Down,
}

impl Liveness {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unreachable => "unreachable",
            Self::Down => "down",
        }
    }
}

/// A machine of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id; taken from its certificate, never from a message.
    pub id: NodeId,
    /// Its name; unique among the nodes that are members.
    pub name: NodeName,
    /// Labels for constraints. Written by the join, then by `node label`.
    pub labels: BTreeMap<String, String>,
    /// Where its agent can be reached (`--advertise`), for people.
    pub address: String,
    /// What it offers. Written by its agent.
    pub inventory: Inventory,
    /// Whether it is there. Written by liveness.
    pub liveness: Liveness,
    /// False while cordoned: nothing new is placed there. Written by people.
    pub schedulable: bool,
    /// When it joined.
    pub joined_at: Timestamp,
    /// When `liveness` last changed.
    pub since: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocatable_is_the_smaller_of_capacity_and_budget_less_the_reserve() {
        let check = |memory, budget: Option<u64>, reserve, expected| {
            let inventory = Inventory {
                memory: Bytes::gib(memory),
                memory_budget: budget.map(Bytes::gib),
                memory_reserve: Bytes::gib(reserve),
                ..Inventory::default()
            };
            assert_eq!(inventory.allocatable().memory, Bytes::gib(expected));
        };
        check(16, None, 1, 15);
        check(16, Some(14), 1, 13);
        check(8, Some(14), 1, 7);
        check(1, None, 2, 0);
    }
}
