//! A neighbourhood search that charges every move: it takes a few items out of a few bins and fills
//! those anew, and keeps what leaves out less, or moves less.

use std::cmp::Reverse;

use crate::{
    budget::Budget,
    model::{Model, signed},
    problem::Placement,
    rng::Rng,
    search::{Filler, unit},
    state::{NOWHERE, State},
};

/// Bins of one round.
const MAX_BINS: usize = 4;

/// Items without a bin that take part in one round.
const MAX_HOMELESS: usize = 24;

/// One in so many rounds may move more than before, to get away from where nothing gets better.
const RELUCTANCE: usize = 20;

/// What a round costs besides what it fills.
const ROUND: u64 = 400;

/// What a state costs: what is left out of those that were somewhere, of the others by priority, moves,
/// and the leading resource that moves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    pub(super) evicted: u64,
    pub(super) left_out: Vec<u64>,
    pub(super) moves: u64,
    pub(super) moved: u64,
}

impl Cost {
    pub(super) fn is_complete(&self) -> bool {
        self.evicted == 0 && self.left_out.iter().all(|loss| *loss == 0)
    }
}

/// What rests on these items alone.
pub(super) fn cost(
    state: &State<'_, '_>,
    home: &[usize],
    items: impl Iterator<Item = usize>,
) -> Cost {
    let model = state.model;
    let mut cost = Cost { evicted: 0, left_out: vec![0; model.rank_count], moves: 0, moved: 0 };
    for item in items {
        match (state.at(item), home[item]) {
            (None, NOWHERE) => cost.left_out[model.ranks[item]] += model.weights[item],
            (None, _) => cost.evicted += model.weights[item],
            (Some(_), NOWHERE) => {}
            (Some(bin), home) if bin == home => {}
            (Some(_), _) => {
                cost.moves += 1;
                cost.moved += model.weights[item];
            }
        }
    }
    cost
}

#[derive(Debug)]
pub(super) struct Charged<'s, 'm, 'p> {
    state: &'s mut State<'m, 'p>,
    /// Where each item is at no charge.
    home: &'s [usize],
    rng: Rng,
    filler: Filler,
    homeless: Vec<usize>,
    away: Vec<usize>,
    bins: Vec<usize>,
    before: Vec<(usize, usize)>,
    pool: Vec<usize>,
    allowed: Vec<Vec<usize>>,
    best: Option<((u64, u64), Placement)>,
}

impl<'s, 'm, 'p> Charged<'s, 'm, 'p> {
    /// `wanted` are those that shall be placed; other items that are nowhere stay there.
    pub(super) fn new(
        state: &'s mut State<'m, 'p>,
        home: &'s [usize],
        wanted: &[usize],
        seed: u64,
    ) -> Self {
        let model = state.model;
        let limited = model.capacities.iter().step_by(model.resources.max(1));
        let largest = limited.copied().filter(|c| *c < 1 << 60).max().unwrap_or(0);
        let unit = unit((0..model.items()).map(|item| model.size(item)), largest);
        let mut search = Self {
            homeless: wanted.iter().copied().filter(|item| state.at(*item).is_none()).collect(),
            away: Vec::new(),
            state,
            home,
            rng: Rng::new(seed),
            filler: Filler::new(unit),
            bins: Vec::new(),
            before: Vec::new(),
            pool: Vec::new(),
            best: None,
            allowed: model
                .problem
                .sets
                .iter()
                .map(|set| set.iter().filter(|bin| *bin < model.bins()).collect())
                .collect(),
        };
        search.note_away();
        search
    }

    fn note_away(&mut self) {
        let (state, home) = (&*self.state, self.home);
        self.away.clear();
        self.away.extend((0..home.len()).filter(|item| {
            home[*item] != NOWHERE && state.at(*item).is_some_and(|bin| bin != home[*item])
        }));
    }

