//! Moves for what waits: which there are, whether they hold, and which one the leader makes by itself.
//!
//! **Invariant:** by itself the leader moves only for what has long been stuck, one task at a time, only what
//! can run beside its successor, none twice within an hour, and nothing while anything else is on its way.

use std::{collections::BTreeMap, sync::Arc};

use model::{Liveness, Node, NodeId, Task, TaskId, TaskState, Timestamp};

use crate::{
    cluster::{AN_HOUR, Automatic, Change, Cluster, MOST_AN_HOUR},
    liveness::Heartbeats,
    orchestrate,
    placement::{Ask, Effort, Fleet, Movable, Shift, Sought, place, rescue_by_few},
    waits::Wait,
};

/// How long a task waits before others are moved for it, in milliseconds: longer than a machine takes that
/// starts again or is heard again, and than most of what is about to free room.
pub(crate) const PATIENCE_MS: u64 = 30_000;
/// Steps of one try, some tens of milliseconds of work; there are a few at most.
const STEPS: u64 = 5_000_000;
/// Tasks whose wait is measured: more are stuck at once only where no few moves help.
const MAX_WAITING: usize = 256;
/// Names in one reason; more are counted.
const MAX_NAMED: usize = 3;

/// The tasks that can move now, and where they are.
pub(crate) fn movable(cluster: &Cluster) -> Vec<Movable<'_>> {
    let movable = cluster.tasks().values().filter(|task| cluster.why_not_movable(task).is_none());
    movable.filter_map(|task| Some(Movable { ask: Ask::of(task), node: task.node? })).collect()
}

/// Whether the moves can be made one after the other, and what they are for has a place then: asked of the
/// planner, which places it when they are made.
pub(crate) fn hold(cluster: &Cluster, shifts: &[Shift], placed: &[TaskId]) -> bool {
    let mut fleet = Fleet::of(cluster);
    let mut at: BTreeMap<TaskId, NodeId> = BTreeMap::new();
    for shift in shifts {
        let Some(task) = cluster.task(shift.task) else { return false };
        let from = at.get(&shift.task).copied().or(task.node);
        let Some(from) = from else { return false };
        if fleet.fits(&Ask { task: cluster.next_task(), ..Ask::of(task) }, shift.to).is_err() {
            return false;
        }
        fleet.take_away(task.id, from);
        fleet.put(Ask::of(task), shift.to);
        at.insert(shift.task, shift.to);
    }
    let waiting = placed.iter().filter_map(|task| cluster.task(*task)).map(Ask::of);
    let waiting: Vec<Ask<'_>> = waiting.collect();
    let found = place(&mut fleet, &waiting, &mut Effort::new(STEPS, STEPS));
    found.iter().all(|held| held.node.is_some())
}

/// What the automatic mode waits for in this cluster: to be measured at every plan while it is on, whatever
/// else happens.
pub(crate) fn waits(cluster: &Cluster) -> Vec<Wait> {
    let Some(held) = cluster.automatic().filter(|held| held.on) else { return Vec::new() };
    let stuck = cluster.pending().take(MAX_WAITING).map(stuck);
    let moved = held.moves.iter().map(|begun| Wait::Rebalanced { since: begun.at });
    let failed = held.failed_at.map(|since| Wait::Rebalanced { since });
    stuck.chain(moved).chain(failed).collect()
}

const fn stuck(task: &Task) -> Wait {
    Wait::Task { task: task.id, since: task.since }
}

/// The move that should be made now with nobody asking for it.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// The move.
    pub(crate) change: Option<Change>,
    /// When to look again.
    pub(crate) wake_at: Option<Timestamp>,
    /// What was looked for, to be kept in mind.
    pub(crate) sought: Option<Arc<Sought>>,
}

