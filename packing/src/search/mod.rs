//! Places what greed left out: a large-neighbourhood search (Shaw, CP 1998). It empties a few bins,
//! fills each anew from what was in them and what is left out, and keeps that when no more is left out
//! than before.

pub(crate) mod exact;
mod fill;

use std::cmp::Reverse;

pub(crate) use fill::{Filler, gcd, unit};

use crate::{
    budget::Budget,
    model::{Model, signed},
    problem::UNLIMITED,
    rng::Rng,
    state::State,
};

/// Bins that are emptied at once.
const MAX_EMPTIED: usize = 4;

/// What a round costs besides what it fills.
const ROUND: u64 = 40;

/// What it costs to take one item out, to sort it in, and to put it back.
const CANDIDATE: u64 = 12;

/// Items left out that take part in one round.
const MAX_LEFT_OUT: usize = 24;

/// A search for places for what is left out.
#[derive(Debug)]
pub(crate) struct Search<'s, 'm, 'p> {
    state: &'s mut State<'m, 'p>,
    rng: Rng,
    filler: Filler,
    left_out: Vec<usize>,
    bins: Vec<usize>,
    pool: Vec<usize>,
    before: Vec<(usize, usize)>,
    candidates: Vec<usize>,
    noise: Vec<(i64, usize)>,
    /// Which items may be moved.
    movable: Vec<bool>,
    anywhere: Vec<Vec<usize>>,
}

impl<'s, 'm, 'p> Search<'s, 'm, 'p> {
    pub(crate) fn new(state: &'s mut State<'m, 'p>, seed: u64) -> Self {
        let model = state.model;
        let capacities = model.capacities.iter().step_by(model.resources.max(1));
        let largest =
            capacities.copied().filter(|most| *most < signed(UNLIMITED)).max().unwrap_or(0);
        let unit = unit((0..model.items()).map(|item| model.size(item)), largest);
        Self {
            left_out: state.left_out().collect(),
            state,
            rng: Rng::new(seed),
            filler: Filler::new(unit),
            bins: Vec::new(),
            pool: Vec::new(),
            before: Vec::new(),
            candidates: Vec::new(),
            noise: Vec::new(),
            movable: model.problem.items.iter().map(|item| !item.pinned).collect(),
            anywhere: model
                .problem
                .sets
                .iter()
                .map(|set| set.iter().filter(|bin| *bin < model.bins()).collect())
                .collect(),
        }
    }

    /// Only these may be moved and placed.
    pub(crate) fn among(state: &'s mut State<'m, 'p>, items: &[usize], seed: u64) -> Self {
        let mut search = Self::new(state, seed);
        search.movable.fill(false);
        for item in items {
            search.movable[*item] = true;
        }
        let Self { left_out, movable, .. } = &mut search;
        left_out.retain(|item| movable[*item]);
        search
    }

    /// Until nothing is left out, what is lost is good enough, or the budget is spent.
    pub(crate) fn run(&mut self, budget: &mut Budget, enough: impl Fn(&[u64]) -> bool) {
        while !self.left_out.is_empty() && !budget.is_over() {
            if self.round(budget) && enough(&self.model().loss(self.left_out.iter().copied())) {
                return;
            }
            budget.spend(ROUND);
        }
    }

    fn model(&self) -> &'m Model<'p> {
        self.state.model
    }

    /// Answers whether less is left out than before.
    fn round(&mut self, budget: &mut Budget) -> bool {
        let wanted = self.left_out[self.rng.below(self.left_out.len())];
        if !self.choose_bins(wanted) {
            return false;
        }
        self.empty(wanted);
        budget.spend(CANDIDATE * self.candidates.len() as u64);
        let loss_before =
            self.model().loss(self.candidates.iter().copied().skip(self.before.len()));
        let first = self.bins[0];
        let insert = self.model().is_ruled(wanted) || self.rng.below(2) == 0;
        self.pool.clear();
        let order = self.rng.below(4);
        let noise = if order == 0 { i64::MAX } else { signed(2 * order as u64 - 1) };
        self.order_candidates(noise);
        if insert && self.state.fits(wanted, first) {
            self.state.put(wanted, first);
            self.candidates.retain(|item| *item != wanted);
        }
        for index in 0..self.bins.len() {
            self.put_last_chances(index);
            self.filler.fill(self.state, self.bins[index], &mut self.candidates, budget);
        }
        let loss = self.model().loss(self.candidates.iter().copied());
        let spread = self.before.iter().all(|(item, _)| self.state.is_spread(*item))
            && self.state.is_spread(wanted);
        if loss > loss_before || !spread {
            self.undo();
            return false;
        }
        let state = &*self.state;
        self.left_out.retain(|item| state.at(*item).is_none());
        for (item, _) in &self.before {
            if state.at(*item).is_none() {
                self.left_out.push(*item);
            }
        }
        loss < loss_before
    }