    /// Until `enough` moves or the budget is over.
    pub(super) fn run(&mut self, enough: u64, budget: &mut Budget) {
        while !budget.is_over() {
            if self.homeless.is_empty() && self.away.len() as u64 <= enough {
                return;
            }
            if self.round(budget) {
                self.note_away();
                self.remember();
            }
            budget.spend(ROUND);
        }
    }

    /// Keeps the placement when it is the best so far.
    fn remember(&mut self) {
        if !self.homeless.is_empty() {
            return;
        }
        let weights = &self.state.model.weights;
        let moved: u64 = self.away.iter().map(|item| weights[*item]).sum();
        let now = (self.away.len() as u64, moved);
        if self.best.as_ref().is_none_or(|(best, _)| now < *best) {
            self.best = Some((now, self.state.placement()));
        }
    }

    /// The best placement that left nothing out.
    pub(super) fn into_best(self) -> Option<Placement> {
        self.best.map(|(_, placement)| placement)
    }

    /// Answers whether something is different now.
    fn round(&mut self, budget: &mut Budget) -> bool {
        let focus = self.choose();
        let Some(focus) = focus else { return false };
        self.take_out(focus);
        let home = self.home;
        // Items are as they were before this round; those of `before` are taken out already.
        let at_home = |(item, bin): &(usize, usize)| home[*item] == NOWHERE || home[*item] == *bin;
        let mut before = cost(self.state, home, self.pool.iter().copied().skip(self.before.len()));
        for (item, _) in self.before.iter().filter(|held| !at_home(held)) {
            before.moves += 1;
            before.moved += self.state.model.weights[*item];
        }
        self.refill(focus, budget);
        let taking_part = self.before.iter().map(|(item, _)| *item);
        let others = self.pool_rest();
        let after = cost(self.state, home, taking_part.chain(others.iter().copied()));
        let spread = self.before.iter().all(|(item, _)| self.state.is_spread(*item))
            && self.state.is_spread(focus);
        let nearly = after.evicted == before.evicted
            && after.left_out == before.left_out
            && after.moves <= before.moves + 1
            && self.rng.below(RELUCTANCE) == 0;
        if (after > before && !nearly) || !spread {
            self.undo(&others);
            return false;
        }
        let state = &*self.state;
        self.homeless.retain(|item| state.at(*item).is_none());
        for (item, _) in &self.before {
            if state.at(*item).is_none() {
                self.homeless.push(*item);
            }
        }
        true
    }

    /// What took part without having been taken out.
    fn pool_rest(&self) -> Vec<usize> {
        self.homeless.iter().copied().take(MAX_HOMELESS).collect()
    }

    /// An item to care for, and the bins of the round.
    fn choose(&mut self) -> Option<usize> {
        let model = self.state.model;
        self.bins.clear();
        let focus = if self.homeless.is_empty() {
            let item = self.away[self.rng.below(self.away.len())];
            self.bins.push(self.home[item]);
            self.bins.extend(self.state.at(item));
            item
        } else {
            let item = self.homeless[self.rng.below(self.homeless.len())];
            let own = &self.allowed[model.problem.items[item].allowed];
            if own.is_empty() {
                return None;
            }
            let pick = |rng: &mut Rng| own[rng.below(own.len())];
            let (mut bin, other) = (pick(&mut self.rng), pick(&mut self.rng));
            if self.rng.below(2) == 0 && self.state.space(other) > self.state.space(bin) {
                bin = other;
            }
            self.bins.push(bin);
            item
        };
        let own = &self.allowed[model.problem.items[focus].allowed];
        let most = (2 + self.rng.below(MAX_BINS - 1)).min(model.bins());
        for _ in self.bins.len()..most {
            let mut pick = || {
                if self.rng.below(2) == 0 && !own.is_empty() {
                    own[self.rng.below(own.len())]
                } else {
                    self.rng.below(model.bins())
                }
            };
            let (mut bin, other) = (pick(), pick());
            if self.rng.below(4) != 0 && self.state.space(other) > self.state.space(bin) {
                bin = other;
            }
            if !self.bins.contains(&bin) {
                self.bins.push(bin);
            }
        }
        Some(focus)
    }

