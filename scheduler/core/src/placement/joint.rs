//! All that asks for a place anew, when one after the other left something out: [`packing`] looks for a
//! better arrangement of the same tasks, and for a proof that there is none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{Bytes, NodeId, TaskId};
use packing::{Answer, Budget, Problem, Proof, pack};

use crate::placement::{
    Ask, Fleet, Placed,
    problem::{Piece, Posed, pose, priority},
    rank::Ranking,
    scales::Scales,
    shortage,
};

/// What was looked for last, and what was found: looking for the same again finds the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    problem: Problem,
    /// Steps it might take: with more, more may be found.
    given: u64,
    answer: Answer,
}

/// Steps of a search for each task that takes part.
const STEPS_PER_TASK: u64 = 50_000;

/// How much may be tried, and what came of it.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Steps for one search, of some nanoseconds each.
    each: u64,
    /// Steps for all of them.
    left: u64,
    /// The last search.
    tried: Option<Arc<Tried>>,
    /// How good the last arrangement is that left something out.
    outlook: Option<Outlook>,
    /// Whether a search ended for want of steps that a whole effort would have had.
    cut: bool,
}

/// How good an arrangement is that leaves something out, while nothing else moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// So much more memory could have a place at most; zero when the arrangement is proven to be the best.
    pub off: Bytes,
    /// Why there is no place for all, where that is known.
    pub why: Option<String>,
}

impl Effort {
    /// At most so many steps for each search and for all together.
    pub const fn new(each: u64, left: u64) -> Self {
        Self { each, left, tried: None, outlook: None, cut: false }
    }

    /// Takes so many steps for something else; `false` when there are not so many, and then none are taken.
    pub(super) const fn pay(&mut self, steps: u64) -> bool {
        let Some(left) = self.left.checked_sub(steps) else { return false };
        self.left = left;
        true
    }

    /// So many of its steps at most, for one of several questions; [`give_back`](Self::give_back) takes what is left.
    #[must_use]
    pub fn part(&mut self, most: u64) -> Self {
        let part = self.left.min(most);
        self.left = self.left.saturating_sub(part);
        Self::new(self.each, part)
    }

    /// What is due to one of so many questions that are left; [`give_back`](Self::give_back) takes what it leaves.
    #[must_use]
    pub fn share(&mut self, among: usize) -> Self {
        let among = u64::try_from(among).unwrap_or(u64::MAX);
        self.part(self.left.checked_div(among).unwrap_or(self.left))
    }

    /// What is left of a part.
    pub const fn give_back(&mut self, part: &Self) {
        self.left = self.left.saturating_add(part.left);
    }

    /// Whether a search since the last time was asked might have found more with a whole effort.
    pub(super) const fn take_cut(&mut self) -> bool {
        std::mem::replace(&mut self.cut, false)
    }

    /// With what was tried before.
    #[must_use]
    pub fn having_tried(self, tried: Option<Arc<Tried>>) -> Self {
        Self { tried, ..self }
    }

    /// The last search.
    pub const fn tried(&self) -> Option<&Arc<Tried>> {
        self.tried.as_ref()
    }

    /// What is known of the last arrangement; nothing when it has a place for everything.
    pub fn take_outlook(&mut self) -> Option<Outlook> {
        self.outlook.take()
    }

    /// The best arrangement that is found for the problem; `in_vain` when it is known that none is better.
    fn pack(&mut self, problem: &Problem, in_vain: bool) -> Arc<Tried> {
        let items = u64::try_from(problem.items.len()).unwrap_or(u64::MAX);
        let most = if in_vain { 0 } else { items.saturating_mul(STEPS_PER_TASK) };
        let whole = self.each.min(most);
        let given = whole.min(self.left);
        let as_well = |known: &&Arc<Tried>| known.given >= given && known.problem == *problem;
        if let Some(known) = self.tried.as_ref().filter(as_well) {
            self.cut |= known.given < whole && known.answer.steps >= known.given;
            return Arc::clone(known);
        }
        let answer = pack(problem, Budget::steps(given));
        self.left = self.left.saturating_sub(answer.steps);
        self.cut |= given < whole && answer.steps >= given;
        let tried = Arc::new(Tried { problem: problem.clone(), given, answer });
        self.tried = Some(Arc::clone(&tried));
        tried
    }
}

