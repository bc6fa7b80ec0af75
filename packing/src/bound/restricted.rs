//! What must be left out, by what items are restricted to.

use std::collections::BTreeMap;

use crate::{
    model::Model,
    problem::{BinSet, UNLIMITED},
};

/// Sets whose unions are looked at.
const MAX_SETS: usize = 128;

/// Sets that are looked at, however many items there are.
const MIN_SETS: usize = 8;

/// Comparisons of all bounds of a problem: some tenths of a second.
const MAX_WORK: usize = 100_000_000;

/// Divisors of a resource that are tried as measures.
const MAX_DIVISORS: usize = 48;

/// Of what there is too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// So much of a resource.
    Resource {
        /// Which one.
        resource: usize,
        /// How much is missing.
        amount: u64,
    },
    /// Items of a resource are too large to share these bins: so many of them are too many.
    Pieces {
        /// Which resource.
        resource: usize,
        /// The size from which on they are too many.
        size: u64,
        /// How many items too many, at least.
        count: u64,
    },
    /// Too many need the same exclusive key.
    Key {
        /// Which one.
        key: u32,
        /// How many too many.
        count: u64,
    },
    /// A group has more members than these bins may have of it.
    Members {
        /// Which one.
        group: usize,
        /// How many too many.
        count: u64,
    },
}

/// Why not everything can be placed, whatever is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impossible {
    /// What is missing.
    pub short: Short,
    /// The bins that these items are restricted to.
    pub bins: Vec<usize>,
    /// The items.
    pub items: Vec<usize>,
    /// How much of the leading resource must be left out because of it, at least.
    pub loss: u64,
}

/// The strongest reason why not everything of the so many highest priorities can be placed.
pub(crate) fn impossible(model: &Model<'_>, ranks: usize) -> Option<Impossible> {
    let problem = model.problem;
    let own = |item: usize| -> BinSet {
        let what = &problem.items[item];
        match what.current.filter(|_| what.pinned) {
            Some(bin) => [bin].into_iter().collect(),
            None => problem.sets[what.allowed].clone(),
        }
    };
    let items: Vec<(usize, BinSet)> = (0..model.items())
        .filter(|item| model.ranks[*item] < ranks)
        .map(|item| (item, own(item)))
        .collect();
    let mut best: Option<Impossible> = None;
    // Every set is compared with every item by every measure, once for each priority.
    let each = model.items().max(1) * model.resources.max(1) * MAX_DIVISORS * model.rank_count;
    let most = (MAX_WORK / each).clamp(MIN_SETS, MAX_SETS);
    for set in families(model, &items, most) {
        let within: Vec<usize> =
            items.iter().filter(|(_, own)| own.is_within(&set)).map(|(item, _)| *item).collect();
        let bins: Vec<usize> = set.iter().filter(|bin| *bin < model.bins()).collect();
        if within.is_empty() {
            continue;
        }
        let mut found = Vec::new();
        resources(model, &within, &bins, &mut found);
        keys(model, &within, &bins, &mut found);
        members(model, &within, &bins, &mut found);
        for (short, loss) in found {
            if best.as_ref().is_none_or(|best| loss > best.loss) {
                let (bins, items) = (bins.clone(), within.clone());
                best = Some(Impossible { short, bins, items, loss });
            }
        }
    }
    best
}

/// All bins, the sets items are restricted to, and unions of them.
fn families(model: &Model<'_>, items: &[(usize, BinSet)], most: usize) -> Vec<BinSet> {
    let mut sets: Vec<BinSet> = vec![BinSet::all(model.bins())];
    let mut own: Vec<BinSet> = items.iter().map(|(_, own)| own.clone()).collect();
    own.sort_unstable();
    own.dedup();
    sets.extend(own.iter().cloned());
    // Larger ones first: what is bound to one bin is rarely short by itself.
    sets.sort_by_key(|set| (std::cmp::Reverse(set.len()), set.clone()));
    sets.dedup();
    sets.truncate(most);
    own.truncate(most);
    let mut index = 0;
    while index < sets.len() && sets.len() < most {
        for other in &own {
            let union = sets[index].or(other);
            if !sets.contains(&union) {
                sets.push(union);
            }
            if sets.len() >= most {
                break;
            }
        }
        index += 1;
    }
    sets
}

/// The least that must be left out so that the measure of the rest is `excess` less: the cheapest per
/// unit of it first, the last of them in part.
fn cover(model: &Model<'_>, mut measured: Vec<(usize, u128)>, excess: u128) -> u64 {
    measured.retain(|(_, measure)| *measure > 0);
    measured.sort_unstable_by(|(one, measure), (other, more)| {
        let left = u128::from(model.weights[*one]) * more;
        let right = u128::from(model.weights[*other]) * measure;
        left.cmp(&right).then(one.cmp(other))
    });
    let (mut loss, mut left) = (0_u64, excess);
    for (item, measure) in measured {
        let weight = model.weights[item];
        if measure >= left {
            let part = (u128::from(weight) * left).div_ceil(measure);
            return loss.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
        }
        left -= measure;
        loss = loss.saturating_add(weight);
    }
    loss
}

