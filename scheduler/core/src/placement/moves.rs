//! Few moves of what runs: room for what is stuck or asked for, a node emptied, a tighter packing.

use std::collections::{BTreeMap, BTreeSet};

use model::{NodeId, Resources, TaskId};
use packing::{
    BinSet, Budget, Item, MAX_AMOUNT, Moves, Problem, Step, consolidate, empty, rescue, room,
};

use crate::placement::{
    Ask, Fleet,
    problem::{Piece, Posed, pose},
    scales::{Scales, amounts},
};

/// What moves are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// What waits has a place, and then as few nodes as can be are in use.
    Best,
    /// What waits has a place.
    Waiting,
    /// That node is empty of what can move.
    Empty(NodeId),
    /// So much is free on one node.
    Room {
        /// How much.
        amount: Resources,
        /// On which; on whichever takes the fewest moves when absent.
        on: Option<NodeId>,
    },
}

/// A task that runs and can move.
#[derive(Debug, Clone, Copy)]
pub struct Movable<'a> {
    /// What it asks for.
    pub ask: Ask<'a>,
    /// Where it is.
    pub node: NodeId,
}

/// A task that goes to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    /// Which.
    pub task: TaskId,
    /// Where to.
    pub to: NodeId,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a way changes nothing by itself"]
pub struct Way {
    /// The moves, in order: each has room when its turn comes and those before it are made.
    pub shifts: Vec<Shift>,
    /// Where the room is that was asked for.
    pub room_on: Option<NodeId>,
    /// What was to have a place, or to leave, and does not.
    pub left: Vec<TaskId>,
    /// Whether it is proven that fewer moves do not do.
    pub fewest: bool,
    /// Whether moves would have to wait for each other: only those are named that need not.
    pub in_a_ring: bool,
}

/// The fewest moves that are found within so many steps. The same tasks on the same nodes are moved alike,
/// whatever their ids are.
pub fn moves<'a>(
    fleet: &Fleet<'a>,
    movable: &[Movable<'a>],
    waiting: &[Ask<'a>],
    goal: Goal,
    steps: u64,
) -> Way {
    let scene = Scene::of(fleet, movable, waiting);
    match goal {
        Goal::Waiting => scene.rescue(steps),
        Goal::Best => {
            let way = scene.rescue(steps);
            // What nothing helps keeps nobody from tidying up.
            if way.shifts.is_empty() && !way.in_a_ring {
                Way { left: way.left, ..scene.consolidate(steps) }
            } else {
                way
            }
        }
        Goal::Empty(node) => scene.empty(node, steps),
        Goal::Room { amount, on } => scene.room(amount, on, steps),
    }
}

/// What may move, what waits and what stays, as a problem.
pub(super) struct Scene<'a> {
    pub(super) fleet: Fleet<'a>,
    scales: Scales<'a>,
    pub(super) movable: Vec<Movable<'a>>,
    pub(super) waiting: Vec<Ask<'a>>,
}

impl<'a> Scene<'a> {
    pub(super) fn of(whole: &Fleet<'a>, movable: &[Movable<'a>], waiting: &[Ask<'a>]) -> Self {
        let by_name = |ask: &Ask<'a>| (ask.stack, ask.service, ask.slot);
        let (mut movable, mut waiting) = (movable.to_vec(), waiting.to_vec());
        movable.sort_by_key(|held| by_name(&held.ask));
        waiting.sort_by_key(by_name);
        let scales = Scales::of(whole, &waiting);
        let mut fleet = whole.clone();
        movable.retain(|held| fleet.suspend(held.ask.task, held.node).is_some());
        Self { fleet, scales, movable, waiting }
    }

    pub(super) fn pieces(&self, with_waiting: bool) -> Vec<Piece<'_, 'a>> {
        // Which starts first is for the move itself to say: both have room while it lasts.
        let moves = self.movable.iter().map(|held| Piece {
            ask: &held.ask,
            current: Some(held.node),
            twice: true,
        });
        let waits = self.waiting.iter().filter(|_| with_waiting);
        moves.chain(waits.map(|ask| Piece { ask, current: None, twice: true })).collect()
    }

    fn rescue(&self, steps: u64) -> Way {
        let pieces = self.pieces(true);
        let posed = self.pose(&pieces);
        let wanted: Vec<usize> = waiting_items(&posed.problem);
        let found = rescue(&posed.problem, &wanted, Budget::steps(steps));
        way(&posed, &found)
    }

    fn consolidate(&self, steps: u64) -> Way {
        let pieces = self.pieces(false);
        let mut posed = self.pose(&pieces);
        self.pin_what_stays(&mut posed.problem);
        keep_apart(&mut posed.problem);
        let found = consolidate(&posed.problem, Budget::steps(steps));
        let way = way(&posed, &found);
        // Half of the way empties no node.
        if way.in_a_ring { Way { shifts: Vec::new(), ..way } } else { way }
    }

    fn empty(&self, node: NodeId, steps: u64) -> Way {
        let pieces = self.pieces(false);
        let posed = self.pose(&pieces);
        let Some(bin) = self.scales.index(node) else { return Way::none() };
        let found = empty(&posed.problem, bin, Budget::steps(steps));
        way(&posed, &found)
    }

