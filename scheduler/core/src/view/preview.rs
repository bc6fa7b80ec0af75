//! `plan`: what applying a stack would come to. The stack is applied to a copy, the leader's own
//! decisions are made on it, and agents are imagined that do what they are told.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Allows, Bytes, Desired, Health, Liveness, Node, NodeId, ServiceName, StackName, StackSpec,
    Task, TaskId, TaskReport, TaskState, TaskStatus, Timestamp,
    spec::Condition,
    view::{OutlookView, PlanNode, PlanView, ReplicaPlacement},
};

use crate::{
    cluster::{Change, Cluster, Command, Entry, Outcome, Rejection, Stack, limits},
    liveness::{Heartbeats, Thresholds},
    orchestrate::{self, MIN_READY_MS, RECREATE_DELAY_MS},
    placement::{Ask, Fleet, Outlook, Score, flags, leaves},
    plan::{Draft, plan_within},
    view::{
        explain::{Asking, replica_placement},
        memory,
        stacks::changes,
    },
};

/// Plans made before the preview ends though something still moves: a service of many replicas is
/// replaced one after the other, each in a few.
const MAX_STEPS: usize = 400;
/// Each step looks at every task: steps times tasks stay below this, about a second of work.
const MAX_LOOKS: usize = 60_000;

/// What applying the stack would do; nothing is changed.
pub fn plan_view(
    cluster: &Cluster,
    spec: &StackSpec,
    now: Timestamp,
) -> Result<PlanView, Rejection> {
    let before = cluster.stack(&spec.name).and_then(|stack| stack.spec()).cloned();
    let mut draft = cluster.draft();
    let command = Command::ApplyStack { spec: spec.clone(), basis: None };
    let applied = draft.apply(&Entry { at: now, request: None, command });
    let revision = match applied.result? {
        Outcome::Stack(revision) => revision,
        Outcome::Done
        | Outcome::Unchanged
        | Outcome::Node(_)
        | Outcome::Token(_)
        | Outcome::Planned { .. } => {
            draft.stack(&spec.name).map(Stack::revision).unwrap_or_default()
        }
    };
    // With the figures that services get which say nothing about memory.
    let given = draft.stack(&spec.name).and_then(|stack| stack.spec()).cloned();
    let spec = given.as_deref().unwrap_or(spec);
    let replicas = spec.services.values().map(|service| service.replicas);
    let replicas = usize::try_from(replicas.fold(1, u32::saturating_add)).unwrap_or(usize::MAX);
    let steps = steps(draft.tasks().len().saturating_add(replicas));
    let played = play(&mut draft, now, steps);
    let mut warnings = warnings(cluster, &draft, spec, &played.ends);
    if !played.settled {
        warnings.push(format!(
            "only the first {steps} steps were looked at: what is shown is on its way, not the end"
        ));
    }
    let mut tasks: Vec<&Task> = draft.tasks_of(&spec.name).filter(|task| stays(task)).collect();
    tasks.sort_by_key(|task| (&task.service, task.slot, task.epoch));
    let unplaced = tasks.iter().filter(|task| task.node.is_none()).count();
    let nodes = nodes(cluster, &draft);
    let by_name: BTreeMap<&str, &PlanNode> =
        nodes.iter().map(|row| (row.name.as_str(), row)).collect();
    let mut asking = Asking::of(&draft);
    let placements: Vec<ReplicaPlacement> =
        tasks.iter().map(|task| in_the_end(cluster, &mut asking, task, &by_name)).collect();
    Ok(PlanView {
        stack: spec.name.to_string(),
        revision: revision.0,
        changes: changes(before.as_deref(), spec),
        placements,
        nodes,
        unplaced: u32::try_from(unplaced).unwrap_or(u32::MAX),
        warnings,
        outlook: Some(outlook(unplaced, played.outlook, (cluster, &draft))),
    })
}

/// How good it is by what was found as the tasks were placed; with a place for everything, nothing is better.
fn outlook(unplaced: usize, found: Option<Outlook>, ways: (&Cluster, &Cluster)) -> OutlookView {
    if unplaced == 0 {
        return OutlookView { optimal: true, off: Bytes::ZERO, short: None };
    }
    let more = not_looked_for(found.is_some(), ways);
    let (off, short) = found.map_or((Bytes::ZERO, None), |found| (found.off, found.why));
    let off = off.saturating_add(more);
    OutlookView { optimal: off == Bytes::ZERO, off, short }
}

