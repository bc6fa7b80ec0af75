//! All pending tasks together: the hardest first, each where it is best, then repairs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use model::{NodeId, Resources, TaskId, spec::ConstraintKey, view::Verdict};

use crate::{
    cluster::limits,
    placement::{
        Ask, Fleet, Score,
        filter::holds,
        repair,
        score::{Context, score},
        verdict::verdict_on,
        verdicts,
    },
};

/// What was decided for one task.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an unread explanation helps nobody"]
pub struct Placed {
    /// Which task.
    pub task: TaskId,
    /// Where it goes; `None` when it fits nowhere.
    pub node: Option<NodeId>,
    /// Why, a verdict per node.
    pub verdicts: Vec<Verdict>,
}

/// Finds a node for each ask and puts it there in `fleet`. Nothing that is there already moves.
/// `wanted_labels` are those that any service asks for: they are kept free where possible.
pub fn place<'a>(
    fleet: &mut Fleet<'a>,
    asks: &[Ask<'a>],
    wanted_labels: &BTreeSet<String>,
) -> Vec<Placed> {
    let mut order: Vec<Ask<'a>> = asks.to_vec();
    order.sort_by_cached_key(|ask| {
        let Resources { memory, cpu } = ask.reserved();
        let first = (Reverse(ask.replaces), Reverse(ask.spec.priority));
        (first, choices(fleet, ask), Reverse(memory), Reverse(cpu), ask.task)
    });
    let most = verdicts_kept(fleet, asks);
    let mut placed = BTreeMap::new();
    for (index, ask) in order.iter().enumerate() {
        let waiting = order.get(index..).unwrap_or_default();
        let with_companions = companions(fleet, ask, waiting);
        let scores = rank(fleet, ask, Context { wanted_labels, with_companions });
        let node = scores.first().map(|best| best.node);
        let verdicts = verdicts(fleet, ask, &scores, most);
        if let Some(node) = node {
            fleet.put(*ask, node);
        }
        placed.insert(ask.task, Placed { task: ask.task, node, verdicts });
    }
    if placed.values().any(|held| held.node.is_none()) {
        repair::repair(fleet, &order, &mut placed, wanted_labels);
    }
    order.iter().filter_map(|ask| placed.remove(&ask.task)).collect()
}

/// How many verdicts each decision of this round keeps.
pub(super) fn verdicts_kept(fleet: &Fleet<'_>, asks: &[Ask<'_>]) -> usize {
    let placed = fleet.rooms().values().map(|room| room.tasks.len());
    limits::verdicts_kept(placed.fold(asks.len(), usize::saturating_add))
}

/// A verdict for every node on a task that is not placed, as if it asked alone.
pub fn judge(fleet: &Fleet<'_>, ask: &Ask<'_>, wanted_labels: &BTreeSet<String>) -> Vec<Verdict> {
    let context = Context { wanted_labels, with_companions: ask.reserved() };
    verdicts(fleet, ask, &rank(fleet, ask, context), limits::MAX_VERDICTS)
}

/// The same for one node, with every rule it breaks there.
pub fn judge_on(
    fleet: &Fleet<'_>,
    ask: &Ask<'_>,
    wanted_labels: &BTreeSet<String>,
    node: NodeId,
) -> Verdict {
    let context = Context { wanted_labels, with_companions: ask.reserved() };
    verdict_on(fleet, ask, &rank(fleet, ask, context), node)
}

/// The nodes a task fits on, the best first.
pub(super) fn rank(fleet: &Fleet<'_>, ask: &Ask<'_>, context: Context<'_>) -> Vec<Score> {
    let fitting = fleet.rooms().keys().filter(|node| fleet.fits(ask, **node).is_ok());
    let views = fitting.filter_map(|node| fleet.view(*node));
    let mut scores: Vec<_> = views.map(|view| score(ask, &view, context)).collect();
    scores.sort_unstable();
    scores
}

/// On how many nodes the task may be at all, by its constraints and volumes.
fn choices(fleet: &Fleet<'_>, ask: &Ask<'_>) -> usize {
    let homes: Vec<NodeId> =
        ask.volumes.values().filter_map(|volume| fleet.home(&volume.engine_name)).collect();
    let nodes = fleet.rooms().values().map(|room| room.node);
    nodes
        .filter(|node| homes.iter().all(|home| *home == node.id))
        .filter(|node| ask.spec.placement.constraints.iter().all(|wanted| holds(wanted, node)))
        .count()
}

/// What the task and those that must follow it to the home of a new volume need together.
fn companions(fleet: &Fleet<'_>, ask: &Ask<'_>, waiting: &[Ask<'_>]) -> Resources {
    let new: BTreeSet<&str> = ask
        .volumes
        .values()
        .map(|volume| volume.engine_name.as_str())
        .filter(|name| fleet.home(name).is_none())
        .collect();
    if new.is_empty() {
        return ask.reserved();
    }
    let follows = |other: &&Ask<'_>| {
        let mut volumes = other.volumes.values();
        other.task == ask.task || volumes.any(|volume| new.contains(volume.engine_name.as_str()))
    };
    waiting.iter().filter(follows).map(Ask::reserved).sum()
}

/// The labels the constraints of these specifications name.
pub(crate) fn labels_wanted<'s>(
    specs: impl Iterator<Item = &'s model::ServiceSpec>,
) -> BTreeSet<String> {
    specs
        .flat_map(|spec| &spec.placement.constraints)
        .filter_map(|wanted| match &wanted.key {
            ConstraintKey::Label(label) => Some(label.clone()),
            ConstraintKey::Id
            | ConstraintKey::Hostname
            | ConstraintKey::Arch
            | ConstraintKey::Os => None,
        })
        .collect()
}
