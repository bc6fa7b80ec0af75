//! Places all it can, and says whether more is possible.

use std::collections::BTreeMap;

use crate::{
    bound::{Impossible, impossible},
    budget::Budget,
    fewest::few_bins,
    greedy::{Scores, hardest_first, put_all},
    model::Model,
    problem::{BinSet, Item, Placement, Problem},
    search::{Search, exact, gcd},
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
    if bounds.iter().all(|bound| *bound == 0) {
        into_alike(state, budget);
    }
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

/// Where all bins are alike, so many times the steps may be taken: that is rare where much runs, it is looked
/// for once, and what it finds no other search does.
const ALIKE_TIMES: u64 = 8;

/// Where all bins are alike and any item may be in any of them, few bins are looked for, which knows
/// more of such problems. Changes nothing unless everything has a place by that.
fn into_alike(state: &mut State<'_, '_>, budget: &mut Budget) {
    let model = state.model;
    let Some((resource, capacity)) = alike(model.problem) else { return };
    let amounts = || model.problem.items.iter().map(|item| item.demand[resource]);
    // In the largest unit they have in common: tables of sums are as small as can be.
    let unit = amounts().fold(0, gcd).max(1);
    let demands: Vec<Vec<u64>> = amounts().map(|amount| vec![amount / unit]).collect();
    let steps = Budget::steps(budget.left().saturating_mul(ALIKE_TIMES));
    let found = few_bins(&[capacity / unit], &demands, model.bins(), steps);
    let Some(found) = found else { return };
    budget.spend(found.steps / ALIKE_TIMES);
    if found.bins.len() > model.bins() {
        return;
    }
    *state = State::new(model);
    for (bin, items) in found.bins.iter().enumerate() {
        for item in items {
            state.put(*item, bin);
        }
    }
    set_apart(state, resource);
}

/// Members of a group that would rather be apart change places with others of their size: to those who looked
/// for few bins they were the same.
fn set_apart(state: &mut State<'_, '_>, resource: usize) {
    let model = state.model;
    let apart = |item: usize| {
        let groups = model.ruled(item).iter().copied();
        groups.filter(|group| model.problem.groups[*group].apart)
    };
    let mut alike: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (item, what) in model.problem.items.iter().enumerate() {
        alike.entry(what.demand[resource]).or_default().push(item);
    }
    for items in alike.values() {
        for item in items {
            let Some(bin) = state.at(*item) else { continue };
            if apart(*item).all(|group| state.members(group, bin) < 2) {
                continue;
            }
            let other = items.iter().copied().find(|other| {
                let there = state.at(*other).filter(|there| *there != bin);
                there.is_some_and(|there| {
                    apart(*item).all(|group| state.members(group, there) == 0)
                        && apart(*other).all(|group| state.members(group, bin) == 0)
                })
            });
            if let Some((other, there)) = other.and_then(|other| Some((other, state.at(other)?))) {
                state.take(*item);
                state.take(other);
                state.put(*item, there);
                state.put(other, bin);
            }
        }
    }
}

/// The resource that binds before all others and how much of it each bin has, when bins differ in nothing and items in
/// nothing else.
fn alike(problem: &Problem) -> Option<(usize, u64)> {
    let first = problem.bins.first()?;
    let are_bins_alike = first.keys.is_empty()
        && first.members.is_empty()
        && problem.bins.iter().all(|bin| bin == first);
    let all = BinSet::all(problem.bins.len());
    let is_anywhere = |item: &Item| all.is_within(&problem.sets[item.allowed]);
    let mut items = problem.items.iter();
    let are_items_alike =
        items.all(|item| !item.pinned && item.keys.is_empty() && is_anywhere(item));
    // Only what is a wish may be left of their groups.
    let are_free = problem.groups.iter().all(|group| {
        group.most_per_bin.is_none() && group.spread.is_none() && group.conflicts.is_empty()
    });
    if !(are_bins_alike && are_items_alike && are_free) {
        return None;
    }
    (0..problem.resources)
        .find(|resource| {
            (0..problem.resources).all(|other| !binds_beside(problem, *resource, other))
        })
        .map(|resource| (resource, first.capacity[resource]))
}

/// Whether what has room in a bin by one resource may be too much of the other, all bins being alike.
fn binds_beside(problem: &Problem, resource: usize, other: usize) -> bool {
    let Some(bin) = problem.bins.first().filter(|_| other != resource) else { return false };
    let amounts = |of: usize| problem.items.iter().map(move |item| item.demand[of]);
    let mut smallest: Vec<u64> = amounts(resource).collect();
    smallest.sort_unstable();
    let mut left = bin.capacity[resource];
    let fits = smallest.into_iter().take_while(|amount| {
        let after = left.checked_sub(*amount);
        left = after.unwrap_or(0);
        after.is_some()
    });
    let most = u64::try_from(fits.count()).unwrap_or(u64::MAX);
    let largest = amounts(other).max().unwrap_or(0);
    let all: u64 = amounts(other).sum();
    all.min(most.saturating_mul(largest)) > bin.capacity[other]
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
