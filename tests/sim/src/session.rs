//! The agent's sessions: it dials, says hello, beats, reports what is new, and finds out late that a
//! connection is gone.

use model::{
    Inventory, NodeId,
    planted::{Bug, is_planted},
};
use node_agent::{attempt::Moment, board::Link, inventory, outbox::Outbox};

use crate::{
    event::{Down, Event, ForAgent, Up},
    world::World,
};

/// Between two heartbeats, in milliseconds.
const HEARTBEAT: u64 = 1_000;
/// Heartbeats after which reports without an acknowledgement are sent again.
const RESEND_BEATS: u32 = 3;
/// Reports in one message.
const REPORTS: usize = 200;
/// How long the first session waits to know what the machine offers, in milliseconds.
const FIRST_LOOK: u64 = 5_000;

/// A session with a scheduler, as the agent has it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: u64,
    sequence: u64,
    resend_to: u64,
    beats: u32,
    told: Inventory,
    /// Messages arrive in the order they were sent.
    up_at: u64,
    down_at: u64,
    /// The connection is gone and this side does not know yet.
    pub(crate) broken: bool,
}

impl World {
    /// Tells the scheduler what the machine offers, where that has changed.
    pub(crate) fn offer(&mut self, node: NodeId) {
        let Some(process) = self.process(node) else { return };
        let news = process.board.inventory.borrow().clone();
        let Some(session) = process.session.as_mut() else { return };
        if inventory::differs(&session.told, &news) {
            session.told = news.clone();
            session.sequence += 1;
            let sequence = session.sequence;
            self.send_up(node, Up::Inventory(sequence, news));
        }
    }

    pub(crate) fn dial(&mut self, node: NodeId) {
        let now = self.moment(node);
        let again = self.chance.between(200, 5_000);
        self.sessions += 1;
        let id = self.sessions;
        let leads = self.log.leading.is_some();
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let network = machine.network;
        let Some(process) = machine.agent.as_mut() else { return };
        if process.session.is_some() {
            return;
        }
        let offered = process.board.inventory.borrow().clone();
        if !offered.engine_ready && now < Moment(FIRST_LOOK) {
            return self.for_agent(node, 200, ForAgent::Dial);
        }
        if !network || !leads {
            return self.for_agent(node, again, ForAgent::Dial);
        }
        process.session = Some(Session {
            id,
            sequence: 1,
            resend_to: 0,
            beats: 0,
            told: offered.clone(),
            up_at: 0,
            down_at: 0,
            broken: false,
        });
        process.board.link.send_replace(Link { connected: true, set: None });
        let link = process.board.link.borrow().clone();
        process.mind.hear_link(link);
        process.board.outbox(Outbox::begin);
        self.send_up(node, Up::Hello(offered));
        self.flush(node);
        self.for_agent(node, HEARTBEAT, ForAgent::Beat { session: id });
        self.settle(node);
    }

    pub(crate) fn beat(&mut self, node: NodeId, id: u64) {
        let Some(process) = self.process(node) else { return };
        let Some(session) = process.session.as_mut().filter(|session| session.id == id) else {
            return;
        };
        if session.broken {
            return self.hang_up(node);
        }
        session.beats += 1;
        if session.beats.is_multiple_of(RESEND_BEATS) {
            let overdue = std::mem::replace(&mut session.resend_to, session.sequence);
            process.board.outbox(|outbox| outbox.resend(overdue));
            self.flush(node);
        }
        self.say_beat(node);
        self.for_agent(node, HEARTBEAT, ForAgent::Beat { session: id });
    }

    /// Sends a heartbeat, with what the clocks show now.
    pub(crate) fn say_beat(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get(&node) else { return };
        let sent = machine.awake(self.now);
        self.send_up(node, Up::Heartbeat(sent));
    }

    /// The agent sees that its session is over.
    fn hang_up(&mut self, node: NodeId) {
        let again = self.chance.between(200, 5_000);
        let Some(process) = self.process(node) else { return };
        process.session = None;
        process.board.link.send_replace(Link::default());
        process.mind.hear_link(Link::default());
        self.for_agent(node, again, ForAgent::Dial);
        self.settle(node);
    }

