//! From the program to whole bins: what it uses a whole time is taken, then what it uses most, and the
//! program of the rest is solved anew.

use crate::{
    budget::Budget,
    fewest::{
        columns::Columns,
        program::{Column, ONE},
    },
    rng::Rng,
};

/// Of what is left, this part is taken at a time when nothing is used a whole time.
const TAKEN_PARTS: u64 = 12;

/// How many times each pattern is used: a packing, in patterns of rows.
pub(super) type Packing = Vec<(Column, u64)>;

/// Dives once. Answers a packing of everything, or `None` when it would take more than `target` bins.
pub(super) fn dive(
    mut columns: Columns,
    target: u64,
    rng: &mut Rng,
    noise: bool,
    budget: &mut Budget,
) -> Option<Packing> {
    let mut packing: Packing = Vec::new();
    let mut bins = 0;
    loop {
        if columns.cover.demand.iter().all(|left| *left == 0) {
            return (bins <= target).then_some(packing);
        }
        if bins >= target || budget.is_over() {
            return None;
        }
        let taken = choose(&columns, (target - bins).div_ceil(TAKEN_PARTS), rng, noise);
        if taken.is_empty() {
            return None;
        }
        bins += taken.iter().map(|(_, times)| times).sum::<u64>();
        let patterns = &columns.program.columns;
        packing.extend(taken.iter().map(|(column, times)| (patterns[*column].clone(), *times)));
        if bins > target || !columns.take(&taken, budget) {
            return None;
        }
        if columns.improve(target - bins, budget) > target - bins {
            return None;
        }
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
        if times > 0 {
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