    /// Some bins: one the wanted item may be in, and others, those with space rather than full ones.
    fn choose_bins(&mut self, wanted: usize) -> bool {
        let model = self.model();
        self.bins.clear();
        let own = &self.anywhere[model.problem.items[wanted].allowed];
        if own.is_empty() {
            return false;
        }
        let most = 2 + self.rng.below(MAX_EMPTIED - 1);
        for index in 0..most.min(model.bins()) {
            for _ in 0..4 {
                let mut pick = || {
                    if index == 0 || self.rng.below(2) == 0 {
                        own[self.rng.below(own.len())]
                    } else {
                        self.rng.below(model.bins())
                    }
                };
                let (mut bin, other) = (pick(), pick());
                if self.rng.below(4) != 0 && self.state.space(other) > self.state.space(bin) {
                    bin = other;
                }
                let good = index > 0
                    || self.state.keys_free(wanted, bin) && self.state.rules_allow(wanted, bin)
                    || self.rng.below(4) == 0;
                if good && !self.bins.contains(&bin) {
                    self.bins.push(bin);
                    break;
                }
            }
        }
        !self.bins.is_empty()
    }

    /// Takes out what may move, and adds some of what is left out.
    fn empty(&mut self, wanted: usize) {
        self.before.clear();
        self.candidates.clear();
        let keep_ruled = self.rng.below(4) != 0;
        for bin in &self.bins {
            for item in self.state.contents(*bin) {
                if self.movable[*item] && !(keep_ruled && self.state.model.is_ruled(*item)) {
                    self.before.push((*item, *bin));
                }
            }
        }
        for (item, _) in &self.before {
            self.state.take(*item);
            self.candidates.push(*item);
        }
        self.candidates.push(wanted);
        let start = self.rng.below(self.left_out.len());
        let others = self.left_out.iter().cycle().skip(start).take(self.left_out.len());
        let more = others.filter(|item| **item != wanted).take(MAX_LEFT_OUT).copied();
        self.candidates.extend(more);
    }

    /// The largest first, more or less.
    fn order_candidates(&mut self, noise: i64) {
        let model = self.model();
        self.noise.clear();
        for item in &self.candidates {
            let key = if noise == i64::MAX {
                i64::try_from(self.rng.next() >> 2).unwrap_or(0)
            } else {
                let size = model.size(*item);
                let some = self.rng.below(usize::try_from(size / 4 * (noise - 1)).unwrap_or(0) + 1);
                size + i64::try_from(some).unwrap_or(0)
            };
            self.noise.push((key, *item));
        }
        self.noise.sort_unstable_by_key(|(key, item)| (Reverse(*key), *item));
        self.candidates.clear();
        self.candidates.extend(self.noise.iter().map(|(_, item)| *item));
    }

    /// What may be in this bin and in none of those that follow goes first.
    fn put_last_chances(&mut self, index: usize) {
        let model = self.model();
        let (bin, later) = (self.bins[index], &self.bins[index + 1..]);
        let mut put = false;
        for (item, _) in &self.before {
            let last = later.iter().all(|bin| !model.allowed(*item, *bin));
            if last
                && !later.is_empty()
                && self.state.at(*item).is_none()
                && self.state.fits(*item, bin)
            {
                self.state.put(*item, bin);
                put = true;
            }
        }
        if put {
            let state = &*self.state;
            self.candidates.retain(|item| state.at(*item).is_none());
        }
    }

    fn undo(&mut self) {
        for index in 0..self.before.len() {
            let (item, _) = self.before[index];
            if self.state.at(item).is_some() {
                self.state.take(item);
            }
        }
        for item in &self.left_out {
            if self.state.at(*item).is_some() {
                self.state.take(*item);
            }
        }
        for (item, bin) in &self.before {
            self.state.put(*item, *bin);
        }
    }
}
