//! Everything there is to try, for a few items: depth first, cut off by what is lost already.

use crate::{budget::Budget, model::Model, problem::Placement, state::State};

/// More items than these are not tried in every way.
pub(crate) const MAX_ITEMS: usize = 20;

/// Leaves out as little as possible. Answers the placement and whether it is proven to be the best one;
/// the state is as it was. `known` is the loss of a placement that is known: only a better one is answered.
pub(crate) fn least_loss(
    state: &mut State<'_, '_>,
    order: &[usize],
    known: &[u64],
    budget: &mut Budget,
) -> (Option<Placement>, bool) {
    let mut tree =
        Tree { best: known.to_vec(), found: None, loss: vec![0; known.len()], order, budget };
    let complete = tree.descend(state, 0);
    (tree.found, complete)
}

struct Tree<'t> {
    best: Vec<u64>,
    found: Option<Placement>,
    loss: Vec<u64>,
    order: &'t [usize],
    budget: &'t mut Budget,
}

impl Tree<'_> {
    /// Answers whether everything below was tried or need not be.
    fn descend(&mut self, state: &mut State<'_, '_>, depth: usize) -> bool {
        if self.loss >= self.best {
            return true;
        }
        let Some(item) = self.order.get(depth).copied() else {
            if self.order.iter().all(|item| state.is_spread(*item)) {
                self.best.clone_from(&self.loss);
                self.found = Some(state.placement());
            }
            return true;
        };
        if !self.budget.spend(state.model.bins() as u64) {
            return false;
        }
        let mut complete = true;
        for bin in 0..state.model.bins() {
            if !state.fits_loosely(item, bin) || is_like_an_earlier(state, bin, item) {
                continue;
            }
            state.put(item, bin);
            complete &= self.descend(state, depth + 1);
            state.take(item);
            if self.best.iter().all(|loss| *loss == 0) {
                return true;
            }
        }
        let model: &Model<'_> = state.model;
        self.loss[model.ranks[item]] += model.weights[item];
        complete &= self.descend(state, depth + 1);
        self.loss[model.ranks[item]] -= model.weights[item];
        complete
    }
}

/// Whether an earlier empty bin is the same in every respect, so that this one need not be tried.
fn is_like_an_earlier(state: &State<'_, '_>, bin: usize, item: usize) -> bool {
    let problem = state.model.problem;
    let plain = |bin: usize| state.contents(bin).is_empty() && problem.bins[bin].members.is_empty();
    if !plain(bin) || !problem.partitions.is_empty() {
        return false;
    }
    (0..bin).any(|other| {
        plain(other)
            && state.fits_loosely(item, other)
            && problem.bins[other] == problem.bins[bin]
            && problem.sets.iter().all(|set| set.contains(bin) == set.contains(other))
    })
}
