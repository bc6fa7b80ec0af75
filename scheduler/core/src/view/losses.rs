//! Whether any one node may be lost: what would have no place then, and how large a further machine would
//! have to be. Looked at whenever the status is asked for.

use std::{cmp::Reverse, collections::BTreeSet};

use model::{
    Bytes, Liveness, MilliCpu, Node, NodeId, Resources, Task, TaskState,
    spec::{ConstraintKey, ConstraintOp},
    view::LossRow,
};

use crate::{
    cluster::Cluster,
    orchestrate,
    placement::{self, Ask, Effort, Fleet},
};

/// Questions of whether a task fits on a node that one status is worth: a tenth of a second of them. Beyond
/// that nodes are left out.
const MAX_QUESTIONS: usize = 200_000;
/// As many questions a task is worth that is put where it is, to look at what else is lost with a node.
const QUESTIONS_OF_A_TASK: usize = 2;
/// Cores of the machine that is looked for, when what it is for asks for fewer.
const USUAL_CORES: MilliCpu = MilliCpu::cores(8);
/// Steps of one search for a better arrangement, and of all of them: a tenth of a second.
const SEARCH_STEPS: u64 = 500_000;
const ALL_SEARCH_STEPS: u64 = 20_000_000;
/// The step in which its memory is told.
const STEP: Bytes = Bytes::mib(1);

/// The nodes whose loss would leave something without a place, by name, and how many were not looked at.
pub fn losses(cluster: &Cluster) -> (Vec<LossRow>, u32) {
    losses_within(cluster, MAX_QUESTIONS)
}

/// The same, with at most so many questions of whether a task fits.
pub(super) fn losses_within(cluster: &Cluster, mut questions: usize) -> (Vec<LossRow>, u32) {
    let mut effort = Effort::new(SEARCH_STEPS, ALL_SEARCH_STEPS);
    let mut nodes: Vec<&Node> = cluster.nodes().values().collect();
    nodes.retain(|node| node.liveness != Liveness::Down);
    nodes.sort_by_key(|node| &node.name);
    let (mut rows, mut unknown) = (Vec::new(), 0_u32);
    for node in nodes {
        let (movable, bound): (Vec<&Task>, Vec<&Task>) =
            there(cluster, node.id).into_iter().partition(|task| orchestrate::is_movable(task));
        if movable.is_empty() && bound.is_empty() {
            continue;
        }
        let fleet = cluster.tasks().len().saturating_mul(QUESTIONS_OF_A_TASK);
        let asked = movable.len().saturating_mul(cluster.nodes().len()).saturating_add(fleet);
        let Some(left) = questions.checked_sub(asked) else {
            unknown = unknown.saturating_add(1);
            continue;
        };
        questions = left;
        let asks: Vec<Ask<'_>> = movable.into_iter().map(Ask::of).collect();
        let fleet = Fleet::without(cluster, node.id);
        let homeless = unplaced(fleet.clone(), &asks, &mut effort);
        if homeless.is_empty() && bound.is_empty() {
            continue;
        }
        let memory = homeless.iter().map(|ask| ask.reserved().memory).sum();
        rows.push(LossRow {
            node: node.name.to_string(),
            homeless: homeless.iter().map(named).collect(),
            memory,
            bound: bound.into_iter().map(|task| named(&Ask::of(task))).collect(),
            cure: cure(&fleet, &asks, &homeless, &mut effort),
        });
    }
    (rows, unknown)
}

fn named(ask: &Ask<'_>) -> String {
    format!("{}/{}.{}", ask.stack, ask.service, ask.slot)
}

/// What serves on that node.
fn there(cluster: &Cluster, node: NodeId) -> Vec<&Task> {
    let serves = |task: &&Task| {
        task.holds_resources()
            && !task.desired.is_leaving()
            && task.status.state != TaskState::Lost
            && !task.status.state.is_over()
    };
    let mut tasks: Vec<&Task> = cluster.tasks_on(node).filter(serves).collect();
    tasks.sort_by_key(|task| (&task.stack, &task.service, task.slot, Reverse(task.epoch)));
    // A replica that is being replaced needs one place: its successor's.
    tasks.dedup_by_key(|task| (&task.stack, &task.service, task.slot));
    tasks
}

/// Those that find no place, all of them together.
fn unplaced<'a>(mut fleet: Fleet<'a>, asks: &[Ask<'a>], effort: &mut Effort) -> Vec<Ask<'a>> {
    let placed = placement::place(&mut fleet, asks, effort);
    let nowhere: BTreeSet<_> =
        placed.iter().filter(|held| held.node.is_none()).map(|held| held.task).collect();
    asks.iter().filter(|ask| nowhere.contains(&ask.task)).copied().collect()
}

/// The least memory of one further machine on which all find a place; nothing when none would do. Each
/// answer was tried.
fn cure(
    fleet: &Fleet<'_>,
    asks: &[Ask<'_>],
    homeless: &[Ask<'_>],
    effort: &mut Effort,
) -> Option<Bytes> {
    let need: Resources = homeless.iter().map(Ask::reserved).sum();
    // The machine it names is the one that is lost.
    let named = |ask: &&Ask<'_>| {
        let mut constraints = ask.spec.placement.constraints.iter();
        constraints
            .any(|wanted| wanted.key == ConstraintKey::Hostname && wanted.op == ConstraintOp::Equal)
    };
    if homeless.iter().any(|ask| named(&ask)) {
        return None;
    }
    let largest = homeless.iter().map(|ask| ask.reserved().memory).max()?;
    let mut does = |memory: Bytes| {
        let offers = Resources { memory, cpu: need.cpu.max(USUAL_CORES) };
        let node = placement::bought(fleet, homeless, offers)?;
        let mut fleet = fleet.clone();
        fleet.imagine(&node);
        unplaced(fleet, asks, effort).is_empty().then_some(memory)
    };
    let steps = |bytes: Bytes| bytes.0.div_ceil(STEP.0);
    let in_steps = |count: u64| Bytes(count.saturating_mul(STEP.0));
    let (mut too_little, mut enough) = (steps(largest).saturating_sub(1), steps(need.memory));
    let mut found = does(in_steps(enough))?;
    while enough.saturating_sub(too_little) > 1 {
        let middle = too_little.midpoint(enough);
        match does(in_steps(middle)) {
            Some(memory) => (enough, found) = (middle, memory),
            None => too_little = middle,
        }
    }
    Some(found)
}