    fn room(&self, amount: Resources, on: Option<NodeId>, steps: u64) -> Way {
        let pieces = self.pieces(false);
        let mut posed = self.pose(&pieces);
        // Also more than there can be stays an amount the search can add to.
        let mut wanted = amounts(amount).map(|amount| amount.min(MAX_AMOUNT)).to_vec();
        wanted.resize(posed.problem.resources, 0);
        let bin = match on {
            Some(node) => match self.scales.index(node) {
                Some(bin) => Some(bin),
                None => return Way::none(),
            },
            None => None,
        };
        // Room on a node that takes nothing is room for nobody.
        if bin.is_none() {
            let open = self.open_bins();
            for (index, bin) in posed.problem.bins.iter_mut().enumerate() {
                if !open.contains(index) {
                    bin.capacity.iter_mut().for_each(|amount| *amount = 0);
                }
            }
        }
        match room(&posed.problem, &wanted, bin, Budget::steps(steps)) {
            Some((bin, found)) => {
                Way { room_on: posed.nodes.get(bin).copied(), ..way(&posed, &found) }
            }
            None => Way::none(),
        }
    }

    fn open_bins(&self) -> BinSet {
        let open = |room: &crate::placement::Room<'_>| {
            room.node.schedulable && room.node.liveness == model::Liveness::Ready
        };
        let rooms = self.fleet.rooms().values().enumerate();
        rooms.filter(|(_, room)| open(room)).map(|(index, _)| index).collect()
    }

    /// What moves may also stay where it is, though nothing new may come there.
    pub(super) fn pose<'o>(&'o self, pieces: &[Piece<'o, 'a>]) -> Posed<'o, 'a> {
        let mut posed = pose(&self.fleet, &self.scales, pieces);
        let problem = &mut posed.problem;
        let mut known: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for item in &mut problem.items {
            let Some(current) = item.current else { continue };
            let allowed = item.allowed;
            if problem.sets.get(allowed).is_none_or(|set| set.contains(current)) {
                continue;
            }
            item.allowed = *known.entry((allowed, current)).or_insert_with(|| {
                let mut set = problem.sets.get(allowed).cloned().unwrap_or_default();
                set.insert(current);
                problem.sets.push(set);
                problem.sets.len().saturating_sub(1)
            });
        }
        posed
    }

    /// A node with something that stays is in use.
    fn pin_what_stays(&self, problem: &mut Problem) {
        let all = problem.sets.len();
        problem.sets.push(BinSet::all(problem.bins.len()));
        for (bin, room) in self.fleet.rooms().values().enumerate() {
            if !room.tasks.is_empty() {
                problem.items.push(Item {
                    demand: vec![0; problem.resources],
                    allowed: all,
                    current: Some(bin),
                    pinned: true,
                    ..Item::default()
                });
            }
        }
    }
}

/// What was found, in the words of the core.
pub(super) fn way(posed: &Posed<'_, '_>, found: &Moves) -> Way {
    let task =
        |item: usize| posed.items.get(item).and_then(|asks| asks.first()).map(|ask| ask.task);
    let mut way = Way { fewest: found.fewest, ..Way::none() };
    let mut moved = 0_u64;
    for step in &found.sequence {
        let (item, to) = match *step {
            Step::Move { item, to, .. } | Step::Start { item, to } => (item, to),
            Step::Stop { .. } => {
                way.in_a_ring = true;
                break;
            }
        };
        let runs = posed.problem.items.get(item).is_some_and(|item| item.current.is_some());
        if let (true, Some(task), Some(to)) = (runs, task(item), posed.nodes.get(to)) {
            way.shifts.push(Shift { task, to: *to });
            moved = moved.saturating_add(1);
        }
    }
    // By way of another node one more move is made than there are tasks that move.
    way.fewest &= moved == found.moves;
    let left: BTreeSet<TaskId> = found
        .left_out
        .iter()
        .filter_map(|item| posed.items.get(*item))
        .flat_map(|asks| asks.iter().map(|ask| ask.task))
        .collect();
    way.left = left.into_iter().collect();
    way
}

impl Way {
    const fn none() -> Self {
        Self {
            shifts: Vec::new(),
            room_on: None,
            left: Vec::new(),
            fewest: false,
            in_a_ring: false,
        }
    }
}

pub(super) fn waiting_items(problem: &Problem) -> Vec<usize> {
    let items = problem.items.iter().enumerate();
    items.filter(|(_, item)| item.current.is_none()).map(|(index, _)| index).collect()
}

/// Replicas that are apart stay so: nobody wants fewer nodes for that.
fn keep_apart(problem: &mut Problem) {
    let mut there: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    for (bin, held) in problem.bins.iter().enumerate() {
        for (group, count) in &held.members {
            let sum = there.entry((*group, bin)).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
    for item in &problem.items {
        for (group, bin) in item.groups.iter().zip(std::iter::repeat(item.current)) {
            if let Some(bin) = bin {
                let sum = there.entry((*group, bin)).or_default();
                *sum = sum.saturating_add(1);
            }
        }
    }
    let mut most: BTreeMap<usize, u32> = BTreeMap::new();
    for ((group, _), count) in there {
        let held = most.entry(group).or_default();
        *held = (*held).max(count);
    }
    for (group, rules) in problem.groups.iter_mut().enumerate() {
        let most = most.get(&group).copied().unwrap_or(1).max(1);
        rules.most_per_bin = Some(rules.most_per_bin.map_or(most, |known| known.min(most)));
    }
}