    /// Takes out what is away from home, and some of what is at home.
    fn take_out(&mut self, focus: usize) {
        let problem = self.state.model.problem;
        self.before.clear();
        for bin in &self.bins {
            let contents = self.state.contents(*bin);
            let movable = |item: &usize| !problem.items[*item].pinned;
            let stays = |item: &usize| self.home[*item] == *bin;
            let guests = contents.iter().copied().filter(|item| movable(item) && !stays(item));
            self.before.extend(guests.map(|item| (item, *bin)));
            let hosts = contents.iter().filter(|item| movable(item) && stays(item)).count();
            let most = self.rng.below(4).min(hosts);
            for _ in 0..most {
                let item = contents[self.rng.below(contents.len())];
                let chosen = self.before.iter().any(|(other, _)| *other == item);
                if movable(&item) && stays(&item) && !chosen {
                    self.before.push((item, *bin));
                }
            }
        }
        self.pool.clear();
        for (item, _) in &self.before {
            self.state.take(*item);
            self.pool.push(*item);
        }
        let homeless = self.homeless.len();
        if homeless > MAX_HOMELESS {
            let start = self.rng.below(homeless);
            self.homeless.rotate_left(start);
        }
        if let Some(index) = self.homeless.iter().position(|item| *item == focus) {
            self.homeless.swap(0, index);
        }
        self.pool.extend(self.homeless.iter().take(MAX_HOMELESS));
    }

    fn refill(&mut self, focus: usize, budget: &mut Budget) {
        let model: &Model<'_> = self.state.model;
        let noise = self.rng.below(3);
        let mut keyed: Vec<(i64, usize)> = Vec::with_capacity(self.pool.len());
        for item in &self.pool {
            let size = usize::try_from(model.size(*item)).unwrap_or(0);
            let key = match noise {
                0 => signed(self.rng.next() >> 2),
                1 => model.size(*item),
                _ => model.size(*item) + signed(self.rng.below(size / 2 + 1) as u64),
            };
            keyed.push((key, *item));
        }
        keyed.sort_unstable_by_key(|(key, item)| (Reverse(*key), *item));
        self.pool.clear();
        self.pool.extend(keyed.iter().map(|(_, item)| *item));
        let first = self.bins[0];
        if self.state.fits(focus, first) && self.rng.below(4) != 0 {
            self.state.put(focus, first);
        }
        // Bins in turn; what is at home there comes back first, mostly.
        let by_fill = self.rng.below(2) == 0;
        for bin in self.bins.clone() {
            if self.rng.below(4) != 0 {
                for index in 0..self.pool.len() {
                    let item = self.pool[index];
                    if self.home[item] == bin
                        && self.state.at(item).is_none()
                        && self.rng.below(4) != 0
                        && self.state.fits(item, bin)
                    {
                        self.state.put(item, bin);
                    }
                }
            }
            let state = &*self.state;
            self.pool.retain(|item| state.at(*item).is_none());
            if by_fill {
                self.filler.fill(self.state, bin, &mut self.pool, budget);
            }
        }
        for index in 0..self.pool.len() {
            let item = self.pool[index];
            let home = self.home[item];
            let first = self.bins.iter().position(|bin| *bin == home).unwrap_or(0);
            let count = self.bins.len();
            let bins = (0..count).map(|offset| self.bins[(first + offset) % count]);
            if let Some(bin) = bins.into_iter().find(|bin| self.state.fits(item, *bin)) {
                self.state.put(item, bin);
            }
        }
        budget.spend(4 * self.pool.len() as u64);
    }

    fn undo(&mut self, others: &[usize]) {
        for (item, _) in &self.before {
            if self.state.at(*item).is_some() {
                self.state.take(*item);
            }
        }
        for item in others {
            if self.state.at(*item).is_some() {
                self.state.take(*item);
            }
        }
        for (item, bin) in &self.before {
            self.state.put(*item, *bin);
        }
    }
}
