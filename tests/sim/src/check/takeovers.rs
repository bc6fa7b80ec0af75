//! Moves on request: what serves is told to stop only for a successor that does.

use std::collections::BTreeSet;

use model::{Desired, Health, Liveness, ServiceSpec, Task, TaskId, TaskState, spec::MountSource};
use scheduler_core::{Change, Command, Entry};

use crate::world::World;

impl World {
    /// Before an entry is taken: the tasks that a plan tells to stop, and that another is to take over from.
    pub(crate) fn watch_takeovers(&self, entry: &Entry) -> BTreeSet<TaskId> {
        let Command::Plan { basis, changes } = &entry.command else { return BTreeSet::new() };
        if *basis < self.log.planned() {
            return BTreeSet::new();
        }
        let told = changes.iter().filter_map(|change| match change {
            Change::SetDesired { task, desired: Desired::Stop | Desired::Rest } => Some(*task),
            _ => None,
        });
        let cluster = &self.log.reference;
        let serves = |task: &Task| {
            let node = task.node.and_then(|node| cluster.node(node));
            node.is_some_and(|node| node.liveness != Liveness::Down)
                && task.status.state == TaskState::Running
                && !task.desired.is_leaving()
        };
        let moves = |task: &Task| {
            cluster.tasks().values().any(|other| is_next(task, other) && other.moves_from.is_some())
        };
        told.filter(|id| cluster.task(*id).is_some_and(|task| serves(task) && moves(task)))
            .collect()
    }

    /// After it was taken: those that stop have a successor that serves, or one that has its image where both
    /// cannot run at once.
    pub(crate) fn check_takeovers(&mut self, stopping: &BTreeSet<TaskId>) {
        let cluster = &self.log.reference;
        let early = stopping.iter().find_map(|id| {
            let old = cluster.task(*id).filter(|task| task.desired.is_leaving())?;
            let new = cluster.tasks().values().find(|other| {
                is_next(old, other) && !other.desired.is_leaving() && !other.status.state.is_over()
            })?;
            let ready = new.status.state == TaskState::Running
                && matches!(new.status.health, Health::None | Health::Healthy);
            let prepared = new.status.state >= TaskState::Starting;
            let serves = if is_alone(&new.spec) { prepared } else { ready };
            (!serves).then(|| {
                let state = new.status.state;
                format!("{id} stops for a successor that does not serve: {} is {state}", new.id)
            })
        });
        if let Some(early) = early {
            self.broken(early);
        }
    }
}

/// Whether the other is a later task of the same replica.
fn is_next(task: &Task, other: &Task) -> bool {
    (&other.stack, &other.service, other.slot) == (&task.stack, &task.service, task.slot)
        && other.epoch > task.epoch
}

/// Whether two of it cannot run at once.
fn is_alone(spec: &ServiceSpec) -> bool {
    let writes = |source: &MountSource| matches!(source, MountSource::Volume { .. });
    spec.strict_singleton
        || spec.ports.iter().any(|port| port.published.is_some())
        || spec.mounts.iter().any(|mount| !mount.read_only && writes(&mount.source))
}