/// What those reserve that no better arrangement was looked for, and that would fit somewhere if nothing else
/// had been placed: a successor stays bound to what it takes over from.
fn not_looked_for(looked: bool, (before, after): (&Cluster, &Cluster)) -> Bytes {
    let mut fleet = Fleet::of(after);
    let placed = |task: &&Task| before.task(task.id).is_none_or(|known| known.node.is_none());
    for task in after.tasks().values().filter(placed) {
        if let Some(node) = task.node {
            fleet.take_away(task.id, node);
        }
    }
    let succeeds = |task: &&Task| {
        after.tasks_of_replica(task).any(|old| old.epoch < task.epoch && old.holds_resources())
    };
    let left_out = after.pending().filter(|task| !looked || succeeds(task)).map(Ask::of);
    let fits = |ask: &Ask<'_>| fleet.rooms().keys().any(|node| fleet.fits(ask, *node).is_ok());
    left_out.filter(fits).map(|ask| ask.reserved().memory).sum()
}

/// Where a replica goes, and why, with what is free there in the end: its decision counts what still runs
/// beside it, and nothing that is placed after it.
fn in_the_end(
    before: &Cluster,
    asking: &mut Asking<'_>,
    task: &Task,
    nodes: &BTreeMap<&str, &PlanNode>,
) -> ReplicaPlacement {
    let mut placement = replica_placement(asking, task);
    let node = placement.node.as_ref().and_then(|name| nodes.get(name.as_str()));
    let Some(node) = node else { return placement };
    let stays_there = before.task(task.id).is_some_and(|known| known.node.is_some());
    let chosen = placement.verdicts.iter_mut().find(|one| one.fits && one.node == node.name);
    if let Some(chosen) = chosen {
        let first = chosen.score.as_deref().and_then(Score::left_of).unwrap_or(node.free_after);
        chosen.reason = if stays_there {
            format!("stays, {} free", node.free_after)
        } else {
            format!("fits best, {}", leaves(first, node.free_after))
        };
    }
    placement
}

/// How many steps a preview of so many tasks may take.
pub(super) fn steps(tasks: usize) -> usize {
    MAX_LOOKS.checked_div(tasks).unwrap_or(MAX_STEPS).clamp(1, MAX_STEPS)
}

fn stays(task: &Task) -> bool {
    !task.desired.is_leaving()
}

/// Tasks that stopped before their successor ran, though they need not by their specification.
pub(super) type Ends = BTreeSet<TaskId>;

/// What became of a copy that was left to plans and obedient agents.
#[derive(Debug, Default)]
pub(super) struct Played {
    pub(super) ends: Ends,
    /// Whether nothing moves any more.
    pub(super) settled: bool,
    /// How good the first arrangement was that left something out.
    outlook: Option<Outlook>,
}

/// Plans and obeys until nothing moves.
pub(super) fn play(draft: &mut Cluster, now: Timestamp, steps: usize) -> Played {
    let mut played = Played::default();
    // Nobody is missed while time is only imagined.
    let patient = Thresholds { heartbeat: 1_000, unreachable: u64::MAX, down: u64::MAX };
    let mut beats = Heartbeats::new(now).with_thresholds(patient);
    let mut at = now;
    for _ in 0..steps {
        let planned = plan_within(Draft::of(draft), &beats, at, usize::MAX);
        beats.waits.remember(&planned);
        played.outlook = played.outlook.or(planned.report.outlook);
        let refused = draft.take_changes(at, &planned.changes);
        for change in &planned.changes {
            if let Change::Note { kind, task, .. } = change
                && kind == "stop-first"
            {
                played.ends.insert(*task);
            }
        }
        let moved = obey(draft, at);
        let still = !moved && refused.len() == planned.changes.len();
        let due = planned.wake_at.filter(|due| due.millis_since(at) <= RECREATE_DELAY_MS);
        at = match due {
            _ if !still => at.plus_millis(MIN_READY_MS),
            Some(due) => due.max(at.plus_millis(1)),
            None => {
                played.settled = true;
                break;
            }
        };
    }
    played
}

