//! Column generation: patterns are added to the program while there is one that is worth more than it
//! costs; and a bound that holds however inexact the program is.
//!
//! Whatever the prices, as integers: when no pattern is worth more than `z`, every bin takes at most `z`
//! of what all items are worth together, `Σ price·demand`; so `⌈Σ price·demand / z⌉` bins are needed
//! (Farley, Operations Research 38, 1990). `z` is computed in integers.

use crate::{
    budget::Budget,
    fewest::{
        knapsack::{Kind, fill},
        program::{Column, ONE, Program},
    },
};

/// Prices of patterns are rounded down to so many parts of one.
const PARTS: u64 = 1 << 20;

/// A pattern is added when it is worth more than its cost by this.
const WORTH: u64 = PARTS + PARTS / 100_000;

/// Eighths of the prices that a search uses are those of the best bound so far (Wentges,
/// International Transactions in Operational Research 4, 1997).
const CENTER_EIGHTHS: u64 = 6;

/// Patterns that are added at once, of different items.
const MAX_BESIDE: usize = 10;

/// Pivots between two searches for patterns.
const MAX_PIVOTS: u64 = 20;

/// Pivots among patterns that are known.
const MAX_FINISHING: u64 = 3_000;

/// Searches for patterns in one program.
const MAX_ROUNDS: usize = 2_000;

/// `(size, how many)` of one bin.
pub(super) type Pattern = Vec<(u64, u64)>;

/// What is to be covered.
#[derive(Debug, Clone)]
pub(super) struct Cover {
    pub(super) capacity: u64,
    /// Largest first.
    pub(super) sizes: Vec<u64>,
    pub(super) demand: Vec<u64>,
}

impl Cover {
    /// Of items by size.
    pub(super) fn new(capacity: u64, counts: &[(u64, u64)]) -> Self {
        let (sizes, demand) = counts.iter().copied().unzip();
        Self { capacity, sizes, demand }
    }

    /// A pattern of sizes as a column.
    pub(super) fn column(&self, counts: &[(u64, u64)]) -> Column {
        let row = |size: u64| self.sizes.partition_point(|other| *other > size);
        counts.iter().map(|(size, count)| (row(*size), *count)).collect()
    }
}

/// A program that grows.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub(super) cover: Cover,
    pub(super) program: Program,
    /// The prices of the best bound; prices near them swing less.
    center: Vec<u64>,
    /// Whether all patterns are known that are of use.
    is_whole: bool,
}

impl Columns {
    /// Starts from some patterns that are known.
    pub(super) fn new(cover: Cover, known: Vec<Column>) -> Self {
        let alone = cover.sizes.iter().zip(&cover.demand);
        let alone: Vec<u64> =
            alone.map(|(size, demand)| (cover.capacity / size).min(*demand)).collect();
        let mut program = Program::new(&cover.demand, &alone);
        for column in known {
            program.add(column);
        }
        let center = cover.sizes.iter().map(|size| PARTS * size / cover.capacity).collect();
        Self { cover, program, center, is_whole: false }
    }

    /// With all patterns that are of use.
    pub(super) fn whole(cover: Cover, patterns: Vec<Column>) -> Self {
        Self { is_whole: true, ..Self::new(cover, patterns) }
    }

    /// Adds patterns until what is to be covered is shown to take more bins than `target`, or no more
    /// in fractions. Answers how many it takes at least, as far as that follows from patterns that are
    /// not known yet.
    pub(super) fn improve(&mut self, target: u64, budget: &mut Budget) -> u64 {
        if self.is_whole {
            return 0;
        }
        let (mut best, mut smooth) = (0, true);
        for _ in 0..MAX_ROUNDS {
            let before = self.program.work;
            let held = self.program.optimize(MAX_PIVOTS);
            budget.spend((self.program.work - before) / 4);
            if !held || budget.is_over() || self.program.objective() <= whole_bins(target) {
                break;
            }
            let prices: Vec<u64> = self.program.prices().map(parts).collect();
            let mixed: Vec<u64> = if smooth { self.mix(&prices) } else { prices.clone() };
            let filled = fill(&self.kinds(&mixed), self.cover.capacity, 1, true);
            budget.spend(filled.steps);
            let bound = self.bound(&mixed, filled.most);
            if bound > best {
                best = bound;
                self.center.clone_from(&mixed);
            }
            if rounded_up(best) > target {
                break;
            }
            if self.add(filled.patterns, &prices, &mixed, budget) {
                smooth = true;
            } else if smooth {
                // The mixed prices mislead: once with the true ones.
                smooth = false;
            } else {
                break;
            }
        }
        rounded_up(best)
    }

