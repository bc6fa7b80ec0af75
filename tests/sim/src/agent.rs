//! The agent's process around the agent's own mind: it dials, listens, looks, writes the ledger,
//! begins steps; and may die between any two of these. It has the shape of the agent's own loops,
//! without their sockets and files.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
};

use model::{Generation, Inventory, NodeId, TaskId, TaskStatus};
use node_agent::{
    agent::{Mind, Wake},
    attempt::Moment,
    board::Board,
    lease::Awake,
    lease_record, ledger,
};

use crate::{
    event::{Boot, ForAgent, OnMachine},
    machine::Point,
    session::Session,
    world::World,
};

/// Between two looks at everything, in milliseconds.
const LOOK: u64 = 10_000;
/// The same while the engine does not answer.
const LOOK_AGAIN: u64 = 1_000;

/// A life of the agent's process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) boot: Boot,
    pub(crate) mind: Mind,
    pub(crate) board: Arc<Board>,
    stamp: Arc<AtomicU64>,
    began: u64,
    due_at: u64,
    /// Of the set it acts on.
    pub(crate) generation: Generation,
    looking: bool,
    /// When the renewals were sent that it heard an answer to.
    pub(crate) renewed: BTreeMap<TaskId, Awake>,
    pub(crate) session: Option<Session>,
}

impl Process {
    pub(crate) fn has_session(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.broken)
    }
}

impl World {
    pub(crate) fn process(&mut self, node: NodeId) -> Option<&mut Process> {
        self.machines.get_mut(&node)?.agent.as_mut()
    }

    /// The agent's clock, which stands still while the machine sleeps.
    pub(crate) fn moment(&self, node: NodeId) -> Moment {
        let Some(machine) = self.machines.get(&node) else { return Moment(0) };
        let began = machine.agent.as_ref().map_or(0, |process| process.began);
        Moment((self.now - machine.slept.min(self.now)).saturating_sub(began))
    }

    pub(crate) fn start_agent(&mut self, node: NodeId) {
        let cluster = self.log.reference.id().to_owned();
        let Some(machine) = self.machines.get_mut(&node) else { return };
        if machine.agent.is_some() || !machine.power {
            return;
        }
        machine.boots += 1;
        let held = match machine.ledger.as_deref().map(ledger::decode) {
            Some(Err(why)) => return self.broken(format!("{node}'s ledger is damaged: {why}")),
            Some(Ok(held)) => Some(held),
            None => None,
        };
        let offered = held.as_ref().and_then(|held| held.inventory.clone()).unwrap_or_default();
        let generic = machine.generic();
        let offered = Inventory { engine_ready: false, generic, ..offered };
        let board = Arc::new(Board::new(offered));
        let stamp = Arc::new(AtomicU64::new(0));
        let mut mind = Mind::new((cluster, node), Arc::clone(&board), Arc::clone(&stamp), held);
        let leases = lease_record::decode(&machine.boot_id(), &machine.leases);
        mind.restore_leases(leases.unwrap_or_default());
        let (boot, began) = (machine.boots, self.now - machine.slept.min(self.now));
        let process = Process {
            boot,
            mind,
            board,
            stamp,
            began,
            due_at: 0,
            generation: Generation(0),
            looking: false,
            renewed: BTreeMap::new(),
            session: None,
        };
        machine.agent = Some(process);
        self.trace(|| format!("{node} agent starts"));
        self.for_agent(node, 1, ForAgent::Look { regular: true });
        self.tell_again(node);
        self.for_agent(node, 50, ForAgent::Dial);
        self.settle(node);
    }

    /// The agent's process is killed: all that it began is on its way, or it was killed between two of its steps.
    pub(crate) fn stop_agent(&mut self, node: NodeId) {
        let between_steps = self.chance.one_in(2);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        machine.dies_at = None;
        if machine.agent.take().is_some() {
            if between_steps {
                machine.cut_boot = machine.boots;
            }
            self.trace(|| {
                let when = if between_steps { ", between two steps" } else { "" };
                format!("{node} agent is killed{when}")
            });
        }
    }

    /// The same, and whatever supervises it starts it again.
    pub(crate) fn restart_agent(&mut self, node: NodeId) {
        self.stop_agent(node);
        let after = self.chance.between(100, 5_000);
        self.on_machine(node, after, OnMachine::AgentStarts);
    }

    pub(crate) fn agent_event(&mut self, node: NodeId, what: ForAgent) {
        match what {
            ForAgent::Due { at } => {
                if self.process(node).is_some_and(|process| process.due_at == at) {
                    self.settle(node);
                }
            }
            ForAgent::Dial => self.dial(node),
            ForAgent::Beat { session } => self.beat(node, session),
            ForAgent::Down { session, message } => self.hear_scheduler(node, session, message),
            ForAgent::Look { regular } => self.look(node, regular),
            ForAgent::LookTaken { asked } => {
                let Some(machine) = self.machines.get(&node) else { return };
                let look = machine.engine.look();
                let wake = Wake::Looked { asked, look };
                let after = self.chance.delay(20, 1_500);
                self.for_agent(node, after, ForAgent::Wake(Box::new(wake)));
            }
            ForAgent::InspectTaken { asked, id } => {
                let Some(machine) = self.machines.get(&node) else { return };
                let shown = machine.engine.inspect(&id);
                let wake = Wake::Inspected { asked, id, shown };
                let after = self.chance.delay(10, 800);
                self.for_agent(node, after, ForAgent::Wake(Box::new(wake)));
            }
            ForAgent::Told { id, task, what, at } => {
                self.wake(node, Wake::Happened { id, task, what, at });
            }
            ForAgent::Worked { step, container, done } => {
                let outcome = self.worked(node, container, done);
                self.wake(node, Wake::Done { step, outcome });
            }
            ForAgent::Wake(wake) => self.wake(node, *wake),
        }
    }

