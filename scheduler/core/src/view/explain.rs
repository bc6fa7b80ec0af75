//! `explain`: why a task is, or is not, where it is.

use std::{cmp::Reverse, collections::BTreeMap};

use model::{
    NodeId, ServiceName, StackName, Task, TaskId, TaskState,
    view::{ExplainView, ReplicaPlacement},
};

use crate::{
    cluster::{Cluster, Rejection, Service},
    placement::{Ask, Fleet, Judge, fixes, way_to},
    view::{
        Soft, memory, nodes::reserves, rebalance::Rescue, succession::succession,
        tasks::waiting_for,
    },
};

/// Why the replicas of a service, or one of them, are where they are. A placed task answers with
/// what was decided then, a pending one with what stands against each node now.
pub fn explain(
    cluster: &Cluster,
    stack: &StackName,
    service: &ServiceName,
    slot: Option<u32>,
    soft: &Soft<'_>,
) -> Result<Vec<ExplainView>, Rejection> {
    let held = cluster.stack(stack).ok_or_else(|| Rejection::UnknownStack(stack.clone()))?;
    let unknown = || Rejection::UnknownService { stack: stack.clone(), service: service.clone() };
    let known = held.services().get(service).ok_or_else(unknown)?;
    let mut tasks: Vec<&Task> = cluster
        .tasks_of(stack)
        .filter(|task| task.service == *service && slot.is_none_or(|slot| slot == task.slot))
        .filter(|task| !task.is_history())
        .collect();
    tasks.sort_by_key(|task| (task.slot, Reverse(task.epoch)));
    if let Some(slot) = slot.filter(|slot| tasks.is_empty() && outside(*slot, known)) {
        let replicas = known.spec.replicas;
        let (stack, service) = (stack.clone(), service.clone());
        return Err(Rejection::UnknownReplica { stack, service, slot, replicas });
    }
    let mut asking = Asking::of(cluster);
    Ok(tasks.into_iter().map(|task| view(&mut asking, known, task, soft)).collect())
}

/// What it would take for those replicas to be on that node: the verdict on it alone, and everything that
/// would have to change, in order.
pub fn explain_on(
    cluster: &Cluster,
    (stack, service): (&StackName, &ServiceName),
    slot: Option<u32>,
    node: NodeId,
    soft: &Soft<'_>,
) -> Result<Vec<ExplainView>, Rejection> {
    cluster.node(node).ok_or(Rejection::UnknownNode(node))?;
    let mut views = explain(cluster, stack, service, slot, soft)?;
    for view in &mut views {
        let Some(task) =
            view.task.as_ref().and_then(|id| id.parse().ok()).and_then(|id| cluster.task(id))
        else {
            continue;
        };
        let (mut fleet, _) = fleet_for(cluster, task);
        if let Some(place) = task.node {
            fleet.take_away(task.id, place);
        }
        let ask = Ask::of(task);
        let judge = Judge::new(fleet, &[ask]);
        view.placement.verdicts = vec![judge.verdict_on(&ask, node)];
        view.placement.fixes = if task.node == Some(node) {
            Vec::new()
        } else {
            way_to(&judge.fleet, &ask, node).unwrap_or_else(|| vec![NO_WAY.to_owned()])
        };
    }
    Ok(views)
}

/// Said where nothing that is known would do.
const NO_WAY: &str = "nothing: what stands against it cannot be changed from here";

fn outside(slot: u32, service: &Service) -> bool {
    slot == 0 || slot > service.spec.replicas
}

fn view(asking: &mut Asking<'_>, service: &Service, task: &Task, soft: &Soft<'_>) -> ExplainView {
    let cluster = asking.cluster;
    let decided = task.decision.as_ref();
    let pending = task.node.is_none();
    let failure = task.status.failure.as_ref().map(|failure| failure.message.clone());
    let waiting = waiting_for(asking, soft, task);
    let gave_up = service.failed.as_ref().map(|failed| {
        format!("the change to revision {} was given up: {}", failed.revision, failed.reason)
    });
    ExplainView {
        placement: replica_placement(asking, task),
        task: Some(task.id.to_string()),
        decided_at: decided.map_or(soft.now, |decision| decision.at).to_rfc3339().into(),
        revision: decided.map_or(cluster.revision(), |decision| decision.revision).0.into(),
        state: task.status.state.to_string(),
        error: waiting.clone().filter(|_| pending).or(failure).or(waiting).or(gave_up),
    }
}

