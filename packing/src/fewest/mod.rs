//! As few identical bins as possible.

mod columns;
mod dive;
mod full;
mod knapsack;
mod program;
mod start;

use std::collections::BTreeMap;

use crate::{
    bound::{Sizes, dual_feasible, l2},
    budget::Budget,
    fewest::columns::{Columns, Cover},
    model::Model,
    problem::{Bin, BinSet, Item, Problem},
    rng::Rng,
    search::{Filler, Search, unit},
    state::State,
};

/// Dives for a packing.
const MAX_DIVES: u64 = 200;

/// Dives for a packing that wastes nothing.
const MAX_FULL_DIVES: u64 = 40;

/// Steps of a first search, for each entry of a program's matrix.
const STEPS_PER_ROW: u64 = 20;

/// Steps of the first search when all others failed.
const FIRST_SEARCH: u64 = 2_000_000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an answer changes nothing by itself"]
pub struct Fewest {
    /// The items of each bin.
    pub bins: Vec<Vec<usize>>,
    /// No packing has fewer bins than this.
    pub at_least: usize,
    /// Steps it took.
    pub steps: u64,
}

impl Fewest {
    /// Whether no packing has fewer.
    pub fn is_proven(&self) -> bool {
        self.bins.len() <= self.at_least
    }
}

/// Packs items into as few bins of that capacity as possible. `None` when an item is larger than a bin.
pub fn fewest_bins(capacity: &[u64], demands: &[Vec<u64>], budget: Budget) -> Option<Fewest> {
    few_bins(capacity, demands, 0, budget)
}

/// The same, but so many bins are few enough.
pub(crate) fn few_bins(
    capacity: &[u64],
    demands: &[Vec<u64>],
    enough: usize,
    budget: Budget,
) -> Option<Fewest> {
    let fits = |demand: &Vec<u64>| demand.iter().zip(capacity).all(|(one, most)| one <= most);
    if !demands.iter().all(fits) {
        return None;
    }
    let mut at_least = 0;
    for (resource, capacity) in capacity.iter().enumerate() {
        let sizes = Sizes::of(demands.iter().map(|demand| demand[resource]));
        at_least = at_least.max(l2(&sizes.0, *capacity)).max(dual_feasible(&sizes.0, *capacity));
    }
    let at_least = usize::try_from(at_least).unwrap_or(usize::MAX);
    let sizes = Sizes::of(demands.iter().map(|demand| demand.first().copied().unwrap_or(0)));
    let mut search = Attempt {
        capacity,
        demands,
        enough,
        at_least,
        bins: start::best(capacity, demands),
        budget,
    };
    // Where a program is expensive, a search for a packing goes first for longer.
    let rows = sizes.0.len() as u64;
    search.once(true, 1, STEPS_PER_ROW * rows * rows);
    search.once(false, 1, STEPS_PER_ROW * rows * rows);
    if let [capacity] = capacity {
        let cover = Cover::new(*capacity, &sizes.0);
        search.by_full_patterns(&cover);
        search.by_columns(&cover);
    }
    for round in 2.. {
        if search.is_done() {
            break;
        }
        search.once(round % 2 == 0, round, FIRST_SEARCH * round);
    }
    let Attempt { bins, at_least, budget, .. } = search;
    Some(Fewest { bins, at_least, steps: budget.used() })
}

/// Looks for a packing into `count` bins, from one into more.
fn with_fewer(
    (capacity, demands): (&[u64], &[Vec<u64>]),
    bins: Option<&Vec<Vec<usize>>>,
    count: usize,
    seed: u64,
    budget: &mut Budget,
) -> Option<Vec<Vec<usize>>> {
    let bin = Bin { capacity: capacity.to_vec(), ..Bin::default() };
    let item = |demand: &Vec<u64>| Item { demand: demand.clone(), ..Item::default() };
    let problem = Problem {
        resources: capacity.len(),
        bins: vec![bin; count],
        items: demands.iter().map(item).collect(),
        sets: vec![BinSet::all(count)],
        ..Problem::default()
    };
    let model = Model::new(&problem);
    let mut state = State::new(&model);
    match bins {
        Some(bins) => {
            // The emptiest bins are given up.
            let mut order: Vec<usize> = (0..bins.len()).collect();
            let filled =
                |bin: &usize| -> u64 { bins[*bin].iter().map(|item| model.weights[*item]).sum() };
            order.sort_by_key(|bin| (std::cmp::Reverse(filled(bin)), *bin));
            for (to, from) in order.into_iter().take(count).enumerate() {
                for item in &bins[from] {
                    state.put(*item, to);
                }
            }
        }
        None => fill_in_turn(&mut state, budget),
    }
    Search::new(&mut state, seed).run(budget, |_| false);
    if state.left_out().next().is_some() {
        return None;
    }
    Some((0..count).map(|bin| state.contents(bin).to_vec()).collect())
}

/// A packing, and how many bins it takes at least.
struct Attempt<'b> {
    capacity: &'b [u64],
    demands: &'b [Vec<u64>],
    enough: usize,
    at_least: usize,
    bins: Vec<Vec<usize>>,
    budget: Budget,
}

