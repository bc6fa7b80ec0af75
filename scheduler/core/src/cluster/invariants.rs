//! What is true of every cluster, whatever was applied to it. Tests ask after every step, and a
//! snapshot that breaks a rule is refused.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Desired, Epoch, Generic, GenericName, NodeId, OperatorName, Resources, ServiceName, StackName,
    Task, TaskId, TaskState, generic::Amount,
};
use thiserror::Error;

use crate::{
    cluster::{Cluster, MOST_AN_HOUR, limits, operator::is_reserved},
    orchestrate,
};

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// More is reserved on a node than was free when the last task was placed there.
    #[error("the tasks on {node} reserve {reserved}, it offers {allocatable}")]
    Overbooked {
        /// Which node.
        node: NodeId,
        /// Memory its tasks reserve.
        reserved: model::Bytes,
        /// Memory it offers.
        allocatable: model::Bytes,
    },
    /// The same of a generic resource.
    #[error("the tasks on {node} reserve {} {kind}, it offers {}", Amount(*reserved), Amount(*offered))]
    GenericOverbooked {
        /// Which node.
        node: NodeId,
        /// Which kind.
        kind: GenericName,
        /// How much its tasks reserve.
        reserved: u64,
        /// How much it offers.
        offered: u64,
    },
    /// A replica has more tasks that may run than one and its successor.
    #[error("`{stack}/{service}.{slot}` has {count} tasks that may run")]
    Crowded {
        /// The stack.
        stack: StackName,
        /// The service.
        service: ServiceName,
        /// The replica.
        slot: u32,
        /// How many.
        count: usize,
    },
    /// A task is not found by its service or its node, or is found by another's.
    #[error("the tasks are not filed where they belong")]
    Misfiled,
    /// Two tasks that must never be side by side may both run.
    #[error("`{stack}/{service}.{slot}` may run twice at once, which it must not")]
    Doubled {
        /// The stack.
        stack: StackName,
        /// The service.
        service: ServiceName,
        /// The replica.
        slot: u32,
    },
    /// Two tasks of a replica have the same epoch, or one has an epoch beyond the replica's last.
    #[error("`{stack}/{service}.{slot}` has epoch {epoch} twice or out of order")]
    EpochReused {
        /// The stack.
        stack: StackName,
        /// The service.
        service: ServiceName,
        /// The replica.
        slot: u32,
        /// The epoch.
        epoch: Epoch,
    },
    /// A task is not where its volume lives.
    #[error("{task} is on {node}, its volume `{volume}` lives on {home}")]
    AwayFromVolume {
        /// Which task.
        task: TaskId,
        /// Where it is.
        node: NodeId,
        /// The engine's name of the volume.
        volume: String,
        /// Where the volume lives.
        home: NodeId,
    },
    /// A task belongs to nothing.
    #[error("{task} belongs to `{stack}/{service}`, which the cluster does not know")]
    Orphan {
        /// Which task.
        task: TaskId,
        /// Its stack.
        stack: StackName,
        /// Its service.
        service: ServiceName,
    },
    /// A task or volume is on a node that is no member.
    #[error("{what} is on {node}, which is no member")]
    NoSuchNode {
        /// What is there.
        what: String,
        /// Where.
        node: NodeId,
    },
    /// An id that is yet to be given is in use.
    #[error("{what} has an id that was not given yet")]
    IdAhead {
        /// What has it.
        what: String,
    },
    /// A task's placement and state contradict each other.
    #[error("{task} is {state} and its node is {}", node.map_or("missing".to_owned(), |n| n.to_string()))]
    StateWithoutNode {
        /// Which task.
        task: TaskId,
        /// Its state.
        state: TaskState,
        /// Its node.
        node: Option<NodeId>,
    },
    /// The authorities contradict each other.
    #[error("the authorities are not such as can be")]
    Authorities,
    /// An operator was added and removed at once, or has a name that is not to be given.
    #[error("operator {name} is not one that can be")]
    Operator {
        /// Its name.
        name: OperatorName,
    },
    /// A table is larger than its limit.
    #[error("there are {count} {what}, the limit is {limit}")]
    OverLimit {
        /// Which table.
        what: &'static str,
        /// How large it is.
        count: usize,
        /// How large it may be.
        limit: usize,
    },
}

