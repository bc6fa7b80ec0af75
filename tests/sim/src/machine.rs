//! A machine: its power, its network, its disk, its engine, and the agent's process on it.

use std::collections::BTreeMap;

use model::{
    Bytes, Generation, Generic, Inventory, MilliCpu, NodeId, Timestamp,
    planted::{Bug, is_planted},
};
use node_agent::{
    lease::{Awake, Leases},
    lease_record,
    runtime::{ContainerId, Happening},
};

use crate::{
    agent::Process,
    engine::{Engine, Told},
    event::{End, Event, ForAgent, OnMachine},
    people::gpu,
    world::World,
};

/// How long after it woke a machine may take until what has no lease is stopped, in milliseconds.
const NOTICES_WITHIN: u64 = 2_000;
/// The same after its engine answers again.
const STOPS_WITHIN: u64 = 5_000;
/// Between two looks of the guard.
const GUARD_LOOKS: u64 = 1_000;
/// The exit code of a process that SIGKILL ended.
const KILLED: i64 = 137;
/// The exit code of a process that SIGTERM ended.
pub(crate) const TERMINATED: i64 = 143;

/// Where in its round an agent dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// Before the ledger is written.
    Ledger,
    /// Before what is new is reported.
    Report,
    /// Before the steps begin.
    Steps,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) memory: Bytes,
    pub(crate) power: bool,
    pub(crate) network: bool,
    pub(crate) disk_full: bool,
    pub(crate) asleep_until: u64,
    /// How long it has slept in all: the agent's clock stood still.
    pub(crate) slept: u64,
    /// How long it was frozen in all: of its clocks only the hardware's went on.
    pub(crate) frozen: u64,
    /// Whether the agent can read its hardware's clock.
    pub(crate) hardware_clock: bool,
    pub(crate) booted_at: u64,
    /// When it last woke.
    pub(crate) woke_at: u64,
    /// When its engine last answered again.
    pub(crate) engine_at: u64,
    /// What the file of leases holds.
    pub(crate) leases: Vec<u8>,
    /// What is on the disk.
    pub(crate) ledger: Option<Vec<u8>>,
    pub(crate) engine: Engine,
    pub(crate) agent: Option<Process>,
    pub(crate) boots: u64,
    /// The last life of an agent before the power failed: its requests reach nobody any more.
    pub(crate) dark_boot: u64,
    /// The last life of an agent that was killed between two steps: those it had not asked for yet are not
    /// carried out.
    pub(crate) cut_boot: u64,
    /// When the disk last took a write again.
    pub(crate) disk_freed_at: u64,
    /// The generation of the set that is on the disk.
    pub(crate) ledger_generation: Option<Generation>,
    /// How far its wall clock is ahead, in milliseconds.
    pub(crate) skew: u64,
    /// Its agent dies here the next time it comes by.
    pub(crate) dies_at: Option<Point>,
    /// Answers of the engine that get lost, from now on.
    pub(crate) lost_answers: u32,
}

impl Machine {
    pub(crate) fn new(memory: Bytes) -> Self {
        Self {
            memory,
            power: true,
            network: true,
            disk_full: false,
            asleep_until: 0,
            slept: 0,
            frozen: 0,
            hardware_clock: true,
            booted_at: 0,
            woke_at: 0,
            engine_at: 0,
            leases: Vec::new(),
            ledger: None,
            engine: Engine::new(),
            agent: None,
            boots: 0,
            dark_boot: 0,
            cut_boot: 0,
            disk_freed_at: 0,
            ledger_generation: None,
            skew: 0,
            dies_at: None,
            lost_answers: 0,
        }
    }

    /// Names its boot.
    pub(crate) fn boot_id(&self) -> String {
        self.dark_boot.to_string()
    }

    /// What its clocks show that count sleep: one of them, or both.
    pub(crate) fn awake(&self, now: u64) -> Awake {
        let hardware = self.hardware_clock.then_some((now + self.skew) / 1_000);
        Awake { boot: now - (self.booted_at + self.frozen).min(now), hardware }
    }

    /// The leases in its file that are good, as its guard and a new agent read them.
    pub(crate) fn leases_on_disk(&self, now: u64) -> Leases {
        let held = lease_record::decode(&self.boot_id(), &self.leases);
        let mut leases = Leases::restored(held.unwrap_or_default());
        leases.pass(self.awake(now));
        leases
    }

    /// Whether what is said to run there really does: while a machine sleeps nothing on it moves. One
    /// that woke may take two seconds to notice that a lease is over, and whoever has an engine that
    /// does not answer cannot stop anything.
    pub(crate) fn runs_for_sure(&self, now: u64) -> bool {
        let awake = now >= self.asleep_until && now >= self.woke_at + NOTICES_WITHIN;
        awake && self.engine.up && now >= self.engine_at + STOPS_WITHIN
    }

