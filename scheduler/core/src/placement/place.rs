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
        Ask, Fleet,
        cells::Cells,
        joint,
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

/// Finds a node for each ask and puts it there in `fleet`. Nothing that is there already moves. What was tried
/// before is not tried again; `effort` keeps that.
pub fn place<'a>(fleet: &mut Fleet<'a>, asks: &[Ask<'a>], effort: &mut Effort) -> Vec<Placed> {
    let mut all = Vec::with_capacity(asks.len());
    let mut keep = |some| {
        all.extend(some);
        true
    };
    place_in_groups(fleet, asks, (usize::MAX, usize::MAX), effort, &mut keep);
    all
}

/// The same until so many have a node: of the others nothing is said. Always when another group of them has
/// one, it is handed to `give` and stays where it is; a better arrangement is looked for of the last group. It
/// ends when `give` answers that no more is wanted.
pub fn place_in_groups<'a>(
    fleet: &mut Fleet<'a>,
    asks: &[Ask<'a>],
    (so_many, group): (usize, usize),
    effort: &mut Effort,
    give: &mut dyn FnMut(Vec<Placed>) -> bool,
) {
    let scales = Scales::of(fleet, asks);
    let order = hardest_first(fleet, &scales, asks);
    let most = verdicts_kept(fleet, asks);
    let mut turns = Turns {
        waiting: Waiting::new(fleet, &order),
        cells: Cells::of(fleet, &scales),
        standing: None,
        most,
    };
    let mut placed = BTreeMap::new();
    let (mut found, mut of_group, mut asked) = (0_usize, Vec::new(), 0);
    for (index, ask) in order.iter().enumerate() {
        if found >= so_many {
            break;
        }
        if of_group.len() >= group {
            let some = std::mem::take(&mut of_group);
            if !give(some.iter().filter_map(|id| placed.remove(id)).collect()) {
                return;
            }
        }
        let held = turns.place(fleet, &scales, ask, order.get(index.saturating_add(1)));
        if held.node.is_some() {
            found = found.saturating_add(1);
            of_group.push(ask.task);
        }
        placed.insert(ask.task, held);
        asked = index.saturating_add(1);
    }
    if asked == order.len() && placed.values().any(|held| held.node.is_none()) {
        let mut last = order.clone();
        last.retain(|ask| placed.contains_key(&ask.task));
        joint::improve(fleet, &scales, &last, (&mut placed, most), effort);
    }
    give(order.iter().filter_map(|ask| placed.remove(&ask.task)).collect());
}

/// What has the least choice and needs the most comes first, after what takes over from something.
fn hardest_first<'a>(fleet: &Fleet<'a>, scales: &Scales<'a>, asks: &[Ask<'a>]) -> Vec<Ask<'a>> {
    let mut order: Vec<Ask<'a>> = asks.to_vec();
    let mut before: Option<(Ask<'a>, usize)> = None;
    order.sort_by_cached_key(|ask| {
        let Resources { memory, cpu } = ask.reserved();
        let first = (Reverse(ask.replaces), Reverse(ask.spec.priority));
        let known = before.filter(|(one, _)| are_alike(one, ask)).map(|(_, choices)| choices);
        let choices = known.unwrap_or_else(|| choices(fleet, scales, ask));
        before = Some((*ask, choices));
        (first, choices, Reverse(memory), Reverse(cpu), ask.task)
    });
    order
}

/// One ask after the other: what is known of the nodes from those before.
struct Turns<'o, 'a> {
    waiting: Waiting<'o, 'a>,
    cells: Option<Cells>,
    standing: Option<Standing<'a>>,
    /// Verdicts that are kept with each.
    most: usize,
}

impl<'a> Turns<'_, 'a> {
    fn place(
        &mut self,
        fleet: &mut Fleet<'a>,
        scales: &Scales<'a>,
        ask: &Ask<'a>,
        next: Option<&Ask<'a>>,
    ) -> Placed {
        let ranking = self.ranking(fleet, scales, ask, next);
        let node = ranking.best.first().map(|best| best.node);
        let verdicts = ranking.verdicts(fleet, ask);
        if let Some(node) = node {
            fleet.put(*ask, node);
            if let Some(cells) = &mut self.cells {
                cells.changed(fleet, scales, node);
            }
            if let Some(standing) = &mut self.standing {
                standing.went(node);
            }
        }
        self.waiting.had_its_turn(ask);
        Placed { task: ask.task, node, verdicts }
    }

    fn ranking(
        &mut self,
        fleet: &Fleet<'a>,
        scales: &Scales<'a>,
        ask: &Ask<'a>,
        next: Option<&Ask<'a>>,
    ) -> Ranking {
        let mut few = None;
        if !self.standing.as_ref().is_some_and(|standing| standing.serves(ask)) {
            let goes_on = next.is_some_and(|next| are_alike(ask, next));
            few = self.cells.as_ref().filter(|cells| cells.serve_better(fleet, ask, goes_on));
            let stands = goes_on && few.is_none();
            self.standing = stands.then(|| Standing::of(fleet, scales, ask, self.most)).flatten();
        }
        let together = match &mut self.standing {
            Some(standing) => Some(standing.ranking(fleet, scales, ask)),
            None => few.and_then(|cells| cells.ranking(fleet, scales, ask, self.most)),
        };
        together.unwrap_or_else(|| {
            Ranking::of(fleet, scales, ask, self.waiting.companions(fleet, ask), self.most)
        })
    }
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