/// Lets all that waits find its place, as if long ago.
pub(crate) fn settle(draft: &mut Cluster, now: Timestamp) {
    let steps = steps(draft.tasks().len());
    play(draft, now, steps);
}

/// Lets what has its place run there, and places nothing.
pub(crate) fn settle_seated(draft: &mut Cluster, now: Timestamp) {
    let beats = Heartbeats::new(now);
    for _ in 0..steps(draft.tasks().len()) {
        let steps = orchestrate::orchestrate(draft, &beats, &BTreeSet::new(), now);
        let refused = draft.take_changes(now, &steps.changes);
        if refused.len() == steps.changes.len() && !obey(draft, now) {
            return;
        }
    }
}

/// Lets every node that is there do what it is told; answers whether anything changed.
fn obey(draft: &mut Cluster, at: Timestamp) -> bool {
    let mut reports: BTreeMap<NodeId, Vec<TaskReport>> = BTreeMap::new();
    let awaited = awaited(draft);
    for task in draft.tasks().values() {
        let node = task.node.and_then(|node| draft.node(node));
        let Some(node) = node.filter(|node| node.liveness == Liveness::Ready) else { continue };
        let is_job = awaited.contains(&(&task.stack, &task.service));
        if let Some(status) = next_status(task, is_job, at) {
            reports.entry(node.id).or_default().push(TaskReport { task: task.id, status });
        }
    }
    let mut moved = false;
    for (node, reports) in reports {
        for some in reports.chunks(limits::MAX_REPORTS) {
            let command = Command::ReportTasks { node, reports: some.to_vec() };
            let applied = draft.apply(&Entry { at, request: None, command });
            moved |= applied.result == Ok(Outcome::Done);
        }
    }
    moved
}

/// The services that somebody waits for to complete: they are jobs, and jobs end.
fn awaited(draft: &Cluster) -> BTreeSet<(&StackName, &ServiceName)> {
    let services = draft.stacks().iter().flat_map(|(name, stack)| {
        let spec = stack.spec().into_iter();
        spec.flat_map(move |spec| spec.services.values().map(move |service| (name, service)))
    });
    services
        .flat_map(|(name, service)| {
            let waits = service.depends_on.iter();
            let jobs = waits.filter(|(_, waits)| waits.condition == Condition::Completed);
            jobs.map(move |(job, _)| (name, job))
        })
        .collect()
}

fn next_status(task: &Task, is_job: bool, at: Timestamp) -> Option<TaskStatus> {
    let over = task.status.state.is_over();
    let to = match task.desired {
        Desired::Prepare if task.status.state < TaskState::Starting => TaskState::Starting,
        Desired::Run if !over && is_job => TaskState::Stopped,
        Desired::Run if !over && !task.is_ready() => TaskState::Running,
        Desired::Rest | Desired::Stop if !over => TaskState::Stopped,
        Desired::Prepare | Desired::Run | Desired::Rest | Desired::Stop => return None,
    };
    let checked = task.spec.healthcheck.is_some() && to == TaskState::Running;
    let awaited_exit = (to == TaskState::Stopped).then_some(0);
    Some(TaskStatus {
        state: to,
        sequence: task.status.sequence.saturating_add(1),
        health: if checked { Health::Healthy } else { Health::None },
        exit_code: awaited_exit,
        started_at: Some(at),
        ..task.status.clone()
    })
}

pub(super) fn nodes(before: &Cluster, after: &Cluster) -> Vec<PlanNode> {
    let reserved = |cluster: &Cluster, node: &Node| {
        let tasks = cluster.tasks_on(node.id).filter(|task| task.holds_resources());
        tasks.map(|task| task.spec.resources.reserved.memory).sum()
    };
    let mut nodes: Vec<&Node> = after.nodes().values().collect();
    nodes.sort_by_key(|node| &node.name);
    let rows = nodes.into_iter().map(|node| {
        let mut tasks: Vec<String> = after
            .tasks_on(node.id)
            .filter(|task| task.holds_resources())
            .map(|task| format!("{}/{}.{}", task.stack, task.service, task.slot))
            .collect();
        tasks.sort();
        let allocatable = node.inventory.allocatable().memory;
        let reserved_after: Bytes = reserved(after, node);
        PlanNode {
            name: node.name.to_string(),
            allocatable,
            reserved_before: reserved(before, node),
            reserved_after,
            free_after: allocatable.saturating_sub(reserved_after),
            tasks,
        }
    });
    rows.collect()
}