/// Arranges anew what `placed` says of `order`, when more finds a place by that. At most so many verdicts
/// are kept with each.
pub(super) fn improve<'a>(
    fleet: &mut Fleet<'a>,
    scales: &Scales<'a>,
    order: &[Ask<'a>],
    (placed, most): (&mut BTreeMap<TaskId, Placed>, usize),
    effort: &mut Effort,
) {
    let before: BTreeMap<TaskId, NodeId> =
        placed.values().filter_map(|held| Some((held.task, held.node?))).collect();
    // What takes over from something is bound to it in ways of its own: it stays where it was put.
    let formers: BTreeSet<_> = fleet
        .rooms()
        .values()
        .flat_map(|room| room.tasks.values())
        .filter(|(held, _)| !placed.contains_key(&held.task))
        .map(|(held, _)| (held.stack, held.service, held.slot))
        .collect();
    let is_free = |ask: &&Ask<'a>| !formers.contains(&(ask.stack, ask.service, ask.slot));
    let free: Vec<&Ask<'a>> = order.iter().filter(is_free).collect();
    let left_out = |at: &BTreeMap<TaskId, NodeId>| {
        loss(free.iter().copied().filter(|ask| !at.contains_key(&ask.task)))
    };
    let loss_before = left_out(&before);
    if loss_before.is_empty() {
        return;
    }
    let arrange = |fleet: &mut Fleet<'a>, from: &BTreeMap<_, _>, to: &BTreeMap<_, _>| {
        for ask in &free {
            if let Some(node) = from.get(&ask.task) {
                fleet.take_away(ask.task, *node);
            }
        }
        let mut at: BTreeMap<TaskId, NodeId> = from.clone();
        for ask in &free {
            at.remove(&ask.task);
            if let Some(node) = to.get(&ask.task).filter(|node| fleet.fits(ask, **node).is_ok()) {
                fleet.put(**ask, *node);
                at.insert(ask.task, *node);
            }
        }
        at
    };
    arrange(fleet, &before, &BTreeMap::new());
    let pieces: Vec<Piece<'_, 'a>> =
        free.iter().map(|ask| Piece { ask, current: None, twice: false }).collect();
    let posed = pose(fleet, scales, &pieces);
    // What fits nowhere though nothing else that waits has a place is left out by every arrangement.
    let in_vain = free
        .iter()
        .filter(|ask| !before.contains_key(&ask.task))
        .all(|ask| fleet.rooms().keys().all(|node| fleet.fits(ask, *node).is_err()));
    let tried = effort.pack(&posed.problem, in_vain);
    let found = named(&posed, &tried.answer);
    let after = arrange(fleet, &BTreeMap::new(), &found);
    let outlook = outlook(fleet, scales, &posed, &tried.answer);
    effort.outlook = Some(if in_vain {
        Outlook { off: Bytes::ZERO, ..outlook }
    } else if after.len() < found.len() {
        // Of what was found a part does not fit, as all of a kind on a node that has several: nothing is proven.
        let out = free.iter().filter(|ask| !after.contains_key(&ask.task));
        Outlook { off: out.map(|ask| ask.reserved().memory).sum(), ..outlook }
    } else {
        outlook
    });
    if left_out(&after) >= loss_before {
        arrange(fleet, &after, &before);
        return;
    }
    for ask in &free {
        let node = after.get(&ask.task).copied();
        if before.get(&ask.task).copied() == node {
            continue;
        }
        let ranking = match node {
            Some(node) => rank_placed(fleet, scales, ask, (node, most)),
            None => Ranking::of(fleet, scales, ask, ask.reserved(), most),
        };
        let verdicts = ranking.verdicts(fleet, ask);
        placed.insert(ask.task, Placed { task: ask.task, node, verdicts });
    }
}

/// The scores of a placed task as if it were asked again, its own place first: in the arrangement found,
/// no other leaves room for all.
fn rank_placed<'a>(
    fleet: &mut Fleet<'a>,
    scales: &Scales<'a>,
    ask: &Ask<'a>,
    (node, most): (NodeId, usize),
) -> Ranking {
    let held = fleet.suspend(ask.task, node);
    let ranking = Ranking::with_first(fleet, scales, ask, (ask.reserved(), Some(node)), most);
    if let Some(held) = held {
        fleet.resume(held, node);
    }
    ranking
}

/// What is left out, by what goes first: nothing is worth more than one of a higher priority.
fn loss<'o, 'a: 'o>(left_out: impl Iterator<Item = &'o Ask<'a>>) -> Vec<(u32, u64)> {
    let mut loss: BTreeMap<u32, u64> = BTreeMap::new();
    for ask in left_out {
        let sum = loss.entry(priority(ask)).or_default();
        *sum = sum.saturating_add(ask.reserved().memory.0.max(1));
    }
    // The highest first; of two that lose nothing of the highest, the lower one is compared.
    loss.into_iter().rev().collect()
}

fn named(posed: &Posed<'_, '_>, answer: &Answer) -> BTreeMap<TaskId, NodeId> {
    let places = posed.items.iter().zip(&answer.placement);
    places
        .filter_map(|(asks, bin)| Some((asks, *posed.nodes.get((*bin)?)?)))
        .flat_map(|(asks, node)| asks.iter().map(move |ask| (ask.task, node)))
        .collect()
}

fn outlook(
    fleet: &Fleet<'_>,
    scales: &Scales<'_>,
    posed: &Posed<'_, '_>,
    answer: &Answer,
) -> Outlook {
    let off = match answer.proof {
        Proof::Optimal => Bytes::ZERO,
        Proof::AtMost { off } => Bytes(off),
    };
    let why = answer.impossible.as_ref();
    Outlook { off, why: why.map(|why| shortage::text(fleet, scales, posed, why)) }
}
