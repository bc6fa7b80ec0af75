//! One task and all nodes: where it fits, how well, and how near the others are.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use model::{
    NodeId, Resources,
    planted::{Bug, is_planted},
    view::Verdict,
};

use crate::placement::{
    Ask, Fleet, NodeView, Score,
    filter::OF_ROOMS,
    scales::{Class, Scales},
    score::Context,
    verdict::{Counts, beside, distance, fitting, here, refused, stays, verdict_on},
};

/// How far a node is from fitting, and which one.
pub(super) type Miss = ((u8, u64), NodeId);

/// See the module. Of both lists only the first are kept, as many as were asked for together.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// The nodes it fits on, the best first.
    pub(super) best: Vec<Score>,
    /// The others, the nearest misses first.
    pub(super) misses: Vec<Miss>,
    /// How many others there are, by what is in the way; nobody counts for a [`Standing`] or in cells.
    counts: Counts,
}

impl Ranking {
    /// Asks every node about the task; `with_companions` is what it and those that must follow it need.
    pub(super) fn of<'a>(
        fleet: &Fleet<'a>,
        scales: &Scales<'a>,
        ask: &Ask<'a>,
        with_companions: Resources,
        most: usize,
    ) -> Self {
        Self::with_first(fleet, scales, ask, (with_companions, None), most)
    }

    /// The same; the node of the task comes before all others it fits on, if it has one.
    pub(super) fn with_first<'a>(
        fleet: &Fleet<'a>,
        scales: &Scales<'a>,
        ask: &Ask<'a>,
        (with_companions, first): (Resources, Option<NodeId>),
        most: usize,
    ) -> Self {
        // One like nobody of those the scales were made of: nobody depends on its nodes for it either.
        let own;
        let (class, nodes) = if let Some(known) = scales.class(fleet, ask) {
            known
        } else {
            own = Class::of(fleet, ask);
            (usize::MAX, &own)
        };
        let mut context = Context::of(fleet, scales, ask, (class, with_companions));
        let mut ranking = Self { counts: nodes.counts.clone(), ..Self::default() };
        let rooms = fleet.rooms().values().zip(&nodes.refused).enumerate();
        for (index, (room, refused)) in rooms {
            let view = NodeView { room, fleet };
            ranking.ask((scales, &mut context), ask, &view, (index, *refused));
        }
        ranking.keep_first(most, first);
        ranking
    }

    /// Asks the node of that index; `refused` when by itself it will not do, so far.
    pub(super) fn ask<'a>(
        &mut self,
        (scales, context): (&Scales<'a>, &mut Context<'a>),
        ask: &Ask<'a>,
        view: &NodeView<'_, 'a>,
        (index, refused): (usize, Option<(u8, u64)>),
    ) {
        let node = view.room.node.id;
        if let Some(distance) = refused {
            self.misses.push((distance, node));
            return;
        }
        match OF_ROOMS.iter().try_for_each(|filter| filter(ask, view)) {
            Ok(()) => self.best.push(context.score(scales, ask, view, index)),
            Err(why) => {
                self.counts.add(&why);
                self.misses.push((distance(&why), node));
            }
        }
    }

    /// Forgets all but the first, so many of both together; `first` comes before all others it fits on.
    pub(super) fn keep_first(&mut self, most: usize, first: Option<NodeId>) {
        keep_least(&mut self.best, most, |one, other| {
            (Some(one.node) != first, one).cmp(&(Some(other.node) != first, other))
        });
        keep_least(&mut self.misses, most.saturating_sub(self.best.len()), Ord::cmp);
    }

    /// Why a node was or was not chosen: the best first, those that do not fit last, the nearest misses
    /// before the others.
    pub(super) fn verdicts(&self, fleet: &Fleet<'_>, ask: &Ask<'_>) -> Vec<Verdict> {
        let fit = self.best.iter().map(|score| fitting(fleet, ask, score, self.best.first()));
        let others = self.misses.iter().map(|(_, node)| refused(fleet, ask, *node));
        let skipped = usize::from(is_planted(Bug::VerdictSkipped));
        fit.chain(others).skip(skipped).collect()
    }
}

