//! The tasks, found by id, by service and by node without looking at all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{NodeId, ServiceName, StackName, Task, TaskId};

use super::Table;

type OfService = BTreeSet<(u32, TaskId)>;
type OfStack = BTreeMap<ServiceName, OfService>;

/// See the module. What is not found by id follows from what is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    by_id: Table<TaskId, Task>,
    /// By replica; copies share what nobody changed, as they do the rows.
    of: BTreeMap<StackName, Arc<OfStack>>,
    on: BTreeMap<NodeId, Arc<BTreeSet<TaskId>>>,
}

impl PartialEq for Tasks {
    fn eq(&self, other: &Self) -> bool {
        self.by_id == other.by_id
    }
}

impl Eq for Tasks {}

impl Tasks {
    pub(super) const fn new() -> Self {
        Self { by_id: Table::new(), of: BTreeMap::new(), on: BTreeMap::new() }
    }

    pub(super) const fn by_id(&self) -> &Table<TaskId, Task> {
        &self.by_id
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Task> {
        self.by_id.get(&id)
    }

    /// To write what was decided or observed of it. Its replica stays what it is, its node is for
    /// [`place`](Self::place) to write.
    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.by_id.get_mut(&id)
    }

    /// Answers the task that had the id before.
    pub(super) fn insert(&mut self, task: Task) -> Option<Arc<Task>> {
        let id = task.id;
        let before = self.remove(id);
        let services = Arc::make_mut(self.of.entry(task.stack.clone()).or_default());
        services.entry(task.service.clone()).or_default().insert((task.slot, id));
        if let Some(node) = task.node {
            Arc::make_mut(self.on.entry(node).or_default()).insert(id);
        }
        self.by_id.insert(id, task);
        before
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Arc<Task>> {
        let task = self.by_id.remove(&id)?;
        if let Some(services) = self.of.get_mut(&task.stack) {
            let services = Arc::make_mut(services);
            if let Some(there) = services.get_mut(&task.service) {
                there.remove(&(task.slot, id));
                if there.is_empty() {
                    services.remove(&task.service);
                }
            }
            if services.is_empty() {
                self.of.remove(&task.stack);
            }
        }
        if let Some(there) = task.node.and_then(|node| self.on.get_mut(&node)) {
            Arc::make_mut(there).remove(&id);
        }
        Some(task)
    }

    /// Gives a task its node.
    pub(super) fn place(&mut self, id: TaskId, node: NodeId) -> Option<&mut Task> {
        let task = self.by_id.get_mut(&id)?;
        if let Some(there) = task.node.and_then(|before| self.on.get_mut(&before)) {
            Arc::make_mut(there).remove(&id);
        }
        Arc::make_mut(self.on.entry(node).or_default()).insert(id);
        task.node = Some(node);
        Some(task)
    }

    /// By replica, the older first.
    pub(super) fn of_stack(&self, stack: &StackName) -> impl Iterator<Item = &Task> {
        self.by_service(stack).flat_map(|(_, tasks)| tasks)
    }

    /// The services of a stack that have tasks, by name, each with them by replica, the older first.
    pub(super) fn by_service(
        &self,
        stack: &StackName,
    ) -> impl Iterator<Item = (&ServiceName, impl Iterator<Item = &Task>)> {
        let services = self.of.get(stack).into_iter().flat_map(|services| services.iter());
        services.map(|(name, there)| (name, there.iter().filter_map(|(_, id)| self.get(*id))))
    }

    /// By replica, the older first.
    pub(super) fn of_service(
        &self,
        stack: &StackName,
        service: &ServiceName,
    ) -> impl Iterator<Item = &Task> {
        let there = self.of.get(stack).and_then(|services| services.get(service));
        there.into_iter().flatten().filter_map(|(_, id)| self.get(*id))
    }

    /// The older first.
    pub(super) fn of_replica(
        &self,
        stack: &StackName,
        service: &ServiceName,
        slot: u32,
    ) -> impl Iterator<Item = &Task> {
        let there = self.of.get(stack).and_then(|services| services.get(service));
        let all = (slot, TaskId::new(0))..=(slot, TaskId::new(u64::MAX));
        let replica = there.into_iter().flat_map(move |there| there.range(all.clone()));
        replica.filter_map(|(_, id)| self.get(*id))
    }

    /// By id.
    pub(super) fn on(&self, node: NodeId) -> impl Iterator<Item = &Task> {
        let there = self.on.get(&node).into_iter().flat_map(|there| there.iter());
        there.filter_map(|id| self.get(*id))
    }

    /// Whether every task is found where it belongs and nowhere else.
    pub(super) fn is_in_order(&self) -> bool {
        let filed = |task: &Task| {
            let replica = (task.slot, task.id);
            let there = self.of.get(&task.stack).and_then(|services| services.get(&task.service));
            let on = |node| self.on.get(&node).is_some_and(|there| there.contains(&task.id));
            there.is_some_and(|there| there.contains(&replica)) && task.node.is_none_or(on)
        };
        let placed = self.by_id.values().filter(|task| task.node.is_some()).count();
        self.by_id.values().all(filed)
            && self.of.values().flat_map(|services| services.values()).flatten().count()
                == self.by_id.len()
            && self.on.values().map(|there| there.len()).sum::<usize>() == placed
    }
}
