//! Fills one bin as full as its candidates allow: a subset sum over the leading resource, found with a
//! table of reachable sums, walked depth first under every other rule.

use crate::{budget::Budget, state::State};

/// Columns of the table: a bin's leading resource in units.
const MAX_UNITS: i64 = 1 << 17;

/// Units of a bin when amounts have no common measure; each item is then rounded up.
const COARSE_UNITS: i64 = 1 << 14;

/// Sums that are tried, from the fullest down, before what is left goes in by order.
const MAX_TARGETS: u32 = 12;

/// Tries of one item for one sum.
const MAX_TRIES: u32 = 400;

/// Fills bins; keeps its table from one to the next.
#[derive(Debug)]
pub(crate) struct Filler {
    unit: i64,
    /// Row by row, from the last candidate to the first: the sums that it and those after it reach.
    table: Vec<u64>,
    words: usize,
    sizes: Vec<usize>,
    chosen: Vec<usize>,
    tries: u32,
}

/// The largest unit all sizes are multiples of, or one that makes the table small enough.
pub(crate) fn unit(sizes: impl Iterator<Item = i64>, largest_bin: i64) -> i64 {
    let common = sizes.map(i64::unsigned_abs).fold(0, gcd).max(1);
    let common = i64::try_from(common).unwrap_or(i64::MAX);
    if largest_bin / common <= MAX_UNITS { common } else { (largest_bin / COARSE_UNITS).max(1) }
}

/// The greatest common divisor; of nothing and another, the other.
pub(crate) fn gcd(one: u64, other: u64) -> u64 {
    let (mut one, mut other) = (one, other);
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

impl Filler {
    pub(crate) const fn new(unit: i64) -> Self {
        Self { unit, table: Vec::new(), words: 0, sizes: Vec::new(), chosen: Vec::new(), tries: 0 }
    }

    /// Puts into the bin, of these, what fills it best; earlier ones are preferred. Those that it took
    /// are no candidates any more.
    pub(crate) fn fill(
        &mut self,
        state: &mut State<'_, '_>,
        bin: usize,
        candidates: &mut Vec<usize>,
        budget: &mut Budget,
    ) {
        self.chosen.clear();
        self.chosen.extend(candidates.iter().copied().filter(|item| state.fits(*item, bin)));
        budget.spend(candidates.len() as u64);
        let model = state.model;
        let space = usize::try_from(state.space(bin) / self.unit).unwrap_or(0);
        let unit = self.unit;
        let size = |item: &usize| usize::try_from((model.size(*item) + unit - 1) / unit);
        self.sizes.clear();
        self.sizes.extend(self.chosen.iter().map(|item| size(item).unwrap_or(usize::MAX / 2)));
        let wanted: usize = self.sizes.iter().fold(0, |sum, size| sum.saturating_add(*size));
        if wanted > space && !self.chosen.is_empty() {
            self.reach(space);
            budget.spend((self.table.len() / 4) as u64);
            self.walk_targets(state, bin, space, budget);
        }
        // What reaches no sum, needs nothing of it, or fits where amounts were rounded.
        for index in 0..self.chosen.len() {
            let item = self.chosen[index];
            if state.at(item).is_none() && state.fits(item, bin) {
                state.put(item, bin);
            }
        }
        candidates.retain(|item| state.at(*item).is_none());
    }

    fn reach(&mut self, space: usize) {
        let count = self.sizes.len();
        self.words = space / 64 + 1;
        self.table.clear();
        self.table.resize((count + 1) * self.words, 0);
        self.table[count * self.words] = 1;
        for index in (0..count).rev() {
            let (upper, lower) = self.table.split_at_mut((index + 1) * self.words);
            let (row, below) = (&mut upper[index * self.words..], &lower[..self.words]);
            or_shifted(row, below, self.sizes[index]);
        }
    }

    fn reaches(&self, row: usize, sum: usize) -> bool {
        self.table[row * self.words + sum / 64] >> (sum % 64) & 1 == 1
    }

    fn walk_targets(
        &mut self,
        state: &mut State<'_, '_>,
        bin: usize,
        space: usize,
        budget: &mut Budget,
    ) {
        let mut targets = 0;
        for target in (1..=space).rev() {
            if !self.reaches(0, target) {
                continue;
            }
            self.tries = 0;
            let found = self.walk(state, bin, 0, target);
            budget.spend(u64::from(self.tries) * 4);
            targets += 1;
            if found || targets == MAX_TARGETS || budget.is_over() {
                break;
            }
        }
    }

    /// Puts candidates from `index` on so that they sum up to `target`; undoes what leads nowhere.
    fn walk(&mut self, state: &mut State<'_, '_>, bin: usize, index: usize, target: usize) -> bool {
        if target == 0 {
            return true;
        }
        let mut index = index;
        while index < self.chosen.len() {
            let (item, size) = (self.chosen[index], self.sizes[index]);
            if size > 0 && size <= target && self.reaches(index + 1, target - size) {
                self.tries += 1;
                if self.tries > MAX_TRIES {
                    return false;
                }
                if state.fits(item, bin) {
                    state.put(item, bin);
                    if self.walk(state, bin, index + 1, target - size) {
                        return true;
                    }
                    state.take(item);
                }
            }
            index += 1;
            if !self.reaches(index, target) {
                return false;
            }
        }
        false
    }
}

/// `row = below | below << shift`
fn or_shifted(row: &mut [u64], below: &[u64], shift: usize) {
    row.copy_from_slice(below);
    let (whole, bits) = (shift / 64, shift % 64);
    if whole >= row.len() {
        return;
    }
    let reached = row.len() - whole;
    if bits == 0 {
        for (to, from) in row[whole..].iter_mut().zip(&below[..reached]) {
            *to |= from;
        }
        return;
    }
    row[whole] |= below[0] << bits;
    let pairs = below[..reached].windows(2);
    for (to, pair) in row[whole + 1..].iter_mut().zip(pairs) {
        *to |= pair[1] << bits | pair[0] >> (64 - bits);
    }
}