    pub(crate) fn hear_scheduler(&mut self, node: NodeId, id: u64, message: Down) {
        let awake = self.machines.get(&node).map(|machine| machine.awake(self.now));
        let awake = awake.unwrap_or_default();
        let Some(process) = self.process(node) else { return };
        if process.session.as_ref().is_none_or(|session| session.id != id) {
            return;
        }
        match message {
            Down::Acknowledge(sequence) => {
                process.board.outbox(|outbox| outbox.acknowledge(sequence));
            }
            Down::Lease(mut granted) => {
                for task in &granted.tasks {
                    let last = process.renewed.entry(*task).or_insert(granted.sent);
                    if last.boot < granted.sent.boot {
                        *last = granted.sent;
                    }
                }
                if is_planted(Bug::LeaseFromAnswer) {
                    granted.sent = awake;
                }
                process.mind.hear_leases(&granted);
                self.settle(node);
            }
            Down::End => self.hang_up(node),
            Down::Assignments(set) => {
                process.board.link.send_modify(|link| link.set = Some(set));
                let link = process.board.link.borrow().clone();
                process.mind.hear_link(link);
                self.settle(node);
            }
        }
    }

    /// Sends what is new.
    pub(crate) fn flush(&mut self, node: NodeId) {
        loop {
            let Some(process) = self.process(node) else { return };
            let Some(session) = process.session.as_mut() else { return };
            let next = session.sequence + 1;
            let reports = process.board.outbox(|outbox| outbox.take_reports(next, REPORTS));
            let message = if reports.is_empty() {
                let disposed = process.board.outbox(|outbox| outbox.take_disposed(next));
                if disposed.is_empty() {
                    return;
                }
                let volumes = disposed.into_iter().map(|(volume, _)| volume).collect();
                Up::VolumesRemoved(next, volumes)
            } else {
                Up::Reports(next, reports)
            };
            session.sequence = next;
            self.send_up(node, message);
        }
    }

    fn send_up(&mut self, node: NodeId, message: Up) {
        let after = self.chance.delay(15, 900);
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let network = machine.network;
        let session = machine.agent.as_mut().and_then(|process| process.session.as_mut());
        let Some(session) = session else { return };
        session.broken |= !network;
        if session.broken {
            return;
        }
        session.up_at = session.up_at.max(now + after);
        let (at, session) = (session.up_at, session.id);
        self.queue.push(at, Event::FromAgent { node, session, message });
    }

    pub(crate) fn send_down(&mut self, node: NodeId, id: u64, message: Down) {
        let after = self.chance.delay(15, 900);
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let network = machine.network;
        let session = machine.agent.as_mut().and_then(|process| process.session.as_mut());
        let Some(session) = session.filter(|session| session.id == id) else { return };
        session.broken |= !network;
        if session.broken {
            return;
        }
        session.down_at = session.down_at.max(now + after);
        let after = session.down_at - now;
        self.for_agent(node, after, ForAgent::Down { session: id, message });
    }

    /// The connection of a node's session is gone; its agent finds out.
    pub(crate) fn break_session(&mut self, node: NodeId) {
        if let Some(session) = self.process(node).and_then(|process| process.session.as_mut()) {
            session.broken = true;
        }
    }

    /// Nobody serves this session, and whoever holds it is told.
    pub(crate) fn refuse_session(&mut self, node: NodeId, id: u64) {
        self.send_down(node, id, Down::End);
    }

    /// The scheduler ends a node's session.
    pub(crate) fn end_session(&mut self, node: NodeId) {
        let session = self.process(node).and_then(|process| process.session.as_ref());
        if let Some(id) = session.map(|session| session.id) {
            self.send_down(node, id, Down::End);
            // If that does not reach it, the connection is gone all the same.
            let after = self.chance.between(1_000, 3_000);
            self.for_agent(node, after, ForAgent::Down { session: id, message: Down::End });
        }
    }
}
