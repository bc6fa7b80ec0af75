//! Whether a placement keeps every rule. Independent of what the search counts as it goes: everything
//! the search answers is compared with this.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::{Placement, Problem};

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Another number of items than the problem has, or a bin it does not have.
    Shape,
    /// The item may not be in that bin.
    NotAllowed {
        /// Which item.
        item: usize,
        /// Which bin.
        bin: usize,
    },
    /// A pinned item is somewhere else.
    Pinned {
        /// Which item.
        item: usize,
    },
    /// More of a resource than the bin has.
    Over {
        /// Which bin.
        bin: usize,
        /// Which resource.
        resource: usize,
    },
    /// Two have the same exclusive key.
    Key {
        /// Which bin.
        bin: usize,
        /// Which key.
        key: u32,
    },
    /// More members of a group than a bin may have.
    TooMany {
        /// Which bin.
        bin: usize,
        /// Which group.
        group: usize,
    },
    /// Members are spread too unevenly, or are where there is no part.
    Skew {
        /// Which group.
        group: usize,
    },
    /// A group and one that it keeps away.
    Conflict {
        /// Which bin.
        bin: usize,
        /// The group that has the rule.
        group: usize,
    },
}

/// Whether the placement keeps every rule of the problem. Items that are nowhere break none.
///
/// # Errors
/// The first rule that is broken.
pub fn check(problem: &Problem, placement: &Placement) -> Result<(), Violation> {
    if placement.len() != problem.items.len() {
        return Err(Violation::Shape);
    }
    let bins = problem.bins.len();
    let mut used = vec![vec![0_u64; problem.resources]; bins];
    let mut keys: BTreeSet<(usize, u32)> = BTreeSet::new();
    let mut members: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    for (bin, held) in problem.bins.iter().enumerate() {
        keys.extend(held.keys.iter().map(|key| (bin, *key)));
        for (group, count) in &held.members {
            *members.entry((*group, bin)).or_default() += count;
        }
    }
    for (item, (what, at)) in problem.items.iter().zip(placement).enumerate() {
        if what.pinned && *at != what.current {
            return Err(Violation::Pinned { item });
        }
        let Some(bin) = *at else { continue };
        if bin >= bins {
            return Err(Violation::Shape);
        }
        // What is pinned is where it is, whatever the rules say by now.
        if !what.pinned && !problem.sets[what.allowed].contains(bin) {
            return Err(Violation::NotAllowed { item, bin });
        }
        for (sum, demand) in used[bin].iter_mut().zip(&what.demand) {
            *sum += demand;
        }
        for key in &what.keys {
            if !keys.insert((bin, *key)) {
                return Err(Violation::Key { bin, key: *key });
            }
        }
        for group in &what.groups {
            *members.entry((*group, bin)).or_default() += 1;
        }
    }
    for (bin, sums) in used.iter().enumerate() {
        let over = sums.iter().zip(&problem.bins[bin].capacity).position(|(sum, most)| sum > most);
        if let Some(resource) = over {
            return Err(Violation::Over { bin, resource });
        }
    }
    groups(problem, &members)
}

fn groups(problem: &Problem, members: &BTreeMap<(usize, usize), u32>) -> Result<(), Violation> {
    for ((group, bin), count) in members {
        let (group, bin, rules) = (*group, *bin, &problem.groups[*group]);
        if *count == 0 {
            continue;
        }
        if rules.most_per_bin.is_some_and(|most| *count > most) {
            return Err(Violation::TooMany { bin, group });
        }
        for (other, most) in &rules.conflicts {
            let there = members.get(&(*other, bin)).copied().unwrap_or(0);
            if there > *most {
                return Err(Violation::Conflict { bin, group });
            }
        }
    }
    for (group, rules) in problem.groups.iter().enumerate() {
        let Some(spread) = rules.spread else { continue };
        let parts = &problem.partitions[spread.partition];
        let mut counts: BTreeMap<usize, u32> = parts.iter().flatten().map(|p| (*p, 0)).collect();
        for (bin, part) in parts.iter().enumerate() {
            let there = members.get(&(group, bin)).copied().unwrap_or(0);
            match part {
                Some(part) => *counts.entry(*part).or_default() += there,
                None if there > 0 => return Err(Violation::Skew { group }),
                None => {}
            }
        }
        let (most, least) = (counts.values().max(), counts.values().min());
        if most.zip(least).is_some_and(|(most, least)| most - least > spread.skew) {
            return Err(Violation::Skew { group });
        }
    }
    Ok(())
}