/// Looks whether the leader should move something by itself in a cluster in which nothing else is to be done.
pub(crate) fn own_move(cluster: &Cluster, beats: &Heartbeats, now: Timestamp) -> Own {
    let Some(held) = cluster.automatic().filter(|held| held.on) else { return Own::default() };
    if cluster.pending().next().is_none() {
        return Own::default();
    }
    let measured = Measured { beats, now };
    let wake_at = measured.wake(cluster, held);
    let kept = |sought| Own { change: None, wake_at, sought };
    let allowed = measured.allowed(held);
    let patient = |task: &&Task| measured.is_over(stuck(task), PATIENCE_MS);
    let waiting: Vec<Ask<'_>> =
        cluster.pending().take(MAX_WAITING).filter(patient).map(Ask::of).collect();
    if waiting.is_empty() || allowed == 0 || !is_at_rest(cluster) {
        return kept(beats.waits.sought().cloned());
    }
    let rests = |task: &Task| {
        let mut moved = held.moves.iter().filter(|begun| begun.is_of(task));
        moved.all(|begun| measured.has_passed(begun.at))
    };
    let mut movable = movable(cluster);
    movable.retain(|one| {
        orchestrate::starts_first(one.ask.spec) && cluster.task(one.ask.task).is_some_and(rests)
    });
    let fleet = Fleet::of(cluster);
    let known = beats.waits.sought();
    let sought = rescue_by_few(&fleet, &movable, &waiting, (allowed, STEPS), known);
    let found = sought.as_ref().map(|sought| sought.found());
    let change =
        found.filter(|found| hold(cluster, &found.shifts, &found.placed)).and_then(|found| {
            let Shift { task, to } = *found.shifts.first()?;
            let reason = reason(cluster, &found.placed, found.shifts.len());
            Some(Change::MoveTask { task, to, reason })
        });
    Own { change, ..kept(sought) }
}

/// Times by the clock of the leader.
struct Measured<'a> {
    beats: &'a Heartbeats,
    now: Timestamp,
}

impl Measured<'_> {
    fn is_over(&self, wait: Wait, millis: u64) -> bool {
        self.left(wait, millis) == 0
    }

    fn left(&self, wait: Wait, millis: u64) -> u64 {
        millis.saturating_sub(self.beats.waits.waited(wait, self.now))
    }

    /// Whether it is more than an hour ago.
    fn has_passed(&self, since: Timestamp) -> bool {
        self.is_over(Wait::Rebalanced { since }, AN_HOUR)
    }

    /// How many moves may begin now.
    fn allowed(&self, held: &Automatic) -> usize {
        if held.failed_at.is_some_and(|since| !self.has_passed(since)) {
            return 0;
        }
        let recent = held.moves.iter().filter(|begun| !self.has_passed(begun.at)).count();
        MOST_AN_HOUR.saturating_sub(recent)
    }

    /// When the next of all that is waited for is over.
    fn wake(&self, cluster: &Cluster, held: &Automatic) -> Option<Timestamp> {
        let tasks = cluster.pending().take(MAX_WAITING);
        let tasks = tasks.map(|task| self.left(stuck(task), PATIENCE_MS));
        let moves = held.moves.iter().map(|begun| begun.at).chain(held.failed_at);
        let moves = moves.map(|since| self.left(Wait::Rebalanced { since }, AN_HOUR));
        let next = tasks.chain(moves).filter(|left| *left > 0).min();
        next.map(|left| self.now.plus_millis(left))
    }
}

/// Whether nothing is on its way that could make room by itself, or take it: no machine is drained or in
/// doubt, nothing stops, and no task takes over from another.
fn is_at_rest(cluster: &Cluster) -> bool {
    let quiet = |node: &Node| node.drain.is_none() && node.liveness != Liveness::Unreachable;
    cluster.nodes().values().all(quiet)
        && !cluster.tasks().values().any(|task| is_on_its_way(cluster, task))
}

fn is_on_its_way(cluster: &Cluster, task: &Task) -> bool {
    let there = |task: &Task| {
        let node = task.node.and_then(|node| cluster.node(node));
        let lost = task.status.state == TaskState::Lost;
        task.holds_resources() && !lost && node.is_some_and(|node| node.liveness == Liveness::Ready)
    };
    if task.desired.is_leaving() {
        return there(task);
    }
    let former = |other: &Task| other.epoch < task.epoch && there(other);
    task.moves_from.is_some()
        || task.holds_resources() && cluster.tasks_of_replica(task).any(former)
}

/// What moves are for: `so that shop/db.1 has room`.
fn reason(cluster: &Cluster, placed: &[TaskId], moves: usize) -> String {
    let told = placed.iter().take(MAX_NAMED).filter_map(|task| {
        let task = cluster.task(*task)?;
        Some(format!("{}/{}.{}", task.stack, task.service, task.slot))
    });
    let mut all: Vec<String> = told.collect();
    match placed.len().saturating_sub(MAX_NAMED) {
        0 => {}
        more => all.push(format!("{more} more")),
    }
    let last = all.pop().unwrap_or_default();
    let (who, have) = match all.join(", ") {
        others if others.is_empty() => (last, "has"),
        others => (format!("{others} and {last}"), "have"),
    };
    let first = if moves > 1 { format!(" (first of {moves} moves)") } else { String::new() };
    format!("so that {who} {have} room{first}")
}

#[cfg(test)]
mod tests;
