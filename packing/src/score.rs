//! How good a bin is for an item: the *shape score*, in fixed point.
//!
//! With `f` what is free and `q` what is wanted, both divided by the mean demand of each resource that
//! can bind, lower is better:
//!
//! ```text
//! u(f−q) − u(f) + min(f−q)/128 + 2·Σ scarcity
//! u(f) = d + max(0, d − min f / 4) / 4,   d = max f − min f
//! ```
//!
//! The first part keeps what is free in proportion to what is wanted, so that no memory is stranded
//! behind a full CPU: `u` counts how unequal it is, and a quarter more of what is beyond a quarter of
//! the least, for little is left to even that out with. The second is best fit, light enough that a
//! large bin of the right shape wins over a small one of the wrong shape; the third keeps bins that others
//! depend on for them. A set's scarcity is the share of all demand that is restricted to it over its share
//! of the capacity. The weights are measured (docs/placement.md, "One after the other").
//! The idea of punishing what is stranded is Borg's (Verma et al., `EuroSys` 2015); of aligning with
//! what is free Tetris' (Grandl et al., SIGCOMM 2014).

use crate::problem::{BinSet, LEADING, Problem, UNLIMITED};

/// One mean demand, in the fixed point of a score.
pub const ONE: i64 = 1 << 16;

/// Fraction bits of a reciprocal.
const RECIPROCAL_BITS: u32 = 40;

/// Larger parts of a score are cut off.
const CEILING: i64 = 1 << 44;

/// Best fit counts 1/128 of balance.
pub(crate) const BEST_FIT_BITS: u32 = 7;

/// What is free may be unequal by a quarter of the least.
pub(crate) const EVEN_BITS: u32 = 2;

/// What is beyond that counts a quarter more.
pub(crate) const BEYOND_BITS: u32 = 2;

/// How unequal what is free is: `u` of the module.
fn unequal(most: i64, least: i64) -> i64 {
    let apart = most - least;
    apart + ((apart - (least >> EVEN_BITS)).max(0) >> BEYOND_BITS)
}

/// A unit of scarcity counts as two of balance.
const SCARCITY_WEIGHT: i64 = 2;

/// Sets of bins whose scarcity is counted; the others hardly matter.
const MAX_SCARCE_SETS: usize = 64;

/// The mean demand of each resource that can bind: what a score measures with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measure {
    /// `(resource, 2^(40+16) / mean)`.
    reciprocals: Vec<(usize, u64)>,
}

impl Measure {
    /// Of the means of the demands and of the capacities. A resource counts when a mean demand takes at
    /// least `1/slack` of the share of the bin that the tightest resource takes.
    pub fn new(demands: &[u64], capacities: &[u64], slack: u128) -> Self {
        let share = |resource: usize| -> u128 {
            let (demand, capacity) = (demands[resource], capacities[resource]);
            if demand == 0 || capacity >= UNLIMITED {
                return 0;
            }
            (u128::from(demand) << 64) / u128::from(capacity.max(1))
        };
        let tightest = (0..demands.len()).map(share).max().unwrap_or(0);
        let binds = |resource: &usize| share(*resource) > 0 && share(*resource) * slack >= tightest;
        let reciprocal = |resource: usize| {
            let wide = (1_u128 << (RECIPROCAL_BITS + ONE.trailing_zeros()))
                / u128::from(demands[resource].max(1));
            (resource, u64::try_from(wide).unwrap_or(u64::MAX))
        };
        let mut tightest_first: Vec<usize> = (0..demands.len()).filter(binds).collect();
        tightest_first.sort_by_key(|resource| (std::cmp::Reverse(share(*resource)), *resource));
        Self { reciprocals: tightest_first.into_iter().map(reciprocal).collect() }
    }

    /// Of everything in a problem.
    pub fn of(problem: &Problem) -> Self {
        let mean = |amounts: &mut dyn Iterator<Item = u64>| {
            let (mut sum, mut count) = (0_u128, 0_u128);
            for amount in amounts {
                sum += u128::from(amount);
                count += 1;
            }
            let mean = sum.checked_div(count).unwrap_or(0);
            u64::try_from(mean).unwrap_or(u64::MAX)
        };
        let each = 0..problem.resources;
        let demands: Vec<u64> = each
            .clone()
            .map(|r| mean(&mut problem.items.iter().map(|item| item.demand[r])))
            .collect();
        let capacities: Vec<u64> =
            each.map(|r| mean(&mut problem.bins.iter().map(|bin| bin.capacity[r]))).collect();
        Self::new(&demands, &capacities, BINDING_SLACK)
    }