fn resources(model: &Model<'_>, items: &[usize], bins: &[usize], found: &mut Vec<(Short, u64)>) {
    let problem = model.problem;
    for resource in 0..model.resources {
        let capacity = |bin: &usize| problem.bins[*bin].capacity[resource];
        if bins.iter().any(|bin| capacity(bin) >= UNLIMITED) {
            continue;
        }
        let size = |item: usize| problem.items[item].demand[resource];
        let demand: u128 = items.iter().map(|item| u128::from(size(*item))).sum();
        let room: u128 = bins.iter().map(|bin| u128::from(capacity(bin))).sum();
        if demand > room {
            let measured = items.iter().map(|item| (*item, u128::from(size(*item)))).collect();
            let amount = u64::try_from(demand - room).unwrap_or(u64::MAX);
            let loss = cover(model, measured, demand - room);
            found.push((Short::Resource { resource, amount }, loss));
        }
        let mut divisors: Vec<u64> =
            items.iter().map(|item| size(*item)).filter(|s| *s > 0).collect();
        divisors.sort_unstable_by(|one, other| other.cmp(one));
        divisors.dedup();
        // ⌊size / divisor⌋: never more in sum than ⌊capacity / divisor⌋, whatever the bins are like.
        let stride = divisors.len().div_ceil(MAX_DIVISORS).max(1);
        for divisor in divisors.into_iter().step_by(stride) {
            let pieces: u128 = items.iter().map(|item| u128::from(size(*item) / divisor)).sum();
            let places: u128 = bins.iter().map(|bin| u128::from(capacity(bin) / divisor)).sum();
            if pieces > places {
                let measured =
                    items.iter().map(|item| (*item, u128::from(size(*item) / divisor))).collect();
                let count = u64::try_from(pieces - places).unwrap_or(u64::MAX);
                let loss = cover(model, measured, pieces - places);
                found.push((Short::Pieces { resource, size: divisor, count }, loss));
            }
        }
    }
}

fn keys(model: &Model<'_>, items: &[usize], bins: &[usize], found: &mut Vec<(Short, u64)>) {
    let problem = model.problem;
    let mut wanted: BTreeMap<u32, Vec<(usize, u128)>> = BTreeMap::new();
    for item in items {
        for key in &problem.items[*item].keys {
            wanted.entry(*key).or_default().push((*item, 1));
        }
    }
    for (key, holders) in wanted {
        let free = bins.iter().filter(|bin| !problem.bins[**bin].keys.contains(&key)).count();
        if holders.len() > free {
            let count = (holders.len() - free) as u64;
            let loss = cover(model, holders, u128::from(count));
            found.push((Short::Key { key, count }, loss));
        }
    }
}

fn members(model: &Model<'_>, items: &[usize], bins: &[usize], found: &mut Vec<(Short, u64)>) {
    let problem = model.problem;
    // One that is several members of a group is left out as a whole, at its price once.
    let mut wanted: BTreeMap<usize, BTreeMap<usize, u128>> = BTreeMap::new();
    for item in items {
        for group in model.ruled(*item) {
            *wanted.entry(*group).or_default().entry(*item).or_default() += 1;
        }
    }
    for (group, holders) in wanted {
        let Some(most) = problem.groups[group].most_per_bin else { continue };
        let free = |bin: &usize| -> u64 {
            let there = problem.bins[*bin].members.iter().filter(|(other, _)| *other == group);
            u64::from(most.saturating_sub(there.map(|(_, count)| *count).sum()))
        };
        let places: u64 = bins.iter().map(free).sum();
        let pieces = u64::try_from(holders.values().sum::<u128>()).unwrap_or(u64::MAX);
        if pieces > places {
            let loss = cover(model, holders.into_iter().collect(), u128::from(pieces - places));
            found.push((Short::Members { group, count: pieces - places }, loss));
        }
    }
}

/// What no packing can avoid is at least what is short of the leading resource.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Bin, Group, Item, LEADING, Problem};

    #[test]
    fn what_is_short_is_named_with_the_bins_it_is_short_in() {
        let bin = |memory| Bin { capacity: vec![memory], ..Bin::default() };
        let item = |memory, allowed| Item { demand: vec![memory], allowed, ..Item::default() };
        let problem = Problem {
            resources: 1,
            bins: vec![bin(10), bin(10), bin(10)],
            items: vec![item(8, 1), item(7, 1), item(2, 0), item(6, 1)],
            sets: vec![BinSet::all(3), [0, 1].into_iter().collect()],
            ..Problem::default()
        };
        let found = impossible(&Model::new(&problem), 1).unwrap();
        assert_eq!(found.bins, [0, 1]);
        assert_eq!(found.items, [0, 1, 3]);
        assert_eq!(found.short, Short::Pieces { resource: LEADING, size: 6, count: 1 });
        assert_eq!(found.loss, 6);
    }

    #[test]
    fn what_is_several_members_of_a_group_is_lost_once() {
        let problem = Problem {
            resources: 1,
            bins: vec![Bin { capacity: vec![100], ..Bin::default() }],
            items: vec![Item { demand: vec![9], groups: vec![0, 0, 0], ..Item::default() }],
            groups: vec![Group { most_per_bin: Some(1), ..Group::default() }],
            sets: vec![BinSet::all(1)],
            ..Problem::default()
        };
        let found = impossible(&Model::new(&problem), 1).unwrap();
        assert_eq!((found.short, found.loss), (Short::Members { group: 0, count: 2 }, 6));
    }
}
