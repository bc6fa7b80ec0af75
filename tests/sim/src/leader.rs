//! The leader: wakes, plans, proposes, serves the sessions of agents. It decides nothing; it has the
//! shape of the scheduler's own loops, without their sockets.

use std::collections::{BTreeMap, VecDeque};

use model::{Generation, Liveness, NodeId, Revision, Timestamp, lease::Uptime};
use node_agent::lease::{Awake, Granted};
use scheduler_core::{
    Applied, Command, Heartbeats, Outcome, Plan, Ticks, Waits, assignments, lease, plan,
};

use crate::{
    event::{Down, Event, ForAgent, Up},
    log::Proposer,
    world::World,
};

/// After a plan that could not be proposed, in milliseconds.
const RETRY: u64 = 1_000;
/// Plans in a row that change nothing although they wanted to.
const REFUSED_MAX: u32 = 3;
/// The longest wait between two plans, in milliseconds.
const PLAN_AT_LEAST_EVERY: u64 = 30_000;
/// The shortest.
const PLAN_AT_MOST_EVERY: u64 = 20;

/// The session of one agent, as the leader has it.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) session: u64,
    /// Whether its hello is in the log; until then what it says waits.
    greeted: bool,
    sent: Option<Generation>,
    queue: VecDeque<Up>,
    busy: bool,
}

/// What a leader keeps in memory.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) term: u64,
    pub(crate) replica: usize,
    /// When it began to lead, and when it heard each node, by true time.
    pub(crate) since: u64,
    pub(crate) heard: BTreeMap<NodeId, u64>,
    pub(crate) beats: Heartbeats,
    /// When it last planned, by true time: all parts of a plan are of then.
    pub(crate) planned: u64,
    todo: VecDeque<Command>,
    busy: bool,
    refused: u32,
    /// The revision the last plan was made on.
    seen: Revision,
    /// When to plan again at the latest, by true time.
    due: Option<u64>,
    serial: u64,
    pub(crate) sessions: BTreeMap<NodeId, Served>,
}

impl Leading {
    pub(crate) fn new(term: u64, replica: usize, (now, uptime): (Timestamp, Uptime)) -> Self {
        Self {
            term,
            replica,
            since: uptime.0,
            heard: BTreeMap::new(),
            beats: Heartbeats::new(now).leading_since(uptime).waiting(Waits::new(Ticks(uptime.0))),
            planned: uptime.0,
            todo: VecDeque::new(),
            busy: false,
            refused: 0,
            seen: Revision(0),
            due: None,
            serial: 0,
            sessions: BTreeMap::new(),
        }
    }
}

impl Leading {
    /// When each node was heard by the clock of the entries, which says `wall` at `now`.
    fn told(&self, now: u64, wall: Timestamp) -> Heartbeats {
        let at = |then: u64| Timestamp(wall.0.saturating_sub(now.saturating_sub(then)));
        let Heartbeats { leases, waits, .. } = self.beats.clone();
        let mut beats = Heartbeats::new(at(self.since)).waiting(waits);
        beats.leases = leases;
        for (node, heard) in &self.heard {
            beats.beat(*node, at(*heard));
        }
        beats
    }
}

impl World {
    /// The leader plans in so many milliseconds, instead of whenever it would have.
    pub(crate) fn plan_soon(&mut self, millis: u64) {
        let Some(leading) = self.log.leading.as_mut() else { return };
        leading.serial += 1;
        let event = Event::Lead { term: leading.term, serial: leading.serial };
        self.queue.push(self.now + millis, event);
    }

    /// The leader wakes and plans.
    pub(crate) fn lead(&mut self, term: u64, serial: u64) {
        let wall = self.wall();
        let Some(cluster) = self.log.led() else { return };
        let revision = cluster.revision();
        let Some(leading) = self.log.leading.as_ref() else { return };
        if (leading.term, leading.serial) != (term, serial) || leading.busy {
            return;
        }
        let mut beats = leading.told(self.now, wall);
        beats.leases.pass(Uptime(self.now));
        beats.waits.pass(Ticks(self.now));
        let planned = plan(cluster, &beats, wall);
        beats.waits.keep(&planned.waits, wall);
        beats.waits.remember(&planned);
        self.check_plan(&planned);
        let Plan { basis, changes, liveness, wake_at, .. } = planned;
        let due = wake_at.map(|at| self.now + at.millis_since(wall));
        let mut todo: VecDeque<Command> = liveness
            .into_iter()
            .map(|(node, liveness)| Command::SetLiveness { node, liveness })
            .collect();
        let parts = changes.chunks(self.at_once).map(<[_]>::to_vec);
        todo.extend(parts.map(|changes| Command::Plan { basis, changes }));
        if let Some(leading) = self.log.leading.as_mut() {
            leading.planned = self.now;
            leading.seen = revision;
            leading.due = due;
            leading.beats.waits = beats.waits;
            leading.todo = todo;
            leading.busy = true;
        }
        self.propose_next();
    }

