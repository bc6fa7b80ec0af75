//! The nodes as placement sees them: what is free, and what would be after a change.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Bytes, Desired, Generic, GenericName, Liveness, Node, NodeId, Resources, ServiceName,
    ServiceSpec, StackName, Task, TaskId, TaskState, VolumeName,
    planted::{Bug, is_planted},
    task::TaskVolume,
};

use crate::{
    cluster::{Cluster, Stack, Table, Volume},
    placement::{Misfit, filter},
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
    /// What they reserve together of generic resources.
    reserved_generic: Generic,
    /// How many of them stop.
    leaving: u32,
    /// Kept back for tasks whose predecessor is stopping here to make room for them.
    pub(super) earmarked: BTreeMap<TaskId, Resources>,
    /// The same of generic resources.
    pub(super) earmarked_generic: BTreeMap<TaskId, Generic>,
    offers: Resources,
}

impl<'a> Room<'a> {
    pub(super) fn of(node: &'a Node) -> Self {
        Self {
            node,
            reserved: Resources::ZERO,
            tasks: BTreeMap::new(),
            reserved_generic: Generic::NONE,
            leaving: 0,
            earmarked: BTreeMap::new(),
            earmarked_generic: BTreeMap::new(),
            offers: node.inventory.allocatable(),
        }
    }

    /// The same tasks on a node that is like this.
    pub(super) fn on(&self, node: &'a Node) -> Self {
        let mut room = Self { node, offers: node.inventory.allocatable(), ..self.clone() };
        room.count_generic();
        room
    }

    /// What may be reserved on it, taken or not.
    pub const fn offers(&self) -> Resources {
        self.offers
    }

    /// What is free for that task.
    pub fn free_for(&self, task: TaskId) -> Resources {
        let free = self.offers.minus(self.reserved);
        if self.earmarked.is_empty() {
            return free;
        }
        let kept = self.earmarked.iter().filter(|(id, _)| **id != task);
        free.minus(kept.map(|(_, amount)| *amount).sum::<Resources>())
    }

    /// How much of that generic resource is free for that task.
    pub fn generic_free_for(&self, task: TaskId, kind: &GenericName) -> u64 {
        let free = self.node.inventory.generic.get(kind);
        let free = free.saturating_sub(self.reserved_generic.get(kind));
        let kept = self.earmarked_generic.iter().filter(|(id, _)| **id != task);
        kept.fold(free, |free, (_, amount)| free.saturating_sub(amount.get(kind)))
    }

    /// What is reserved of generic resources, anew: all of a kind is another amount once the node offers more.
    fn count_generic(&mut self) {
        let offered = &self.node.inventory.generic;
        let specs = self.tasks.values().map(|(ask, _)| ask.spec);
        let specs = specs.filter(|spec| spec.wants_generic());
        self.reserved_generic =
            specs.fold(Generic::NONE, |held, spec| held.plus(&spec.generic_on(offered)));
    }

    /// What of its memory stops, what `ask` takes over from included.
    pub(super) fn going(&self, ask: &Ask<'_>) -> Bytes {
        if self.leaving == 0 && !ask.replaces {
            return Bytes::ZERO;
        }
        let going = self.tasks.values().filter(|(other, desired)| {
            let former = other.same_service(ask) && other.slot == ask.slot;
            other.task != ask.task && (former || desired.is_leaving())
        });
        going.map(|(other, _)| other.reserved().memory).sum()
    }

