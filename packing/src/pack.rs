//! Places all it can, and says whether more is possible.

use crate::{
    bound::{Impossible, impossible},
    budget::Budget,
    greedy::{Scores, hardest_first, put_all},
    model::Model,
    problem::{Placement, Problem},
    search::{Search, exact},
    state::State,
};

/// How good an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// No placement leaves out less.
    Optimal,
    /// So much more of the leading resource could be placed at most, of some of the highest
    /// priorities or of all.
    AtMost {
        /// How much.
        off: u64,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an answer changes nothing by itself"]
pub struct Answer {
    /// Where each item goes.
    pub placement: Placement,
    /// Steps it took.
    pub steps: u64,
    /// What is nowhere.
    pub left_out: Vec<usize>,
    /// How good it is.
    pub proof: Proof,
    /// Why no placement has everything, when that is known.
    pub impossible: Option<Impossible>,
}

/// Places all it can: first by priority, then as much of the leading resource as possible. Everything
/// but what is pinned may go anywhere; see [`crate::rescue`] to move little.
pub fn pack(problem: &Problem, mut budget: Budget) -> Answer {
    let model = Model::new(problem);
    let mut state = State::new(&model);
    let order = hardest_first(&model, state.left_out());
    put_all(&mut state, &mut Scores::of(&model), &order, &mut budget);
    improve(&mut state, &order, &mut budget)
}

/// Places what is left out of a state, by moving what may be moved.
fn improve(state: &mut State<'_, '_>, order: &[usize], budget: &mut Budget) -> Answer {
    let model = state.model;
    if state.left_out().next().is_none() {
        return answer(state, budget, Proof::Optimal, None);
    }
    let mut whys: Vec<Option<Impossible>> =
        (1..=model.rank_count).map(|ranks| impossible(model, ranks)).collect();
    let bounds: Vec<u64> = whys.iter().map(|why| why.as_ref().map_or(0, |why| why.loss)).collect();
    let why = whys.pop().flatten();
    let off = |loss: &[u64]| {
        let mut sum = 0;
        let mut sums = loss.iter().map(move |loss| {
            sum += loss;
            sum
        });
        let offs = bounds.iter().filter_map(|bound| Some(sums.next()? - bound));
        offs.max().filter(|off| *off > 0)
    };
    let mut proven = false;
    if off(&model.loss(state.left_out())).is_some() && order.len() <= exact::MAX_ITEMS {
        let mut part = budget.part(budget.left() / 2);
        let known = model.loss(state.left_out());
        let mut fresh = State::new(model);
        let (found, complete) = exact::least_loss(&mut fresh, order, &known, &mut part);
        budget.settle(&part);
        proven = complete;
        if let Some(placement) = found {
            *state = State::new(model);
            for item in order {
                if let Some(bin) = placement[*item] {
                    state.put(*item, bin);
                }
            }
        }
    }
    if !proven {
        Search::new(state, 1).run(budget, |loss| off(loss).is_none());
    }
    let proof = match off(&model.loss(state.left_out())) {
        Some(off) if !proven => Proof::AtMost { off },
        Some(_) | None => Proof::Optimal,
    };
    answer(state, budget, proof, why)
}

fn answer(
    state: &State<'_, '_>,
    budget: &Budget,
    proof: Proof,
    impossible: Option<Impossible>,
) -> Answer {
    Answer {
        placement: state.placement(),
        steps: budget.used(),
        left_out: state.left_out().collect(),
        proof,
        impossible,
    }
}