/// The ranking for many tasks that differ in nothing, one after the other: only where the one before went
/// is asked again.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    like: Ask<'a>,
    context: Context<'a>,
    /// For each node of the fleet in its order, what was answered last.
    places: Vec<Stand>,
    /// By score, with the node's place in that order. One that was answered otherwise since counts no more.
    fits: BinaryHeap<Reverse<(Score, usize)>>,
    /// By distance, likewise.
    misses: BinaryHeap<Reverse<(Miss, usize)>>,
    /// Where the last one went, when that node was not asked again yet.
    went: Option<NodeId>,
    most: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Stand {
    Fits(Score),
    Misses(Miss),
}

impl<'a> Standing<'a> {
    /// Whether tasks that ask for this can be ranked so: nothing but where others of them went changes
    /// where they fit and how well.
    fn is_for(ask: &Ask<'_>) -> bool {
        !ask.replaces && ask.volumes.is_empty() && ask.spec.placement.spread.is_empty()
    }

    /// Whether the other differs from it in nothing.
    pub(super) fn serves(&self, other: &Ask<'_>) -> bool {
        are_alike(&self.like, other)
    }

    /// Asks every node. `None` when the task is like nobody of those the scales were made of.
    pub(super) fn of(
        fleet: &Fleet<'a>,
        scales: &Scales<'a>,
        ask: &Ask<'a>,
        most: usize,
    ) -> Option<Self> {
        let (class, nodes) = scales.class(fleet, ask)?;
        let mut standing = Self {
            like: *ask,
            context: Context::of(fleet, scales, ask, (class, ask.reserved())),
            places: Vec::with_capacity(fleet.rooms().len()),
            fits: BinaryHeap::new(),
            misses: BinaryHeap::new(),
            went: None,
            most,
        };
        let (mut fits, mut misses) = (Vec::new(), Vec::new());
        for (index, (room, refused)) in fleet.rooms().values().zip(&nodes.refused).enumerate() {
            let place = match refused {
                Some(distance) => Stand::Misses((*distance, room.node.id)),
                None => standing.ask(scales, &NodeView { room, fleet }, index),
            };
            match &place {
                Stand::Fits(score) => fits.push(Reverse((score.clone(), index))),
                Stand::Misses(miss) => misses.push(Reverse((*miss, index))),
            }
            standing.places.push(place);
        }
        (standing.fits, standing.misses) = (fits.into(), misses.into());
        Some(standing)
    }

    fn ask(&mut self, scales: &Scales<'a>, view: &NodeView<'_, 'a>, index: usize) -> Stand {
        match OF_ROOMS.iter().try_for_each(|filter| filter(&self.like, view)) {
            Ok(()) => Stand::Fits(self.context.score(scales, &self.like, view, index)),
            Err(why) => Stand::Misses((distance(&why), view.room.node.id)),
        }
    }

    /// The last one went to that node.
    pub(super) fn went(&mut self, node: NodeId) {
        self.went = Some(node);
    }

    /// The ranking as it is for this one of them.
    pub(super) fn ranking(
        &mut self,
        fleet: &Fleet<'a>,
        scales: &Scales<'a>,
        ask: &Ask<'a>,
    ) -> Ranking {
        // To itself a task is in nobody's way: the next one has to ask.
        self.like = *ask;
        if let Some(node) = self.went.take() {
            self.context.joined(node);
            self.ask_again(fleet, scales, node);
        }
        let places = &self.places;
        let best = least(
            &mut self.fits,
            self.most,
            |(score, index)| matches!(places.get(*index), Some(Stand::Fits(now)) if now == score),
        );
        let misses = least(
            &mut self.misses,
            self.most.saturating_sub(best.len()),
            |(miss, index)| matches!(places.get(*index), Some(Stand::Misses(now)) if now == miss),
        );
        Ranking {
            best: best.into_iter().map(|(score, _)| score).collect(),
            misses: misses.into_iter().map(|(miss, _)| miss).collect(),
            counts: Counts::default(),
        }
    }

    fn ask_again(&mut self, fleet: &Fleet<'a>, scales: &Scales<'a>, node: NodeId) {
        let Some(index) = scales.index(node) else { return };
        let Some(room) = fleet.rooms().get(&node) else { return };
        let place = self.ask(scales, &NodeView { room, fleet }, index);
        let Some(held) = self.places.get_mut(index).filter(|held| **held != place) else { return };
        match &place {
            Stand::Fits(score) => self.fits.push(Reverse((score.clone(), index))),
            Stand::Misses(miss) => self.misses.push(Reverse((*miss, index))),
        }
        *held = place;
    }
}