/// Where one task goes, and why.
pub(super) fn replica_placement(asking: &mut Asking<'_>, task: &Task) -> ReplicaPlacement {
    let cluster = asking.cluster;
    let resources = task.spec.resources.reserved;
    let decided = task.decision.as_ref().filter(|_| task.node.is_some());
    let (verdicts, misfits, fixes) = if let Some(decision) = decided {
        (decision.verdicts.clone(), BTreeMap::new(), Vec::new())
    } else {
        let worth = asking.is_worth_a_fix();
        let moves = if worth { asking.moves_for(task) } else { None };
        let asked = asking.about(task, |judge, ask, _| {
            let fixes = if worth {
                fixes(&judge.fleet, ask, beside(cluster, task), moves)
            } else {
                Vec::new()
            };
            let (verdicts, counts) = judge.verdicts(ask);
            (verdicts, counts.by_word(), fixes)
        });
        asked.unwrap_or_default()
    };
    ReplicaPlacement {
        stack: task.stack.to_string(),
        service: task.service.to_string(),
        replica: task.slot,
        node: task.node.map(|node| cluster.node_name(node)),
        origin: None,
        memory: resources.memory,
        memory_basis: Some(memory::source(cluster, task)),
        cpus: resources.cpu,
        verdicts,
        fixes,
        succession: succession(cluster, task),
        generic: reserves(cluster, task),
        misfits,
    }
}

/// What is asked about tasks that have no node: what they share is looked at once, when it is needed.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) cluster: &'a Cluster,
    judge: Option<Judge<'a>>,
    /// The moves that make room for what waits, when they were sought.
    moves: Option<Rescue>,
    fixed: usize,
}

/// Tasks without a place for which one answer says what would help: each is tried on every node.
const MAX_FIXED: usize = 50;

impl<'a> Asking<'a> {
    pub(super) const fn of(cluster: &'a Cluster) -> Self {
        Self { cluster, judge: None, moves: None, fixed: 0 }
    }

    /// The moves that make room for it, in words: those that `rebalance` would make first.
    fn moves_for(&mut self, task: &Task) -> Option<String> {
        let cluster = self.cluster;
        let rescue = self.moves.get_or_insert_with(|| Rescue::of(cluster));
        rescue.tell(cluster, task.id)
    }

    /// Whether what would help is looked for once more in this answer.
    const fn is_worth_a_fix(&mut self) -> bool {
        self.fixed = self.fixed.saturating_add(1);
        self.fixed <= MAX_FIXED
    }

    /// The answer to a question about a pending task, in the fleet as it meets it: the task that it
    /// replaces, if any, makes room for it.
    pub(super) fn about<R>(
        &mut self,
        task: &Task,
        question: impl FnOnce(&Judge<'a>, &Ask<'a>, Option<TaskId>) -> R,
    ) -> Option<R> {
        let cluster = self.cluster;
        let ask = Ask::of(cluster.task(task.id)?);
        let judge = self.judge.get_or_insert_with(|| {
            let asks: Vec<Ask<'a>> = cluster.pending().map(Ask::of).collect();
            Judge::new(Fleet::of(cluster), &asks)
        });
        Some(match predecessor(cluster, task).and_then(|old| Some((old.id, old.node?))) {
            Some((old, node)) => {
                judge.without_task(old, node, |judge| question(judge, &ask, Some(old)))
            }
            None => question(judge, &ask, None),
        })
    }
}

/// The task that it takes over from, which is still there.
fn predecessor<'a>(cluster: &'a Cluster, task: &Task) -> Option<&'a Task> {
    let mut others = cluster.tasks_of_replica(task);
    others.find(|other| {
        other.epoch < task.epoch && other.holds_resources() && other.status.state != TaskState::Lost
    })
}

/// How many other replicas of its service have no place.
fn beside(cluster: &Cluster, task: &Task) -> u32 {
    let others = cluster.tasks_of(&task.stack).filter(|other| {
        other.service == task.service
            && other.slot != task.slot
            && other.node.is_none()
            && !other.desired.is_leaving()
    });
    u32::try_from(others.count()).unwrap_or(u32::MAX)
}

/// The fleet as a pending task meets it: the task it replaces makes room for it.
pub(crate) fn fleet_for<'a>(cluster: &'a Cluster, task: &Task) -> (Fleet<'a>, Option<TaskId>) {
    let mut fleet = Fleet::of(cluster);
    let predecessor = predecessor(cluster, task);
    if let Some((old, node)) = predecessor.and_then(|old| Some((old, old.node?))) {
        fleet.take_away(old.id, node);
    }
    (fleet, predecessor.map(|old| old.id))
}
