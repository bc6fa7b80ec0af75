//! Tasks whose node is down: when one is given up for good, and when a service stays where it is because
//! its nodes come and go.

use model::{
    Liveness, Node, Task, TaskState, Timestamp,
    planted::{Bug, is_planted},
};

use super::{Scene, Steps};
use crate::cluster::{Change, Cluster, Service};

/// A service moves at most once in this time because of nodes that come and go, in milliseconds. A node
/// counts as one of those when it was back for less than this before it went again.
pub const HOLD_DOWN_MS: u64 = 300_000;

/// Why a task of a node that is down is not made anew elsewhere yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlappingHold<'a> {
    /// The node that comes and goes.
    pub node: &'a Node,
    /// When its service last moved.
    pub moved_at: Timestamp,
    /// When it may move again.
    pub until: Timestamp,
}

/// Whether the task stays for now though its node is down: that node comes and goes, and the service was
/// moved not long ago. A node that was well for long enough is left at once, and so is the second of two.
pub fn held_down<'a>(
    cluster: &'a Cluster,
    service: &Service,
    task: &Task,
    now: Timestamp,
) -> Option<FlappingHold<'a>> {
    let moved_at = service.moved_at?;
    let node = cluster.node(task.node?).filter(|node| node.liveness == Liveness::Down)?;
    // A person wants it away from there.
    if node.drain.is_some() {
        return None;
    }
    let flaps = node.since.millis_since(node.returned_at?) < HOLD_DOWN_MS;
    // A clock that was set back must not hold anything for longer.
    let recent = moved_at <= now && now.millis_since(moved_at) < HOLD_DOWN_MS;
    let until = moved_at.plus_millis(HOLD_DOWN_MS);
    (flaps && recent).then_some(FlappingHold { node, moved_at, until })
}

impl<'a> Scene<'a> {
    pub(super) fn held_down(self, task: &Task) -> Option<FlappingHold<'a>> {
        let forgotten = is_planted(Bug::HoldDownForgotten);
        held_down(self.cluster, self.service, task, self.now).filter(|_| !forgotten)
    }

    /// Gives a task up with its node, which is down. One that must never run twice is given up only when
    /// its lease is surely over.
    pub(super) fn lose(self, task: &Task, steps: &mut Steps) {
        if task.status.state == TaskState::Lost {
            return;
        }
        let node = task.node.and_then(|node| self.cluster.node(node));
        let Some(node) = node.filter(|_| task.spec.strict_singleton) else {
            steps.push(Change::MarkLost { task: task.id, down_since: None });
            return;
        };
        // That it is down is not in the log yet; only then no lease is granted any more.
        if self.assumed.contains(&node.id) {
            steps.wake(self.now.plus_millis(1));
            return;
        }
        let left = self.beats.leases.left(node.id, task.spec.stop_grace_ms);
        if let Some(left) = left.filter(|_| !is_planted(Bug::LostBeforeItsEnd)) {
            steps.wake(self.now.plus_millis(left));
        } else {
            let down_since = Some(node.since);
            steps.push(Change::MarkLost { task: task.id, down_since });
        }
    }
}
