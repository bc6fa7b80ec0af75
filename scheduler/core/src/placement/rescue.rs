//! A few moves for what waits, looked for again only when something is otherwise.

use std::{collections::BTreeSet, sync::Arc};

use model::{NodeId, TaskId};
use packing::{Budget, Problem, rescue};

use super::{
    Ask, Fleet, Shift,
    moves::{Movable, Scene, way},
    problem::{Posed, priority},
};

/// Tasks for which moves are sought at once; those after them have their turn when no moves help these.
const MAX_WANTED: usize = 16;
/// Whole tries of one answer: what is left of their steps is for those after.
const MAX_TRIES: u64 = 4;

/// What was looked for last, and what was found: looking for the same again finds the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    problem: Problem,
    /// The task of each item.
    items: Vec<Vec<TaskId>>,
    /// The node of each bin.
    nodes: Vec<NodeId>,
    most: usize,
    found: FewMoves,
}

/// Moves in order, each of another task, that give some of what waits a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FewMoves {
    /// The moves; none when none were found.
    pub shifts: Vec<Shift>,
    /// What has a place by them.
    pub placed: Vec<TaskId>,
}

impl Sought {
    /// What was found.
    pub const fn found(&self) -> &FewMoves {
        &self.found
    }
}

/// At most so many moves that give what waits a place: all of it, or else the half that comes first, and so
/// on, with so many steps for each try. What no moves could help is not looked at. Nothing when nothing is to be looked for.
pub fn rescue_by_few<'a>(
    fleet: &Fleet<'a>,
    movable: &[Movable<'a>],
    waiting: &[Ask<'a>],
    (most, steps): (usize, u64),
    known: Option<&Arc<Sought>>,
) -> Option<Arc<Sought>> {
    let mut scene = Scene::of(fleet, movable, waiting);
    // With everything that can move out of the way there is room for it, or there never is.
    let fleet = &scene.fleet;
    scene.waiting.retain(|ask| fleet.rooms().keys().any(|node| fleet.fits(ask, *node).is_ok()));
    if scene.waiting.is_empty() || scene.movable.is_empty() || most == 0 {
        return None;
    }
    let pieces = scene.pieces(true);
    let posed = scene.pose(&pieces);
    let named = |asks: &Vec<&Ask<'a>>| asks.iter().map(|ask| ask.task).collect();
    let items: Vec<Vec<TaskId>> = posed.items.iter().map(named).collect();
    let same = |known: &&Arc<Sought>| {
        known.most == most
            && known.problem == posed.problem
            && known.items == items
            && known.nodes == posed.nodes
    };
    if let Some(known) = known.filter(same) {
        return Some(Arc::clone(known));
    }
    let mut wanted: Vec<usize> = super::moves::waiting_items(&posed.problem);
    wanted.sort_by_key(|item| {
        let asks = posed.items.get(*item);
        let first = asks.and_then(|asks| asks.iter().map(|ask| priority(ask)).max());
        (std::cmp::Reverse(first), *item)
    });
    let found = search(&posed, &items, &wanted, (most, steps));
    let (problem, nodes) = (posed.problem, posed.nodes);
    Some(Arc::new(Sought { problem, items, nodes, most, found }))
}

/// Some of those that are wanted, or of those after them, within so many steps for each try.
fn search(
    posed: &Posed<'_, '_>,
    items: &[Vec<TaskId>],
    wanted: &[usize],
    (most, steps): (usize, u64),
) -> FewMoves {
    let mut left = steps.saturating_mul(MAX_TRIES);
    for together in wanted.chunks(MAX_WANTED) {
        let mut some = together;
        while !some.is_empty() && left > 0 {
            let tried = rescue(&posed.problem, some, Budget::steps(steps.min(left)));
            left = left.saturating_sub(tried.steps.max(1));
            let way = way(posed, &tried);
            if way.shifts.is_empty() && !way.in_a_ring {
                break;
            }
            let moved: BTreeSet<TaskId> = way.shifts.iter().map(|shift| shift.task).collect();
            let once = moved.len() == way.shifts.len();
            if !way.in_a_ring && once && way.shifts.len() <= most {
                let helped = some.iter().filter(|item| !tried.left_out.contains(item));
                let placed = helped.filter_map(|item| items.get(*item)).flatten().copied();
                return FewMoves { shifts: way.shifts, placed: placed.collect() };
            }
            some = some.get(..some.len() / 2).unwrap_or_default();
        }
    }
    FewMoves::default()
}
