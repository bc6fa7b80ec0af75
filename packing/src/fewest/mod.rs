//! As few identical bins as possible.

mod columns;
mod dive;
mod knapsack;
mod program;
mod start;

use std::collections::BTreeMap;

use crate::{
    bound::{Sizes, dual_feasible, l2},
    budget::Budget,
    fewest::{columns::{Columns, Cover}, program::Column},
    model::Model,
    problem::{Bin, BinSet, Item, Problem},
    rng::Rng,
    search::{Filler, Search, unit},
    state::State,
};

/// Dives for a packing.
const MAX_DIVES: usize = 200;

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
pub fn fewest_bins(capacity: &[u64], demands: &[Vec<u64>], mut budget: Budget) -> Option<Fewest> {
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
    let mut at_least = at_least;
    let mut bins = start::best(capacity, demands);
    if bins.len() > at_least {
        for anew in [true, false] {
            let start = if anew { None } else { Some(&bins) };
            let mut part = budget.part(if anew { 1_000_000 } else { 200_000 });
            let fewer = with_fewer(capacity, demands, start, at_least, &mut part);
            budget.settle(&part);
            if let Some(fewer) = fewer {
                bins = fewer;
                break;
            }
        }
    }
    if let ([capacity], true) = (capacity, bins.len() > at_least) {
        by_columns(*capacity, demands, &mut bins, &mut at_least, &mut budget);
    }
    while bins.len() > at_least && !budget.is_over() {
        let mut part = budget.part(budget.left());
        let found = with_fewer(capacity, demands, Some(&bins), at_least, &mut part);
        budget.settle(&part);
        match found {
            Some(fewer) => bins = fewer,
            None => break,
        }
    }
    Some(Fewest { bins, at_least, steps: budget.used() })
}

/// Looks for a packing into `count` bins, from one into more.
fn with_fewer(
    capacity: &[u64],
    demands: &[Vec<u64>],
    bins: Option<&Vec<Vec<usize>>>,
    count: usize,
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
    Search::new(&mut state, 1).run(budget, |_| false);
    if state.left_out().next().is_some() {
        return None;
    }
    Some((0..count).map(|bin| state.contents(bin).to_vec()).collect())
}

/// Raises the bound by column generation, and dives for a packing that meets it.
fn by_columns(
    capacity: u64,
    demands: &[Vec<u64>],
    bins: &mut Vec<Vec<usize>>,
    at_least: &mut usize,
    budget: &mut Budget,
) {
    let counts = Sizes::of(demands.iter().map(|demand| demand[0])).0;
    let cover = Cover {
        capacity,
        sizes: counts.iter().map(|(size, _)| *size).collect(),
        demand: counts.iter().map(|(_, count)| *count).collect(),
    };
    let row_of = |item: &usize| {
        let size = demands[*item][0];
        cover.sizes.partition_point(|other| *other > size)
    };
    let known: Vec<Column> = bins
        .iter()
        .map(|bin| {
            let mut rows: Vec<usize> =
                bin.iter().filter(|item| demands[**item][0] > 0).map(row_of).collect();
            rows.sort_unstable();
            let mut column: Column = Vec::new();
            for row in rows {
                match column.last_mut() {
                    Some((last, count)) if *last == row => *count += 1,
                    Some(_) | None => column.push((row, 1)),
                }
            }
            column
        })
        .collect();
    let mut columns = Columns::new(cover, known);
    while bins.len() > *at_least {
        let bound = columns.improve(*at_least as u64, budget);
        let bound = usize::try_from(bound).unwrap_or(0);
        if bound <= *at_least {
            break;
        }
        *at_least = bound;
    }
    let mut rng = Rng::new(1);
    for round in 0..MAX_DIVES {
        if bins.len() <= *at_least || budget.is_over() {
            return;
        }
        let target = *at_least as u64;
        if let Some(packing) = dive::dive(&columns, target, &mut rng, round > 0, budget) {
            *bins = whole_bins(demands, &packing);
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
