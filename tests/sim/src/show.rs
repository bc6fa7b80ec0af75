//! What a person would see: tasks in one line each, and why one is where it is.

use model::{ServiceName, StackName, view::TaskRow};
use scheduler_core::view::{self, Soft};

use crate::world::World;

impl World {
    fn soft(&self) -> Soft<'_> {
        let leases = self.log.leading.as_ref().map(|leading| &leading.beats.leases);
        Soft { leases, ..Soft::none(self.wall()) }
    }

    /// Every task that is not history, as `ps` shows it.
    pub(crate) fn show_tasks(&self) -> Vec<String> {
        view::tasks(&self.log.reference, &self.soft(), None).iter().map(line).collect()
    }

    /// Every machine: its state and what is reserved on it.
    pub(crate) fn show_nodes(&self) -> Vec<String> {
        let rows = view::nodes(&self.log.reference, &Soft::none(self.wall()));
        let line = |row: &model::view::NodeRow| {
            let (name, state, memory) = (&row.name, &row.state, &row.memory);
            let cordoned = match (row.schedulable, &row.drain_until) {
                (true, _) => "",
                (false, None) => ", cordoned",
                (false, Some(_)) => ", draining",
            };
            let (reserved, offered) = (memory.reserved, memory.allocatable);
            format!("{name} {state}{cordoned}: {} tasks, {reserved} of {offered}", row.tasks)
        };
        rows.iter().map(line).collect()
    }

    /// What happened, the oldest first.
    pub(crate) fn show_events(&self) -> Vec<String> {
        let events = self.log.reference.events().iter();
        events.map(|event| format!("{} {}", event.kind, event.message)).collect()
    }

    /// Why the replicas of a service are, or are not, where they are.
    pub(crate) fn explain(
        &self,
        stack: &StackName,
        service: &ServiceName,
        slot: Option<u32>,
    ) -> Vec<String> {
        let cluster = &self.log.reference;
        let views = match view::explain(cluster, stack, service, slot, &self.soft()) {
            Ok(views) => views,
            Err(why) => return vec![why.to_string()],
        };
        let mut lines = Vec::new();
        for view in views {
            let placed = view.placement;
            let node = placed.node.as_deref().unwrap_or("no node");
            let state = view.state;
            lines.push(format!("{service}.{}: {state}, {node}", placed.replica));
            let verdicts = placed.verdicts.iter();
            lines.extend(verdicts.map(|verdict| format!("  {}: {}", verdict.node, verdict.reason)));
            lines.extend(placed.fixes.iter().map(|fix| format!("  fix: {fix}")));
            lines.extend(view.error.iter().map(|error| format!("  why: {error}")));
        }
        lines
    }

    /// Why every task that has no node has none.
    pub(crate) fn show_pending(&self) -> Vec<String> {
        let pending = self.log.reference.tasks().values().filter(|task| task.node.is_none());
        pending.flat_map(|task| self.explain(&task.stack, &task.service, Some(task.slot))).collect()
    }
}

fn line(row: &TaskRow) -> String {
    let TaskRow { stack, service, replica, epoch, state, desired, .. } = row;
    let node = row.node.as_deref().unwrap_or("-");
    let health = row.health.as_ref().map(|health| format!(" {health}")).unwrap_or_default();
    let restarts = if row.restarts > 0 { format!(" r{}", row.restarts) } else { String::new() };
    let why = row.waiting_for.as_ref().or(row.error.as_ref());
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("{stack}/{service}.{replica} e{epoch} {desired} {state}{health}{restarts} {node}{why}")
}
