//! The linear program of Gilmore and Gomory (Operations Research 9, 1961): as few patterns as possible
//! so that every size is covered, by the revised simplex method with an explicit inverse.
//!
//! In fixed point: the same on every machine, and exact enough to guide. No bound rests on its
//! exactness: see [`super::columns`].

#![allow(
    clippy::cast_possible_truncation,
    reason = "products are shifted back into the range of their factors; pivots are bounded below"
)]

/// Fraction bits.
const BITS: u32 = 36;

/// One.
pub(super) const ONE: i64 = 1 << BITS;

/// A reduced cost that is worth a pivot.
const WORTH: i64 = ONE >> 20;

/// A pivot that is not too small to divide by.
const PIVOT: i64 = ONE >> 12;

/// Entries of a column: `(row, how many)`.
pub(super) type Column = Vec<(usize, u64)>;

fn times(one: i64, other: i64) -> i64 {
    ((i128::from(one) * i128::from(other)) >> BITS) as i64
}

fn over(one: i64, other: i64) -> i64 {
    ((i128::from(one) << BITS) / i128::from(other)) as i64
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX >> BITS)
}

/// A column of the basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basic {
    /// Of [`Program::columns`].
    Pattern(usize),
    /// What covers a row more than it must be.
    Surplus(usize),
}

#[derive(Debug, Clone)]
pub(super) struct Program {
    rows: usize,
    pub(super) columns: Vec<Column>,
    basis: Vec<Basic>,
    is_basic: Vec<bool>,
    /// The inverse of the basis, column after column.
    inverse: Vec<i64>,
    /// The values of the basic columns.
    values: Vec<i64>,
    /// The price of each row.
    pub(super) prices: Vec<i64>,
    direction: Vec<i64>,
    /// Multiplications that were made.
    pub(super) work: u64,
}