    /// The program of what these patterns leave.
    pub(super) fn without(&self, taken: &[(usize, u64)]) -> Self {
        let mut left = self.cover.demand.clone();
        for (column, times) in taken {
            for (row, count) in &self.program.columns[*column] {
                left[*row] -= (count * times).min(left[*row]);
            }
        }
        let kept: Vec<usize> = (0..left.len()).filter(|row| left[*row] > 0).collect();
        let mut own = vec![0; left.len()];
        for (index, row) in kept.iter().enumerate() {
            own[*row] = index;
        }
        let fits = |column: &&Column| column.iter().all(|(row, count)| *count <= left[*row]);
        let translate = |column: &Column| -> Column {
            column.iter().map(|(row, count)| (own[*row], *count)).collect()
        };
        let known = self.program.columns.iter().filter(fits).map(translate).collect();
        let cover = Cover {
            capacity: self.cover.capacity,
            sizes: kept.iter().map(|row| self.cover.sizes[*row]).collect(),
            demand: kept.iter().map(|row| left[*row]).collect(),
        };
        Self {
            center: kept.iter().map(|row| self.center[*row]).collect(),
            is_whole: self.is_whole,
            ..Self::new(cover, known)
        }
    }

    /// A pattern by sizes.
    pub(super) fn pattern(&self, column: usize) -> Pattern {
        let rows = self.program.columns[column].iter();
        rows.map(|(row, count)| (self.cover.sizes[*row], *count)).collect()
    }

    /// Pivots until no known pattern is worth more than it costs.
    fn finish(&mut self, budget: &mut Budget) -> bool {
        let before = self.program.work;
        let held = self.program.optimize(MAX_FINISHING);
        budget.spend((self.program.work - before) / 4);
        held
    }

    /// Whether what is to be covered may take so few bins. That it may not is a guess where all patterns are
    /// known: no bound rests on the program.
    pub(super) fn may_take(&mut self, bins: u64, budget: &mut Budget) -> bool {
        self.finish(budget)
            && self.improve(bins, budget) <= bins
            && (!self.is_whole || self.program.objective() <= whole_bins(bins) + ONE / 4)
    }

    fn mix(&self, prices: &[u64]) -> Vec<u64> {
        let pairs = prices.iter().zip(&self.center);
        pairs.map(|(price, at)| (price * (8 - CENTER_EIGHTHS) + at * CENTER_EIGHTHS) / 8).collect()
    }

    fn kinds(&self, prices: &[u64]) -> Vec<Kind> {
        let kind = |(row, value): (usize, &u64)| Kind {
            row,
            size: self.cover.sizes[row],
            most: self.cover.demand[row],
            value: *value,
        };
        prices.iter().enumerate().map(kind).collect()
    }

    /// Farley's bound, times [`PARTS`].
    fn bound(&self, prices: &[u64], most: u64) -> u128 {
        let all = prices.iter().zip(&self.cover.demand);
        let worth: u128 = all.map(|(price, demand)| u128::from(*price) * u128::from(*demand)).sum();
        (worth << PARTS.trailing_zeros()).div_ceil(u128::from(most.max(1)))
    }

    /// Adds the patterns that are worth it, and others of what those leave.
    fn add(
        &mut self,
        mut patterns: Vec<Column>,
        prices: &[u64],
        mixed: &[u64],
        budget: &mut Budget,
    ) -> bool {
        let mut left = self.kinds(mixed);
        let mut added = false;
        for _ in 0..MAX_BESIDE {
            let Some(last) = patterns.last().cloned() else { break };
            let mut good = false;
            for pattern in patterns {
                let worth: u64 = pattern.iter().map(|(row, count)| prices[*row] * count).sum();
                if worth > WORTH {
                    self.program.add(pattern);
                    good = true;
                }
            }
            added |= good;
            if !good {
                break;
            }
            for (row, count) in last {
                left[row].most -= count;
            }
            let more = fill(&left, self.cover.capacity, 1, false);
            budget.spend(more.steps);
            patterns = more.patterns.into_iter().next_back().into_iter().collect();
        }
        added
    }
}

fn rounded_up(bound: u128) -> u64 {
    u64::try_from(bound.div_ceil(u128::from(PARTS))).unwrap_or(0)
}

/// So many bins and hardly any more, in fixed point.
fn whole_bins(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(0) * ONE + ONE / 5_000
}

fn parts(price: i64) -> u64 {
    u64::try_from(price.max(0) >> (ONE.trailing_zeros() - PARTS.trailing_zeros())).unwrap_or(0)
}
