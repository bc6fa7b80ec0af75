//! The nodes as placement sees them: what is free, and what would be after a change.

use std::collections::BTreeMap;

use model::{
    Desired, Generic, Liveness, Node, NodeId, Resources, ServiceName, ServiceSpec, StackName, Task,
    TaskId, TaskState, VolumeName,
    planted::{Bug, is_planted},
    task::TaskVolume,
};

use crate::{
    cluster::Cluster,
    placement::{FILTERS, Misfit},
};

/// A task that asks for a place.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Which task.
    pub task: TaskId,
    /// Its stack.
    pub stack: &'a StackName,
    /// Its service.
    pub service: &'a ServiceName,
    /// Which replica.
    pub slot: u32,
    /// What it needs and where it may go.
    pub spec: &'a ServiceSpec,
    /// The volumes that must be where it goes.
    pub volumes: &'a BTreeMap<VolumeName, TaskVolume>,
    /// Whether it takes the place of an earlier task: such tasks go first.
    pub replaces: bool,
}

impl<'a> Ask<'a> {
    /// What a task asks for.
    pub fn of(task: &'a Task) -> Self {
        Self {
            task: task.id,
            stack: &task.stack,
            service: &task.service,
            slot: task.slot,
            spec: &task.spec,
            volumes: &task.volumes,
            replaces: task.epoch.0 > 1,
        }
    }

    /// What is set aside for it.
    pub fn reserved(&self) -> Resources {
        let asked = &self.spec.resources;
        if is_planted(Bug::LimitReserved) {
            return Resources { memory: asked.memory_limit, cpu: asked.reserved.cpu };
        }
        asked.reserved
    }

    /// Whether both are replicas of one service.
    pub fn same_service(&self, other: &Self) -> bool {
        self.service == other.service && self.stack == other.stack
    }
}

/// A node and what is on it.
#[derive(Debug, Clone)]
pub struct Room<'a> {
    /// The node.
    pub node: &'a Node,
    /// What its tasks reserve together.
    pub reserved: Resources,
    /// The tasks whose reservation counts, those that are stopping included.
    pub tasks: BTreeMap<TaskId, (Ask<'a>, Desired)>,
    /// Kept back for tasks whose predecessor is stopping here to make room for them.
    pub(super) earmarked: BTreeMap<TaskId, Resources>,
    /// The same of generic resources.
    pub(super) earmarked_generic: BTreeMap<TaskId, Generic>,
}

impl<'a> Room<'a> {
    pub(super) const fn of(node: &'a Node) -> Self {
        Self {
            node,
            reserved: Resources::ZERO,
            tasks: BTreeMap::new(),
            earmarked: BTreeMap::new(),
            earmarked_generic: BTreeMap::new(),
        }
    }

    /// What is free for that task.
    pub fn free_for(&self, task: TaskId) -> Resources {
        let kept = self.earmarked.iter().filter(|(id, _)| **id != task);
        let kept = kept.map(|(_, amount)| *amount).sum::<Resources>();
        self.node.inventory.allocatable().minus(self.reserved).minus(kept)
    }

    /// What of generic resources is free for that task. Counted when it is asked for: few tasks reserve
    /// any, and all of a kind is another amount once the node offers more.
    pub fn generic_free_for(&self, task: TaskId) -> Generic {
        let offered = &self.node.inventory.generic;
        let specs = self.tasks.values().map(|(ask, _)| ask.spec);
        let specs = specs.filter(|spec| spec.wants_generic());
        let held = specs.fold(Generic::NONE, |held, spec| held.plus(&spec.generic_on(offered)));
        let kept = self.earmarked_generic.iter().filter(|(id, _)| **id != task);
        kept.fold(offered.clone().minus(&held), |free, (_, amount)| free.minus(amount))
    }

    fn put(&mut self, ask: Ask<'a>, desired: Desired) {
        self.reserved = self.reserved.plus(ask.reserved());
        self.tasks.insert(ask.task, (ask, desired));
    }

    fn take_away(&mut self, task: TaskId) -> Option<(Ask<'a>, Desired)> {
        let held = self.tasks.remove(&task)?;
        // Not subtracted: a sum that once saturated must not come out too small.
        self.reserved = self.tasks.values().map(|(ask, _)| ask.reserved()).sum();
        Some(held)
    }
}

/// All nodes and where named volumes live.
#[derive(Debug, Clone)]
pub struct Fleet<'a> {
    rooms: BTreeMap<NodeId, Room<'a>>,
    /// By the engine's name.
    homes: BTreeMap<&'a str, NodeId>,
    /// Volumes that got their home in this arrangement, by the task that brought it.
    settled: BTreeMap<TaskId, Vec<&'a str>>,
}

/// A node of a fleet, as a filter sees it.
#[derive(Debug, Clone, Copy)]
pub struct NodeView<'f, 'a> {
    /// The node and what is on it.
    pub room: &'f Room<'a>,
    /// The other nodes.
    pub fleet: &'f Fleet<'a>,
}

impl<'a> Fleet<'a> {
    /// The fleet as it is, with room kept back for replacements under way.
    pub fn of(cluster: &'a Cluster) -> Self {
        let mut fleet = Self::bare(cluster, cluster.nodes().values());
        for task in cluster.tasks().values().filter(|task| task.holds_resources()) {
            fleet.put_task(task);
        }
        fleet.earmark(cluster);
        fleet
    }

    /// The fleet as it is, but for one node.
    pub fn without(cluster: &'a Cluster, node: NodeId) -> Self {
        let mut fleet = Self::of(cluster);
        fleet.rooms.remove(&node);
        fleet
    }

