//! The linear program of Gilmore and Gomory (Operations Research 9, 1961): as few patterns as possible
//! so that every size is covered, by the revised simplex method with an explicit inverse.
//!
//! The one place of this room that counts in floats (ADR 23): sums, differences, products and quotients, which every
//! machine rounds alike (IEEE 754), in an order that the source says. What leaves is in fixed point and guides; no
//! bound rests on its exactness: see [`super::columns`].

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "counts are small; what leaves is bounded, and a cast of floats saturates"
)]

/// Fraction bits of what leaves.
const BITS: u32 = 36;

/// One, in fixed point.
pub(super) const ONE: i64 = 1 << BITS;

/// A reduced cost that is worth a pivot: 2^-20.
const WORTH: f64 = 1.0 / 1_048_576.0;

/// A pivot that is not too small to divide by: 2^-12.
const PIVOT: f64 = 1.0 / 4_096.0;

/// What is smaller is what rounding left of nothing: 2^-40.
const NOTHING: f64 = 1.0 / 1_099_511_627_776.0;

/// Steps of the little that values are more than wanted: 2^-23.
const MORE: f64 = 1.0 / 8_388_608.0;

/// Entries of a column: `(row, how many)`.
pub(super) type Column = Vec<(usize, u64)>;

/// In fixed point.
fn fixed(value: f64) -> i64 {
    (value * ONE as f64) as i64
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
    inverse: Vec<f64>,
    /// The values of the basic columns.
    values: Vec<f64>,
    /// The price of each row.
    prices: Vec<f64>,
    direction: Vec<f64>,
    /// Multiplications that were made.
    pub(super) work: u64,
}

impl Program {
    /// Starts with one pattern per row, of that row alone.
    pub(super) fn new(demand: &[u64], alone: &[u64]) -> Self {
        let rows = demand.len();
        let mut inverse = vec![0.0; rows * rows];
        let mut values = vec![0.0; rows];
        let mut prices = vec![0.0; rows];
        for row in 0..rows {
            let share = 1.0 / alone[row].max(1) as f64;
            inverse[row * rows + row] = share;
            // A little more than is wanted, by row: ties would let the method go round in circles.
            let more = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
            values[row] = demand[row] as f64 * share + more as f64 * MORE;
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
            direction: vec![0.0; rows],
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
            Basic::Pattern(column) => Some((*column, fixed(*value))),
            Basic::Surplus(_) => None,
        });
        used.filter(|(_, value)| *value > ONE >> 16).collect()
    }

    /// How many bins the patterns take that are used, in fixed point.
    pub(super) fn objective(&self) -> i64 {
        let of_patterns = self.basis.iter().zip(&self.values);
        let used = of_patterns.filter(|(basic, _)| matches!(basic, Basic::Pattern(_)));
        fixed(used.map(|(_, value)| value).sum())
    }

    /// The price of each row, in fixed point.
    pub(super) fn prices(&self) -> impl Iterator<Item = i64> {
        self.prices.iter().map(|price| fixed(*price))
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

    fn best_entering(&mut self) -> Option<(Basic, f64)> {
        let mut best = None;
        let mut least = -WORTH;
        for (index, column) in self.columns.iter().enumerate() {
            if self.is_basic[index] {
                continue;
            }
            let value: f64 =
                column.iter().map(|(row, count)| self.prices[*row] * *count as f64).sum();
            if 1.0 - value < least {
                least = 1.0 - value;
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

    fn pivot(&mut self, entering: Basic, reduced: f64) -> bool {
        self.point(entering);
        let mut leaving: Option<(f64, usize)> = None;
        for (row, direction) in self.direction.iter().enumerate() {
            if *direction < PIVOT {
                continue;
            }
            let ratio = self.values[row].max(0.0) / *direction;
            let better = leaving.is_none_or(|(least, other)| {
                ratio < least || ratio <= least && *direction > self.direction[other]
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
        self.direction.fill(0.0);
        match entering {
            Basic::Pattern(column) => {
                for (row, count) in &self.columns[column] {
                    let count = *count as f64;
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

    fn exchange(&mut self, entering: Basic, leaving: usize, ratio: f64, reduced: f64) {
        let by = self.direction[leaving];
        for (value, direction) in self.values.iter_mut().zip(&self.direction) {
            *value -= direction * ratio;
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
    fn update_inverse(&mut self, leaving: usize, by: f64, reduced: f64) {
        let rows = self.rows;
        self.direction[leaving] = 0.0;
        for direction in &mut self.direction {
            if direction.abs() < NOTHING {
                *direction = 0.0;
            }
        }
        for (column, price) in self.inverse.chunks_exact_mut(rows).zip(&mut self.prices) {
            if column[leaving].abs() < NOTHING {
                column[leaving] = 0.0;
                continue;
            }
            let entry = column[leaving] / by;
            for (to, direction) in column.iter_mut().zip(&self.direction) {
                *to -= direction * entry;
            }
            self.work += rows as u64;
            column[leaving] = entry;
            *price += reduced * entry;
        }
    }
}
