//! Tasks whose node is down: when one is given up for good, and when a service stays where it is because
//! its nodes come and go.

use model::{
    Liveness, Node, Task, TaskState, Timestamp,
    planted::{Bug, is_planted},
};

use super::{Scene, Steps};
use crate::{
    cluster::{Change, Cluster, Service},
    waits::{Wait, Waits},
};

/// A service moves at most once in this time because of nodes that come and go, in milliseconds. A node
/// counts as one of those when it was back for less than this before it went again.
pub const HOLD_DOWN_MS: u64 = 300_000;

/// Since this form it is the leader alone that holds services down, by a clock of its own.
pub(crate) const HELD_BY_LEADER_FORM: u32 = 6;

/// Why a task of a node that is down is not made anew elsewhere yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlappingHold<'a> {
    /// The node that comes and goes.
    pub node: &'a Node,
    /// How long ago its service last moved, in milliseconds.
    pub moved_ago: u64,
    /// After how long it may move again.
    pub left: u64,
}

/// Whether the task stays for now though its node is down: that node comes and goes, and the service was
/// moved not long ago. A node that was well for long enough is left at once, and so is the second of two.
pub fn held_down<'a>(
    cluster: &'a Cluster,
    service: &Service,
    task: &Task,
    (waits, now): (&Waits, Timestamp),
) -> Option<FlappingHold<'a>> {
    let node = flapper(cluster, task)?;
    let waited = |wait| waits.waited(wait, now);
    let since_return = waited(Wait::Returned { node: node.id, since: node.returned_at? });
    let was_there =
        since_return.saturating_sub(waited(Wait::Down { node: node.id, since: node.since }));
    let moved_ago = waited(Wait::Moved { since: service.moved_at? });
    let left = HOLD_DOWN_MS.saturating_sub(moved_ago);
    (was_there < HOLD_DOWN_MS && left > 0).then_some(FlappingHold { node, moved_ago, left })
}

/// The same by the stamps of the log: what entries of earlier forms are checked by.
pub(crate) fn held_by_stamps(
    cluster: &Cluster,
    service: &Service,
    task: &Task,
    now: Timestamp,
) -> bool {
    let flaps = flapper(cluster, task)
        .and_then(|node| Some(node.since.millis_since(node.returned_at?) < HOLD_DOWN_MS));
    // A clock that was set back must not hold anything for longer.
    let recent = |moved_at: Timestamp| moved_at <= now && now.millis_since(moved_at) < HOLD_DOWN_MS;
    flaps == Some(true) && service.moved_at.is_some_and(recent)
}

/// The node of the task, when that is down and no person wants the task away from there.
fn flapper<'a>(cluster: &'a Cluster, task: &Task) -> Option<&'a Node> {
    let node = cluster.node(task.node?)?;
    (node.liveness == Liveness::Down && node.drain.is_none()).then_some(node)
}

/// What has to be measured from its beginning on, to know later how long ago it was.
pub(super) fn measure(cluster: &Cluster, steps: &mut Steps) {
    for node in cluster.nodes().values() {
        let Some(since) = node.returned_at else { continue };
        steps.waits.insert(Wait::Returned { node: node.id, since });
        if node.liveness == Liveness::Down {
            steps.waits.insert(Wait::Down { node: node.id, since: node.since });
        }
    }
    let services = cluster.stacks().values().flat_map(|stack| stack.services().values());
    steps
        .waits
        .extend(services.filter_map(|held| held.moved_at).map(|since| Wait::Moved { since }));
}

impl Scene<'_> {
    /// How long the task stays for now, in milliseconds, though its node is down.
    pub(super) fn held_down(self, task: &Task) -> Option<u64> {
        if is_planted(Bug::HoldDownForgotten) {
            return None;
        }
        let by_clock = held_down(self.cluster, self.service, task, (&self.beats.waits, self.now));
        // The log would refuse it.
        let refused = self.cluster.form() < HELD_BY_LEADER_FORM
            && held_by_stamps(self.cluster, self.service, task, self.now);
        let until = self.service.moved_at.map(|moved_at| moved_at.plus_millis(HOLD_DOWN_MS));
        let refused = until.filter(|_| refused).map(|until| until.millis_since(self.now).max(1));
        by_clock.map(|hold| hold.left).max(refused)
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