impl Attempt<'_> {
    /// Whether as few were found as can be or are wanted, or it is shown that so few do not do.
    fn is_done(&self) -> bool {
        self.bins.len() <= self.at_least.max(self.enough)
            || self.enough > 0 && self.at_least > self.enough
            || self.budget.is_over()
    }

    /// Into how many bins a search tries to pack everything.
    fn target(&self) -> usize {
        self.at_least.max(self.enough)
    }

    /// Whether every bin is full in a packing into as many as are aimed at.
    fn wastes_nothing(&self, cover: &Cover) -> bool {
        let sizes = cover.sizes.iter().zip(&cover.demand);
        let all: u128 = sizes.map(|(size, many)| u128::from(*size) * u128::from(*many)).sum();
        all == u128::from(cover.capacity) * self.target() as u128
    }

    /// Searches once for a packing that meets the bound.
    fn once(&mut self, anew: bool, seed: u64, steps: u64) {
        if self.is_done() {
            return;
        }
        let mut part = self.budget.part(steps);
        let start = if anew { None } else { Some(&self.bins) };
        let (capacity, demands) = (self.capacity, self.demands);
        // With several resources the bound is far off: one fewer at a time.
        let target = if capacity.len() > 1 { self.bins.len() - 1 } else { self.target() };
        let found = with_fewer((capacity, demands), start, target, seed, &mut part);
        self.budget.settle(&part);
        if let Some(fewer) = found {
            self.bins = fewer;
        }
    }

    /// Where nothing may be wasted, full patterns are all there is to choose from: dives among them alone.
    fn by_full_patterns(&mut self, cover: &Cover) {
        if self.is_done() || !self.wastes_nothing(cover) {
            return;
        }
        let Some(full) = full::patterns(cover, &mut self.budget) else { return };
        let mut columns = Columns::whole(cover.clone(), full);
        let target = self.target() as u64;
        if !columns.may_take(target, &mut self.budget) {
            return;
        }
        let mut rng = Rng::new(1);
        for round in 0..MAX_FULL_DIVES {
            let found = dive::dive(&columns, target, &mut rng, round > 0, &mut self.budget);
            if let Some(packing) = found {
                self.bins = whole_bins(self.demands, &packing);
                return;
            }
        }
    }

    /// Raises the bound by column generation, and dives for a packing that meets it, in turns with the
    /// search.
    fn by_columns(&mut self, cover: &Cover) {
        if self.is_done() {
            return;
        }
        let known = self.bins.iter().map(|bin| {
            let sizes = bin.iter().map(|item| self.demands[*item][0]);
            cover.column(&Sizes::of(sizes).0)
        });
        let mut columns = Columns::new(cover.clone(), known.collect());
        while !self.is_done() {
            let bound = columns.improve(self.at_least as u64, &mut self.budget);
            let bound = usize::try_from(bound).unwrap_or(0);
            if bound <= self.at_least {
                break;
            }
            self.at_least = bound;
        }
        let mut rng = Rng::new(1);
        for round in 1..=MAX_DIVES {
            if self.is_done() {
                return;
            }
            let before = self.budget.used();
            // Now and then one fewer than are known will do.
            let fewer = if round % 4 == 0 { self.bins.len() - 1 } else { 0 };
            let target = self.target().max(fewer) as u64;
            let found = dive::dive(&columns, target, &mut rng, round > 1, &mut self.budget);
            if let Some(packing) = found {
                self.bins = whole_bins(self.demands, &packing);
            }
            self.once(true, round, (self.budget.used() - before) / 2);
        }
    }
}

/// The items of each bin of a packing by patterns.
fn whole_bins(demands: &[Vec<u64>], packing: &dive::Packing) -> Vec<Vec<usize>> {
    let mut of_size: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (item, demand) in demands.iter().enumerate() {
        of_size.entry(demand[0]).or_default().push(item);
    }
    let nothing = of_size.remove(&0).unwrap_or_default();
    let mut bins: Vec<Vec<usize>> = Vec::new();
    for (pattern, times) in packing {
        for _ in 0..*times {
            let mut bin = Vec::new();
            for (size, count) in pattern {
                for _ in 0..*count {
                    bin.extend(of_size.get_mut(size).and_then(Vec::pop));
                }
            }
            bins.push(bin);
        }
    }
    if let Some(bin) = bins.first_mut() {
        bin.extend(nothing);
    }
    bins
}

/// Fills one bin after the other: the largest item that is left, and what fills the bin best beside it
/// (Fleszar and Hindi, Computers & Operations Research 29, 2002).
fn fill_in_turn(state: &mut State<'_, '_>, budget: &mut Budget) {
    let model = state.model;
    let largest = model.capacities.first().copied().unwrap_or(0);
    let mut filler = Filler::new(unit((0..model.items()).map(|item| model.size(item)), largest));
    let mut left: Vec<usize> = (0..model.items()).collect();
    left.sort_by_key(|item| (std::cmp::Reverse(model.size(*item)), *item));
    for bin in 0..model.bins() {
        if left.is_empty() {
            return;
        }
        state.put(left.remove(0), bin);
        filler.fill(state, bin, &mut left, budget);
    }
}
