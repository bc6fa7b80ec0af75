//! `explain`: why a task is, or is not, where it is.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use model::{
    NodeId, ServiceName, ServiceSpec, StackName, StackSpec, Task, TaskId, TaskState,
    view::{ExplainView, ReplicaPlacement, Verdict},
};

use crate::{
    cluster::{Cluster, Command, Entry, Rejection, Service, limits},
    placement::{Ask, Effort, Fleet, Former, Judge, Queue, fixes, way_to},
    plan::SEARCH_STEPS,
    view::{
        Soft, memory, nodes::reserves, preview::settle, rebalance::Rescue, succession::succession,
        tasks::waiting_for,
    },
};

/// Why the replicas of a service, or one of them, are where they are: what stands for and against each node now,
/// and of a placed task what was decided then.
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
    let mut asking = Asking::of(cluster).telling(limits::verdicts_told(tasks.len()));
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
            way_to(&judge.fleet, &ask, node).unwrap_or_else(|why| vec![format!("{NO_WAY}: {why}")])
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
    let decision = task.decision.as_ref();
    let pending = task.node.is_none();
    let failure = task.status.failure.as_ref().map(|failure| failure.message.clone());
    let waiting = waiting_for(asking, soft, task);
    let gave_up = service.failed.as_ref().map(|failed| {
        format!("the change to revision {} was given up: {}", failed.revision, failed.reason)
    });
    let mut placement = replica_placement(asking, task);
    let decided = match task.node {
        Some(_) => std::mem::replace(&mut placement.verdicts, asking.about_placed(task)),
        None => Vec::new(),
    };
    ExplainView {
        placement,
        decided,
        task: Some(task.id.to_string()),
        decided_at: decision.map_or(soft.now, |decision| decision.at).to_rfc3339().into(),
        revision: decision.map_or(cluster.revision(), |decision| decision.revision).0.into(),
        state: task.status.state.to_string(),
        error: waiting.clone().filter(|_| pending).or(failure).or(waiting).or(gave_up),
    }
}

/// Where one task goes, and why.
pub(super) fn replica_placement(asking: &mut Asking<'_>, task: &Task) -> ReplicaPlacement {
    let cluster = asking.cluster;
    let (resources, most) = (task.spec.resources.reserved, asking.most);
    let decided = task.decision.as_ref().filter(|_| task.node.is_some());
    let (verdicts, misfits, fixes) = if let Some(decision) = decided {
        (decision.verdicts.clone(), BTreeMap::new(), Vec::new())
    } else {
        let worth = asking.is_worth_a_fix();
        let moves = if worth { asking.moves_for(task) } else { None };
        let waiting = asking.waiting();
        let mut effort = asking.effort.part(FIX_STEPS_EACH);
        let asked = asking.about(task, |judge, ask, former| {
            let former = former.and_then(|former| cluster.task(former));
            let former = former.and_then(|old| Some(Former { ask: Ask::of(old), node: old.node? }));
            let applied = |spec: &ServiceSpec| has_place_with(cluster, task, spec);
            let queue = Queue { all: &waiting, former, moves, applied: &applied };
            let fixes =
                if worth { fixes(&judge.fleet, ask, queue, &mut effort) } else { Vec::new() };
            let (verdicts, counts) = judge.verdicts(ask, most);
            (verdicts, counts.by_word(), fixes)
        });
        asking.effort.give_back(&effort);
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

/// Whether the replica of the task has a place in the end, another one if it has one, when its service is applied like
/// this.
pub(super) fn has_place_with(cluster: &Cluster, task: &Task, spec: &ServiceSpec) -> bool {
    let Some(held) = cluster.stack(&task.stack).and_then(|stack| stack.spec()) else {
        return false;
    };
    let mut changed = StackSpec::clone(held);
    changed.services.insert(task.service.clone(), spec.clone());
    let (mut draft, at) = (cluster.draft(), task.since);
    let command = Command::ApplyStack { spec: changed, basis: None };
    if draft.apply(&Entry { at, request: None, command }).result.is_err() {
        return false;
    }
    settle(&mut draft, at);
    let newest = draft.tasks_of_replica(task).max_by_key(|one| one.epoch);
    newest.is_some_and(|newest| newest.node.is_some() && newest.node != task.node)
}

/// What is asked about tasks that have no node: what they share is looked at once, when it is needed.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) cluster: &'a Cluster,
    judge: Option<Judge<'a>>,
    /// All that wait for a place.
    waiting: Option<Arc<[Ask<'a>]>>,
    /// The moves that make room for what waits, when they were sought.
    moves: Option<Rescue>,
    fixed: usize,
    /// Verdicts that are told of each.
    most: usize,
    /// Placed tasks that are still asked about, times nodes.
    looks: usize,
    /// For plans that show that a fix helps.
    effort: Effort,
}

/// Tasks without a place for which one answer says what would help: each is tried on every node.
const MAX_FIXED: usize = 50;
/// Nodes that placed tasks of one answer are asked about anew, all together: about a second of work.
const MAX_LOOKS: usize = 500_000;
/// Steps of all plans of one answer that show whether a fix helps, and of those for one task: some tenths of a second
/// of work, so that the first tasks do not leave the others without.
const FIX_STEPS: u64 = 2 * SEARCH_STEPS;
const FIX_STEPS_EACH: u64 = SEARCH_STEPS / 2;

impl<'a> Asking<'a> {
    pub(super) const fn of(cluster: &'a Cluster) -> Self {
        let effort = Effort::new(SEARCH_STEPS, FIX_STEPS);
        let most = limits::MAX_VERDICTS;
        Self {
            cluster,
            judge: None,
            waiting: None,
            moves: None,
            fixed: 0,
            most,
            looks: MAX_LOOKS,
            effort,
        }
    }

    fn telling(self, most: usize) -> Self {
        Self { most, ..self }
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

    /// What speaks for and against each node now, for a task that has its place; what was decided then, for those
    /// after the first that are asked about on so many nodes.
    fn about_placed(&mut self, task: &Task) -> Vec<Verdict> {
        let (Some(task), most) = (self.cluster.task(task.id), self.most) else { return Vec::new() };
        let Some(left) = self.looks.checked_sub(self.cluster.nodes().len()) else {
            let decision = task.decision.as_ref();
            return decision.map(|decision| decision.verdicts.clone()).unwrap_or_default();
        };
        self.looks = left;
        let ask = Ask::of(task);
        match task.node.filter(|_| task.holds_resources()) {
            Some(node) => self.judge().verdicts_of_placed((&ask, node), most),
            None => self.judge().verdicts(&ask, most).0,
        }
    }

    fn waiting(&mut self) -> Arc<[Ask<'a>]> {
        let cluster = self.cluster;
        let waiting = self.waiting.get_or_insert_with(|| cluster.pending().map(Ask::of).collect());
        Arc::clone(waiting)
    }

    fn judge(&mut self) -> &mut Judge<'a> {
        let (cluster, waiting) = (self.cluster, self.waiting());
        self.judge.get_or_insert_with(|| Judge::new(Fleet::of(cluster), &waiting))
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
        let judge = self.judge();
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

/// The fleet as a pending task meets it: the task it replaces makes room for it.
pub(crate) fn fleet_for<'a>(cluster: &'a Cluster, task: &Task) -> (Fleet<'a>, Option<TaskId>) {
    let mut fleet = Fleet::of(cluster);
    let predecessor = predecessor(cluster, task);
    if let Some((old, node)) = predecessor.and_then(|old| Some((old, old.node?))) {
        fleet.take_away(old.id, node);
    }
    (fleet, predecessor.map(|old| old.id))
}
