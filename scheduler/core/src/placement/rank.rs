//! One task and all nodes: where it fits, how well, and how near the others are.

use std::cmp::Ordering;

use model::{
    NodeId, Resources,
    planted::{Bug, is_planted},
    view::Verdict,
};

use crate::{
    cluster::limits,
    placement::{
        Ask, Fleet, Misfit, NodeView, Score,
        filter::OF_ROOMS,
        scales::{Class, Scales},
        score::Context,
        verdict::{distance, fitting, misfitting, verdict_on},
    },
};

/// See the module. Of both lists only the first are kept, as many as were asked for together.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// The nodes it fits on, the best first.
    pub(super) best: Vec<Score>,
    /// The others, the nearest misses first.
    misses: Vec<((u8, u64), NodeId)>,
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
        let mut ranking = Self::default();
        let rooms = fleet.rooms().values().zip(&nodes.refused).enumerate();
        for (index, (room, refused)) in rooms {
            let view = NodeView { room, fleet };
            let node = room.node.id;
            if let Some(distance) = refused {
                ranking.misses.push((*distance, node));
                continue;
            }
            match OF_ROOMS.iter().try_for_each(|filter| filter(ask, &view)) {
                Ok(()) => ranking.best.push(context.score(scales, ask, &view, index)),
                Err(why) => ranking.misses.push((distance(&why), node)),
            }
        }
        keep_least(&mut ranking.best, most, |one, other| {
            (Some(one.node) != first, one).cmp(&(Some(other.node) != first, other))
        });
        let missing = most.saturating_sub(ranking.best.len());
        keep_least(&mut ranking.misses, missing, Ord::cmp);
        ranking
    }

    /// Why a node was or was not chosen: the best first, those that do not fit last, the nearest misses
    /// before the others.
    pub(super) fn verdicts(&self, fleet: &Fleet<'_>, ask: &Ask<'_>) -> Vec<Verdict> {
        let fit = self.best.iter().map(|score| fitting(fleet, ask, score, self.best.first()));
        let others = self.misses.iter().map(|(_, node)| {
            let why = fleet.fits(ask, *node).err().unwrap_or(Misfit::Gone);
            misfitting(fleet.name(*node), &why)
        });
        let skipped = usize::from(is_planted(Bug::VerdictSkipped));
        fit.chain(others).skip(skipped).collect()
    }
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

    /// A verdict for every node, at most [`limits::MAX_VERDICTS`].
    pub(crate) fn verdicts(&self, ask: &Ask<'a>) -> Vec<Verdict> {
        self.on(&self.fleet, ask)
    }

    fn on(&self, fleet: &Fleet<'a>, ask: &Ask<'a>) -> Vec<Verdict> {
        Ranking::of(fleet, &self.scales, ask, ask.reserved(), limits::MAX_VERDICTS)
            .verdicts(fleet, ask)
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
