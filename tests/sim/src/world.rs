//! The world: schedulers, machines, people, one clock and one queue of what will happen.

use std::collections::BTreeMap;

use model::{AssignmentSet, Bytes, Node, NodeId, NodeName, TaskId, Timestamp, token::Role};
use node_agent::lease::Granted;
use scheduler_core::{Command, Entry, Outcome};

use crate::{
    chance::Chance,
    check::{Deadlines, Moves, Progress},
    event::{Event, OnMachine},
    faults::Faults,
    log::{Log, Proposer},
    machine::{Machine, Machines},
    people::{Ask, People, singletons},
    queue::Queue,
    trace::Trace,
};

/// The wall-clock time at which every world begins.
const BEGINNING: u64 = 1_700_000_000_000;
/// The machines of a random world and their memory in MiB.
const MACHINES: [(&str, u64); 3] = [("mini-1", 1_000), ("mini-2", 700), ("mini-3", 400)];
/// After the faults stop, everything must be in order within this time: longer than the longest
/// back-off, fetch and deadline together.
const CALM: u64 = 45 * 60_000;
/// Between two looks whether everything is in order.
const LOOK_EVERY: u64 = 5_000;
/// It must be in order at so many looks in a row.
const LOOKS: u32 = 3;

/// How often a person asks again in calm: an engine that refuses the first two starts of an image
/// makes two replacements fail.
const ASKED_AGAIN_MAX: u32 = 4;

/// How a world ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The first rule that was broken, in words; `None` when all held.
    pub broken: Option<String>,
    /// How many events there were until then.
    pub steps: u64,
    /// The virtual time, in milliseconds.
    pub millis: u64,
    /// Entries of the log.
    pub entries: usize,
    /// Changes that people were told are made.
    pub acknowledged: usize,
    /// The number of the whole run: equal seeds have equal ones.
    pub hash: u64,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    pub(crate) now: u64,
    pub(crate) queue: Queue,
    pub(crate) chance: Chance,
    pub(crate) log: Log,
    pub(crate) machines: Machines,
    pub(crate) people: People,
    /// The chances of those who move tasks, where there are such people.
    pub(crate) movers: Option<Chance>,
    pub(crate) faults: Faults,
    pub(crate) sessions: u64,
    /// A set that each node was sent once.
    pub(crate) sent: BTreeMap<NodeId, AssignmentSet>,
    pub(crate) progress: BTreeMap<TaskId, Progress>,
    /// Ends of containers that were seen by machines that are gone.
    pub(crate) gone_ends: BTreeMap<TaskId, u32>,
    pub(crate) moves: Moves,
    pub(crate) deadlines: Deadlines,
    /// How far the wall clock of whoever leads is from true time, in milliseconds, and whether it steps.
    pub(crate) clock_offset: i64,
    pub(crate) steps_clock: bool,
    /// The last leases each node was granted, and in which session.
    pub(crate) granted: BTreeMap<NodeId, (u64, Granted)>,
    pub(crate) history: Trace,
    /// How long things go wrong at least and at most; by chance where it is nothing.
    lasts: (u64, u64),
    /// Whether a machine that was given up is replaced by another.
    replaces: bool,
    /// Changes of a plan that are proposed as one entry: few in a quarter of the worlds, so that something comes
    /// between the parts.
    pub(crate) at_once: usize,
    steps: u64,
    broken: Option<String>,
}

impl World {
    /// A world of that seed in which nothing has happened yet: machines that are members, schedulers
    /// that have no leader. `keep` says whether a trace for people is kept.
    pub fn new(seed: u64, keep: bool) -> Self {
        let mut world = Self::empty(seed, keep);
        world.faults = Faults::any(&mut world.chance);
        world.replaces = true;
        world.movers = (seed % 8 == 7).then(|| Chance::new(seed));
        for (name, mib) in MACHINES {
            let node = world.join(name, mib, &BTreeMap::new());
            let skew = world.chance.below(3_000);
            if let Some(machine) = world.machines.get_mut(&node) {
                machine.skew = skew;
            }
        }
        if seed % 16 == 11 {
            world.write(Command::SetAutomatic { on: true });
        }
        world.queue.push(500, Event::PersonActs);
        world.queue.push(2_000, Event::Fault);
        world.members_of(seed);
        world.clocks_of(seed);
        world
    }

