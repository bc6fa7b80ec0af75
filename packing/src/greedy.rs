//! Everything once, the hardest first, each where its score is best.

use std::cmp::Reverse;

use crate::{
    budget::Budget,
    model::Model,
    score::{Measure, Scarcity},
    state::State,
};

/// What scores are made of, for one problem.
#[derive(Debug)]
pub(crate) struct Scores {
    measure: Measure,
    scarcity: Scarcity,
    demand: Vec<i64>,
    free: Vec<i64>,
}

impl Scores {
    pub(crate) fn of(model: &Model<'_>) -> Self {
        Self {
            measure: Measure::of(model.problem),
            scarcity: Scarcity::of(model.problem),
            demand: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The best bin the item fits into, among these.
    pub(crate) fn best(
        &mut self,
        state: &State<'_, '_>,
        item: usize,
        bins: impl Iterator<Item = usize>,
    ) -> Option<usize> {
        let model = state.model;
        let set = model.problem.items[item].allowed;
        self.measure.scaled(model.demand(item), &mut self.demand);
        let mut best: Option<((u32, i64), usize)> = None;
        for bin in bins {
            if !state.fits(item, bin) {
                continue;
            }
            self.measure.scaled(state.free(bin), &mut self.free);
            let cost = Measure::shape(&self.free, &self.demand) + self.scarcity.cost(set, bin);
            let key = (beside(state, item, bin), cost);
            if best.is_none_or(|(least, _)| key < least) {
                best = Some((key, bin));
            }
        }
        best.map(|(_, bin)| bin)
    }
}

/// How many members of its groups that would rather be apart are in the bin.
fn beside(state: &State<'_, '_>, item: usize, bin: usize) -> u32 {
    let apart = |group: &&usize| state.model.problem.groups[**group].apart;
    state.model.ruled(item).iter().filter(apart).map(|group| state.members(*group, bin)).sum()
}

/// The items, the hardest first: by priority, then what is bound to one bin, what has constraints or
/// rules, and the rest; the largest first within each.
pub(crate) fn hardest_first(model: &Model<'_>, items: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut order: Vec<usize> = items.collect();
    let sizes: Vec<usize> = model.problem.sets.iter().map(crate::problem::BinSet::len).collect();
    order.sort_by_cached_key(|item| {
        let choices = sizes[model.problem.items[*item].allowed];
        let class = match choices {
            0 | 1 => 0,
            _ if model.is_ruled(*item) || choices < model.bins() => 1,
            _ => 2,
        };
        (model.ranks[*item], class, Reverse(largeness(model, *item)), *item)
    });
    order
}

/// Its size, and that of all its replicas when they may not share a bin.
fn largeness(model: &Model<'_>, item: usize) -> (i64, i64) {
    let others = model.demand(item).iter().skip(1).sum();
    (model.size(item), others)
}

/// Puts as many of these as fit, in that order.
pub(crate) fn put_all(
    state: &mut State<'_, '_>,
    scores: &mut Scores,
    order: &[usize],
    budget: &mut Budget,
) {
    let bins = state.model.bins();
    for item in order {
        if let Some(bin) = scores.best(state, *item, 0..bins) {
            state.put(*item, bin);
        }
        budget.spend(bins as u64);
    }
}
