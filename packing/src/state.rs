//! Where items are during the search, and what that leaves: changed item by item.

use crate::{
    model::Model,
    problem::{LEADING, Placement, Spread},
};

/// No bin.
pub(crate) const NOWHERE: usize = usize::MAX;

#[derive(Debug, Clone)]
pub(crate) struct State<'m, 'p> {
    pub(crate) model: &'m Model<'p>,
    /// What is free, bin after bin. Never negative but for pinned items that exceed their bin.
    free: Vec<i64>,
    keys: Vec<u64>,
    /// Where each item is; [`NOWHERE`] otherwise.
    at: Vec<usize>,
    /// The items of each bin, in no particular order.
    contents: Vec<Vec<usize>>,
    /// For each item, which of its bin's contents it is.
    places: Vec<usize>,
    /// For each group with a rule, `(bin, members)` where there are any.
    members: Vec<Vec<(usize, u32)>>,
    /// For each group that is spread, its members per part.
    parts: Vec<Vec<u32>>,
}

impl<'m, 'p> State<'m, 'p> {
    /// With only what is pinned in its place.
    pub(crate) fn new(model: &'m Model<'p>) -> Self {
        let problem = model.problem;
        let mut members: Vec<Vec<(usize, u32)>> = vec![Vec::new(); problem.groups.len()];
        let mut parts = vec![Vec::new(); problem.groups.len()];
        for (group, rules) in problem.groups.iter().enumerate() {
            if let Some(Spread { partition, .. }) = rules.spread {
                let count = problem.partitions[partition].iter().flatten().max();
                parts[group] = vec![0; count.map_or(0, |last| last + 1)];
            }
        }
        for (bin, held) in problem.bins.iter().enumerate() {
            for (group, count) in held.members.iter().filter(|(_, count)| *count > 0) {
                members[*group].push((bin, *count));
                if let Some(part) = part_of(model, *group, bin) {
                    parts[*group][part] += count;
                }
            }
        }
        let mut state = Self {
            model,
            free: model.capacities.clone(),
            keys: model.taken_keys.clone(),
            at: vec![NOWHERE; model.items()],
            contents: vec![Vec::new(); model.bins()],
            places: vec![0; model.items()],
            members,
            parts,
        };
        for (item, what) in problem.items.iter().enumerate() {
            if let (true, Some(bin)) = (what.pinned, what.current) {
                state.put(item, bin);
            }
        }
        state
    }

    /// With everything where it is now, as far as that keeps the rules.
    pub(crate) fn current(model: &'m Model<'p>) -> Self {
        let mut state = Self::new(model);
        for (item, what) in model.problem.items.iter().enumerate() {
            // However it is spread: half of it is uneven where all of it is even.
            if let (false, Some(bin)) = (what.pinned, what.current)
                && state.fits_loosely(item, bin)
            {
                state.put(item, bin);
            }
        }
        state
    }

    pub(crate) fn at(&self, item: usize) -> Option<usize> {
        Some(self.at[item]).filter(|bin| *bin != NOWHERE)
    }

    pub(crate) fn free(&self, bin: usize) -> &[i64] {
        let width = self.model.resources;
        &self.free[bin * width..(bin + 1) * width]
    }

    /// What is free of the leading resource.
    pub(crate) fn space(&self, bin: usize) -> i64 {
        self.free.get(bin * self.model.resources + LEADING).copied().unwrap_or(0)
    }

    pub(crate) fn contents(&self, bin: usize) -> &[usize] {
        &self.contents[bin]
    }

    pub(crate) fn members(&self, group: usize, bin: usize) -> u32 {
        let mut held = self.members[group].iter();
        held.find(|(other, _)| *other == bin).map_or(0, |(_, count)| *count)
    }

