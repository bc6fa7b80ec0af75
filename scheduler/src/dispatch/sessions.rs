//! Which agents are connected, and what they say of the present: heartbeats and telemetry. None of it
//! is in the log; a new leader starts every age afresh.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use model::{NodeId, TaskId, Timestamp, lease::Uptime, task::Telemetry};
use parking_lot::Mutex;
use proto::v1::SchedulerMessage;
use scheduler_core::Heartbeats;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// The way to an agent.
pub(super) type Outbox = mpsc::Sender<Result<SchedulerMessage, Status>>;

/// An open session of a node.
struct Session {
    serial: u64,
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
    beats: Heartbeats,
    telemetry: BTreeMap<TaskId, Telemetry>,
    reported_by: BTreeMap<NodeId, Vec<TaskId>>,
}

impl Default for Present {
    /// Nobody was heard, for as long as there are clocks; a leader starts the ages afresh.
    fn default() -> Self {
        let beats = Heartbeats::new(Timestamp(0));
        Self { beats, telemetry: BTreeMap::new(), reported_by: BTreeMap::new() }
    }
}

/// The agents that are connected.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<BTreeMap<NodeId, Session>>,
    present: Mutex<Present>,
    last: AtomicU64,
    /// Tells the leader that a node which was not ready is heard again.
    pub(crate) heard_again: Notify,
}

impl Sessions {
    /// Takes the node's place; a session it has already is replaced, because an agent that dials again
    /// knows better than we do that the old connection is dead.
    pub(super) fn enter(&self, node: NodeId, outbox: Outbox) -> Ticket {
        let serial = self.last.fetch_add(1, Ordering::Relaxed);
        let replaced = CancellationToken::new();
        let session = Session { serial, outbox, replaced: replaced.clone() };
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
    pub(super) fn heard(&self, node: NodeId, now: Timestamp) {
        self.present.lock().beats.beat(node, now);
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

    /// Forgets all ages: whoever becomes leader has heard nobody yet and must not declare them dead, and
    /// knows of no lease that was granted before it.
    pub(crate) fn start_afresh(&self, now: Timestamp, uptime: Uptime) {
        self.present.lock().beats = Heartbeats::new(now).leading_since(uptime);
    }

    /// A renewal of the node's leases is about to be answered.
    pub(super) fn renews(&self, node: NodeId, now: Uptime) {
        self.present.lock().beats.leases.answer(node, now);
    }

    /// When each node was last heard, and how its leases stand at that time.
    pub(crate) fn beats(&self, now: Uptime) -> Heartbeats {
        let mut present = self.present.lock();
        present.beats.leases.pass(now);
        present.beats.clone()
    }

    /// What each task uses.
    pub(crate) fn telemetry(&self) -> BTreeMap<TaskId, Telemetry> {
        self.present.lock().telemetry.clone()
    }
}
