//! From the program to whole bins: what it uses a whole time is taken, then what it uses most, and the
//! program of the rest is solved anew.

use crate::{
    budget::Budget,
    fewest::{
        columns::{Cover, Solved, solve},
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
    cover: &Cover,
    first: &Solved,
    target: u64,
    rng: &mut Rng,
    noise: bool,
    budget: &mut Budget,
) -> Option<Packing> {
    let mut left = cover.demand.clone();
    let mut packing: Packing = Vec::new();
    let mut bins = 0;
    let mut used: Vec<(Column, i64)> = first.used.clone();
    let mut known: Vec<Column> = first.columns.clone();
    loop {
        let many = left.iter().sum::<u64>();
        if many == 0 {
            return (bins <= target).then_some(packing);
        }
        if bins >= target || budget.is_over() {
            return None;
        }
        let taken = take(&mut left, &used, (target - bins).div_ceil(TAKEN_PARTS), rng, noise);
        bins += taken.iter().map(|(_, times)| times).sum::<u64>();
        packing.extend(taken);
        let rows: Vec<usize> = (0..left.len()).filter(|row| left[*row] > 0).collect();
        if rows.is_empty() {
            continue;
        }
        // The rest, with its own rows.
        let mut own = vec![usize::MAX; left.len()];
        for (index, row) in rows.iter().enumerate() {
            own[*row] = index;
        }
        let rest = Cover {
            capacity: cover.capacity,
            sizes: rows.iter().map(|row| cover.sizes[*row]).collect(),
            demand: rows.iter().map(|row| left[*row]).collect(),
        };
        let fits = |column: &&Column| column.iter().all(|(row, count)| *count <= left[*row]);
        known.retain(|column| fits(&column));
        let translated: Vec<Column> = known
            .iter()
            .map(|column| column.iter().map(|(row, count)| (own[*row], *count)).collect())
            .collect();
        let solved = solve(&rest, &translated, target - bins + 1, budget);
        if bins + solved.at_least > target {
            return None;
        }
        let back = |column: &Column| -> Column {
            column.iter().map(|(index, count)| (rows[*index], *count)).collect()
        };
        used = solved.used.iter().map(|(column, value)| (back(column), *value)).collect();
        known = solved.columns.iter().map(back).collect();
    }
}

/// Takes what is used a whole time; or else what is used most, `least` bins at least.
fn take(
    left: &mut [u64],
    used: &[(Column, i64)],
    least: u64,
    rng: &mut Rng,
    noise: bool,
) -> Packing {
    let mut taken: Packing = Vec::new();
    let mut bins = 0;
    let mut order: Vec<(i64, usize)> = Vec::new();
    for (index, (column, value)) in used.iter().enumerate() {
        let times = u64::try_from((value + (ONE >> 10)) / ONE).unwrap_or(0);
        let times = times.min(times_left(left, column));
        if times > 0 {
            cover(left, column, times);
            bins += times;
            taken.push((column.clone(), times));
        }
        let more = if noise { rng.below(1 << 34) as i64 } else { 0 };
        order.push((value % ONE + more, index));
    }
    order.sort_unstable_by(|one, other| other.cmp(one));
    for (_, index) in order {
        if bins >= least {
            break;
        }
        let column = &used[index].0;
        if times_left(left, column) > 0 {
            cover(left, column, 1);
            bins += 1;
            taken.push((column.clone(), 1));
        }
    }
    if taken.is_empty() {
        // Only patterns that cover too much: a part of one.
        let column = used.iter().map(|(column, _)| column).max_by_key(|column| column.len());
        let column: Column = column
            .into_iter()
            .flatten()
            .map(|(row, count)| (*row, (*count).min(left[*row])))
            .filter(|(_, count)| *count > 0)
            .collect();
        let column = if column.is_empty() {
            left.iter().position(|count| *count > 0).map(|row| vec![(row, 1)]).unwrap_or_default()
        } else {
            column
        };
        cover(left, &column, 1);
        taken.push((column, 1));
    }
    taken
}

fn times_left(left: &[u64], column: &Column) -> u64 {
    column.iter().map(|(row, count)| left[*row] / (*count).max(1)).min().unwrap_or(0)
}

fn cover(left: &mut [u64], column: &Column, times: u64) {
    for (row, count) in column {
        left[*row] -= count * times;
    }
}
