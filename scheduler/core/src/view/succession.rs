//! Which of two tasks of one replica is the old one.

use model::{Task, view::Succession};

use crate::{assign, cluster::Cluster};

/// Whether the task is being replaced or replaces another. A task that ended and was replaced has no
/// part in it any more.
pub(super) fn succession(cluster: &Cluster, task: &Task) -> Option<Succession> {
    if assign::is_settled(task) {
        return None;
    }
    let beside = || cluster.tasks_of_replica(task).filter(|other| !assign::is_settled(other));
    if beside().any(|other| other.epoch > task.epoch) {
        Some(Succession::Old)
    } else {
        beside().any(|other| other.epoch < task.epoch).then_some(Succession::New)
    }
}