fn warnings(before: &Cluster, after: &Cluster, spec: &StackSpec, ends: &Ends) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, service) in &spec.services {
        warnings.extend(memory::assumption(after, (&spec.name, name), service));
        let last = before.service(&spec.name, name).and_then(|known| known.failed.as_ref());
        if let Some(failed) = last {
            warnings.push(format!("{name} failed last time: {}; it is tried again", failed.reason));
        }
    }
    warnings.extend(spec.services.keys().filter_map(|name| untold(after, spec, name)));
    warnings.extend(spec.services.keys().filter_map(|name| lacked((before, after), spec, name)));
    let replaced = |task: &&Task| {
        // While its successor has no place it stays.
        let successor =
            after.tasks_of_replica(task).any(|new| new.epoch > task.epoch && new.node.is_some());
        let serves = !task.desired.is_leaving() && !task.status.state.is_over();
        task.stack == spec.name && serves && successor && task.node.is_some()
    };
    let mut said = BTreeSet::new();
    for task in before.tasks().values().filter(replaced) {
        if ends.contains(&task.id) {
            if said.insert(&task.service) {
                let node = task.node.map(|node| before.node_name(node)).unwrap_or_default();
                warnings.push(format!(
                    "{}.{} stops before its successor starts: {node} has no room for both",
                    task.service, task.slot
                ));
            }
        } else if let Some(new) = spec.services.get(&task.service)
            && !orchestrate::starts_first(new)
            && said.insert(&task.service)
        {
            warnings.push(format!(
                "{} is down for a moment while it is replaced: it {}",
                task.service,
                alone_because(new)
            ));
        }
    }
    warnings.extend(after.nodes().values().filter_map(|node| burst(before, after, node)));
    warnings
}

/// What was known of an image and is forgotten, for a person asks again.
fn lacked(
    (before, after): (&Cluster, &Cluster),
    spec: &StackSpec,
    service: &ServiceName,
) -> Option<String> {
    let was = before.service(&spec.name, service)?;
    let is = after.service(&spec.name, service)?;
    let tried = was.spec.image == is.spec.image && !was.lacks.is_subset(&is.lacks);
    tried.then(|| {
        let image = &is.spec.image;
        let lacks: Vec<&str> = was.lacks.iter().map(String::as_str).collect();
        let lacks = lacks.join(" and ");
        format!(
            "image {image} had no variant for {lacks} when it was last fetched: {service} is tried there again"
        )
    })
}

/// What a service asks for that the agents where it goes may refuse: they do not say what they permit.
fn untold(after: &Cluster, spec: &StackSpec, service: &ServiceName) -> Option<String> {
    let lacks = Allows::default().lacks(spec.services.get(service)?);
    if lacks.is_empty() {
        return None;
    }
    let tasks = after.tasks_of(&spec.name).filter(|task| task.service == *service && stays(task));
    let nodes = tasks.filter_map(|task| after.node(task.node?));
    let silent = nodes.filter(|node| node.inventory.allows.is_none());
    let names: BTreeSet<&str> = silent.map(|node| node.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        let (flags, names) = (flags(&lacks), Vec::from_iter(names).join(", "));
        format!("{service} runs only where the agent was started with {flags}: it is not known of {names}")
    })
}

pub(super) fn alone_because(spec: &model::ServiceSpec) -> &'static str {
    if spec.strict_singleton {
        "must never run twice"
    } else if spec.ports.iter().any(|port| port.published.is_some()) {
        "publishes a host port"
    } else {
        "writes to a volume"
    }
}

/// Limits beyond what the node has: allowed, but all at once would not fit.
fn burst(before: &Cluster, after: &Cluster, node: &Node) -> Option<String> {
    let limits = |cluster: &Cluster| {
        let tasks = cluster.tasks_on(node.id).filter(|task| task.holds_resources());
        tasks.map(|task| task.spec.resources.memory_limit).sum::<Bytes>()
    };
    let (was, is) = (limits(before), limits(after));
    let offers = node.inventory.allocatable().memory;
    (is > offers && is != was).then(|| {
        let name = &node.name;
        format!(
            "limits on {name} add up to {is}, it offers {offers}: not all can use theirs at once"
        )
    })
}
