//! Deadlines by true time: none is over too soon, and none never, whatever the wall clock does.

use std::collections::BTreeMap;

use model::{NodeId, Task, TaskId, TaskState};
use scheduler_core::{Change, Cluster, Command, Entry, Plan, RolloutOutcome, orchestrate};

use super::given_up::named_task;
use crate::world::World;

/// How long a new task may run without being ready while the old one serves, in milliseconds.
const READY_WITHIN: u64 = 600_000;
/// How much later than its deadline a leader that led all the time may end a drain: it looks every 30 s, and
/// its plans get lost or come late.
const LATE: u64 = 120_000;

/// Since when things are as they are, by true time.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    tasks: BTreeMap<TaskId, (TaskState, u32, u64)>,
    /// When each drain began, and how long it may take.
    drains: BTreeMap<NodeId, (u64, u64)>,
}

impl World {
    /// Before an entry is taken: what is given up in it too soon.
    pub(crate) fn watch_deadlines(&mut self, entry: &Entry) {
        let Command::Plan { basis, changes } = &entry.command else { return };
        if *basis < self.log.planned() {
            return;
        }
        let early = changes.iter().find_map(|change| match change {
            Change::RecordRollout { outcome: RolloutOutcome::Failed { reason, .. }, .. } => {
                self.gives_up_early(reason)
            }
            _ => None,
        });
        if let Some(early) = early {
            self.broken(early);
        }
    }

    fn gives_up_early(&self, reason: &str) -> Option<String> {
        let task = named_task(reason).filter(|_| reason.contains("was not ready after"))?;
        let (_, _, since) = self.deadlines.tasks.get(&task)?;
        let ran = self.now - since;
        (ran < READY_WITHIN)
            .then(|| format!("{task} was given up before its deadline: it ran for {ran} ms"))
    }

    /// Whether a plan ends the drain of a node from which something has yet to go, by what the leader knew.
    fn ends_drain_early(&self, node: NodeId, plan: &Plan) -> Option<String> {
        let (began, lasts) = self.deadlines.drains.get(&node)?;
        let left = (began + lasts).saturating_sub(self.now);
        let cluster = self.log.led()?;
        let moves = cluster.tasks_on(node).any(|task| is_to_move(cluster, task, plan));
        (left > 0 && moves)
            .then(|| format!("the drain of {node} ended {left} ms before its deadline"))
    }

    /// After every entry: since when each task is as it is, and each node is drained.
    pub(crate) fn note_deadlines(&mut self) {
        let (now, cluster) = (self.now, &self.log.reference);
        let is = |task: &Task| (task.status.state, task.status.restarts);
        let known = &self.deadlines.tasks;
        let tasks = cluster.tasks().values().map(|task| {
            let (state, restarts) = is(task);
            let same = known.get(&task.id).filter(|held| (held.0, held.1) == (state, restarts));
            (task.id, (state, restarts, same.map_or(now, |held| held.2)))
        });
        let tasks = tasks.collect();
        let known = &self.deadlines.drains;
        let drains = cluster.nodes().values().filter_map(|node| {
            let lasts = node.drain?.millis_since(node.drain_since?);
            let same = known.get(&node.id).filter(|held| held.1 == lasts);
            Some((node.id, (same.map_or(now, |held| held.0), lasts)))
        });
        let drains = drains.collect();
        self.deadlines = Deadlines { tasks, drains };
    }

    /// A plan ends no drain too soon, and one of a leader that led for long enough ends what is over.
    pub(super) fn check_drains(&mut self, plan: &Plan) {
        let early = plan.changes.iter().find_map(|change| match change {
            Change::EndDrain { node } => self.ends_drain_early(*node, plan),
            _ => None,
        });
        if let Some(early) = early {
            self.broken(early);
        }
        let Some(leading) = self.log.leading.as_ref() else { return };
        let ends = |node: &NodeId| plan.changes.contains(&Change::EndDrain { node: *node });
        let overdue = self.deadlines.drains.iter().find_map(|(node, (began, lasts))| {
            let measured = self.now.saturating_sub(leading.since.max(*began));
            let late = measured.checked_sub(lasts + LATE)?;
            (!ends(node)).then(|| (*node, late + LATE))
        });
        if let Some((node, late)) = overdue {
            self.broken(format!("the drain of {node} goes on {late} ms after its deadline"));
        }
    }
}

/// Whether a task on a node that is drained has yet to go, and the plan does not see to it.
fn is_to_move(cluster: &Cluster, task: &Task, plan: &Plan) -> bool {
    let sees_to = |change: &Change| match change {
        Change::SetDesired { task: id, .. } | Change::MarkLost { task: id, .. } => *id == task.id,
        Change::RecordRollout { stack, service, .. } => {
            (stack, service) == (&task.stack, &task.service)
        }
        _ => false,
    };
    let service = cluster.service(&task.stack, &task.service);
    service.is_some_and(|held| held.wanted && held.failed.is_none())
        && task.holds_resources()
        && task.status.state != TaskState::Lost
        && !task.desired.is_leaving()
        && orchestrate::tie(task).is_none()
        && !plan.changes.iter().any(sees_to)
}
