//! All pending tasks together: the hardest first, each where it is best; when that leaves something out,
//! all of them anew by [`packing`].

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use model::{NodeId, Resources, TaskId, view::Verdict};

use crate::{
    cluster::limits,
    placement::{
        Ask, Fleet, joint,
        joint::Effort,
        rank::{Ranking, Standing, are_alike},
        scales::Scales,
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

/// Finds a node for each ask and puts it there in `fleet`, until so many have one: of the others nothing is
/// said. Nothing that is there already moves. What was tried before is not tried again; `effort` keeps that.
pub fn place<'a>(
    fleet: &mut Fleet<'a>,
    asks: &[Ask<'a>],
    so_many: usize,
    effort: &mut Effort,
) -> Vec<Placed> {
    let scales = Scales::of(fleet, asks);
    let mut order: Vec<Ask<'a>> = asks.to_vec();
    order.sort_by_cached_key(|ask| {
        let Resources { memory, cpu } = ask.reserved();
        let first = (Reverse(ask.replaces), Reverse(ask.spec.priority));
        (first, choices(fleet, &scales, ask), Reverse(memory), Reverse(cpu), ask.task)
    });
    let most = verdicts_kept(fleet, asks);
    let mut waiting = Waiting::new(fleet, &order);
    let mut placed = BTreeMap::new();
    let mut standing: Option<Standing<'a>> = None;
    let mut found = 0_usize;
    for (index, ask) in order.iter().enumerate() {
        if found >= so_many {
            break;
        }
        if !standing.as_ref().is_some_and(|standing| standing.serves(ask)) {
            let next = order.get(index.saturating_add(1));
            let goes_on = next.is_some_and(|next| are_alike(ask, next));
            standing = if goes_on { Standing::of(fleet, &scales, ask, most) } else { None };
        }
        let ranking = match &mut standing {
            Some(standing) => standing.ranking(fleet, &scales, ask),
            None => Ranking::of(fleet, &scales, ask, waiting.companions(fleet, ask), most),
        };
        let node = ranking.best.first().map(|best| best.node);
        let verdicts = ranking.verdicts(fleet, ask);
        if let Some(node) = node {
            fleet.put(*ask, node);
            found = found.saturating_add(1);
            if let Some(standing) = &mut standing {
                standing.went(node);
            }
        }
        waiting.had_its_turn(ask);
        placed.insert(ask.task, Placed { task: ask.task, node, verdicts });
    }
    if placed.len() == order.len() && placed.values().any(|held| held.node.is_none()) {
        joint::improve(fleet, &scales, &order, (&mut placed, most), effort);
    }
    order.iter().filter_map(|ask| placed.remove(&ask.task)).collect()
}

/// How many verdicts each decision of this round keeps.
fn verdicts_kept(fleet: &Fleet<'_>, asks: &[Ask<'_>]) -> usize {
    let placed = fleet.rooms().values().map(|room| room.tasks.len());
    limits::verdicts_kept(placed.fold(asks.len(), usize::saturating_add))
}

/// On how many nodes the task may be at all, by what they are and by its volumes.
fn choices<'a>(fleet: &Fleet<'a>, scales: &Scales<'a>, ask: &Ask<'a>) -> usize {
    if ask.volumes.values().any(|volume| fleet.home(&volume.engine_name).is_some()) {
        return 1;
    }
    scales.class(fleet, ask).map_or(0, |(_, class)| class.nodes.len())
}

/// Those whose turn is to come, by the volumes that have no home yet: who has one must follow whoever
/// brings it.
struct Waiting<'o, 'a> {
    by_volume: BTreeMap<&'a str, Vec<&'o Ask<'a>>>,
    done: BTreeSet<TaskId>,
}

impl<'o, 'a> Waiting<'o, 'a> {
    fn new(fleet: &Fleet<'a>, order: &'o [Ask<'a>]) -> Self {
        let mut by_volume: BTreeMap<&'a str, Vec<&'o Ask<'a>>> = BTreeMap::new();
        for ask in order {
            for volume in ask.volumes.values() {
                if fleet.home(&volume.engine_name).is_none() {
                    by_volume.entry(&volume.engine_name).or_default().push(ask);
                }
            }
        }
        Self { by_volume, done: BTreeSet::new() }
    }

    fn had_its_turn(&mut self, ask: &Ask<'_>) {
        self.done.insert(ask.task);
    }

    /// What the task and those that must follow it to the home of a new volume need together.
    fn companions(&self, fleet: &Fleet<'_>, ask: &Ask<'_>) -> Resources {
        let new = ask.volumes.values().map(|volume| volume.engine_name.as_str());
        let new = new.filter(|name| fleet.home(name).is_none());
        let sharing = new.filter_map(|name| self.by_volume.get(name)).flatten();
        let follow: BTreeMap<TaskId, Resources> = sharing
            .filter(|other| other.task != ask.task && !self.done.contains(&other.task))
            .map(|other| (other.task, other.reserved()))
            .collect();
        follow.into_values().sum::<Resources>().plus(ask.reserved())
    }
}