    pub(crate) fn left_out(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.at.len()).filter(|item| self.at[*item] == NOWHERE)
    }

    pub(crate) fn placement(&self) -> Placement {
        (0..self.at.len()).map(|item| self.at(item)).collect()
    }

    /// Whether the item, which is nowhere, may be put into the bin.
    pub(crate) fn fits(&self, item: usize, bin: usize) -> bool {
        let model = self.model;
        let free = self.free(bin);
        if model.demand(item).iter().zip(free).any(|(demand, free)| demand > free) {
            return false;
        }
        model.allowed(item, bin) && self.keys_free(item, bin) && self.rules_allow(item, bin)
    }

    /// The same, but for how its groups are spread: that is looked at when all are placed.
    pub(crate) fn fits_loosely(&self, item: usize, bin: usize) -> bool {
        let groups = self.model.ruled(item);
        self.has_room(item, bin)
            && self.model.allowed(item, bin)
            && self.keys_free(item, bin)
            && groups.iter().all(|group| self.counts_allow(*group, bin))
    }

    pub(crate) fn has_room(&self, item: usize, bin: usize) -> bool {
        let free = self.free(bin);
        self.model.demand(item).iter().zip(free).all(|(demand, free)| demand <= free)
    }

    pub(crate) fn keys_free(&self, item: usize, bin: usize) -> bool {
        let first = bin * self.model.key_words;
        self.model.keys(item).iter().all(|(word, bits)| self.keys[first + word] & bits == 0)
    }

    pub(crate) fn rules_allow(&self, item: usize, bin: usize) -> bool {
        self.model.ruled(item).iter().all(|group| self.group_allows(*group, bin))
    }

    fn group_allows(&self, group: usize, bin: usize) -> bool {
        let spread = self.model.problem.groups[group].spread;
        self.counts_allow(group, bin)
            && spread.is_none_or(|spread| self.keeps_skew(group, spread, bin))
    }

    fn counts_allow(&self, group: usize, bin: usize) -> bool {
        let rules = &self.model.problem.groups[group];
        if rules.most_per_bin.is_some_and(|most| self.members(group, bin) >= most) {
            return false;
        }
        for (other, most) in &rules.conflicts {
            // A group may keep even itself away.
            let more = u32::from(*other == group);
            if self.members(*other, bin) + more > *most {
                return false;
            }
        }
        for (other, most) in &self.model.kept_away_by[group] {
            if self.members(*other, bin) > 0 && self.members(group, bin) >= *most {
                return false;
            }
        }
        rules.spread.is_none() || part_of(self.model, group, bin).is_some()
    }

    fn keeps_skew(&self, group: usize, spread: Spread, bin: usize) -> bool {
        let Some(part) = part_of(self.model, group, bin) else { return false };
        let counts = &self.parts[group];
        counts.iter().min().is_none_or(|least| counts[part] < least + spread.skew)
    }

    /// Whether the members of every group the item is in are spread as they must be.
    pub(crate) fn is_spread(&self, item: usize) -> bool {
        self.model.ruled(item).iter().all(|group| {
            let Some(spread) = self.model.problem.groups[*group].spread else { return true };
            let counts = &self.parts[*group];
            let (most, least) = (counts.iter().max(), counts.iter().min());
            most.zip(least).is_none_or(|(most, least)| most - least <= spread.skew)
        })
    }

    pub(crate) fn put(&mut self, item: usize, bin: usize) {
        let width = self.model.resources;
        for (index, demand) in self.model.demand(item).iter().enumerate() {
            self.free[bin * width + index] -= demand;
        }
        for (word, bits) in self.model.keys(item) {
            self.keys[bin * self.model.key_words + word] |= bits;
        }
        self.at[item] = bin;
        self.places[item] = self.contents[bin].len();
        self.contents[bin].push(item);
        for group in self.model.ruled(item) {
            let held = &mut self.members[*group];
            match held.iter_mut().find(|(other, _)| *other == bin) {
                Some((_, count)) => *count += 1,
                None => held.push((bin, 1)),
            }
            if let Some(part) = part_of(self.model, *group, bin) {
                self.parts[*group][part] += 1;
            }
        }
    }

    pub(crate) fn take(&mut self, item: usize) {
        let bin = self.at[item];
        let width = self.model.resources;
        for (index, demand) in self.model.demand(item).iter().enumerate() {
            self.free[bin * width + index] += demand;
        }
        for (word, bits) in self.model.keys(item) {
            self.keys[bin * self.model.key_words + word] &= !bits;
        }
        self.at[item] = NOWHERE;
        let place = self.places[item];
        self.contents[bin].swap_remove(place);
        if let Some(moved) = self.contents[bin].get(place) {
            self.places[*moved] = place;
        }
        for group in self.model.ruled(item) {
            let held = &mut self.members[*group];
            if let Some(index) = held.iter().position(|(other, _)| *other == bin) {
                held[index].1 -= 1;
                if held[index].1 == 0 {
                    held.swap_remove(index);
                }
            }
            if let Some(part) = part_of(self.model, *group, bin) {
                self.parts[*group][part] -= 1;
            }
        }
    }
}

fn part_of(model: &Model<'_>, group: usize, bin: usize) -> Option<usize> {
    let spread = model.problem.groups[group].spread?;
    model.problem.partitions[spread.partition][bin]
}
