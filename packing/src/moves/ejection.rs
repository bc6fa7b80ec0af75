//! Room for items by the fewest moves: everything there is to try with one move, then two, and so on.
//! Whoever must make room goes where it fits, or has others make room there in turn: a chain of
//! ejections (Glover, Discrete Applied Mathematics 65, 1996), searched depth first with deepening limits.
//! Where a group is spread unevenly once all have a place, one of its members goes elsewhere in turn.

use crate::{budget::Budget, state::State};

/// Most items that leave one bin for one item.
const MAX_EJECTED: usize = 3;

/// What it costs to try one ejection, and one bin.
const EJECTION: u64 = 20;
const PLACE: u64 = 2;

/// What was found: how much of the leading resource moves, and where everybody goes.
pub(super) type Found = (u64, Vec<(usize, usize)>);

/// Finds places for `homeless` with at most `moves` other items moved, the least of the leading
/// resource; leaves the state as it was.
pub(super) fn with_moves(
    state: &mut State<'_, '_>,
    home: &[usize],
    homeless: &[usize],
    moves: usize,
    budget: &mut Budget,
) -> Option<Found> {
    let is_spread = state.model.problem.groups.iter().any(|group| group.spread.is_some());
    let mut tree = Tree {
        best: None,
        moved: 0,
        waiting: homeless.to_vec(),
        placed: Vec::new(),
        home,
        is_spread,
        budget,
    };
    tree.descend(state, moves);
    tree.best
}

struct Tree<'t> {
    best: Option<Found>,
    moved: u64,
    waiting: Vec<usize>,
    placed: Vec<(usize, usize)>,
    home: &'t [usize],
    /// Whether any group is spread.
    is_spread: bool,
    budget: &'t mut Budget,
}

impl Tree<'_> {
    fn is_worse(&self, moved: u64) -> bool {
        self.best.as_ref().is_some_and(|(least, _)| moved >= *least)
    }

    /// Places the largest of those that wait, and then the others. Answers whether that worked.
    fn descend(&mut self, state: &mut State<'_, '_>, moves: usize) -> bool {
        let largest = (0..self.waiting.len()).max_by_key(|at| state.model.size(self.waiting[*at]));
        let Some(index) = largest else {
            let uneven = self.placed.iter().find(|(item, _)| !state.is_spread(*item));
            if let Some((item, _)) = uneven.copied() {
                return moves > 0 && self.spread(state, item, moves);
            }
            if !self.is_worse(self.moved) {
                self.best = Some((self.moved, self.placed.clone()));
            }
            return true;
        };
        let item = self.waiting.swap_remove(index);
        let mut fits = Vec::new();
        for bin in 0..state.model.bins() {
            // To go back is to have moved nothing: that is looked at with fewer moves.
            if self.home[item] != bin && state.fits_loosely(item, bin) {
                fits.push(bin);
            }
        }
        self.budget.spend(PLACE * state.model.bins() as u64);
        // The last one needs any bin; before it, every bin may be the wrong one, and where others must
        // move for an even spread every bin may cost another amount.
        let is_last = self.waiting.is_empty() && !self.is_spread;
        let mut placed = false;
        for bin in fits.iter().copied() {
            placed |= self.with(state, item, bin, moves);
            if placed && is_last {
                break;
            }
        }
        if moves > 0 && !(placed && is_last) {
            for bin in 0..state.model.bins() {
                let other = self.home[item] != bin && !fits.contains(&bin);
                if other && state.model.allowed(item, bin) && !self.budget.is_over() {
                    placed |= self.eject(state, (item, bin), (0, MAX_EJECTED), moves);
                }
            }
        }
        self.waiting.push(item);
        placed
    }

    fn with(&mut self, state: &mut State<'_, '_>, item: usize, bin: usize, moves: usize) -> bool {
        state.put(item, bin);
        self.placed.push((item, bin));
        let placed = self.descend(state, moves);
        self.placed.pop();
        state.take(item);
        placed
    }

    /// Ejects one that shares an uneven group with `item`, wherever it is: without that, no other move
    /// makes the group even.
    fn spread(&mut self, state: &mut State<'_, '_>, item: usize, moves: usize) -> bool {
        let mut placed = false;
        let model = state.model;
        let shares = |other: usize| {
            let own = model.ruled(item);
            model.ruled(other).iter().any(|group| own.contains(group))
        };
        for out in (0..model.items()).filter(|other| shares(*other)) {
            placed |= self.without(state, out, |tree, state| tree.descend(state, moves - 1));
        }
        placed
    }

    /// What is found while that item waits for another place; nothing when it may not leave its own, or when
    /// there is no more to spend.
    fn without<'m, 'p>(
        &mut self,
        state: &mut State<'m, 'p>,
        out: usize,
        found: impl FnOnce(&mut Self, &mut State<'m, 'p>) -> bool,
    ) -> bool {
        let model = state.model;
        let Some(bin) = state.at(out).filter(|bin| self.home[out] == *bin) else { return false };
        let weight = model.weights[out];
        if model.problem.items[out].pinned
            || self.is_worse(self.moved + weight)
            || !self.budget.spend(EJECTION)
        {
            return false;
        }
        state.take(out);
        self.moved += weight;
        self.waiting.push(out);
        let placed = found(self, state);
        self.waiting.retain(|other| *other != out);
        self.moved -= weight;
        state.put(out, bin);
        placed
    }

    /// Ejects items of the bin, by size from `start` on, until `item` fits there.
    fn eject(
        &mut self,
        state: &mut State<'_, '_>,
        (item, bin): (usize, usize),
        (start, most): (usize, usize),
        moves: usize,
    ) -> bool {
        let mut placed = false;
        let model = state.model;
        let mut contents: Vec<usize> = state.contents(bin).to_vec();
        contents.sort_unstable_by_key(|item| (model.size(*item), *item));
        for (index, out) in contents.iter().copied().enumerate().skip(start) {
            placed |= self.without(state, out, |tree, state| {
                if state.fits_loosely(item, bin) {
                    tree.with(state, item, bin, moves - 1)
                } else {
                    moves > 1
                        && most > 1
                        && tree.eject(state, (item, bin), (index, most - 1), moves - 1)
                }
            });
        }
        placed
    }
}
