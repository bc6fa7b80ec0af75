//! Whether a change gives a task a place: what waits is planned with it.
//!
//! Nothing that waits has a place before the change. So when nobody else could have what it makes free, it is the
//! task's; otherwise all that waits is planned anew, by the function that places tasks and with its effort. What would
//! take more than an answer may is not shown to help.

use std::collections::BTreeSet;

use model::{Generic, Node, NodeId, Resources, TaskId};

use super::{Applied, Change};
use crate::placement::{Ask, Effort, Fleet, Misfit, Room, place};

/// What a plan costs beside its search, in steps of one: for each task that has a place, and for each that waits on each
/// node. Measured, roughly.
const PER_PLACED: u64 = 20;
const PER_WAITING: u64 = 100;
/// What it costs to apply a stack to a copy and play it to its end, for each task that has a place.
const PER_PLAYED: u64 = 10_000;

/// A task without a place, and everything that waits beside it.
pub(super) struct Stuck<'q, 'a> {
    pub(super) fleet: &'q Fleet<'a>,
    pub(super) ask: &'q Ask<'a>,
    /// What it takes over from, with its node. It is not in the fleet: the task has its room, if it is on that node.
    pub(super) former: Option<&'q Former<'a>>,
    /// All that wait; the task may be among them.
    pub(super) waiting: &'q [Ask<'a>],
    pub(super) applied: Applied<'q>,
    /// What all proofs of an answer may take.
    pub(super) effort: &'q mut Effort,
}

/// A task that runs until its successor does, and where.
#[derive(Debug, Clone, Copy)]
pub struct Former<'a> {
    /// The task.
    pub ask: Ask<'a>,
    /// Its node.
    pub node: NodeId,
}

/// What came of a plan with more machines.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Whether the task has a place.
    pub(super) has_place: bool,
    /// The others that have one there.
    pub(super) first: Vec<String>,
    /// What they reserve on a machine which is too small for the task as well; on that of least such.
    pub(super) taken: Option<(Resources, Generic)>,
}