/// Every broken rule; empty for every cluster that came about by `apply`.
///
/// A node may offer less than it did when its tasks were placed: [`overbooked`] tells of that, it
/// is a problem for people and no contradiction.
pub fn check(cluster: &Cluster) -> Vec<Violation> {
    let mut found = Vec::new();
    check_tasks(cluster, &mut found);
    check_replicas(cluster, &mut found);
    check_volumes(cluster, &mut found);
    check_ids(cluster, &mut found);
    check_authorities(cluster, &mut found);
    check_operators(cluster, &mut found);
    check_limits(cluster, &mut found);
    found
}

/// Nodes whose tasks reserve more of something than they offer. With inventories that never shrink there
/// are none.
pub fn overbooked(cluster: &Cluster) -> Vec<Violation> {
    let mut reserved: BTreeMap<NodeId, Resources> = BTreeMap::new();
    let mut generic: BTreeMap<NodeId, Generic> = BTreeMap::new();
    for task in cluster.tasks().values().filter(|task| task.holds_resources()) {
        if let Some(node) = task.node {
            let sum = reserved.entry(node).or_default();
            *sum = sum.plus(task.spec.resources.reserved);
            if let Some(node) = cluster.node(node).filter(|_| task.spec.wants_generic()) {
                let sum = generic.entry(node.id).or_default();
                *sum = std::mem::take(sum).plus(&task.spec.generic_on(&node.inventory.generic));
            }
        }
    }
    let over = reserved.into_iter().filter_map(|(node, sum)| {
        let offers = cluster.node(node)?.inventory.allocatable();
        let over = sum.memory > offers.memory || sum.cpu > offers.cpu;
        over.then_some(Violation::Overbooked {
            node,
            reserved: sum.memory,
            allocatable: offers.memory,
        })
    });
    let generic = generic.into_iter().flat_map(|(node, sum)| {
        let offers = cluster.node(node).map(|node| node.inventory.generic.clone());
        let offers = offers.unwrap_or_default();
        let over = sum.iter().filter(|(kind, amount)| *amount > offers.get(kind));
        let over = over.map(|(kind, reserved)| Violation::GenericOverbooked {
            node,
            kind: kind.clone(),
            reserved,
            offered: offers.get(kind),
        });
        over.collect::<Vec<_>>()
    });
    over.chain(generic).collect()
}

fn check_tasks(cluster: &Cluster, found: &mut Vec<Violation>) {
    for task in cluster.tasks().values() {
        if cluster.service(&task.stack, &task.service).is_none() {
            let (stack, service) = (task.stack.clone(), task.service.clone());
            found.push(Violation::Orphan { task: task.id, stack, service });
        }
        let placed = task.status.state != TaskState::Pending;
        if placed != task.node.is_some() {
            let (task, state, node) = (task.id, task.status.state, task.node);
            found.push(Violation::StateWithoutNode { task, state, node });
        }
        let Some(node) = task.node else { continue };
        if cluster.node(node).is_none() {
            found.push(Violation::NoSuchNode { what: task.id.to_string(), node });
        }
        for volume in task.volumes.values() {
            let held = cluster.volumes().get(&volume.engine_name);
            if let Some(held) =
                held.filter(|held| held.home != node && !task.status.state.is_over())
            {
                found.push(Violation::AwayFromVolume {
                    task: task.id,
                    node,
                    volume: volume.engine_name.clone(),
                    home: held.home,
                });
            }
        }
    }
}

