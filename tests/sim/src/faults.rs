//! What goes wrong, how often, and for how long.

use model::NodeId;
use scheduler_core::Command;

use crate::{
    chance::Chance,
    event::{End, Event, OnMachine},
    machine::Point,
    world::World,
};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    LeaderDeposed,
    PlanHeldUp,
    ReplicaRestarts,
    AgentKilled,
    AgentDiesInRound,
    SessionLost,
    OlderSet,
    NetworkCut,
    EngineRestarts,
    EngineHangs,
    AnswersLost,
    ContainerEnds,
    DiskFull,
    Sleep,
    PowerCut,
    Flapping,
}

const KINDS: [Kind; 16] = [
    Kind::LeaderDeposed,
    Kind::PlanHeldUp,
    Kind::ReplicaRestarts,
    Kind::AgentKilled,
    Kind::AgentDiesInRound,
    Kind::SessionLost,
    Kind::OlderSet,
    Kind::NetworkCut,
    Kind::EngineRestarts,
    Kind::EngineHangs,
    Kind::AnswersLost,
    Kind::ContainerEnds,
    Kind::DiskFull,
    Kind::Sleep,
    Kind::PowerCut,
    Kind::Flapping,
];

/// What may go wrong in a world. Every seed leaves out some kinds: worlds where everything fails all
/// the time never get far enough to fail in an interesting way.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) on: bool,
    kinds: Vec<Kind>,
    /// The longest pause between two, in milliseconds.
    pause: u64,
    loses: bool,
    repeats: bool,
}

impl Faults {
    /// Nothing goes wrong.
    pub(crate) const fn none() -> Self {
        Self { on: false, kinds: Vec::new(), pause: 0, loses: false, repeats: false }
    }

    pub(crate) fn any(chance: &mut Chance) -> Self {
        let kinds = KINDS.into_iter().filter(|_| chance.one_in(2)).collect();
        let pause = *chance.pick(&[1_500, 4_000, 10_000]);
        Self { on: true, kinds, pause, loses: chance.one_in(2), repeats: chance.one_in(2) }
    }

    /// What matters to leases, and nothing else.
    pub(crate) fn of_leases() -> Self {
        let kinds = vec![
            Kind::LeaderDeposed,
            Kind::LeaderDeposed,
            Kind::PlanHeldUp,
            Kind::ReplicaRestarts,
            Kind::AgentKilled,
            Kind::SessionLost,
            Kind::NetworkCut,
            Kind::NetworkCut,
            Kind::Sleep,
            Kind::Sleep,
            Kind::PowerCut,
            Kind::Flapping,
        ];
        Self { on: true, kinds, pause: 20_000, loses: true, repeats: true }
    }

    /// Whether the log loses a proposal that nobody has heard of.
    pub(crate) fn loses_proposal(&self, chance: &mut Chance) -> bool {
        self.on && self.loses && chance.one_in(40)
    }

    /// Whether what an agent said comes again.
    pub(crate) fn repeats(&self, command: &Command, chance: &mut Chance) -> bool {
        let reports = matches!(command, Command::ReportTasks { .. });
        self.on && self.repeats && reports && chance.one_in(12)
    }
}

/// How long something is away: mostly shortly, and now and then for longer than a lease is good and
/// waited for.
fn long_now_and_then(chance: &mut Chance, (usual, worst): (u64, u64)) -> u64 {
    if chance.one_in(4) { chance.between(20_000, 90_000) } else { chance.delay(usual, worst) }
}

impl World {
    /// The next fault.
    pub(crate) fn fault(&mut self) {
        if !self.faults.on || self.faults.kinds.is_empty() {
            return;
        }
        let next = self.chance.between(100, self.faults.pause);
        self.queue.push(self.now + next, Event::Fault);
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        let node = *self.chance.pick(&nodes);
        let kind = *self.chance.pick(&self.faults.kinds);
        self.go_wrong(kind, node);
    }