    fn propose_next(&mut self) {
        let Some(leading) = self.log.leading.as_mut() else { return };
        let term = leading.term;
        if let Some(command) = leading.todo.pop_front() {
            self.propose(None, command, Proposer::Leader { term });
            return;
        }
        leading.busy = false;
        let refused = leading.refused;
        let (seen, due) = (leading.seen, leading.due);
        let changed = self.log.led().is_some_and(|cluster| cluster.changed_since(seen));
        if changed && refused < REFUSED_MAX {
            self.plan_soon(1);
            return;
        }
        if let Some(leading) = self.log.leading.as_mut() {
            leading.refused = 0;
        }
        let due = due.map_or(PLAN_AT_LEAST_EVERY, |due| due.saturating_sub(self.now));
        self.plan_soon(due.clamp(PLAN_AT_MOST_EVERY, PLAN_AT_LEAST_EVERY));
    }

    fn leader_answered(&mut self, term: u64, applied: Option<Applied>) {
        let Some(leading) = self.log.leading.as_mut().filter(|held| held.term == term) else {
            return;
        };
        let Some(applied) = applied else {
            leading.todo.clear();
            leading.busy = false;
            self.plan_soon(RETRY);
            return;
        };
        match &applied.result {
            Ok(Outcome::Planned { refused }) if !refused.is_empty() => leading.refused += 1,
            Err(_) => {
                leading.refused += 1;
                leading.todo.retain(|command| !matches!(command, Command::Plan { .. }));
            }
            Ok(_) => leading.refused = 0,
        }
        // What follows a part was planned on what it leaves.
        if let (Ok(Outcome::Planned { .. }), Some(Command::Plan { basis, .. })) =
            (&applied.result, leading.todo.front_mut())
        {
            *basis = applied.revision;
        }
        self.propose_next();
    }

    /// The leader's replica has applied something.
    pub(crate) fn cluster_changed(&mut self) {
        let Some(cluster) = self.log.led() else { return };
        let changed = |seen| cluster.changed_since(seen);
        let leading = self.log.leading.as_ref();
        if leading.is_some_and(|leading| !leading.busy && changed(leading.seen)) {
            self.plan_soon(1);
        }
        self.push_sets();
    }

    /// Sends every session whose node's set has changed the new one.
    fn push_sets(&mut self) {
        let (Some(cluster), Some(leading)) = (self.log.led(), self.log.leading.as_ref()) else {
            return;
        };
        let outdated = leading.sessions.iter().filter(|(node, served)| {
            served.greeted
                && cluster.node(**node).is_some()
                && served.sent != Some(cluster.generation(**node))
        });
        let sets: Vec<_> =
            outdated.map(|(node, held)| (held.session, assignments(cluster, *node))).collect();
        for (session, set) in sets {
            let node = set.node;
            let leading = self.log.leading.as_mut();
            if let Some(held) = leading.and_then(|leading| leading.sessions.get_mut(&node)) {
                held.sent = Some(set.generation);
            }
            if self.chance.one_in(3) {
                self.sent.insert(node, set.clone());
            }
            self.send_down(node, session, Down::Assignments(set));
        }
    }

    /// A node is sent a set it had long ago, as by a scheduler that was restored from a copy.
    pub(crate) fn send_older_set(&mut self, node: NodeId) {
        let Some(older) = self.sent.get(&node).cloned() else { return };
        let served = self.log.leading.as_ref().and_then(|leading| leading.sessions.get(&node));
        let Some(session) = served.map(|served| served.session) else { return };
        self.trace(|| format!("{node} is sent {:?} again", older.generation));
        self.send_down(node, session, Down::Assignments(older));
        self.send_down(node, session, Down::End);
    }

    /// A majority still followed the leader after a renewal had arrived: it is answered.
    pub(crate) fn round(&mut self, (term, to): (u64, usize), of: (NodeId, u64), sent: Awake) {
        let (node, session) = of;
        let Some(leading) = self.log.leading.as_ref().filter(|held| held.term == term) else {
            return;
        };
        // It has read by then what was agreed on before.
        self.apply(leading.replica, to);
        let now = Uptime(self.now);
        let Some(leading) = self.log.leading.as_mut().filter(|held| held.term == term) else {
            return;
        };
        if leading.sessions.get(&node).is_none_or(|served| served.session != session) {
            return;
        }
        leading.beats.leases.answer(node, now);
        let tasks = self.log.led().map(|cluster| lease::grant(cluster, node)).unwrap_or_default();
        if !tasks.is_empty() {
            let granted = Granted { sent, tasks };
            self.granted.insert(node, (session, granted.clone()));
            self.send_down(node, session, Down::Lease(granted));
        }
    }