    /// What its engine says it has.
    pub(crate) fn facts(&self) -> Inventory {
        Inventory {
            memory: self.memory,
            cpu: MilliCpu::cores(8),
            arch: "arm64".to_owned(),
            os: "linux".to_owned(),
            engine: "simulated".to_owned(),
            engine_ready: true,
            generic: self.generic(),
            ..Inventory::default()
        }
    }

    /// What its agent offers of the one kind of devices that worlds have: one for 500 MiB of memory.
    pub(crate) fn generic(&self) -> Generic {
        [(&gpu(), self.memory.0.checked_div(500 << 20).unwrap_or(0))].into_iter().collect()
    }
}

/// The machines of a world.
pub(crate) type Machines = BTreeMap<NodeId, Machine>;

impl World {
    /// The time by the machine's wall clock.
    pub(crate) fn wall_of(&self, node: NodeId) -> Timestamp {
        let skew = self.machines.get(&node).map_or(0, |machine| machine.skew);
        self.true_wall().plus_millis(skew)
    }

    pub(crate) fn on_machine(&mut self, node: NodeId, after: u64, what: OnMachine) {
        self.queue.push(self.now + after, Event::Machine { node, what });
    }

    /// For the agent's process that runs there now; a later one does not get it.
    pub(crate) fn for_agent(&mut self, node: NodeId, after: u64, what: ForAgent) {
        let Some(process) = self.machines.get(&node).and_then(|m| m.agent.as_ref()) else { return };
        let boot = process.boot;
        self.on_machine(node, after, OnMachine::Agent { boot, what });
    }

