//! Everything there is to try.

use std::collections::{BTreeSet, VecDeque};

use siso_packing::{Placement, Problem, check};

/// The least that can be left out, by priority, the highest first.
pub(crate) fn least_loss(problem: &Problem) -> Vec<u64> {
    let mut best: Option<Vec<u64>> = None;
    every(problem, |placement| {
        let loss = loss(problem, placement);
        if best.as_ref().is_none_or(|best| loss < *best) {
            best = Some(loss);
        }
    });
    best.unwrap_or_default()
}

pub(crate) fn loss(problem: &Problem, placement: &Placement) -> Vec<u64> {
    let priorities: BTreeSet<u32> = problem.items.iter().map(|item| item.priority).collect();
    let of = |priority: &u32| {
        let left_out = problem
            .items
            .iter()
            .zip(placement)
            .filter(|(item, bin)| bin.is_none() && item.priority == *priority);
        left_out.map(|(item, _)| item.demand[0].max(1)).sum()
    };
    priorities.iter().rev().map(of).collect()
}

/// Every placement that keeps the rules.
pub(crate) fn every(problem: &Problem, mut visit: impl FnMut(&Placement)) {
    let choices = problem.bins.len() + 1;
    let mut placement: Placement = vec![None; problem.items.len()];
    let all = choices.pow(u32::try_from(problem.items.len()).unwrap());
    for number in 0..all {
        let mut rest = number;
        for at in &mut placement {
            *at = Some(rest % choices).filter(|bin| *bin < problem.bins.len());
            rest /= choices;
        }
        if check(problem, &placement).is_ok() {
            visit(&placement);
        }
    }
}

/// The fewest moves after which these items are all somewhere and nothing else is left out, whatever the
/// order; `None` when that cannot be.
pub(crate) fn fewest_moves(problem: &Problem, wanted: &[usize]) -> Option<u64> {
    let mut best = None;
    every(problem, |placement| {
        let stays =
            |item: usize| placement[item].is_some() == problem.items[item].current.is_some();
        let whole = (0..placement.len()).all(|item| {
            if wanted.contains(&item) { placement[item].is_some() } else { stays(item) }
        });
        if whole {
            let others = (0..placement.len()).filter(|item| {
                let current = problem.items[*item].current;
                current.is_some() && placement[*item] != current
            });
            let moves = others.count() as u64;
            if best.is_none_or(|best| moves < best) {
                best = Some(moves);
            }
        }
    });
    best
}

/// How few steps of one move each lead from where everything is to a placement in which these items are
/// somewhere too, by breadth first search over states: each state keeps the rules. Without a limit on
/// what moves, a move to a place and back counts twice.
pub(crate) fn fewest_steps(problem: &Problem, wanted: &[usize], most: usize) -> Option<usize> {
    let start = problem.current();
    let mut seen: BTreeSet<Placement> = [start.clone()].into();
    let mut queue: VecDeque<(usize, Placement)> = [(0, start)].into();
    while let Some((steps, placement)) = queue.pop_front() {
        if wanted.iter().all(|item| placement[*item].is_some()) {
            return Some(steps);
        }
        if steps == most {
            continue;
        }
        for item in 0..placement.len() {
            let may = wanted.contains(&item) || problem.items[item].current.is_some();
            for bin in 0..problem.bins.len() {
                let mut next = placement.clone();
                next[item] = Some(bin);
                if may
                    && placement[item] != Some(bin)
                    && check(problem, &next).is_ok()
                    && seen.insert(next.clone())
                {
                    queue.push_back((steps + 1, next));
                }
            }
        }
    }
    None
}