/// The least of them in order, at most so many; what does not count any more is dropped on the way.
fn least<T: Ord + Clone>(
    heap: &mut BinaryHeap<Reverse<T>>,
    most: usize,
    counts: impl Fn(&T) -> bool,
) -> Vec<T> {
    let mut found: Vec<T> = Vec::with_capacity(most);
    while found.len() < most
        && let Some(Reverse(next)) = heap.pop()
    {
        // What was answered again as before is there twice.
        if counts(&next) && found.last() != Some(&next) {
            found.push(next);
        }
    }
    heap.extend(found.iter().cloned().map(Reverse));
    found
}

/// Whether two tasks are of one service and ask for the same.
pub(super) fn are_alike(one: &Ask<'_>, other: &Ask<'_>) -> bool {
    one.same_service(other)
        && Standing::is_for(one)
        && Standing::is_for(other)
        && (std::ptr::eq(one.spec, other.spec) || one.spec == other.spec)
}

/// The least, in order, at most so many.
fn keep_least<T>(all: &mut Vec<T>, most: usize, order: impl Fn(&T, &T) -> Ordering) {
    if all.len() > most && most > 0 {
        all.select_nth_unstable_by(most.saturating_sub(1), &order);
    }
    all.truncate(most);
    all.sort_unstable_by(order);
}

/// Tasks that are judged one after the other on one fleet, as if each asked alone.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    /// The nodes.
    pub(crate) fleet: Fleet<'a>,
    scales: Scales<'a>,
}

impl<'a> Judge<'a> {
    /// For these tasks.
    pub(crate) fn new(fleet: Fleet<'a>, asks: &[Ask<'a>]) -> Self {
        let scales = Scales::of(&fleet, asks);
        Self { fleet, scales }
    }

    /// A verdict for every node, at most so many, and on how many it does not fit.
    pub(crate) fn verdicts(&self, ask: &Ask<'a>, most: usize) -> (Vec<Verdict>, Counts) {
        let ranking = Ranking::of(&self.fleet, &self.scales, ask, ask.reserved(), most);
        (ranking.verdicts(&self.fleet, ask), ranking.counts)
    }

    /// The same of a task that has a place, as if it were asked again: its own node first.
    pub(crate) fn verdicts_of_placed(
        &mut self,
        (ask, node): (&Ask<'a>, NodeId),
        most: usize,
    ) -> Vec<Verdict> {
        self.without_task(ask.task, node, |judge| {
            let (fleet, scales) = (&judge.fleet, &judge.scales);
            let asked = (ask.reserved(), Some(node));
            let ranking = Ranking::with_first(fleet, scales, ask, asked, most);
            let own = ranking.best.first().filter(|best| best.node == node);
            let others = ranking.best.iter().filter(|score| score.node != node);
            let others = others.map(|score| beside(fleet, ask, score, own));
            let misses = ranking.misses.iter().filter(|(_, other)| *other != node);
            let misses = misses.map(|(_, node)| refused(fleet, ask, *node));
            let here = own.map_or_else(|| stays(fleet, ask, node), |own| here(fleet, ask, own));
            std::iter::once(here).chain(others).chain(misses).take(most).collect()
        })
    }

    /// The verdict on one node, with every rule the task breaks there.
    pub(crate) fn verdict_on(&self, ask: &Ask<'a>, node: NodeId) -> Verdict {
        let all = self.fleet.rooms().len();
        let ranking = Ranking::of(&self.fleet, &self.scales, ask, ask.reserved(), all);
        verdict_on(&self.fleet, ask, &ranking.best, node)
    }

    /// The answer to a question while that task is not on that node.
    pub(crate) fn without_task<R>(
        &mut self,
        task: model::TaskId,
        node: NodeId,
        question: impl FnOnce(&Self) -> R,
    ) -> R {
        let held = self.fleet.suspend(task, node);
        let answer = question(self);
        if let Some(held) = held {
            self.fleet.resume(held, node);
        }
        answer
    }
}
