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
    problem::{BinSet, Item, Placement, Problem},
    search::Search,
    state::{NOWHERE, State},
};

/// Moves that are tried exhaustively before the neighbourhood search goes on.
const MAX_EXHAUSTIVE: usize = 3;

/// Steps of the shortest search with charged moves.
const SHORTEST_SEARCH: u64 = 200_000;

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

/// Makes room for so much, in that bin or in whichever takes the fewest moves. Answers the bin, and the
/// moves; `None` when none was found.
pub fn room(
    problem: &Problem,
    amount: &[u64],
    bin: Option<usize>,
    budget: Budget,
) -> Option<(usize, Moves)> {
    let mut with = problem.clone();
    let item = with.items.len();
    with.sets.push(
        bin.map_or_else(|| BinSet::all(problem.bins.len()), |bin| [bin].into_iter().collect()),
    );
    with.items.push(Item {
        demand: amount.to_vec(),
        allowed: with.sets.len() - 1,
        priority: with.items.iter().map(|item| item.priority).max().unwrap_or(0),
        ..Item::default()
    });
    let mut moves = rescue(&with, &[item], budget);
    let bin = moves.placement.pop().flatten()?;
    moves
        .sequence
        .retain(|step| !matches!(step, Step::Start { item: other, .. } if *other == item));
    Some((bin, moves))
}

/// Bins that are tried to be emptied, each time one more shall be.
const MAX_EMPTIED: usize = 8;

/// Reaches a packing in as few bins as can be reached by emptying one after the other, the one that takes
/// the fewest moves first; before each, what is nowhere is placed. Once there is no more to gain, a further
/// run moves nothing.
pub fn consolidate(problem: &Problem, mut budget: Budget) -> Moves {
    let (try_steps, rescue_steps) = (budget.left() / 64, budget.left() / 16);
    let mut now = problem.clone();
    loop {
        place_waiting(&mut now, rescue_steps, &mut budget);
        let Some(found) = cheapest_emptied(&now, try_steps, &mut budget) else { break };
        settle_at(&mut now, &found.placement);
    }
    finish(problem, &waiting(problem), now.current(), false, &budget)
}

fn waiting(problem: &Problem) -> Vec<usize> {
    (0..problem.items.len()).filter(|item| problem.items[*item].current.is_none()).collect()
}

/// Places what is nowhere, again and again: with some of it placed, the rest is looked at more closely.
fn place_waiting(now: &mut Problem, rescue_steps: u64, budget: &mut Budget) {
    loop {
        let wanted = waiting(now);
        if wanted.is_empty() || budget.left() < rescue_steps {
            return;
        }
        let found = rescue(now, &wanted, Budget::steps(rescue_steps));
        budget.spend(found.steps);
        if found.left_out.len() >= wanted.len() {
            return;
        }
        settle_at(now, &found.placement);
    }
}

fn settle_at(problem: &mut Problem, placement: &Placement) {
    for (item, bin) in problem.items.iter_mut().zip(placement) {
        item.current = *bin;
    }
}

