//! Moving tasks off a node that is drained: each is replaced as by a new specification, on another node,
//! and stops no sooner than it must.

use model::{Task, TaskState, Timestamp, VolumeName, spec::MountSource};

use super::{Scene, Steps, starts_first};
use crate::{
    cluster::{Change, Cluster, Service},
    liveness::Heartbeats,
    waits::Wait,
};

/// What ties a task to its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tie {
    /// The data of a named volume.
    Volume(VolumeName),
    /// A directory of the machine it writes to.
    Directory(String),
}

/// What ties the task to its node; nothing moves its data by itself.
pub fn tie(task: &Task) -> Option<Tie> {
    if let Some(volume) = task.volumes.keys().next() {
        return Some(Tie::Volume(volume.clone()));
    }
    task.spec.mounts.iter().filter(|mount| !mount.read_only).find_map(|mount| match &mount.source {
        MountSource::Bind { path, .. } => Some(Tie::Directory(path.clone())),
        MountSource::Volume { .. } | MountSource::Anonymous | MountSource::Tmpfs { .. } => None,
    })
}

/// Whether the task has to leave its node and can: a new one that failed elsewhere would fail again.
fn is_to_leave(cluster: &Cluster, service: &Service, task: &Task) -> bool {
    let node = task.node.and_then(|node| cluster.node(node));
    node.is_some_and(|node| node.drain.is_some())
        && task.holds_resources()
        && task.status.state != TaskState::Lost
        && !task.desired.is_leaving()
        && service.wanted
        && service.failed.is_none()
        && tie(task).is_none()
}

/// Whether the task is to be replaced elsewhere now. Those that can run beside their successor go
/// first: nobody misses them, and what comes after them meets a node that is nearly empty.
pub(super) fn leaves(cluster: &Cluster, service: &Service, task: &Task) -> bool {
    if !is_to_leave(cluster, service, task) {
        return false;
    }
    if starts_first(&task.spec) {
        return true;
    }
    // One that finds no room anywhere is not waited for.
    let waits = |other: &Task| {
        let same =
            |pending: &Task| (&pending.stack, &pending.service) == (&other.stack, &other.service);
        cluster.pending().any(same)
    };
    let first = |other: &Task| {
        let service = cluster.service(&other.stack, &other.service);
        starts_first(&other.spec)
            && service.is_some_and(|service| is_to_leave(cluster, service, other))
            && !waits(other)
    };
    !task.node.is_some_and(|node| cluster.tasks_on(node).any(first))
}

impl Scene<'_> {
    pub(super) fn leaves(self, task: &Task) -> bool {
        leaves(self.cluster, self.service, task)
    }
}

/// Ends the drain of nodes from which nothing more will move.
pub(super) fn end(cluster: &Cluster, beats: &Heartbeats, now: Timestamp, steps: &mut Steps) {
    for node in cluster.nodes().values() {
        let Some(until) = node.drain else { continue };
        let moves = cluster.tasks_on(node.id).any(|task| {
            let service = cluster.service(&task.stack, &task.service);
            let ending = task.desired.is_leaving()
                && task.holds_resources()
                && task.status.state != TaskState::Lost;
            ending || service.is_some_and(|service| is_to_leave(cluster, service, task))
        });
        let mut over = || {
            let Some(since) = node.drain_since else {
                // How long it was to take is not known: the wall clock has to do.
                steps.wake(until);
                return now >= until;
            };
            let wait = Wait::Drain { node: node.id, since };
            steps.waited(beats, now, (wait, until.millis_since(since)))
        };
        if !moves || over() {
            steps.push(Change::EndDrain { node: node.id });
        }
    }
}
