//! Packings to start from: first fit and best fit, the largest first.

use std::{cmp::Reverse, collections::BTreeSet};

/// The better of best fit and first fit.
pub(super) fn best(capacity: &[u64], demands: &[Vec<u64>]) -> Vec<Vec<usize>> {
    // What it takes of the resource it takes most of, in parts of 2^32.
    let share = |item: &usize| -> u128 {
        let parts = demands[*item].iter().zip(capacity);
        parts.map(|(one, most)| (u128::from(*one) << 32) / u128::from((*most).max(1))).sum()
    };
    let mut order: Vec<usize> = (0..demands.len()).collect();
    order.sort_by_cached_key(|item| (Reverse(share(item)), *item));
    if capacity.len() == 1 {
        return best_fit(capacity[0], demands, &order);
    }
    first_fit(capacity, demands, &order)
}

fn best_fit(capacity: u64, demands: &[Vec<u64>], order: &[usize]) -> Vec<Vec<usize>> {
    let mut bins: Vec<Vec<usize>> = Vec::new();
    let mut by_space: BTreeSet<(u64, usize)> = BTreeSet::new();
    for item in order {
        let size = demands[*item][0];
        let tightest = by_space.range((size, 0)..).next().copied();
        let (space, bin) = tightest.unwrap_or((capacity, bins.len()));
        if tightest.is_some() {
            by_space.remove(&(space, bin));
        } else {
            bins.push(Vec::new());
        }
        bins[bin].push(*item);
        by_space.insert((space - size, bin));
    }
    bins
}

fn first_fit(capacity: &[u64], demands: &[Vec<u64>], order: &[usize]) -> Vec<Vec<usize>> {
    let mut bins: Vec<Vec<usize>> = Vec::new();
    let mut free: Vec<Vec<u64>> = Vec::new();
    for item in order {
        let demand = &demands[*item];
        let fits = |free: &Vec<u64>| free.iter().zip(demand).all(|(free, one)| one <= free);
        let bin = free.iter().position(fits).unwrap_or_else(|| {
            bins.push(Vec::new());
            free.push(capacity.to_vec());
            free.len() - 1
        });
        bins[bin].push(*item);
        for (free, one) in free[bin].iter_mut().zip(demand) {
            *free -= one;
        }
    }
    bins
}
