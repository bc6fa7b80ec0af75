//! From the program to whole bins: what it uses a whole time is taken, then what it uses most, and the
//! program of the rest is solved anew.

use crate::{
    budget::Budget,
    fewest::{
        columns::{Columns, Pattern},
        program::{Column, ONE},
    },
    rng::Rng,
};

/// Of what is left, this part is taken at a time when nothing is used a whole time.
const TAKEN_PARTS: u64 = 12;

/// How many times each pattern is used: a packing, by patterns.
pub(super) type Packing = Vec<(Pattern, u64)>;

/// Programs that one dive solves at most.
const MAX_NODES: u32 = 80;

/// Choices that are tried at one depth.
const MAX_TRIES: u32 = 3;

/// Dives once, and tries other choices where it fails, the deepest first. Answers a packing of
/// everything into `target` bins.
pub(super) fn dive(
    columns: &Columns,
    target: u64,
    rng: &mut Rng,
    noise: bool,
    budget: &mut Budget,
) -> Option<Packing> {
    let mut dive = Dive { packing: Vec::new(), nodes: 0, rng, budget };
    dive.descend(columns, target, noise).then_some(dive.packing)
}

struct Dive<'d> {
    packing: Packing,
    nodes: u32,
    rng: &'d mut Rng,
    budget: &'d mut Budget,
}

impl Dive<'_> {
    /// Covers what is left with so many bins. Answers whether that worked.
    fn descend(&mut self, columns: &Columns, bins: u64, noise: bool) -> bool {
        if columns.cover.demand.iter().all(|left| *left == 0) {
            return true;
        }
        for tried in 0..MAX_TRIES {
            if bins == 0 || self.nodes >= MAX_NODES || self.budget.is_over() {
                return false;
            }
            self.nodes += 1;
            let least = bins.div_ceil(TAKEN_PARTS);
            let taken = choose(columns, least, self.rng, noise || tried > 0);
            let many = taken.iter().map(|(_, times)| times).sum::<u64>();
            if taken.is_empty() || many > bins {
                return false;
            }
            let before = self.packing.len();
            let copies = taken.iter().map(|(column, times)| (columns.pattern(*column), *times));
            self.packing.extend(copies);
            let mut rest = columns.without(&taken);
            let left = bins - many;
            if rest.may_take(left, self.budget) && self.descend(&rest, left, noise) {
                return true;
            }
            self.packing.truncate(before);
        }
        false
    }
}

/// What is used a whole time; or else what is used most, `least` bins at least.
fn choose(columns: &Columns, least: u64, rng: &mut Rng, noise: bool) -> Vec<(usize, u64)> {
    let mut left = columns.cover.demand.clone();
    let mut taken: Vec<(usize, u64)> = Vec::new();
    let mut bins = 0;
    let mut order: Vec<(i64, usize)> = Vec::new();
    for (index, value) in columns.program.solution() {
        let column = &columns.program.columns[index];
        let times = u64::try_from((value + (ONE >> 10)) / ONE).unwrap_or(0);
        let times = times.min(times_left(&left, column));
        // What is used a whole time may be what leads astray: another dive does without some of it.
        let is_left = noise && rng.below(LEFT_IN) == 0;
        if times > 0 && !is_left {
            cover(&mut left, column, times);
            bins += times;
            taken.push((index, times));
        }
        let more = if noise { i64::try_from(rng.below(NOISE)).unwrap_or(0) } else { 0 };
        order.push((value % ONE + more, index));
    }
    order.sort_unstable_by(|one, other| other.cmp(one));
    for (_, index) in order {
        if bins >= least {
            break;
        }
        let column = &columns.program.columns[index];
        if times_left(&left, column) > 0 {
            cover(&mut left, column, 1);
            bins += 1;
            match taken.iter_mut().find(|(other, _)| *other == index) {
                Some((_, times)) => *times += 1,
                None => taken.push((index, 1)),
            }
        }
    }
    taken
}

/// A dive that tries something else leaves one in so many that are used a whole time.
const LEFT_IN: usize = 3;

/// How far a dive may prefer another pattern: a quarter of one use.
const NOISE: usize = 1 << 34;

fn times_left(left: &[u64], column: &Column) -> u64 {
    column.iter().map(|(row, count)| left[*row] / (*count).max(1)).min().unwrap_or(0)
}

fn cover(left: &mut [u64], column: &Column, times: u64) {
    for (row, count) in column {
        left[*row] -= count * times;
    }
}
