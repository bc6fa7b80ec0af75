//! `node ls` and `placement`.

use std::collections::BTreeMap;

use model::{
    Bytes, Generic, Node, Resources, Task, Timestamp,
    view::{
        NodeCpus, NodeDisk, NodeGeneric, NodeMemory, NodeRow, PlacedTask, PlacementNode,
        PlacementView,
    },
};

use crate::{
    cluster::Cluster,
    view::{Soft, explain::Asking, succession::succession, tasks::no_room},
};

/// The member nodes, by name.
pub fn nodes(cluster: &Cluster, soft: &Soft<'_>) -> Vec<NodeRow> {
    by_name(cluster).into_iter().map(|node| row(cluster, soft, node)).collect()
}

fn by_name(cluster: &Cluster) -> Vec<&Node> {
    let mut nodes: Vec<&Node> = cluster.nodes().values().collect();
    nodes.sort_by_key(|node| &node.name);
    nodes
}

fn holding<'a>(cluster: &'a Cluster, node: &Node) -> Vec<&'a Task> {
    cluster.tasks_on(node.id).filter(|task| task.holds_resources()).collect()
}

fn reserved(tasks: &[&Task]) -> Resources {
    tasks.iter().map(|task| task.spec.resources.reserved).sum()
}

/// What the node offers of generic resources, and what is reserved there: of a kind it offers no longer
/// too.
fn generic(node: &Node, tasks: &[&Task]) -> BTreeMap<String, NodeGeneric> {
    let offers = &node.inventory.generic;
    let held = tasks.iter().map(|task| task.spec.generic_on(offers));
    let held = held.fold(Generic::NONE, |sum, held| sum.plus(&held));
    let kinds = offers.clone().larger(&held);
    let row = |kind| NodeGeneric { capacity: offers.get(kind), reserved: held.get(kind) };
    kinds.iter().map(|(kind, _)| (kind.to_string(), row(kind))).collect()
}

fn row(cluster: &Cluster, soft: &Soft<'_>, node: &Node) -> NodeRow {
    let tasks = holding(cluster, node);
    let held = reserved(&tasks);
    let used: Vec<Bytes> = tasks.iter().filter_map(|task| soft.memory_used(task.id)).collect();
    let inventory = &node.inventory;
    NodeRow {
        name: node.name.to_string(),
        id: node.id.to_string(),
        state: node.liveness.as_str().to_owned(),
        schedulable: node.schedulable,
        labels: node.labels.clone(),
        address: node.address.clone(),
        arch: inventory.arch.clone(),
        engine: inventory.engine.clone(),
        version: inventory.agent_version.clone(),
        memory: NodeMemory {
            capacity: inventory.memory,
            reserve: inventory.memory_reserve,
            allocatable: inventory.allocatable().memory,
            reserved: held.memory,
            limits: tasks.iter().map(|task| task.spec.resources.memory_limit).sum(),
            used: (!used.is_empty()).then(|| used.into_iter().sum()),
        },
        cpus: NodeCpus { capacity: inventory.cpu, reserved: held.cpu },
        tasks: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
        disk: NodeDisk { capacity: inventory.disk, free: inventory.disk_free },
        engine_ready: inventory.engine_ready,
        drain_until: node.drain.map(Timestamp::to_rfc3339),
        generic: generic(node, &tasks),
    }
}

/// Who sits where, what is free, and what waits for room.
pub fn placement(cluster: &Cluster) -> PlacementView {
    let nodes = by_name(cluster).into_iter().map(|node| {
        let mut tasks = holding(cluster, node);
        tasks.sort_by_key(|task| (&task.stack, &task.service, task.slot, task.epoch));
        let reserved = reserved(&tasks).memory;
        let allocatable = node.inventory.allocatable().memory;
        let generic = generic(node, &tasks);
        PlacementNode {
            name: node.name.to_string(),
            allocatable,
            reserved,
            free: allocatable.saturating_sub(reserved),
            tasks: tasks.into_iter().map(|task| placed(cluster, task, None)).collect(),
            generic,
        }
    });
    let mut asking = Asking::of(cluster);
    let mut why = |task| Some(no_room(&mut asking, task));
    let pending = cluster.pending().map(|task| placed(cluster, task, why(task)));
    PlacementView { nodes: nodes.collect(), pending: pending.collect() }
}

fn placed(cluster: &Cluster, task: &Task, reason: Option<String>) -> PlacedTask {
    PlacedTask {
        task: task.id.to_string(),
        stack: task.stack.to_string(),
        service: task.service.to_string(),
        replica: task.slot,
        memory: task.spec.resources.reserved.memory,
        reason,
        succession: succession(cluster, task),
        generic: reserves(cluster, task),
    }
}

/// What the task reserves of generic resources, where it is.
pub(super) fn reserves(cluster: &Cluster, task: &Task) -> BTreeMap<String, u64> {
    let node = task.node.and_then(|node| cluster.node(node));
    let offers = node.map(|node| node.inventory.generic.clone()).unwrap_or_default();
    let reserved = task.spec.generic_on(&offers);
    reserved.iter().map(|(kind, amount)| (kind.to_string(), amount)).collect()
}