    /// Something happens on a machine, unless it sleeps: then it happens when it wakes.
    pub(crate) fn machine_event(&mut self, node: NodeId, what: OnMachine) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        if self.now < machine.asleep_until {
            let at = machine.asleep_until;
            self.queue.push(at, Event::Machine { node, what });
            return;
        }
        match what {
            OnMachine::PowerReturns => self.power_on(node),
            OnMachine::NetworkReturns => machine.network = true,
            OnMachine::DiskReturns => {
                machine.disk_full = false;
                machine.disk_freed_at = self.now;
            }
            OnMachine::EngineAnswers => self.engine_answers(node),
            OnMachine::AgentStarts => self.start_agent(node),
            OnMachine::GuardLooks => self.guard_looks(node),
            OnMachine::StopsAgain => self.check_alone(node),
            OnMachine::Flaps { times, millis } => self.flap(node, times, millis),
            OnMachine::Agent { boot, what } => {
                if machine.agent.as_ref().is_some_and(|process| process.boot == boot) {
                    self.agent_event(node, what);
                }
            }
            OnMachine::Call { boot, step, subject } => {
                self.call(node, boot, step, subject.map(|held| *held));
            }
            OnMachine::Ends { container, run, how } => self.ends(node, &container, run, how),
            OnMachine::Stopped { boot, step, container, run } => {
                self.stopped(node, boot, step, (container, run));
            }
            OnMachine::Health { container, run, health } => {
                let held = machine.engine.containers.get_mut(&container);
                if let Some(held) = held.filter(|held| held.run == run && held.is_running()) {
                    held.shown.health = health;
                    self.tell(node, &container, Happening::Changed);
                }
            }
            OnMachine::Pulled { boot, step } => self.pulled(node, boot, step),
        }
    }

    /// The guard stops what has no lease; it is a process of its own and lives while the machine does.
    fn guard_looks(&mut self, node: NodeId) {
        self.on_machine(node, GUARD_LOOKS, OnMachine::GuardLooks);
        let now = self.now;
        let Some(machine) = self.machines.get(&node).filter(|machine| machine.power) else {
            return;
        };
        if !machine.engine.up || is_planted(Bug::LeaseForgotten) {
            return;
        }
        let found = machine.engine.containers.values().map(|held| &held.shown);
        for (container, grace) in machine.leases_on_disk(now).overdue(found) {
            let takes = self.chance.delay(500, 2_000).min(grace);
            let Some(machine) = self.machines.get(&node) else { return };
            let Some(run) = machine.engine.containers.get(&container).map(|held| held.run) else {
                continue;
            };
            self.trace(|| format!("{node} guard stops {container}"));
            let ends = OnMachine::Ends { container, run, how: End::Killed };
            self.on_machine(node, takes, ends);
        }
    }

    /// The network goes for so long, and comes back for as long.
    fn flap(&mut self, node: NodeId, times: u32, millis: u64) {
        if times == 0 || !self.faults.on {
            return;
        }
        if let Some(machine) = self.machines.get_mut(&node) {
            machine.network = false;
        }
        self.trace(|| format!("{node} flaps: away for {millis} ms"));
        self.break_session(node);
        self.on_machine(node, millis, OnMachine::NetworkReturns);
        self.on_machine(node, 2 * millis, OnMachine::Flaps { times: times - 1, millis });
    }

    /// A container's process ends without the agent's doing.
    pub(crate) fn ends(&mut self, node: NodeId, id: &ContainerId, run: u64, how: End) {
        let wall = self.wall_of(node);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(held) = machine.engine.containers.get_mut(id) else { return };
        if held.run != run || !held.is_running() {
            return;
        }
        let name = held.name();
        let (code, told): (i64, &[Happening]) = match how {
            End::Exit(code) => (code, &[Happening::Died]),
            End::OutOfMemory => {
                held.shown.oom_killed = true;
                (KILLED, &[Happening::OutOfMemory, Happening::Died])
            }
            End::Killed => (KILLED, &[Happening::Killed, Happening::Died]),
        };
        machine.engine.end(id, code, wall);
        self.trace(|| format!("{node} engine: {name} ends, {how:?}"));
        for what in told {
            self.tell(node, id, *what);
        }
    }

    /// The engine tells whoever listens.
    pub(crate) fn tell(&mut self, node: NodeId, id: &ContainerId, what: Happening) {
        let at = self.wall_of(node);
        let after = self.chance.delay(20, 1_200);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(held) = machine.engine.containers.get(id) else { return };
        let (id, task) = (id.clone(), held.shown.task);
        machine.engine.tell(Told { id: id.clone(), task, what, at });
        if machine.engine.up {
            self.for_agent(node, after, ForAgent::Told { id, task, what, at });
        }
    }

    /// What an engine remembers, told to an agent that listens from now on.
    pub(crate) fn tell_again(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get(&node).filter(|machine| machine.engine.up) else {
            return;
        };
        let told: Vec<Told> = machine.engine.told.iter().cloned().collect();
        for Told { id, task, what, at } in told {
            self.for_agent(node, 5, ForAgent::Told { id, task, what, at });
        }
        self.for_agent(node, 6, ForAgent::Look { regular: false });
    }

    /// The engine stops answering; what runs goes on, or ends with it.
    pub(crate) fn engine_goes(&mut self, node: NodeId, restarts: bool) {
        let wall = self.wall_of(node);
        let Some(machine) = self.machines.get_mut(&node).filter(|machine| machine.engine.up) else {
            return;
        };
        if restarts {
            machine.engine.fall(0, wall);
        }
        machine.engine.up = false;
        let how = if restarts { "restarts" } else { "does not answer" };
        self.trace(|| format!("{node} engine {how}"));
        let after = self.chance.between(200, 12_000);
        self.on_machine(node, after, OnMachine::EngineAnswers);
    }

    fn engine_answers(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get_mut(&node).filter(|machine| machine.power) else {
            return;
        };
        if !std::mem::replace(&mut machine.engine.up, true) {
            machine.engine_at = self.now;
            self.trace(|| format!("{node} engine answers"));
            self.tell_again(node);
            self.on_machine(node, STOPS_WITHIN, OnMachine::StopsAgain);
        }
    }

    /// The power of a machine fails.
    pub(crate) fn power_off(&mut self, node: NodeId) {
        self.stop_agent(node);
        let wall = self.wall_of(node);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        machine.power = false;
        machine.dark_boot = machine.boots;
        machine.engine.fall(TERMINATED, wall);
        self.trace(|| format!("{node} loses power"));
    }

    fn power_on(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get_mut(&node).filter(|machine| !machine.power) else {
            return;
        };
        machine.power = true;
        (machine.booted_at, machine.frozen) = (self.now, 0);
        self.trace(|| format!("{node} has power again"));
        let (engine, agent) = (self.chance.between(50, 8_000), self.chance.between(50, 4_000));
        self.on_machine(node, engine, OnMachine::EngineAnswers);
        self.on_machine(node, agent, OnMachine::AgentStarts);
    }

    /// A machine sleeps: nothing on it moves. When it is frozen from outside, its own clock stands still.
    pub(crate) fn sleep(&mut self, node: NodeId, millis: u64, frozen: bool) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        if machine.asleep_until > now {
            return;
        }
        machine.asleep_until = now + millis;
        machine.slept += millis;
        machine.woke_at = now + millis;
        let frozen = frozen && machine.hardware_clock;
        if frozen {
            machine.frozen += millis;
        }
        self.on_machine(node, millis + NOTICES_WITHIN, OnMachine::StopsAgain);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        // What the agent waits for comes that much later.
        machine.disk_freed_at = machine.disk_freed_at.max(now) + millis;
        let how = if frozen { "is frozen" } else { "sleeps" };
        self.trace(|| format!("{node} {how} for {millis} ms"));
        if millis > 8_000 {
            self.break_session(node);
        }
    }
}