impl Program {
    /// Starts with one pattern per row, of that row alone.
    pub(super) fn new(demand: &[u64], alone: &[u64]) -> Self {
        let rows = demand.len();
        let mut inverse = vec![0; rows * rows];
        let mut values = vec![0; rows];
        let mut prices = vec![0; rows];
        for row in 0..rows {
            let share = ONE / whole(alone[row].max(1));
            inverse[row * rows + row] = share;
            // A little more than is wanted, by row: ties would let the method go round in circles.
            values[row] = whole(demand[row]) * share
                + whole((row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) * (ONE >> 23);
            prices[row] = share;
        }
        Self {
            rows,
            columns: (0..rows).map(|row| vec![(row, alone[row].max(1))]).collect(),
            basis: (0..rows).map(Basic::Pattern).collect(),
            is_basic: vec![true; rows],
            inverse,
            values,
            prices,
            direction: vec![0; rows],
            work: 0,
        }
    }

    pub(super) fn add(&mut self, column: Column) {
        self.columns.push(column);
        self.is_basic.push(false);
    }

    /// The patterns that are used, with how often, in fixed point.
    pub(super) fn solution(&self) -> Vec<(usize, i64)> {
        let used = self.basis.iter().zip(&self.values).filter_map(|(basic, value)| match basic {
            Basic::Pattern(column) if *value > ONE >> 16 => Some((*column, *value)),
            Basic::Pattern(_) | Basic::Surplus(_) => None,
        });
        used.collect()
    }

    /// How many bins the patterns take that are used.
    pub(super) fn objective(&self) -> i64 {
        let of_patterns = self.basis.iter().zip(&self.values);
        of_patterns
            .filter(|(basic, _)| matches!(basic, Basic::Pattern(_)))
            .map(|(_, value)| value)
            .sum()
    }

    /// Pivots until no column is worth it. Answers whether the numbers held.
    pub(super) fn optimize(&mut self, most_pivots: u64) -> bool {
        for _ in 0..most_pivots {
            let Some((entering, reduced)) = self.best_entering() else { return true };
            if !self.pivot(entering, reduced) {
                return false;
            }
        }
        true
    }

    fn best_entering(&mut self) -> Option<(Basic, i64)> {
        let mut best = None;
        let mut least = -WORTH;
        for (index, column) in self.columns.iter().enumerate() {
            if self.is_basic[index] {
                continue;
            }
            let value: i64 =
                column.iter().map(|(row, count)| self.prices[*row] * whole(*count)).sum();
            if ONE - value < least {
                least = ONE - value;
                best = Some((Basic::Pattern(index), least));
            }
        }
        self.work += self.columns.len() as u64;
        for (row, price) in self.prices.iter().enumerate() {
            if *price < least {
                least = *price;
                best = Some((Basic::Surplus(row), least));
            }
        }
        best
    }

    fn pivot(&mut self, entering: Basic, reduced: i64) -> bool {
        self.point(entering);
        let mut leaving: Option<(i64, usize)> = None;
        for (row, direction) in self.direction.iter().enumerate() {
            if *direction < PIVOT {
                continue;
            }
            let ratio = over(self.values[row].max(0), *direction);
            let better = leaving.is_none_or(|(least, other)| {
                ratio < least || ratio == least && *direction > self.direction[other]
            });
            if better {
                leaving = Some((ratio, row));
            }
        }
        let Some((ratio, leaving)) = leaving else { return false };
        self.exchange(entering, leaving, ratio, reduced);
        true
    }

    /// What the basic columns lose when one enters.
    fn point(&mut self, entering: Basic) {
        let rows = self.rows;
        self.direction.fill(0);
        match entering {
            Basic::Pattern(column) => {
                for (row, count) in &self.columns[column] {
                    let count = whole(*count);
                    let own = &self.inverse[row * rows..(row + 1) * rows];
                    for (direction, entry) in self.direction.iter_mut().zip(own) {
                        *direction += entry * count;
                    }
                }
            }
            Basic::Surplus(row) => {
                let own = &self.inverse[row * rows..(row + 1) * rows];
                for (direction, entry) in self.direction.iter_mut().zip(own) {
                    *direction = -entry;
                }
            }
        }
    }

    fn exchange(&mut self, entering: Basic, leaving: usize, ratio: i64, reduced: i64) {
        let by = self.direction[leaving];
        for (at, value) in self.values.iter_mut().enumerate() {
            if at != leaving && self.direction[at] != 0 {
                *value -= times(self.direction[at], ratio);
            }
        }
        self.values[leaving] = ratio;
        self.update_inverse(leaving, by, reduced);
        if let Basic::Pattern(column) = self.basis[leaving] {
            self.is_basic[column] = false;
        }
        if let Basic::Pattern(column) = entering {
            self.is_basic[column] = true;
        }
        self.basis[leaving] = entering;
    }

    /// Every column but in the pivot's row loses what the pivot takes of it; prices follow that row.
    fn update_inverse(&mut self, leaving: usize, by: i64, reduced: i64) {
        let rows = self.rows;
        self.direction[leaving] = 0;
        let touched: Vec<(usize, i64)> = self
            .direction
            .iter()
            .enumerate()
            .filter(|(_, direction)| **direction != 0)
            .map(|(at, direction)| (at, *direction))
            .collect();
        let is_dense = touched.len() * 3 > rows;
        for (column, price) in self.inverse.chunks_exact_mut(rows).zip(&mut self.prices) {
            if column[leaving] == 0 {
                continue;
            }
            let entry = over(column[leaving], by);
            if is_dense {
                for (to, direction) in column.iter_mut().zip(&self.direction) {
                    *to -= times(*direction, entry);
                }
            } else {
                for (at, direction) in &touched {
                    column[*at] -= times(*direction, entry);
                }
            }
            self.work += touched.len() as u64;
            column[leaving] = entry;
            *price += times(reduced, entry);
        }
    }
}