    /// A world of strict singletons in which leases, leaders and machines come and go.
    pub fn of_leases(seed: u64, keep: bool) -> Self {
        let mut world = Self::empty(seed, keep);
        world.faults = Faults::of_leases();
        world.lasts = (150_000, 400_000);
        for (number, name) in (0_u64..).zip(["mini-1", "mini-2", "mini-3"]) {
            let node = world.join(name, 2_000, &BTreeMap::new());
            let skew = world.chance.below(3_000);
            if let Some(machine) = world.machines.get_mut(&node) {
                machine.skew = skew;
                machine.hardware_clock = number != 1;
            }
        }
        let spec = singletons(&mut world.chance);
        world.queue.push(1_500, Event::PersonAsks(Box::new(spec)));
        world.queue.push(20_000, Event::Fault);
        world.members_of(seed);
        world.clocks_of(seed);
        world
    }

    /// A world without machines in which nothing goes wrong by itself.
    pub(crate) fn empty(seed: u64, keep: bool) -> Self {
        let mut world = Self {
            now: 0,
            queue: Queue::default(),
            chance: Chance::new(seed),
            log: Log::new(),
            machines: BTreeMap::new(),
            people: People::default(),
            movers: None,
            faults: Faults::none(),
            sessions: 0,
            sent: BTreeMap::new(),
            progress: BTreeMap::new(),
            gone_ends: BTreeMap::new(),
            moves: Moves::default(),
            deadlines: Deadlines::default(),
            clock_offset: 0,
            steps_clock: false,
            granted: BTreeMap::new(),
            history: Trace::new(keep),
            lasts: (0, 0),
            replaces: false,
            at_once: if seed % 4 == 1 { 3 } else { usize::MAX },
            steps: 0,
            broken: None,
        };
        world.write(Command::Found { id: "abc".to_owned(), name: "home".to_owned() });
        world.queue.push(10, Event::Elect);
        world
    }

    /// A machine was given up: nobody turns it on again. In a random world another takes its name.
    pub(crate) fn goes_for_good(&mut self, node: &Node) {
        self.keep_ends(node.id);
        let Some(machine) = self.machines.remove(&node.id) else { return };
        self.sent.remove(&node.id);
        if self.replaces {
            let mib = machine.memory.0 >> 20;
            self.join(node.name.as_str(), mib, &BTreeMap::new());
        }
    }

    /// A machine joins and its agent starts.
    pub(crate) fn join(
        &mut self,
        name: &str,
        mib: u64,
        labels: &BTreeMap<String, String>,
    ) -> NodeId {
        let (role, secret_hash) = (Role::Node, [7; 32]);
        let expires_at = self.wall().plus_millis(1);
        let made = self.write(Command::CreateToken { role, secret_hash, expires_at });
        let Some(Outcome::Token(token)) = made else { panic!("no token: {made:?}") };
        let joined = self.write(Command::JoinNode {
            name: NodeName::new(name).expect("a name"),
            labels: labels.clone(),
            address: format!("{name}:7401"),
            token,
            secret_hash,
        });
        let Some(Outcome::Node(node)) = joined else { panic!("not joined: {joined:?}") };
        self.machines.insert(node, Machine::new(Bytes::mib(mib)));
        self.on_machine(node, 20, OnMachine::AgentStarts);
        self.on_machine(node, 500, OnMachine::GuardLooks);
        node
    }

    /// Writes an entry at once.
    pub(crate) fn write(&mut self, command: Command) -> Option<Outcome> {
        let entry = Entry { at: self.wall(), request: None, command };
        let answer = self.commit(entry, Proposer::Nobody);
        answer.result.ok()
    }

    /// The time by a clock that is right.
    pub(crate) fn true_wall(&self) -> Timestamp {
        Timestamp(BEGINNING + self.now)
    }

