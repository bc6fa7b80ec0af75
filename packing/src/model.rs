//! A problem made ready for the search: amounts in flat tables, keys as bits, rules by item.

use std::collections::BTreeMap;

use crate::problem::{Group, LEADING, Problem};

/// What the search needs of a problem. Borrowed by every state of it.
#[derive(Debug)]
pub(crate) struct Model<'p> {
    pub(crate) problem: &'p Problem,
    pub(crate) resources: usize,
    /// Demands, item after item.
    demands: Vec<i64>,
    /// Capacities, bin after bin.
    pub(crate) capacities: Vec<i64>,
    /// Words of key bits per bin.
    pub(crate) key_words: usize,
    /// Bits of the keys each item needs: `(word, bits)`.
    item_keys: Vec<Vec<(usize, u64)>>,
    /// Keys that are taken from the start, bin after bin.
    pub(crate) taken_keys: Vec<u64>,
    /// The groups of each item that have a rule.
    ruled: Vec<Vec<usize>>,
    /// For each group, `(who keeps it away, how many of it they bear)`.
    pub(crate) kept_away_by: Vec<Vec<(usize, u32)>>,
    /// What it costs to leave an item out: its leading resource, at least 1.
    pub(crate) weights: Vec<u64>,
    /// The rank of its priority, 0 for the highest.
    pub(crate) ranks: Vec<usize>,
    /// How many priorities there are.
    pub(crate) rank_count: usize,
}

pub(crate) fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

impl<'p> Model<'p> {
    pub(crate) fn new(problem: &'p Problem) -> Self {
        let items = &problem.items;
        let mut keys: BTreeMap<u32, usize> = BTreeMap::new();
        for key in items.iter().flat_map(|item| &item.keys) {
            let next = keys.len();
            keys.entry(*key).or_insert(next);
        }
        let key_words = keys.len().div_ceil(64);
        let mut taken_keys = vec![0; problem.bins.len() * key_words];
        for (bin, held) in problem.bins.iter().enumerate() {
            for index in held.keys.iter().filter_map(|key| keys.get(key)) {
                taken_keys[bin * key_words + index / 64] |= 1 << (index % 64);
            }
        }
        let mut kept_away_by = vec![Vec::new(); problem.groups.len()];
        for (group, rules) in problem.groups.iter().enumerate() {
            for (other, most) in &rules.conflicts {
                kept_away_by[*other].push((group, *most));
            }
        }
        let has_rule = |group: usize| {
            let Group { most_per_bin, spread, conflicts, apart } = &problem.groups[group];
            most_per_bin.is_some()
                || spread.is_some()
                || !conflicts.is_empty()
                || *apart
                || !kept_away_by[group].is_empty()
        };
        let ruled = items
            .iter()
            .map(|item| item.groups.iter().copied().filter(|group| has_rule(*group)).collect());
        let mut priorities: Vec<u32> = items.iter().map(|item| item.priority).collect();
        priorities.sort_unstable_by(|one, other| other.cmp(one));
        priorities.dedup();
        let rank = |priority: u32| priorities.partition_point(|higher| *higher > priority);
        Self {
            problem,
            resources: problem.resources,
            demands: items
                .iter()
                .flat_map(|item| item.demand.iter().copied().map(signed))
                .collect(),
            capacities: problem
                .bins
                .iter()
                .flat_map(|bin| bin.capacity.iter().copied().map(signed))
                .collect(),
            key_words,
            item_keys: items
                .iter()
                .map(|item| {
                    item.keys.iter().map(|key| (keys[key] / 64, 1 << (keys[key] % 64))).collect()
                })
                .collect(),
            taken_keys,
            ruled: ruled.collect(),
            kept_away_by,
            weights: items
                .iter()
                .map(|item| item.demand.get(LEADING).copied().unwrap_or(0).max(1))
                .collect(),
            ranks: items.iter().map(|item| rank(item.priority)).collect(),
            rank_count: priorities.len().max(1),
        }
    }

    pub(crate) fn items(&self) -> usize {
        self.problem.items.len()
    }

    pub(crate) fn bins(&self) -> usize {
        self.problem.bins.len()
    }

    pub(crate) fn demand(&self, item: usize) -> &[i64] {
        &self.demands[item * self.resources..(item + 1) * self.resources]
    }

    /// How much it needs of the leading resource.
    pub(crate) fn size(&self, item: usize) -> i64 {
        self.demands.get(item * self.resources).copied().unwrap_or(0)
    }

    pub(crate) fn keys(&self, item: usize) -> &[(usize, u64)] {
        &self.item_keys[item]
    }

    pub(crate) fn ruled(&self, item: usize) -> &[usize] {
        &self.ruled[item]
    }

    /// Whether the item may be in that bin at all.
    pub(crate) fn allowed(&self, item: usize, bin: usize) -> bool {
        let item = &self.problem.items[item];
        if item.pinned {
            return item.current == Some(bin);
        }
        self.problem.sets[item.allowed].contains(bin)
    }

    /// Whether it has a rule of its own: keys, or a group with a rule.
    pub(crate) fn is_ruled(&self, item: usize) -> bool {
        let wishes_only = |group: &usize| {
            let rules = &self.problem.groups[*group];
            rules.most_per_bin.is_none()
                && rules.spread.is_none()
                && rules.conflicts.is_empty()
                && self.kept_away_by[*group].is_empty()
        };
        !self.item_keys[item].is_empty() || !self.ruled[item].iter().all(wishes_only)
    }

    /// What leaving these items out costs, by priority, the highest first.
    pub(crate) fn loss(&self, left_out: impl Iterator<Item = usize>) -> Vec<u64> {
        let mut loss = vec![0; self.rank_count];
        for item in left_out {
            loss[self.ranks[item]] += self.weights[item];
        }
        loss
    }
}