    fn go_wrong(&mut self, kind: Kind, node: NodeId) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let chance = &mut self.chance;
        match kind {
            Kind::LeaderDeposed => self.depose(),
            Kind::PlanHeldUp => self.log.hold_plan = true,
            Kind::ReplicaRestarts => {
                let count = u64::try_from(self.log.replicas.len()).unwrap_or(u64::MAX);
                let replica = usize::try_from(chance.below(count)).unwrap_or_default();
                self.stop_replica(replica);
            }
            Kind::AgentKilled => self.restart_agent(node),
            Kind::AgentDiesInRound => {
                let points = [Point::Ledger, Point::Report, Point::Steps];
                machine.dies_at = Some(*chance.pick(&points));
            }
            Kind::SessionLost => {
                self.trace(|| format!("{node} loses its session"));
                self.break_session(node);
            }
            Kind::OlderSet => self.send_older_set(node),
            Kind::NetworkCut => {
                machine.network = false;
                let after = long_now_and_then(chance, (6_000, 25_000));
                self.trace(|| format!("{node} is cut off for {after} ms"));
                self.break_session(node);
                self.on_machine(node, after, OnMachine::NetworkReturns);
            }
            Kind::EngineRestarts => self.engine_goes(node, true),
            Kind::EngineHangs => self.engine_goes(node, false),
            Kind::AnswersLost => {
                machine.lost_answers = 2;
                self.trace(|| format!("{node} engine: two answers will get lost"));
            }
            Kind::ContainerEnds => {
                let running = machine.engine.running();
                let running: Vec<_> =
                    running.map(|held| (held.shown.id.clone(), held.run)).collect();
                if running.is_empty() {
                    return;
                }
                let (id, run) = chance.pick(&running).clone();
                let hows = [End::Exit(1), End::OutOfMemory, End::Killed];
                let how = *chance.pick(&hows);
                self.ends(node, &id, run, how);
            }
            Kind::DiskFull => {
                machine.disk_full = true;
                let after = chance.between(2_000, 30_000);
                self.trace(|| format!("{node} disk is full for {after} ms"));
                self.on_machine(node, after, OnMachine::DiskReturns);
            }
            Kind::Sleep => self.fall_asleep(node),
            Kind::PowerCut => {
                if machine.power {
                    let after = long_now_and_then(chance, (6_000, 30_000));
                    self.power_off(node);
                    self.on_machine(node, after, OnMachine::PowerReturns);
                }
            }
            Kind::Flapping => {
                let times = u32::try_from(chance.between(1, 12)).unwrap_or(1);
                let millis = *chance.pick(&[9_000, 12_000, 20_000]);
                self.on_machine(node, 1, OnMachine::Flaps { times, millis });
            }
        }
    }

    fn fall_asleep(&mut self, node: NodeId) {
        let millis = long_now_and_then(&mut self.chance, (9_000, 40_000));
        let frozen = self.chance.one_in(2);
        if self.chance.one_in(2) {
            self.answer_is_under_way(node);
        }
        self.sleep(node, millis, frozen);
    }

    /// Lets every machine take work: what was asked before the calm may still have cordoned one.
    pub(crate) fn uncordon(&mut self) {
        let nodes = self.log.reference.nodes().values();
        let cordoned = nodes.filter(|node| !node.schedulable).map(|node| node.id);
        for node in cordoned.collect::<Vec<_>>() {
            self.ask(Command::SetSchedulable { node, schedulable: true });
        }
    }

    /// From now on nothing goes wrong; what went wrong is mended.
    pub(crate) fn stop_faults(&mut self) {
        self.trace(|| "the faults stop".to_owned());
        self.faults.on = false;
        self.end_old_leader();
        self.log.hold_plan = false;
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        for node in nodes {
            let Some(machine) = self.machines.get_mut(&node) else { continue };
            machine.network = true;
            machine.disk_full = false;
            machine.disk_freed_at = self.now.max(machine.asleep_until);
            machine.lost_answers = 0;
            machine.dies_at = None;
            self.on_machine(node, 1, OnMachine::PowerReturns);
        }
        if self.log.leading.is_none() {
            self.queue.push(self.now + 3_500, Event::Elect);
        }
    }
}