    fn look(&mut self, node: NodeId, regular: bool) {
        let after = self.chance.delay(20, 400);
        let Some(process) = self.process(node) else { return };
        if std::mem::replace(&mut process.looking, true) {
            // One look at a time; the next one comes soon enough.
            let next = if regular { LOOK_AGAIN } else { 100 };
            self.for_agent(node, next, ForAgent::Look { regular });
            return;
        }
        let asked = process.stamp.load(Ordering::SeqCst);
        self.for_agent(node, after, ForAgent::LookTaken { asked });
        if regular {
            let known = process_knows(self.process(node));
            let next = if known { LOOK } else { LOOK_AGAIN };
            self.for_agent(node, next, ForAgent::Look { regular });
        }
    }

    /// Something wakes the agent.
    fn wake(&mut self, node: NodeId, wake: Wake) {
        let now = self.moment(node);
        let facts = self.machines.get(&node).map(super::machine::Machine::facts);
        let Some(process) = self.process(node) else { return };
        if let Wake::Looked { look, .. } = &wake {
            process.looking = false;
            let answered = look.is_ok();
            process.board.inventory.send_modify(|offered| match facts {
                Some(facts) if answered => *offered = facts,
                _ => offered.engine_ready = false,
            });
        }
        process.mind.learn(wake, now);
        self.offer(node);
        self.settle(node);
    }

    /// One round of the agent's loop.
    pub(crate) fn settle(&mut self, node: NodeId) {
        let (now, wall) = (self.moment(node), self.wall_of(node));
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let (dies_at, full) = (machine.dies_at, machine.disk_full);
        let (awake, boot) = (machine.awake(self.now), machine.boot_id());
        let Some(process) = machine.agent.as_mut() else { return };
        process.mind.look_at_leases(awake);
        let look = process.mind.wants_a_look();
        let news = process.mind.notice(now, wall);
        if dies_at == Some(Point::Ledger) {
            return self.restart_agent(node);
        }
        if let Some(bytes) = process.mind.unsaved(now) {
            if !full {
                machine.ledger = Some(bytes);
                machine.ledger_generation = process.mind.set().map(|set| set.generation);
            }
            process.mind.saved(!full, now);
        }
        // This one has its room from the beginning.
        if let Some(sent) = process.mind.unsaved_leases() {
            machine.leases = lease_record::encode(&boot, &sent);
        }
        let wants_lease = process.mind.wants_lease();
        if wants_lease {
            self.say_beat(node);
        }
        self.check_ledger(node);
        if dies_at == Some(Point::Report) {
            return self.restart_agent(node);
        }
        for (task, status) in &news {
            self.trace(|| {
                let TaskStatus { state, restarts, failure, .. } = status;
                let why = failure.as_ref().map(|failure| format!(": {}", failure.message));
                format!("{node} agent: {task} is {state}, r{restarts}{}", why.unwrap_or_default())
            });
        }
        self.check_reports(node, &news);
        let Some(process) = self.process(node) else { return };
        process.mind.report(news);
        self.flush(node);
        if dies_at == Some(Point::Steps) {
            return self.restart_agent(node);
        }
        if look {
            self.for_agent(node, 1, ForAgent::Look { regular: false });
        }
        self.begin(node);
    }

    fn begin(&mut self, node: NodeId) {
        let now = self.moment(node);
        let Some(process) = self.process(node) else { return };
        let steps = process.mind.steps(now);
        let inspections = process.mind.inspections();
        let (due, boot) = (process.mind.due(now), process.boot);
        for (step, subject) in steps {
            self.check_step(node, &step);
            self.trace(|| format!("{node} agent: {step:?}"));
            let subject = subject.map(Box::new);
            let after = self.chance.delay(10, 500);
            self.on_machine(node, after, OnMachine::Call { boot, step, subject });
        }
        for (asked, id) in inspections {
            let after = self.chance.delay(10, 300);
            self.for_agent(node, after, ForAgent::InspectTaken { asked, id });
        }
        let wait = due.0.saturating_sub(now.0).max(1);
        let at = self.now + wait;
        let Some(process) = self.process(node) else { return };
        if process.due_at != at {
            process.due_at = at;
            self.for_agent(node, wait, ForAgent::Due { at });
        }
    }
}

fn process_knows(process: Option<&mut Process>) -> bool {
    process.is_some_and(|process| process.board.inventory.borrow().engine_ready)
}