    /// The time by the clock of whoever leads.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp(self.true_wall().0.saturating_add_signed(self.clock_offset))
    }

    /// A rule is broken. Only the first time counts.
    pub(crate) fn broken(&mut self, what: String) {
        self.trace(|| format!("BROKEN: {what}"));
        self.broken.get_or_insert(what);
    }

    /// The first rule that was broken.
    pub(crate) fn why_broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Notes a line of the trace.
    pub(crate) fn trace(&mut self, text: impl FnOnce() -> String) {
        self.history.line(self.now, text);
    }

    /// The lines of the trace, where they were kept.
    pub fn lines(&self) -> &[String] {
        self.history.lines()
    }

    /// Runs the world: faults for a while, then calm; answers what became of it.
    pub fn run(&mut self) -> Ended {
        // Leases and what is held down take their time.
        let long = self.chance.one_in(3);
        let faulty = match self.lasts {
            (0, 0) => self.chance.between(20_000, if long { 400_000 } else { 90_000 }),
            (least, most) => self.chance.between(least, most),
        };
        self.run_until(faulty);
        if self.broken.is_none() {
            self.stop_faults();
            self.calm_down();
            self.try_again();
        }
        if self.broken.is_none() {
            self.compare_all();
            self.check_acknowledged();
        }
        self.ended()
    }

    /// A person asks again for what was given up while things went wrong: now everything runs.
    fn try_again(&mut self) {
        let mut asked = 0;
        while self.broken.is_none() {
            let given_up = self.ask_again();
            if given_up == 0 {
                return;
            }
            asked += 1;
            if asked > ASKED_AGAIN_MAX {
                let text = format!("{given_up} services are given up although asked for again");
                return self.broken(text);
            }
            self.calm_down();
        }
    }

    /// Runs until everything is in order and stays so.
    fn calm_down(&mut self) {
        let end = self.now + CALM;
        let mut looks = 0;
        while looks < LOOKS && self.broken.is_none() {
            self.uncordon();
            self.run_until(self.now + LOOK_EVERY);
            let wrong = self.out_of_order();
            looks = if wrong.is_empty() { looks + 1 } else { 0 };
            if self.now > end {
                for line in self.show_tasks().into_iter().chain(self.show_pending()) {
                    self.trace(|| line);
                }
                self.broken(format!("in calm, it is never in order: {}", wrong.join("; ")));
            }
        }
    }

    /// Runs until that time, or until a rule is broken.
    pub(crate) fn run_until(&mut self, end: u64) {
        while self.broken.is_none() && self.queue.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self) {
        let Some((at, event)) = self.queue.pop() else { return };
        self.now = at;
        self.steps += 1;
        self.history.mix(at);
        self.history.mix_event(&event);
        match event {
            Event::Append { proposal } => self.append(proposal),
            Event::Apply { replica, to } => self.apply(replica, to),
            Event::ReplicaStarts { replica } => self.start_replica(replica),
            Event::Elect => self.elect(),
            Event::Lead { term, serial } => self.lead(term, serial),
            Event::Round { term, to, node, session, sent } => {
                self.round((term, to), (node, session), sent);
            }
            Event::OldLeaderEnds { serial } => self.old_leader_ends(serial),
            Event::MembersChange => self.change_members(),
            Event::ClockSteps => self.step_clock(),
            Event::PersonAsks(spec) => {
                self.ask(Command::ApplyStack { spec: *spec, basis: None });
            }
            Event::PersonActs => self.person_acts(),
            Event::PersonLosesPatience { ask, tries } => self.loses_patience(ask, tries),
            Event::Fault => self.fault(),
            Event::FromAgent { node, session, message } => self.hear_agent(node, session, message),
            Event::Machine { node, what } => self.machine_event(node, what),
        }
        self.history.mix(self.log.reference.revision().0);
    }

    fn ended(&mut self) -> Ended {
        let end = format!("{:?}", self.log.reference.tasks());
        self.history.mix_text(&end);
        let done = |ask: &&Ask| ask.answer.as_ref().is_some_and(|answer| answer.result.is_ok());
        let answered = self.people.asks.iter().filter(done);
        Ended {
            broken: self.broken.clone(),
            steps: self.steps,
            millis: self.now,
            entries: self.log.entries.len(),
            acknowledged: answered.count(),
            hash: self.history.hash(),
        }
    }
}
