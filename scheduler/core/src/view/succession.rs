//! Which of two tasks of one replica is the old one.

use model::{Task, view::Succession};

use crate::cluster::Cluster;

/// Whether the task is being replaced or replaces another. A task that ended and was replaced has no
/// part in it any more.
pub(super) fn succession(cluster: &Cluster, task: &Task) -> Option<Succession> {
    if task.is_history() {
        return None;
    }
    let beside = || cluster.tasks_of_replica(task).filter(|other| !other.is_history());
    if beside().any(|other| other.epoch > task.epoch) {
        Some(Succession::Old)
    } else {
        beside().any(|other| other.epoch < task.epoch).then_some(Succession::New)
    }
}