fn check_replicas(cluster: &Cluster, found: &mut Vec<Violation>) {
    let mut replicas: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for task in cluster.tasks().values() {
        replicas.entry((&task.stack, &task.service, task.slot)).or_default().push(task);
    }
    for ((stack, service, slot), tasks) in replicas {
        let name = || (stack.clone(), service.clone());
        let live = |task: &&&Task| !task.desired.is_leaving() && !task.status.state.is_over();
        let count = tasks.iter().filter(live).count();
        if count > 2 {
            let (stack, service) = name();
            found.push(Violation::Crowded { stack, service, slot, count });
        }
        let last = cluster
            .service(stack, service)
            .and_then(|held| held.slots.get(&slot))
            .map_or(Epoch(0), |held| held.last);
        let mut seen = BTreeSet::new();
        for task in &tasks {
            if task.epoch > last || !seen.insert(task.epoch) {
                let (stack, service) = name();
                found.push(Violation::EpochReused { stack, service, slot, epoch: task.epoch });
            }
        }
        let may_run = tasks.iter().filter(|task| {
            !orchestrate::starts_first(&task.spec) && task.holds_resources() && may_run(task)
        });
        if may_run.count() > 1 {
            let (stack, service) = name();
            found.push(Violation::Doubled { stack, service, slot });
        }
    }
}

/// Whether a task may be running: it was told to and has not confirmed its end. One that is lost
/// and bound to nothing on its node has been given up.
fn may_run(task: &Task) -> bool {
    let begun = task.status.state >= TaskState::Starting;
    let lost = task.status.state == TaskState::Lost && orchestrate::is_movable(task);
    !lost && (task.desired == Desired::Run || (task.desired.is_leaving() && begun))
}

fn check_volumes(cluster: &Cluster, found: &mut Vec<Violation>) {
    for (name, volume) in cluster.volumes() {
        if cluster.node(volume.home).is_none() {
            let what = format!("volume `{name}`");
            found.push(Violation::NoSuchNode { what, node: volume.home });
        }
    }
}

fn check_ids(cluster: &Cluster, found: &mut Vec<Violation>) {
    if !cluster.tasks.is_in_order() {
        found.push(Violation::Misfiled);
    }
    let task = cluster.tasks().keys().next_back().filter(|id| **id >= cluster.next_task);
    let node = cluster.nodes.keys().next_back().filter(|id| **id >= cluster.next_node);
    let token = cluster.tokens.keys().next_back().filter(|id| **id >= cluster.next_token);
    let ahead = [
        task.map(ToString::to_string),
        node.map(ToString::to_string),
        token.map(ToString::to_string),
    ];
    found.extend(ahead.into_iter().flatten().map(|what| Violation::IdAhead { what }));
}

fn check_authorities(cluster: &Cluster, found: &mut Vec<Violation>) {
    let Some(held) = cluster.authorities() else { return };
    let members = held.nodes.keys().all(|node| cluster.node(*node).is_some());
    let small = |certificate: &[u8]| certificate.len() <= limits::MAX_CERTIFICATE_BYTES;
    let bounded = held.trusted.iter().all(|authority| small(&authority.certificate));
    if !(held.are_whole() && members && bounded) {
        found.push(Violation::Authorities);
    }
}

fn check_operators(cluster: &Cluster, found: &mut Vec<Violation>) {
    let wrong = cluster.operators().filter(|(name, _)| {
        is_reserved(name.as_str()) || cluster.shuts_out_operator(name.as_str())
    });
    found.extend(wrong.map(|(name, _)| Violation::Operator { name: name.clone() }));
}

fn check_limits(cluster: &Cluster, found: &mut Vec<Violation>) {
    let automatic = cluster.automatic().map_or(0, |held| held.moves.len());
    let tables = [
        ("stacks", cluster.stacks.len(), limits::MAX_STACKS),
        ("tasks", cluster.tasks().len(), limits::MAX_TASKS.saturating_mul(2)),
        ("nodes", cluster.nodes.len(), limits::MAX_NODES),
        ("tokens", cluster.tokens.len(), limits::MAX_TOKENS),
        ("operators", cluster.operators.len(), limits::MAX_OPERATORS),
        ("removed operators", cluster.removed_operators.len(), limits::MAX_REMOVED_OPERATORS),
        ("automatic moves", automatic, MOST_AN_HOUR),
        ("requests", cluster.requests.len(), limits::MAX_REQUESTS),
        ("events", cluster.events.len(), limits::MAX_EVENTS),
    ];
    for (what, count, limit) in tables {
        if count > limit {
            found.push(Violation::OverLimit { what, count, limit });
        }
    }
}
