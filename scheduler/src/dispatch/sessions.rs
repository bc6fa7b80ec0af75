//! Which agents are connected, and what they say of the present: heartbeats and telemetry. None of it
//! is in the log; a new leader starts every age afresh.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use model::{
    NodeId, TaskId, Timestamp,
    lease::Uptime,
    task::{MemorySeen, Telemetry},
};
use parking_lot::Mutex;
use proto::v1::SchedulerMessage;
use scheduler_core::{Heartbeats, Leases, Thresholds, Waits};
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::clock;

/// How often this process notes that it is at work, and after how long without it stood still.
const NOTES_WORK_EVERY: Duration = Duration::from_millis(250);
const STOOD_STILL: Duration = Duration::from_secs(1);
/// A node that was heard so recently is taken for running: three heartbeats.
const COPY_HEARD_WITHIN: Duration = Duration::from_secs(3);

/// The way to an agent.
pub(super) type Outbox = mpsc::Sender<Result<SchedulerMessage, Status>>;

/// An open session of a node.
struct Session {
    serial: u64,
    /// Which run of the agent's process it is; 0 when it does not say.
    life: u64,
    outbox: Outbox,
    replaced: CancellationToken,
}

/// A place among the sessions, until it is given back.
pub(super) struct Ticket {
    node: NodeId,
    serial: u64,
    /// Cancelled when the same node opens a newer session.
    pub(super) replaced: CancellationToken,
}

struct Present {
    ages: Ages,
    leases: Leases,
    waits: Waits,
    telemetry: BTreeMap<TaskId, Telemetry>,
    reported_by: BTreeMap<NodeId, Vec<TaskId>>,
    /// What was seen of memory, of tasks that were known when it was asked for last, and those since.
    seen: BTreeMap<TaskId, MemorySeen>,
}

/// When each node was heard last, by a clock that nobody sets: a step of the other one would make
/// every node silent for an hour. It stands still while this machine sleeps, and so it should: the
/// silence was its own.
///
/// For the same reason time in which this process stood still makes nobody older.
struct Ages {
    since: Instant,
    seen: BTreeMap<NodeId, Instant>,
    /// When this process was last seen to be at work.
    at_work: Instant,
}

impl Ages {
    fn new(now: Instant) -> Self {
        Self { since: now, seen: BTreeMap::new(), at_work: now }
    }

    /// This process is at work. When it was not for longer than any pause of one that is, it could hear nobody.
    fn work(&mut self, now: Instant) {
        let still = now.saturating_duration_since(self.at_work);
        self.at_work = now;
        if still > STOOD_STILL {
            tracing::warn!(
                still_ms = millis(still),
                "this process stood still; nobody is older for it"
            );
            self.since += still;
            // What was heard since, it heard after it.
            self.seen.values_mut().for_each(|heard| *heard = (*heard + still).min(now));
        }
    }

    /// The same by the clock of the log's entries, which says `wall` at `now`.
    fn told(&self, thresholds: Thresholds, now: Instant, wall: Timestamp) -> Heartbeats {
        let at = |then: Instant| Timestamp(wall.0.saturating_sub(millis(now - then)));
        let mut beats = Heartbeats::new(at(self.since)).with_thresholds(thresholds);
        for (node, heard) in &self.seen {
            beats.beat(*node, at(*heard));
        }
        beats
    }
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// The agents that are connected.
pub(crate) struct Sessions {
    thresholds: Thresholds,
    open: Mutex<BTreeMap<NodeId, Session>>,
    present: Mutex<Present>,
    last: AtomicU64,
    /// Tells the leader that a node which was not ready is heard again.
    pub(crate) heard_again: Notify,
}

impl Sessions {
    /// Nobody is connected; silence is judged by these thresholds.
    pub(super) fn new(thresholds: Thresholds) -> Self {
        let (ages, leases) = (Ages::new(Instant::now()), Leases::new(Uptime(0)));
        let (telemetry, reported_by, seen) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let waits = Waits::imagined();
        Self {
            thresholds,
            open: Mutex::default(),
            present: Mutex::new(Present { ages, leases, waits, telemetry, reported_by, seen }),
            last: AtomicU64::default(),
            heard_again: Notify::default(),
        }
    }

    /// Refuses another process that speaks as a node which was heard a moment ago: both have the same
    /// certificate, so one is a copy. Who dials again is the same process, and knows better than we do
    /// that the old connection is dead.
    pub(super) fn check_single(&self, node: NodeId, life: u64) -> Result<(), Status> {
        let held = self.open.lock().get(&node).map_or(0, |session| session.life);
        if held == 0 || life == 0 || held == life {
            return Ok(());
        }
        let heard = self.present.lock().ages.seen.get(&node).map(Instant::elapsed);
        let Some(heard) = heard.filter(|heard| *heard < COPY_HEARD_WITHIN) else { return Ok(()) };
        Err(Status::failed_precondition(format!(
            "another process speaks as this node, and was heard {} ms ago\nhint: two machines have the \
             same --data-dir: remove the copy's, and let it join with a new token",
            heard.as_millis()
        )))
    }

    /// Takes the node's place; a session it has already is replaced, because an agent that dials again
    /// knows better than we do that the old connection is dead.
    pub(super) fn enter(&self, node: NodeId, life: u64, outbox: Outbox) -> Ticket {
        let serial = self.last.fetch_add(1, Ordering::Relaxed);
        let replaced = CancellationToken::new();
        let session = Session { serial, life, outbox, replaced: replaced.clone() };
        if let Some(older) = self.open.lock().insert(node, session) {
            older.replaced.cancel();
        }
        Ticket { node, serial, replaced }
    }

