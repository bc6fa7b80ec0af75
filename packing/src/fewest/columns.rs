//! Column generation: patterns are added to the program while there is one that is worth more than it
//! costs; and a bound that holds however inexact the program is.
//!
//! Whatever the prices, as integers: when no pattern is worth more than `z`, every bin takes at most `z`
//! of what all items are worth together, `Σ price·demand`; so `⌈Σ price·demand / z⌉` bins are needed
//! (Farley, Operations Research 38, 1990). `z` is computed exactly, in integers.

use crate::{
    budget::Budget,
    fewest::{
        knapsack::{Kind, fill},
        program::{Column, ONE, Program},
    },
};

/// Prices of patterns are rounded down to so many parts of one.
const PARTS: u64 = 1 << 20;

/// Pivots between two searches for patterns.
const MAX_PIVOTS: u64 = 400;

/// Searches for patterns in one program.
const MAX_ROUNDS: usize = 2_000;

/// What is to be covered.
#[derive(Debug, Clone)]
pub(super) struct Cover {
    pub(super) capacity: u64,
    /// Largest first.
    pub(super) sizes: Vec<u64>,
    pub(super) demand: Vec<u64>,
}

/// A program that was solved.
#[derive(Debug)]
pub(super) struct Solved {
    /// So many bins are needed.
    pub(super) at_least: u64,
    /// Patterns that are used, with how often, in fixed point.
    pub(super) used: Vec<(Column, i64)>,
    /// All patterns.
    pub(super) columns: Vec<Column>,
}

/// Solves the program of that cover, from some patterns that are known. Ends early when the bound
/// reaches `enough`.
pub(super) fn solve(cover: &Cover, known: &[Column], enough: u64, budget: &mut Budget) -> Solved {
    let alone: Vec<u64> = cover
        .sizes
        .iter()
        .zip(&cover.demand)
        .map(|(size, demand)| (cover.capacity / size).min(*demand))
        .collect();
    let mut program = Program::new(&cover.demand, &alone);
    for column in known {
        program.add(column.clone());
    }
    let mut at_least = 0;
    for _ in 0..MAX_ROUNDS {
        let before = program.work;
        let held = program.optimize(MAX_PIVOTS);
        budget.spend((program.work - before) / 4);
        if !held || budget.is_over() {
            break;
        }
        let kinds: Vec<Kind> = program
            .prices
            .iter()
            .enumerate()
            .map(|(row, price)| Kind {
                row,
                size: cover.sizes[row],
                most: cover.demand[row],
                value: u64::try_from((*price).max(0) >> (ONE.trailing_zeros() - 20)).unwrap_or(0),
            })
            .collect();
        let filled = fill(&kinds, cover.capacity, PARTS);
        budget.spend(filled.steps);
        let worth: u128 =
            kinds.iter().map(|kind| u128::from(kind.value) * u128::from(kind.most)).sum();
        let bound = worth.div_ceil(u128::from(filled.most.max(1)));
        at_least = at_least.max(u64::try_from(bound).unwrap_or(0));
        if filled.patterns.is_empty() || filled.most <= PARTS + PARTS / 100_000 || at_least >= enough {
            break;
        }
        for pattern in filled.patterns {
            program.add(pattern);
        }
    }
    let used = program.solution();
    let used = used.into_iter().map(|(column, value)| (program.columns[column].clone(), value));
    Solved { at_least, used: used.collect(), columns: program.columns }
}
