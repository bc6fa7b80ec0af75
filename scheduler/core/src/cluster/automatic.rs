//! The automatic mode of `rebalance`: whether it is on, and what it did.

use model::{NodeId, ServiceName, StackName, Task, TaskId, Timestamp};

use super::Cluster;

/// From this form on tasks may be moved by the leader itself.
pub const AUTOMATIC_FORM: u32 = 6;
/// Moves that may begin within [`AN_HOUR`]: a handful of machines are brought in order by fewer. So many
/// are remembered.
pub const MOST_AN_HOUR: usize = 10;
/// For so long a move counts, its replica is not moved again, and nothing is moved after one that failed:
/// an hour, in milliseconds.
pub const AN_HOUR: u64 = 3_600_000;

/// Whether tasks are moved with nobody asking for it. Off in a cluster that was never told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automatic {
    /// Whether it is on. Written by people.
    pub on: bool,
    /// When it was turned on or off last.
    pub since: Timestamp,
    /// When a move failed, while nobody has turned it on since. Written by the end of a move.
    pub failed_at: Option<Timestamp>,
    /// The last moves, the oldest first; at most [`MOST_AN_HOUR`].
    pub moves: Vec<AutomaticMove>,
}

/// A task that was moved with nobody asking for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomaticMove {
    /// When it began.
    pub at: Timestamp,
    /// The stack of the task.
    pub stack: StackName,
    /// Its service.
    pub service: ServiceName,
    /// Its replica.
    pub slot: u32,
    /// The task that takes over.
    pub task: TaskId,
    /// From where.
    pub from: NodeId,
    /// Where to.
    pub to: NodeId,
    /// What for: `so that shop/db.1 has room`.
    pub reason: String,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it was given up.
    pub failed: Option<String>,
}

impl AutomaticMove {
    /// Whether it moved the replica of that task.
    pub(crate) fn is_of(&self, task: &Task) -> bool {
        (&self.stack, &self.service, self.slot) == (&task.stack, &task.service, task.slot)
    }
}

impl Automatic {
    pub(super) const fn new(at: Timestamp) -> Self {
        Self { on: false, since: at, failed_at: None, moves: Vec::new() }
    }

    pub(super) fn remember(&mut self, begun: AutomaticMove) {
        let surplus = self.moves.len().saturating_add(1).saturating_sub(MOST_AN_HOUR);
        self.moves.drain(..surplus.min(self.moves.len()));
        self.moves.push(begun);
    }
}

impl Cluster {
    /// The automatic mode of `rebalance`; `None` while nobody ever turned it on.
    pub const fn automatic(&self) -> Option<&Automatic> {
        self.automatic.as_ref()
    }

    /// Lets a draft act by itself as the cluster it is of does.
    pub(crate) fn act_as(&mut self, other: &Self) {
        self.automatic.clone_from(&other.automatic);
    }
}