impl<'a> Stuck<'_, 'a> {
    /// The other replicas of its service that wait.
    pub(super) fn beside(&self) -> impl Iterator<Item = &Ask<'a>> {
        let own = self.ask;
        self.others().filter(|other| other.same_service(own))
    }

    /// All others that wait. What takes over from it is none: it is the same replica.
    fn others(&self) -> impl Iterator<Item = &Ask<'a>> {
        let own = self.ask;
        self.waiting.iter().filter(|other| !(other.same_service(own) && other.slot == own.slot))
    }

    /// Whether the task has a place once what waits is planned with that change.
    pub(super) fn has_place_with(&mut self, change: &Change) -> bool {
        let (fleet, own) = (self.fleet, self.ask);
        let (node, all) = match change {
            Change::Tried => return true,
            Change::Spec(spec)
                if self.former.is_some()
                    || fleet.replicas_of(own).is_some_and(|there| !there.is_empty()) =>
            {
                return self.effort.pay(self.held().saturating_mul(PER_PLAYED))
                    && (self.applied)(spec);
            }
            Change::Spec(spec) => {
                let changed = |other: &Ask<'a>| Ask { spec, ..*other };
                let beside = self.beside().map(changed);
                let (own, beside): (_, Vec<Ask<'_>>) = (changed(own), beside.collect());
                return self.is_placed(own, beside, |_| ());
            }
            Change::Node(node) => (node.id, fleet.rooms().get(&node.id).cloned()),
            Change::Ends(node, _) => (*node, fleet.rooms().get(node).cloned()),
        };
        let mut there = all.map_or_else(|| fleet.without_nodes(), |room| fleet.alone(room));
        make(&mut there, change);
        // Whether it gets the room of what it takes over from depends on who else makes room by then.
        if let Some(former) = self.former {
            there.put(former.ask, former.node);
        }
        if there.fits(own, node).is_err() {
            return false;
        }
        if self.others().all(|other| there.fits(other, node).is_err()) {
            return true;
        }
        let others = self.others().copied().collect();
        self.is_placed(*own, others, |fleet| make(fleet, change))
    }

    /// Whether the task has a place when it is planned with those others in a fleet that is changed like this.
    fn is_placed<'c>(
        &mut self,
        own: Ask<'c>,
        others: Vec<Ask<'c>>,
        change: impl FnOnce(&mut Fleet<'c>),
    ) -> bool
    where
        'a: 'c,
    {
        self.planned(own, others, change).is_some_and(|(has_place, _)| has_place)
    }

    /// How many tasks have a place.
    fn held(&self) -> u64 {
        self.fleet.rooms().values().map(|room| count(room.tasks.len())).sum()
    }

    /// Plans them as the leader does, in a fleet that is changed like this; answers whether the task has a place then, and
    /// the fleet. Nothing when that would take too much.
    fn planned<'c>(
        &mut self,
        own: Ask<'c>,
        others: Vec<Ask<'c>>,
        change: impl FnOnce(&mut Fleet<'c>),
    ) -> Option<(bool, Fleet<'c>)>
    where
        'a: 'c,
    {
        let rooms = self.fleet.rooms();
        let held = self.held();
        let asked = count(others.len()).saturating_add(1).saturating_mul(count(rooms.len()));
        let cost =
            held.saturating_mul(PER_PLACED).saturating_add(asked.saturating_mul(PER_WAITING));
        if !self.effort.pay(cost) {
            return None;
        }
        let mut fleet: Fleet<'c> = self.fleet.clone();
        change(&mut fleet);
        let former = self.former.copied();
        if let Some(former) = former {
            fleet.put(former.ask, former.node);
        }
        let asks: Vec<Ask<'c>> = others.into_iter().chain([own]).collect();
        // What takes over from something makes room later, in an order that a plan of places does not show: then there has
        // to be a place for everybody who could be there.
        let takes_over = asks.iter().any(|ask| ask.replaces);
        let could =
            |ask: &&Ask<'_>| fleet.rooms().keys().any(|node| fleet.fits(ask, *node).is_ok());
        let could: BTreeSet<TaskId> = if takes_over {
            asks.iter().filter(could).map(|ask| ask.task).collect()
        } else {
            BTreeSet::new()
        };
        let placed = place(&mut fleet, &asks, self.effort);
        if self.effort.take_cut() {
            return None;
        }
        let has_place = placed.iter().any(|held| held.task == own.task && held.node.is_some());
        if placed.iter().any(|held| held.node.is_none() && could.contains(&held.task)) {
            return Some((false, fleet));
        }
        Some((has_place, fleet))
    }

    /// What comes of it when all that waits is planned with these machines as well. Nothing when that would take too much.
    pub(super) fn on_machines(&mut self, machines: &[Node]) -> Option<Outcome> {
        let others = self.others().copied().collect();
        let (has_place, fleet) = self.planned(*self.ask, others, |fleet| {
            for machine in machines {
                fleet.imagine(machine);
            }
        })?;
        let rooms: Vec<&Room<'_>> =
            machines.iter().filter_map(|machine| fleet.rooms().get(&machine.id)).collect();
        let others = rooms.iter().flat_map(|room| room.tasks.values());
        let first = others.map(|(other, _)| other).filter(|other| other.task != self.ask.task);
        let first = first.map(|other| format!("{}/{}.{}", other.stack, other.service, other.slot));
        let small = rooms.iter().filter(|room| {
            let misfits = fleet.misfits(self.ask, room.node.id);
            misfits
                .iter()
                .all(|why| matches!(why, Misfit::Short(_) | Misfit::ShortOfGeneric { .. }))
        });
        let taken = small.map(|room| (room.reserved, generic_on(room)));
        let taken = taken.min_by_key(|(held, _)| (held.memory, held.cpu));
        Some(Outcome { has_place, first: first.collect(), taken })
    }

    /// What all others that wait reserve.
    pub(super) fn all_others(&self) -> (Resources, Generic) {
        let sum = self.others().map(Ask::reserved).sum();
        let generic = self.others().map(|other| other.spec.generic_on(&Generic::NONE));
        (sum, generic.fold(Generic::NONE, |sum, held| sum.plus(&held)))
    }
}

fn make<'a>(fleet: &mut Fleet<'a>, change: &'a Change) {
    match change {
        Change::Node(node) => fleet.becomes(node),
        Change::Ends(node, tasks) => {
            for task in tasks {
                fleet.take_away(*task, *node);
            }
        }
        Change::Spec(_) | Change::Tried => {}
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn generic_on(room: &Room<'_>) -> Generic {
    let held = room.tasks.values().map(|(ask, _)| ask.spec.generic_on(&Generic::NONE));
    held.fold(Generic::NONE, |sum, held| sum.plus(&held))
}
