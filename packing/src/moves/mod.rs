//! Few moves: room for what is stuck, a bin emptied, room made, a better packing reached.

mod charge;
mod ejection;
mod sequence;

use charge::{Charged, Cost, cost};
pub use sequence::Step;

use crate::{
    budget::Budget,
    greedy::{Scores, hardest_first, put_all},
    model::Model,
    problem::{BinSet, Placement, Problem},
    search::Search,
    state::{NOWHERE, State},
};

/// Moves that are tried exhaustively before the neighbourhood search goes on.
const MAX_EXHAUSTIVE: usize = 3;

/// Items that wait together and are tried exhaustively.
const MAX_TOGETHER: usize = 4;

/// A way to another placement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a way changes nothing by itself"]
pub struct Moves {
    /// Where each item is at the end.
    pub placement: Placement,
    /// What of those that were wanted is nowhere still.
    pub left_out: Vec<usize>,
    /// What is to be done, one after the other; every step has room when its turn comes.
    pub sequence: Vec<Step>,
    /// How many items that were somewhere are somewhere else.
    pub moves: u64,
    /// How much of the leading resource they have.
    pub moved: u64,
    /// Whether it is proven that fewer moves do not do.
    pub fewest: bool,
    /// Steps the search took.
    pub steps: u64,
}

/// Makes room for these items, which are nowhere, by the fewest moves of others.
pub fn rescue(problem: &Problem, wanted: &[usize], mut budget: Budget) -> Moves {
    let model = Model::new(problem);
    let wanted: Vec<usize> =
        wanted.iter().copied().filter(|item| problem.items[*item].current.is_none()).collect();
    let (placement, fewest) = settle(&model, &homes(problem), &wanted, &mut budget);
    finish(problem, &wanted, placement, fewest, &budget)
}

/// Empties a bin: what is not pinned goes elsewhere, and few others move for it.
pub fn empty(problem: &Problem, bin: usize, mut budget: Budget) -> Moves {
    let mut without = problem.clone();
    for set in &mut without.sets {
        *set = set.iter().filter(|other| *other != bin).collect::<BinSet>();
    }
    let leaves = |item: &usize| {
        let item = &problem.items[*item];
        item.current == Some(bin) && !item.pinned
    };
    let wanted: Vec<usize> = (0..problem.items.len()).filter(leaves).collect();
    for item in &wanted {
        without.items[*item].current = None;
    }
    let model = Model::new(&without);
    let (placement, fewest) = settle(&model, &homes(&without), &wanted, &mut budget);
    finish(problem, &wanted, placement, fewest, &budget)
}

fn homes(problem: &Problem) -> Vec<usize> {
    problem.items.iter().map(|item| item.current.unwrap_or(NOWHERE)).collect()
}

/// Places `wanted` so that the fewest others move. Answers the placement, and whether fewer are proven
/// not to do.
fn settle(
    model: &Model<'_>,
    home: &[usize],
    wanted: &[usize],
    budget: &mut Budget,
) -> (Placement, bool) {
    let mut state = State::current(model);
    let order = hardest_first(model, wanted.iter().copied());
    let mut scores = Scores::of(model);
    let start = state.clone();
    put_all(&mut state, &mut scores, &order, budget);
    let stuck = |state: &State<'_, '_>| -> Vec<usize> {
        wanted.iter().copied().filter(|item| state.at(*item).is_none()).collect()
    };
    if stuck(&state).is_empty() {
        return (state.placement(), true);
    }
    if wanted.len() > MAX_TOGETHER {
        let mut part = budget.part(budget.left() / 8);
        Search::among(&mut state, wanted, 1).run(&mut part, |_| false);
        budget.settle(&part);
        if stuck(&state).is_empty() {
            return (state.placement(), true);
        }
    }
    let mut best: Option<(Cost, Placement)> = None;
    let everyone = || 0..model.items();
    let wanted_cost = |state: &State<'_, '_>| {
        let others = everyone().filter(|item| home[*item] != NOWHERE || wanted.contains(item));
        cost(state, home, others)
    };
    let keep = |best: &mut Option<(Cost, Placement)>, state: &State<'_, '_>| {
        let cost = wanted_cost(state);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            *best = Some((cost, state.placement()));
        }
    };
    keep(&mut best, &state);
    // So many moves it takes at least.
    let mut least = 0;
    let from = if wanted.len() > MAX_TOGETHER { &state } else { &start };
    let homeless = stuck(from);
    if homeless.len() <= MAX_TOGETHER {
        for moves in 0..=MAX_EXHAUSTIVE {
            let mut part = budget.part(budget.left() / 4);
            let mut from = from.clone();
            let found = ejection::with_moves(&mut from, home, &homeless, moves, &mut part);
            let complete = !part.is_over();
            budget.settle(&part);
            if let Some((_, places)) = found {
                for (item, _) in &places {
                    if from.at(*item).is_some() {
                        from.take(*item);
                    }
                }
                for (item, bin) in places {
                    from.put(item, bin);
                }
                keep(&mut best, &from);
                if complete && least == moves && wanted.len() <= MAX_TOGETHER {
                    return (from.placement(), true);
                }
                break;
            }
            if !complete {
                break;
            }
            least = moves + 1;
        }
    }
    if wanted.len() > MAX_TOGETHER {
        least = 1;
    }
    let mut seed = 1;
    while !budget.is_over() {
        let mut part = budget.part(budget.left().min(budget.left() / 4 + 200_000));
        let from = best.as_ref().filter(|(cost, _)| seed % 2 == 0 && cost.is_complete());
        let mut state = match from {
            Some((_, placement)) => placed(model, placement),
            None => state.clone(),
        };
        let mut search = Charged::new(&mut state, home, wanted, seed);
        search.run(least as u64, &mut part);
        if let Some(found) = search.into_best() {
            state = placed(model, &found);
        }
        budget.settle(&part);
        keep(&mut best, &state);
        seed += 1;
        if best.as_ref().is_some_and(|(cost, _)| cost.is_complete() && cost.moves <= least as u64) {
            break;
        }
    }
    (best.map_or_else(|| state.placement(), |(_, placement)| placement), false)
}

/// The state of that placement.
fn placed<'m, 'p>(model: &'m Model<'p>, placement: &Placement) -> State<'m, 'p> {
    let mut state = State::new(model);
    for (item, bin) in placement.iter().enumerate() {
        if let (None, Some(bin)) = (state.at(item), bin) {
            state.put(item, *bin);
        }
    }
    state
}

fn finish(
    problem: &Problem,
    wanted: &[usize],
    placement: Placement,
    fewest: bool,
    budget: &Budget,
) -> Moves {
    let moved: Vec<usize> = (0..problem.items.len())
        .filter(|item| {
            let current = problem.items[*item].current;
            current.is_some() && placement[*item].is_some() && placement[*item] != current
        })
        .collect();
    let lead = |item: &usize| problem.items[*item].demand.first().copied().unwrap_or(0);
    Moves {
        left_out: wanted.iter().copied().filter(|item| placement[*item].is_none()).collect(),
        sequence: sequence::order(problem, &placement),
        moves: moved.len() as u64,
        moved: moved.iter().map(lead).sum(),
        placement,
        fewest,
        steps: budget.used(),
    }
}
