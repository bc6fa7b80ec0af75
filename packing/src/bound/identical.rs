//! How many identical bins items of one resource need at least.

/// Thresholds of dual feasible functions that are tried.
const MAX_THRESHOLDS: usize = 400;

/// The largest `k` of the functions `u(k)`.
const MAX_K: u64 = 60;

/// Items by size: `(size, how many)`, the largest first.
pub(crate) type Counts = [(u64, u64)];

/// Sizes and how many items have each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sizes(pub(crate) Vec<(u64, u64)>);

impl Sizes {
    /// Counts sizes; those of nothing need no bin.
    pub(crate) fn of(sizes: impl Iterator<Item = u64>) -> Self {
        let mut sizes: Vec<u64> = sizes.filter(|size| *size > 0).collect();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        let mut counts: Vec<(u64, u64)> = Vec::new();
        for size in sizes {
            match counts.last_mut() {
                Some((last, count)) if *last == size => *count += 1,
                Some(_) | None => counts.push((size, 1)),
            }
        }
        Self(counts)
    }
}

fn bins_for(amount: u128, capacity: u128) -> u64 {
    u64::try_from(amount.div_ceil(capacity.max(1))).unwrap_or(u64::MAX)
}

/// The continuous bound L1.
pub(crate) fn l1(counts: &Counts, capacity: u64) -> u64 {
    let sum: u128 = counts.iter().map(|(size, count)| u128::from(*size) * u128::from(*count)).sum();
    bins_for(sum, u128::from(capacity))
}

/// L2 of Martello and Toth (Discrete Applied Mathematics 28, 1990): for a threshold `a`, items above
/// `capacity − a` are alone, those above half are in different bins, and those from `a` on share what
/// is left there.
pub(crate) fn l2(counts: &Counts, capacity: u64) -> u64 {
    let mut best = l1(counts, capacity);
    let large = counts.partition_point(|(size, _)| *size > capacity / 2);
    let thresholds = counts[large..].iter().map(|(size, _)| *size).chain([0]);
    let (mut alone, mut end) = (0, large);
    let sums = |part: &Counts| {
        part.iter().fold((0_u64, 0_u128), |(many, sum), (size, count)| {
            (many + count, sum + u128::from(*size) * u128::from(*count))
        })
    };
    let (many_large, sum_large) = sums(&counts[..large]);
    // From the largest threshold down: fewer are alone, more take part.
    let (mut many_alone, mut sum_alone) = sums(&counts[..large]);
    alone += large;
    let mut sum_small = 0_u128;
    for threshold in thresholds {
        while alone > 0 && counts[alone - 1].0 <= capacity - threshold {
            alone -= 1;
            many_alone -= counts[alone].1;
            sum_alone -= u128::from(counts[alone].0) * u128::from(counts[alone].1);
        }
        while end < counts.len() && counts[end].0 >= threshold {
            sum_small += u128::from(counts[end].0) * u128::from(counts[end].1);
            end += 1;
        }
        let beside =
            u128::from(many_large - many_alone) * u128::from(capacity) - (sum_large - sum_alone);
        let more = bins_for(sum_small.saturating_sub(beside), u128::from(capacity));
        best = best.max(many_large + more);
    }
    best
}

/// The best of three families of dual feasible functions, `U(ε)`, `φ(ε)` and `u(k)` of Fekete and
/// Schepers, never less than L1.
pub(crate) fn dual_feasible(counts: &Counts, capacity: u64) -> u64 {
    let mut best = l1(counts, capacity);
    let mut thresholds: Vec<u64> = counts
        .iter()
        .map(|(size, _)| if size * 2 <= capacity { *size } else { capacity - size })
        .filter(|threshold| *threshold > 0)
        .collect();
    thresholds.sort_unstable();
    thresholds.dedup();
    let sum = |value: &dyn Fn(u64) -> u128| -> u128 {
        counts.iter().map(|(size, count)| value(*size) * u128::from(*count)).sum()
    };
    for threshold in thresholds.into_iter().take(MAX_THRESHOLDS) {
        best =
            best.max(bins_for(sum(&|size| cut(size, threshold, capacity)), u128::from(capacity)));
        let whole = u128::from(capacity / threshold) * 2;
        best = best.max(bins_for(sum(&|size| rounded(size, threshold, capacity)), whole));
    }
    for k in 1..=MAX_K {
        let scaled = u128::from(k) * u128::from(capacity);
        best = best.max(bins_for(sum(&|size| stepped(size, k, capacity)), scaled));
    }
    best
}

/// `U(ε)`: nothing below the threshold, the whole bin above `capacity − threshold`.
pub(super) fn cut(size: u64, threshold: u64, capacity: u64) -> u128 {
    match size {
        size if size < threshold => 0,
        size if size > capacity - threshold => u128::from(capacity),
        size => u128::from(size),
    }
}

/// `φ(ε)`, twice, of `2·⌊capacity / ε⌋`: small items rounded down, large ones by what they leave.
pub(super) fn rounded(size: u64, threshold: u64, capacity: u64) -> u128 {
    let whole = capacity / threshold;
    let twice = match (size * 2).cmp(&capacity) {
        std::cmp::Ordering::Greater => 2 * (whole - (capacity - size) / threshold),
        std::cmp::Ordering::Equal => whole,
        std::cmp::Ordering::Less => 2 * (size / threshold),
    };
    u128::from(twice)
}

/// `u(k)`, times `k·capacity`.
pub(super) fn stepped(size: u64, k: u64, capacity: u64) -> u128 {
    let scaled = u128::from(size) * u128::from(k + 1);
    let capacity = u128::from(capacity);
    if scaled.is_multiple_of(capacity) {
        u128::from(size) * u128::from(k)
    } else {
        scaled / capacity * capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(sizes: &[u64]) -> Vec<(u64, u64)> {
        let mut sizes = sizes.to_vec();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        sizes.into_iter().map(|size| (size, 1)).collect()
    }

    #[test]
    fn bounds_are_those_of_the_textbook() {
        let check = |sizes: &[u64], capacity, by_sum, by_l2| {
            assert_eq!(l1(&counted(sizes), capacity), by_sum, "{sizes:?}");
            assert_eq!(l2(&counted(sizes), capacity), by_l2, "{sizes:?}");
            assert!(dual_feasible(&counted(sizes), capacity) >= by_l2, "{sizes:?}");
        };
        check(&[3, 3, 3], 6, 2, 2);
        check(&[4, 4, 4], 7, 2, 3);
        check(&[6, 5, 4, 3], 10, 2, 2);
        check(&[7, 7, 4, 4], 10, 3, 3);
        check(&[34, 34, 34, 34], 100, 2, 2);
    }

    #[test]
    fn three_that_are_more_than_a_third_need_two_bins_by_a_dual_feasible_function() {
        assert_eq!(dual_feasible(&counted(&[34; 6]), 100), 3);
    }
}
