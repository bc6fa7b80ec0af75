//! In which order moves are made, so that every step has room when its turn comes.

use crate::{
    model::Model,
    problem::{Placement, Problem},
    state::State,
};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Starts what was nowhere, or was stopped before.
    Start {
        /// What.
        item: usize,
        /// Where.
        to: usize,
    },
    /// Moves; while it does, it has room in both bins when the new one starts first.
    Move {
        /// What.
        item: usize,
        /// Whence.
        from: usize,
        /// Where to.
        to: usize,
        /// Whether the new one starts before the old one stops.
        start_first: bool,
    },
    /// Stops, to be started elsewhere later: moves wait for each other in a ring.
    Stop {
        /// What.
        item: usize,
        /// Where it is.
        from: usize,
    },
}

/// The steps from where everything is now to the placement.
pub(super) fn order(problem: &Problem, placement: &Placement) -> Vec<Step> {
    let model = Model::new(problem);
    let mut state = State::current(&model);
    let mut steps = Vec::new();
    let mut todo: Vec<(usize, usize)> = placement
        .iter()
        .enumerate()
        .filter_map(|(item, to)| Some((item, (*to)?)))
        .filter(|(item, to)| state.at(*item) != Some(*to))
        .collect();
    // What frees the most first, what is new last.
    todo.sort_by_key(|(item, _)| (state.at(*item).is_none(), std::cmp::Reverse(model.size(*item))));
    while !todo.is_empty() {
        let ready = todo.iter().position(|(item, to)| can_go(&mut state, *item, *to));
        if let Some(index) = ready {
            let (item, to) = todo.remove(index);
            go(&mut state, item, to, &mut steps);
        } else if !make_way(&mut state, &mut todo, &mut steps) {
            break;
        }
    }
    steps
}

/// Whether the item has room where it goes while it still has it where it is.
fn can_go(state: &mut State<'_, '_>, item: usize, to: usize) -> bool {
    let Some(from) = state.at(item) else { return state.fits(item, to) };
    state.take(item);
    let fits = state.fits(item, to);
    state.put(item, from);
    fits
}

fn go(state: &mut State<'_, '_>, item: usize, to: usize, steps: &mut Vec<Step>) {
    match state.at(item) {
        Some(from) => {
            let start_first = state.model.problem.items[item].twice;
            steps.push(Step::Move { item, from, to, start_first });
            state.take(item);
        }
        None => steps.push(Step::Start { item, to }),
    }
    state.put(item, to);
}

/// Moves wait for each other: one goes by way of a third bin, or stops until its turn comes.
fn make_way(state: &mut State<'_, '_>, todo: &mut [(usize, usize)], steps: &mut Vec<Step>) -> bool {
    let mut waiting: Vec<usize> =
        todo.iter().map(|(item, _)| *item).filter(|item| state.at(*item).is_some()).collect();
    waiting.sort_by_key(|item| (state.model.size(*item), *item));
    // What stops anyway while it moves may as well stop earlier; the smallest waits.
    let halted = waiting.iter().copied().find(|item| !state.model.problem.items[*item].twice);
    if halted.is_none() {
        for item in &waiting {
            let by_way = (0..state.model.bins())
                .find(|bin| state.at(*item) != Some(*bin) && unlocks(state, todo, *item, *bin));
            if let Some(bin) = by_way {
                go(state, *item, bin, steps);
                return true;
            }
        }
    }
    let Some(item) = halted.or_else(|| waiting.first().copied()) else { return false };
    let Some(from) = state.at(item) else { return false };
    steps.push(Step::Stop { item, from });
    state.take(item);
    true
}

/// Whether some other can go where it shall once this one is in that bin.
fn unlocks(state: &mut State<'_, '_>, todo: &[(usize, usize)], item: usize, bin: usize) -> bool {
    let Some(from) = state.at(item) else { return false };
    if !can_go(state, item, bin) {
        return false;
    }
    state.take(item);
    state.put(item, bin);
    let frees = todo.iter().any(|(other, to)| *other != item && can_go(state, *other, *to));
    state.take(item);
    state.put(item, from);
    frees
}