    /// These tasks and no others.
    fn hold(&mut self, tasks: BTreeMap<TaskId, (Ask<'a>, Desired)>) {
        self.tasks = tasks;
        self.reserved = self.tasks.values().map(|(ask, _)| ask.reserved()).sum();
        let leaving = self.tasks.values().filter(|(_, desired)| desired.is_leaving()).count();
        self.leaving = u32::try_from(leaving).unwrap_or(u32::MAX);
        self.count_generic();
    }

    fn put(&mut self, ask: Ask<'a>, desired: Desired) {
        self.reserved = self.reserved.plus(ask.reserved());
        if ask.spec.wants_generic() {
            let asked = ask.spec.generic_on(&self.node.inventory.generic);
            asked.iter().for_each(|(kind, amount)| self.reserved_generic.add(kind, amount));
        }
        self.leaving = self.leaving.saturating_add(u32::from(desired.is_leaving()));
        self.tasks.insert(ask.task, (ask, desired));
    }

    fn take_away(&mut self, task: TaskId) -> Option<(Ask<'a>, Desired)> {
        let held = self.tasks.remove(&task)?;
        self.leaving = self.leaving.saturating_sub(u32::from(held.1.is_leaving()));
        // Not subtracted: a sum that once saturated must not come out too small.
        self.reserved = self.tasks.values().map(|(ask, _)| ask.reserved()).sum();
        if held.0.spec.wants_generic() {
            self.count_generic();
        }
        Some(held)
    }
}

/// Where the replicas of a service are that are there to stay: node and slot.
pub(super) type Replicas = BTreeSet<(NodeId, u32, TaskId)>;

/// How many of them are on that node, but for that slot.
pub(super) fn others_on(replicas: &Replicas, node: NodeId, slot: u32) -> u32 {
    let here = (node, 0, TaskId::new(0))..=(node, u32::MAX, TaskId::new(u64::MAX));
    let others = replicas.range(here).filter(|(_, other, _)| *other != slot);
    u32::try_from(others.count()).unwrap_or(u32::MAX)
}

/// All nodes and where named volumes live.
#[derive(Debug, Clone)]
pub struct Fleet<'a> {
    rooms: BTreeMap<NodeId, Room<'a>>,
    replicas: BTreeMap<(&'a StackName, &'a ServiceName), Replicas>,
    /// Whether images of services may lack variants.
    some_lack: bool,
    /// What is known of services.
    stacks: &'a Table<StackName, Stack>,
    /// Where volumes live, by the engine's name.
    volumes: &'a BTreeMap<String, Volume>,
    /// The homes of those that got theirs in this arrangement.
    new_homes: BTreeMap<&'a str, NodeId>,
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
        let mut services = cluster.stacks().values().flat_map(|stack| stack.services().values());
        fleet.some_lack = services.any(|service| !service.lacks.is_empty());
        for task in cluster.tasks().values().filter(|task| task.holds_resources()) {
            fleet.put_task(task);
        }
        fleet.earmark(cluster);
        fleet
    }

    /// The fleet as it is, but for one node.
    pub fn without(cluster: &'a Cluster, node: NodeId) -> Self {
        let mut fleet = Self::of(cluster);
        if let Some(room) = fleet.rooms.remove(&node) {
            for (ask, _) in room.tasks.values() {
                fleet.forget_replica(ask, node);
            }
        }
        fleet
    }

    /// One node alone for one service, nothing kept back: what the log checks. Of other services it knows
    /// no replicas. Made at once, not task by task: it is made for every change of every plan.
    pub(super) fn single_for(
        cluster: &'a Cluster,
        node: NodeId,
        (stack, service): (&'a StackName, &'a ServiceName),
    ) -> Self {
        let mut fleet = Self::bare(cluster, cluster.node(node));
        let Some(room) = fleet.rooms.get_mut(&node) else { return fleet };
        let holding = cluster.tasks_on(node).filter(|task| task.holds_resources());
        room.hold(holding.map(|task| (task.id, (Ask::of(task), task.desired))).collect());
        let stays = room.tasks.values().filter(|(ask, desired)| {
            !desired.is_leaving() && ask.service == service && ask.stack == stack
        });
        let there: Replicas = stays.map(|(ask, _)| (node, ask.slot, ask.task)).collect();
        if !there.is_empty() {
            fleet.replicas.insert((stack, service), there);
        }
        fleet
    }

    /// One node alone, with room kept back for replacements under way.
    pub(crate) fn single_in_motion(cluster: &'a Cluster, node: NodeId) -> Self {
        let mut fleet = Self::bare(cluster, cluster.node(node));
        for task in cluster.tasks_on(node).filter(|task| task.holds_resources()) {
            fleet.put_task(task);
        }
        fleet.earmark(cluster);
        fleet
    }

    fn bare(cluster: &'a Cluster, nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        Self {
            rooms: nodes.into_iter().map(|node| (node.id, Room::of(node))).collect(),
            replicas: BTreeMap::new(),
            some_lack: true,
            stacks: cluster.stacks(),
            volumes: cluster.volumes(),
            new_homes: BTreeMap::new(),
            settled: BTreeMap::new(),
        }
    }

    fn put_task(&mut self, task: &'a Task) {
        if let Some(node) = task.node {
            self.put_in(node, Ask::of(task), task.desired);
        }
    }

    fn put_in(&mut self, node: NodeId, ask: Ask<'a>, desired: Desired) {
        let Some(room) = self.rooms.get_mut(&node) else { return };
        room.put(ask, desired);
        if !desired.is_leaving() {
            let there = self.replicas.entry((ask.stack, ask.service)).or_default();
            there.insert((node, ask.slot, ask.task));
        }
    }

    fn forget_replica(&mut self, ask: &Ask<'a>, node: NodeId) {
        if let Some(there) = self.replicas.get_mut(&(ask.stack, ask.service)) {
            there.remove(&(node, ask.slot, ask.task));
        }
    }

    /// The nodes with other replicas of a task's service that are there to stay, and how many: the one
    /// that it takes over from does not count, it goes.
    pub(super) fn replicas_beside(&self, ask: &Ask<'_>) -> impl Iterator<Item = (NodeId, u32)> {
        let there = self.replicas.get(&(ask.stack, ask.service));
        let mut counts: BTreeMap<NodeId, u32> = BTreeMap::new();
        for (node, _, _) in there.into_iter().flatten().filter(|(_, slot, _)| *slot != ask.slot) {
            let count = counts.entry(*node).or_default();
            *count = count.saturating_add(1);
        }
        counts.into_iter()
    }

    /// The replicas of a task's service that are there to stay, itself included.
    pub(super) fn replicas_of<'f>(&'f self, ask: &Ask<'a>) -> Option<&'f Replicas> {
        self.replicas.get(&(ask.stack, ask.service))
    }

    /// How many other replicas of a task's service are on that node to stay.
    pub(super) fn replicas_on(&self, node: NodeId, ask: &Ask<'_>) -> u32 {
        let there = self.replicas.get(&(ask.stack, ask.service));
        there.map_or(0, |there| others_on(there, node, ask.slot))
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
                if task.spec.wants_generic() {
                    let offers = &room.node.inventory.generic;
                    let held = former.spec.generic_on(offers);
                    let more = task.spec.generic_on(offers).into_owned().minus(&held);
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
        let new = self.new_homes.get(engine_name).copied();
        new.or_else(|| self.volumes.get(engine_name).map(|volume| volume.home))
    }

    /// The platforms the image it asks for is known to have no variant for. Of an image that its service does
    /// not have now, nothing is known.
    pub(super) fn lacks(&self, ask: &Ask<'_>) -> &'a BTreeSet<String> {
        static NOTHING: BTreeSet<String> = BTreeSet::new();
        if !self.some_lack {
            return &NOTHING;
        }
        let stack = self.stacks.get(ask.stack);
        let service = stack.and_then(|stack| stack.services().get(ask.service));
        let same = service.filter(|held| held.spec.image == ask.spec.image);
        same.map_or(&NOTHING, |held| &held.lacks)
    }

    /// Whether it is the replica that ends when its service is scaled down by one.
    pub(super) fn is_last_replica(&self, ask: &Ask<'_>) -> bool {
        let stack = self.stacks.get(ask.stack);
        let service = stack.and_then(|stack| stack.services().get(ask.service));
        service.is_none_or(|service| ask.slot >= service.spec.replicas)
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
        filter::filters().try_for_each(|filter| filter(ask, &view))
    }

    /// Every rule the task breaks on that node.
    pub fn misfits(&self, ask: &Ask<'_>, node: NodeId) -> Vec<Misfit> {
        match self.view(node) {
            Some(view) => filter::filters().filter_map(|filter| filter(ask, &view).err()).collect(),
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

    /// The same with no node at all: what is known of volumes and images stays.
    pub(super) fn without_nodes(&self) -> Self {
        Self {
            rooms: BTreeMap::new(),
            replicas: BTreeMap::new(),
            some_lack: self.some_lack,
            stacks: self.stacks,
            volumes: self.volumes,
            new_homes: self.new_homes.clone(),
            settled: BTreeMap::new(),
        }
    }

    /// That node alone, as it would be.
    pub(super) fn alone(&self, room: Room<'a>) -> Self {
        let mut fleet = self.without_nodes();
        let node = room.node.id;
        let (earmarked, earmarked_generic) = (room.earmarked, room.earmarked_generic);
        fleet.rooms.insert(node, Room { earmarked, earmarked_generic, ..Room::of(room.node) });
        for (ask, desired) in room.tasks.into_values() {
            fleet.put_in(node, ask, desired);
        }
        fleet
    }

    /// The node is like this, with what is on it.
    pub(super) fn becomes(&mut self, node: &'a Node) {
        let room = self.rooms.get(&node.id);
        let room = room.map_or_else(|| Room::of(node), |room| room.on(node));
        self.rooms.insert(node.id, room);
    }

    /// Puts the task on that node; its volumes live there from then on.
    pub fn put(&mut self, ask: Ask<'a>, node: NodeId) {
        if !self.rooms.contains_key(&node) {
            return;
        }
        self.put_in(node, ask, Desired::Prepare);
        for volume in ask.volumes.values() {
            if self.home(&volume.engine_name).is_none() {
                self.new_homes.insert(&volume.engine_name, node);
                self.settled.entry(ask.task).or_default().push(&volume.engine_name);
            }
        }
    }

    /// Takes the task off that node again, and the homes it brought.
    pub fn take_away(&mut self, task: TaskId, node: NodeId) -> Option<Ask<'a>> {
        let (ask, _) = self.suspend(task, node)?;
        for volume in self.settled.remove(&task).unwrap_or_default() {
            self.new_homes.remove(volume);
        }
        Some(ask)
    }

    /// Takes a task off its node for a while; what it brought stays.
    pub(super) fn suspend(&mut self, task: TaskId, node: NodeId) -> Option<(Ask<'a>, Desired)> {
        let (ask, desired) = self.rooms.get_mut(&node)?.take_away(task)?;
        self.forget_replica(&ask, node);
        Some((ask, desired))
    }

    /// Puts it back as it was.
    pub(super) fn resume(&mut self, (ask, desired): (Ask<'a>, Desired), node: NodeId) {
        self.put_in(node, ask, desired);
    }
}