    /// How many resources count.
    pub fn width(&self) -> usize {
        self.reciprocals.len()
    }

    /// An amount list in mean demands, [`ONE`] each, the tightest resource first.
    pub fn scaled(&self, amounts: &[i64], into: &mut Vec<i64>) {
        into.clear();
        into.extend(self.reciprocals.iter().map(|(resource, reciprocal)| {
            let amount = amounts.get(*resource).copied().unwrap_or(0);
            let wide = i128::from(amount) * i128::from(*reciprocal);
            let narrow = i64::try_from(wide >> RECIPROCAL_BITS).unwrap_or(CEILING);
            narrow.clamp(-CEILING, CEILING)
        }));
    }

    /// The score of a bin without scarcity; both lists are scaled.
    pub fn shape(free: &[i64], demand: &[i64]) -> i64 {
        let (uneven, tight) = Self::shape_parts(free, demand);
        uneven + tight
    }

    /// The parts of that score: how much more unequal what is free becomes, and how much stays free.
    pub fn shape_parts(free: &[i64], demand: &[i64]) -> (i64, i64) {
        let (mut most, mut least) = (i64::MIN, i64::MAX);
        let (mut most_left, mut least_left) = (i64::MIN, i64::MAX);
        for (free, demand) in free.iter().zip(demand) {
            most = most.max(*free);
            least = least.min(*free);
            most_left = most_left.max(free - demand);
            least_left = least_left.min(free - demand);
        }
        if free.is_empty() {
            return (0, 0);
        }
        (unequal(most_left, least_left) - unequal(most, least), least_left >> BEST_FIT_BITS)
    }
}

/// A resource binds unless it is this many times less in demand than the tightest.
pub const BINDING_SLACK: u128 = 3;

/// How scarce bins are for those that may go elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scarcity {
    /// For each set of the problem, the cost of each bin; empty where all are alike.
    cost: Vec<Vec<i64>>,
}

impl Scarcity {
    /// Of everything in a problem. Sets of one bin are left out: what is bound to it goes first.
    pub fn of(problem: &Problem) -> Self {
        Self::of_sets_from(problem, 2)
    }

    /// The same, of the sets of so many bins or more.
    pub fn of_sets_from(problem: &Problem, least_bins: usize) -> Self {
        // Cut off so that products of sums stay within 128 bits.
        let lead =
            |amounts: &[u64]| u128::from(amounts.get(LEADING).copied().unwrap_or(0).min(1 << 44));
        let capacity_in = |set: &BinSet| -> u128 {
            set.iter().filter_map(|bin| problem.bins.get(bin)).map(|bin| lead(&bin.capacity)).sum()
        };
        let demand: u128 = problem.items.iter().map(|item| lead(&item.demand)).sum();
        let capacity: u128 = problem.bins.iter().map(|bin| lead(&bin.capacity)).sum();
        let mut wanted = vec![0_u128; problem.sets.len()];
        for item in &problem.items {
            wanted[item.allowed] += lead(&item.demand);
        }
        let mut scarce: Vec<(i64, usize)> = Vec::new();
        for (index, set) in problem.sets.iter().enumerate() {
            let bins = set.len();
            if wanted[index] == 0 || bins < least_bins || bins >= problem.bins.len() {
                continue;
            }
            // (wanted / demand) / (capacity of the set / capacity)
            let below = (demand.max(1) * capacity_in(set).max(1)) >> 16;
            let share = (wanted[index] * capacity).checked_div(below.max(1)).unwrap_or(0);
            scarce.push((i64::try_from(share).unwrap_or(CEILING).min(CEILING), index));
        }
        scarce.sort_unstable_by(|one, other| other.cmp(one));
        scarce.truncate(MAX_SCARCE_SETS);
        let cost = |own: &BinSet| {
            let mut cost = Vec::new();
            for (share, index) in &scarce {
                let set = &problem.sets[*index];
                if own.is_within(set) {
                    continue;
                }
                cost.resize(problem.bins.len(), 0);
                for bin in set.iter().filter(|bin| *bin < problem.bins.len()) {
                    cost[bin] += SCARCITY_WEIGHT * share;
                }
            }
            cost
        };
        Self { cost: problem.sets.iter().map(cost).collect() }
    }

    /// What taking that bin costs an item of that set.
    pub fn cost(&self, set: usize, bin: usize) -> i64 {
        self.cost.get(set).and_then(|bins| bins.get(bin)).copied().unwrap_or(0)
    }
}