/// The bin that is emptied into other used ones by the fewest moves.
fn cheapest_emptied(now: &Problem, try_steps: u64, budget: &mut Budget) -> Option<Moves> {
    let mut contents: Vec<Vec<usize>> = vec![Vec::new(); now.bins.len()];
    for (item, what) in now.items.iter().enumerate() {
        if let Some(bin) = what.current {
            contents[bin].push(item);
        }
    }
    let used: BinSet = (0..now.bins.len()).filter(|bin| !contents[*bin].is_empty()).collect();
    let movable = |bin: &usize| contents[*bin].iter().all(|item| !now.items[*item].pinned);
    let mut candidates: Vec<usize> = used.iter().filter(movable).collect();
    candidates.sort_by_key(|bin| (contents[*bin].len(), *bin));
    let mut among = now.clone();
    for set in &mut among.sets {
        *set = set.iter().filter(|bin| used.contains(*bin)).collect();
    }
    let mut best: Option<Moves> = None;
    for bin in candidates.into_iter().take(MAX_EMPTIED) {
        if budget.left() < try_steps {
            break;
        }
        let found = empty(&among, bin, Budget::steps(try_steps));
        budget.spend(found.steps);
        let key = |moves: &Moves| (moves.moves, moves.moved);
        if found.left_out.is_empty() && best.as_ref().is_none_or(|best| key(&found) < key(best)) {
            best = Some(found);
        }
    }
    best
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
    let start = State::current(model);
    let mut state = start.clone();
    let order = hardest_first(model, wanted.iter().copied());
    put_all(&mut state, &mut Scores::of(model), &order, budget);
    let is_stuck = |state: &State<'_, '_>| wanted.iter().any(|item| state.at(*item).is_none());
    if is_stuck(&state) && wanted.len() > MAX_TOGETHER {
        let mut part = budget.part(budget.left() / 8);
        Search::among(&mut state, wanted, 1).run(&mut part, |_| false);
        budget.settle(&part);
    }
    if !is_stuck(&state) {
        return (state.placement(), true);
    }
    let mut best = Best { home, wanted, found: None };
    best.keep(&state);
    let few = wanted.len() <= MAX_TOGETHER;
    let least = exhaust(if few { &start } else { &state }, &mut best, budget);
    // What was tried of a part of the wanted proves nothing of all of them.
    let least = if few { least } else { 1 };
    charge(model, &state, least, &mut best, budget);
    let fewest = few && best.moves() == Some(least);
    let Some((_, placement)) = best.found else { return (state.placement(), fewest) };
    // Where not all find a place, nobody was looked for a place alone: what simply fits now has one.
    let mut state = placed(model, &placement);
    let left = order.into_iter().filter(|item| placement[*item].is_none()).collect::<Vec<_>>();
    put_all(&mut state, &mut Scores::of(model), &left, budget);
    (state.placement(), fewest)
}

/// The best placement so far.
struct Best<'b> {
    home: &'b [usize],
    wanted: &'b [usize],
    found: Option<(Cost, Placement)>,
}

impl Best<'_> {
    fn keep(&mut self, state: &State<'_, '_>) {
        let counts = |item: &usize| self.home[*item] != NOWHERE || self.wanted.contains(item);
        let cost = cost(state, self.home, (0..self.home.len()).filter(counts));
        if self.found.as_ref().is_none_or(|(least, _)| cost < *least) {
            self.found = Some((cost, state.placement()));
        }
    }

    /// The moves of the best placement, when it leaves nothing out.
    fn moves(&self) -> Option<u64> {
        self.found.as_ref().filter(|(cost, _)| cost.is_complete()).map(|(cost, _)| cost.moves)
    }
}

/// Tries everything with no move, one, two and so on. Answers how many moves it takes at
/// least.
fn exhaust(from: &State<'_, '_>, best: &mut Best<'_>, budget: &mut Budget) -> u64 {
    let homeless: Vec<usize> =
        best.wanted.iter().copied().filter(|item| from.at(*item).is_none()).collect();
    if homeless.len() > MAX_TOGETHER {
        return 0;
    }
    for moves in 0..=MAX_EXHAUSTIVE {
        let mut part = budget.part(budget.left() / 4);
        let mut state = from.clone();
        let found = ejection::with_moves(&mut state, best.home, &homeless, moves, &mut part);
        let complete = !part.is_over();
        budget.settle(&part);
        if let Some((_, places)) = found {
            for (item, _) in &places {
                if state.at(*item).is_some() {
                    state.take(*item);
                }
            }
            for (item, bin) in places {
                state.put(item, bin);
            }
            best.keep(&state);
        } else if complete {
            continue;
        }
        return moves as u64;
    }
    MAX_EXHAUSTIVE as u64 + 1
}

/// Searches with charged moves, in turns from where nothing has moved and from the best so far.
fn charge(
    model: &Model<'_>,
    start: &State<'_, '_>,
    least: u64,
    best: &mut Best<'_>,
    budget: &mut Budget,
) {
    let mut seed = 1;
    while !budget.is_over() && best.moves().is_none_or(|moves| moves > least) {
        let mut part = budget.part(budget.left() / 4 + SHORTEST_SEARCH);
        let from = best.found.as_ref().filter(|(cost, _)| seed % 2 == 0 && cost.is_complete());
        let mut state = match from {
            Some((_, placement)) => placed(model, placement),
            None => start.clone(),
        };
        let mut search = Charged::new(&mut state, best.home, best.wanted, seed);
        search.run(least, &mut part);
        if let Some(found) = search.into_best() {
            state = placed(model, &found);
        }
        budget.settle(&part);
        best.keep(&state);
        seed += 1;
    }
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