    /// One node alone, nothing kept back: what the log checks.
    pub fn single(cluster: &'a Cluster, node: NodeId) -> Self {
        let mut fleet = Self::bare(cluster, cluster.node(node));
        for task in cluster.tasks_on(node).filter(|task| task.holds_resources()) {
            fleet.put_task(task);
        }
        fleet
    }

    fn bare(cluster: &'a Cluster, nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        let homes = cluster.volumes().iter();
        Self {
            rooms: nodes.into_iter().map(|node| (node.id, Room::of(node))).collect(),
            homes: homes.map(|(name, volume)| (name.as_str(), volume.home)).collect(),
            settled: BTreeMap::new(),
        }
    }

    fn put_task(&mut self, task: &'a Task) {
        if let Some(room) = task.node.and_then(|node| self.rooms.get_mut(&node)) {
            room.put(Ask::of(task), task.desired);
        }
    }

    /// A task may stop so that its successor has room where it was. What the successor needs beyond
    /// that must not be given away meanwhile.
    fn earmark(&mut self, cluster: &'a Cluster) {
        let stopping = |task: &&Task| {
            task.desired.is_leaving()
                && task.holds_resources()
                && task.status.state != TaskState::Lost
        };
        let leaving: BTreeMap<_, _> = cluster
            .tasks()
            .values()
            .filter(stopping)
            .map(|task| ((&task.stack, &task.service, task.slot), task))
            .collect();
        if leaving.is_empty() {
            return;
        }
        for task in cluster.tasks().values() {
            if task.node.is_some() || task.desired.is_leaving() {
                continue;
            }
            let former = leaving.get(&(&task.stack, &task.service, task.slot));
            let Some((former, node)) = former.and_then(|held| Some((held, held.node?))) else {
                continue;
            };
            let more = task.spec.resources.reserved.minus(former.spec.resources.reserved);
            if let Some(room) = self.rooms.get_mut(&node) {
                room.earmarked.insert(task.id, more);
                let on = |spec: &ServiceSpec| spec.generic_on(&room.node.inventory.generic);
                if task.spec.wants_generic() {
                    let more = on(&task.spec).minus(&on(&former.spec));
                    room.earmarked_generic.insert(task.id, more);
                }
            }
        }
    }

    /// The nodes, by id.
    pub const fn rooms(&self) -> &BTreeMap<NodeId, Room<'a>> {
        &self.rooms
    }

    /// The node of that id, as a filter sees it.
    pub fn view(&self, node: NodeId) -> Option<NodeView<'_, 'a>> {
        self.rooms.get(&node).map(|room| NodeView { room, fleet: self })
    }

    /// Where the volume of that engine name lives.
    pub fn home(&self, engine_name: &str) -> Option<NodeId> {
        self.homes.get(engine_name).copied()
    }

    /// Whether the node is down, or not among these.
    pub(super) fn is_down(&self, node: NodeId) -> bool {
        self.rooms.get(&node).is_none_or(|room| room.node.liveness == Liveness::Down)
    }

    /// The name of a node; its id when it is not among these.
    pub fn name(&self, node: NodeId) -> String {
        self.rooms.get(&node).map_or_else(|| node.to_string(), |room| room.node.name.to_string())
    }

    /// Whether the task could be on that node; the first rule it breaks.
    pub fn fits(&self, ask: &Ask<'_>, node: NodeId) -> Result<(), Misfit> {
        let view = self.view(node).ok_or(Misfit::Gone)?;
        FILTERS.iter().try_for_each(|filter| filter(ask, &view))
    }

    /// Every rule the task breaks on that node.
    pub fn misfits(&self, ask: &Ask<'_>, node: NodeId) -> Vec<Misfit> {
        match self.view(node) {
            Some(view) => FILTERS.iter().filter_map(|filter| filter(ask, &view).err()).collect(),
            None => vec![Misfit::Gone],
        }
    }

    /// An id that no node here has.
    pub fn spare_id(&self) -> NodeId {
        let last = self.rooms.keys().next_back();
        last.map_or(NodeId::new(1), |last| last.next().unwrap_or(*last))
    }

    /// Adds a machine with nothing on it.
    pub fn imagine(&mut self, node: &'a Node) {
        self.rooms.insert(node.id, Room::of(node));
    }

    /// That node alone, as it would be.
    pub(super) fn alone(&self, room: Room<'a>) -> Self {
        let homes = self.homes.clone();
        Self { rooms: [(room.node.id, room)].into(), homes, settled: BTreeMap::new() }
    }

    /// Puts the task on that node; its volumes live there from then on.
    pub fn put(&mut self, ask: Ask<'a>, node: NodeId) {
        let Some(room) = self.rooms.get_mut(&node) else { return };
        room.put(ask, Desired::Prepare);
        for volume in ask.volumes.values() {
            if !self.homes.contains_key(volume.engine_name.as_str()) {
                self.homes.insert(&volume.engine_name, node);
                self.settled.entry(ask.task).or_default().push(&volume.engine_name);
            }
        }
    }

    /// Takes the task off that node again, and the homes it brought.
    pub fn take_away(&mut self, task: TaskId, node: NodeId) -> Option<Ask<'a>> {
        let (ask, _) = self.rooms.get_mut(&node)?.take_away(task)?;
        for volume in self.settled.remove(&task).unwrap_or_default() {
            self.homes.remove(volume);
        }
        Some(ask)
    }
}