    /// The last answer to a node's renewals is still on its way.
    pub(crate) fn answer_is_under_way(&mut self, node: NodeId) {
        if let Some((session, granted)) = self.granted.get(&node).cloned() {
            let message = Down::Lease(granted);
            self.for_agent(node, 1, ForAgent::Down { session, message });
        }
    }

    /// An agent's message arrives.
    pub(crate) fn hear_agent(&mut self, node: NodeId, session: u64, message: Up) {
        if self.log.old_leader.as_ref().is_some_and(|old| old.serves(node, session)) {
            return self.hear_at_old_leader(node, session, &message);
        }
        let ready = |held: &model::Node| held.liveness == Liveness::Ready;
        let away = self.log.led().and_then(|c| c.node(node)).is_some_and(|held| !ready(held));
        // Who has no strict singleton needs no round.
        let any = self.log.led().is_some_and(|cluster| !lease::grant(cluster, node).is_empty());
        let Some(leading) = self.log.leading.as_mut() else {
            return self.refuse_session(node, session);
        };
        if let Up::Hello(inventory) = message {
            let queue = VecDeque::new();
            let served = Served { session, greeted: false, sent: None, queue, busy: false };
            leading.sessions.insert(node, served);
            let address = format!("{node}:7401");
            let update = Command::UpdateNode { node, inventory, address };
            self.propose(None, update, Proposer::Hello { node, session });
            return;
        }
        let served = leading.sessions.get_mut(&node).filter(|served| served.session == session);
        let Some(served) = served else { return self.refuse_session(node, session) };
        if let Up::Heartbeat(sent) = message {
            leading.heard.insert(node, self.now);
            let (term, to) = (leading.term, self.log.entries.len());
            if any {
                let after = self.chance.delay(20, 600);
                let round = Event::Round { term, to, node, session, sent };
                self.queue.push(self.now + after, round);
            }
            if away && !leading.busy {
                self.plan_soon(1);
            }
            return;
        }
        served.queue.push_back(message);
        self.record_next(node);
    }

    /// Writes the next message that waits into the log.
    fn record_next(&mut self, node: NodeId) {
        let leading = self.log.leading.as_mut();
        let Some(served) = leading.and_then(|leading| leading.sessions.get_mut(&node)) else {
            return;
        };
        if served.busy || !served.greeted {
            return;
        }
        let Some(message) = served.queue.pop_front() else { return };
        served.busy = true;
        let session = served.session;
        let (sequence, command) = match message {
            Up::Reports(sequence, reports) => (sequence, Command::ReportTasks { node, reports }),
            Up::Inventory(sequence, inventory) => {
                let address = format!("{node}:7401");
                (sequence, Command::UpdateNode { node, inventory, address })
            }
            Up::VolumesRemoved(sequence, volumes) => {
                // A simulated engine has volumes of this cluster only.
                (sequence, Command::ConfirmVolumesRemoved { node, volumes, left: Vec::new() })
            }
            Up::Hello(_) | Up::Heartbeat(_) => return,
        };
        self.propose(None, command, Proposer::Session { node, session, sequence });
    }

    /// Whoever proposed hears what came of it; `None`: nobody knows.
    pub(crate) fn answered(&mut self, proposer: Proposer, applied: Option<Applied>) {
        match proposer {
            Proposer::Leader { term } => self.leader_answered(term, applied),
            Proposer::Person { ask } => self.person_answered(ask, applied),
            Proposer::Nobody => {}
            Proposer::Hello { node, session } if applied.is_some() => {
                let Some(leading) = self.log.leading.as_mut() else { return };
                let served = leading.sessions.get_mut(&node);
                let Some(served) = served.filter(|served| served.session == session) else {
                    return;
                };
                served.greeted = true;
                leading.heard.insert(node, self.now);
                if !leading.busy {
                    self.plan_soon(1);
                }
                self.push_sets();
                self.record_next(node);
            }
            Proposer::Session { node, session, sequence } if applied.is_some() => {
                let leading = self.log.leading.as_mut();
                let served = leading.and_then(|leading| leading.sessions.get_mut(&node));
                let Some(served) = served.filter(|served| served.session == session) else {
                    return;
                };
                served.busy = false;
                self.send_down(node, session, Down::Acknowledge(sequence));
                self.record_next(node);
            }
            // The session cannot go on without its log.
            Proposer::Hello { node, session } | Proposer::Session { node, session, .. } => {
                self.send_down(node, session, Down::End);
                if let Some(leading) = self.log.leading.as_mut() {
                    let gone = leading.sessions.get(&node).is_some_and(|s| s.session == session);
                    if gone {
                        leading.sessions.remove(&node);
                    }
                }
            }
        }
    }
}
