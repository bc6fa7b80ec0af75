//! Places all it can.

use crate::{
    budget::Budget,
    greedy::{Scores, hardest_first, put_all},
    model::Model,
    problem::{Placement, Problem},
    search::Search,
    state::State,
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Where each item goes.
    pub placement: Placement,
    /// Steps it took.
    pub steps: u64,
    /// What is nowhere.
    pub left_out: Vec<usize>,
}

/// Places all it can.
pub fn pack(problem: &Problem, budget: Budget) -> Answer {
    let mut budget = budget;
    let model = Model::new(problem);
    let mut state = State::new(&model);
    let order = hardest_first(&model, state.left_out());
    put_all(&mut state, &mut Scores::of(&model), &order, &mut budget);
    Search::new(&mut state, 1).run(&mut budget);
    Answer {
        placement: state.placement(),
        steps: budget.used(),
        left_out: state.left_out().collect(),
    }
}