    /// Gives the place back, unless a newer session has it.
    pub(super) fn leave(&self, ticket: &Ticket) {
        let mut open = self.open.lock();
        if open.get(&ticket.node).is_none_or(|session| session.serial != ticket.serial) {
            return;
        }
        open.remove(&ticket.node);
        let mut present = self.present.lock();
        for task in present.reported_by.remove(&ticket.node).unwrap_or_default() {
            present.telemetry.remove(&task);
        }
    }

    /// How many agents are connected.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// Sends a message to the agent of `node`.
    pub(super) async fn send(&self, node: NodeId, message: SchedulerMessage) -> Result<(), Status> {
        let outbox = self.open.lock().get(&node).map(|session| session.outbox.clone());
        let gone = || Status::unavailable(format!("the agent of node {node} is not connected"));
        outbox.ok_or_else(gone)?.send(Ok(message)).await.map_err(|_| gone())
    }

    /// The node is there, now.
    pub(super) fn heard(&self, node: NodeId) {
        self.present.lock().ages.seen.insert(node, Instant::now());
    }

    /// What the node's tasks use now; replaces what it said before.
    pub(super) fn measured(&self, node: NodeId, telemetry: BTreeMap<TaskId, Telemetry>) {
        let mut present = self.present.lock();
        let tasks = telemetry.keys().copied().collect();
        for task in present.reported_by.insert(node, tasks).unwrap_or_default() {
            present.telemetry.remove(&task);
        }
        present.telemetry.extend(telemetry);
    }

    /// What was seen of the memory of some of a node's tasks.
    pub(super) fn saw(&self, seen: impl IntoIterator<Item = (TaskId, MemorySeen)>) {
        self.present.lock().seen.extend(seen);
    }

    /// What was seen of the memory of each task; of those that are not `known` any more nothing, from now
    /// on.
    pub(crate) fn seen(&self, known: impl Fn(TaskId) -> bool) -> BTreeMap<TaskId, MemorySeen> {
        let mut present = self.present.lock();
        present.seen.retain(|task, _| known(*task));
        present.seen.clone()
    }

    /// Forgets all ages: whoever becomes leader has heard nobody yet and must not declare them dead, and
    /// knows of no lease that was granted before it.
    pub(crate) fn start_afresh(&self, now: Uptime) {
        let mut present = self.present.lock();
        present.ages = Ages::new(Instant::now());
        present.seen.clear();
        present.leases = Leases::new(now);
        present.waits = Waits::imagined();
    }

    /// Notes again and again that this process is at work.
    pub(crate) async fn note_work(&self) {
        loop {
            self.present.lock().ages.work(Instant::now());
            sleep(NOTES_WORK_EVERY).await;
        }
    }

    /// What the leader waits for since its last plan.
    pub(crate) fn waits(&self, waits: Waits) {
        self.present.lock().waits = waits;
    }

    /// The same, for those who ask.
    pub(crate) fn waited_for(&self) -> Waits {
        let mut waits = self.present.lock().waits.clone();
        waits.pass(clock::ticks());
        waits
    }

    /// A renewal of the node's leases is about to be answered.
    pub(super) fn renews(&self, node: NodeId, now: Uptime) {
        self.present.lock().leases.answer(node, now);
    }

    /// When each node was last heard, by the clock that says `now`, and how its leases stand by that
    /// of leases.
    pub(crate) fn beats(&self, now: Timestamp, uptime: Uptime) -> Heartbeats {
        let leases = self.leases(uptime);
        let mut present = self.present.lock();
        // A beat that comes between the two clocks is not older than this.
        let moment = Instant::now();
        present.ages.work(moment);
        let mut beats = present.ages.told(self.thresholds, moment, now);
        beats.leases = leases;
        beats
    }

    /// How the leases of each node stand by the clock that says `now`.
    pub(crate) fn leases(&self, now: Uptime) -> Leases {
        let mut present = self.present.lock();
        present.leases.pass(now);
        present.leases.clone()
    }

    /// What each task uses.
    pub(crate) fn telemetry(&self) -> BTreeMap<TaskId, Telemetry> {
        self.present.lock().telemetry.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_older_for_time_in_which_this_process_stood_still() {
        let (silent, heard, began) = (NodeId::new(1), NodeId::new(2), Instant::now());
        let at = |millis: u64| began + Duration::from_millis(millis);
        let mut ages = Ages::new(began);
        ages.seen.insert(silent, began);
        for pulse in 1..=8 {
            ages.work(at(pulse * 250));
        }
        // It wakes after twelve seconds, and hears somebody before it notes that.
        ages.seen.insert(heard, at(14_001));
        ages.work(at(14_002));
        let beats = ages.told(Thresholds::DEFAULT, at(14_002), Timestamp(100_000));
        assert_eq!(beats.last_seen(silent), Some(Timestamp(98_000)), "two seconds at work");
        assert_eq!(beats.last_seen(heard), Some(Timestamp(100_000)));
        // Those who say nothing while it is at work get older.
        for pulse in 0..40 {
            ages.work(at(14_250 + pulse * 250));
        }
        let beats = ages.told(Thresholds::DEFAULT, at(24_002), Timestamp(110_000));
        assert_eq!(beats.last_seen(silent), Some(Timestamp(98_000)));
    }

    #[test]
    fn a_step_of_the_clock_makes_nobody_older() {
        let (node, began) = (NodeId::new(1), Instant::now());
        let mut ages = Ages::new(began);
        ages.seen.insert(node, began);
        let second = began + Duration::from_secs(1);
        for wall in [1_000_u64, 3_600_000, 5] {
            let beats = ages.told(Thresholds::DEFAULT, second, Timestamp(wall));
            let seen = beats.last_seen(node).unwrap();
            assert_eq!(seen, Timestamp(wall.saturating_sub(1_000)), "it is {wall}");
        }
    }
}
