//! People: they ask for things, lose patience, ask again, and remember what they were told.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Bytes, GenericName, RequestId, ServiceName, ServiceSpec, StackName, StackSpec, TaskId,
    Timestamp, VolumeName,
    lease::Uptime,
    spec::{
        Condition, Dependency, HealthTest, Healthcheck, MemoryBasis, Mount, MountSource, Port,
        Protocol, RestartPolicy, VolumeSpec,
    },
};
use scheduler_core::{Applied, Command, lease};

use crate::{chance::Chance, event::Event, log::Proposer, world::World};

const STACKS: [&str; 3] = ["one", "two", "three"];
const SERVICES: [&str; 4] = ["api", "db", "job", "web"];
const ROLES: [&str; 2] = ["agents", "database"];
const IMAGES: [&str; 14] = [
    "web:1",
    "web:2",
    "web:3",
    "web:4",
    "web:5",
    "slow:1",
    "flaky:1",
    "stubborn:1",
    "job:1",
    "crash:1",
    "hungry:1",
    "sick:1",
    "absent:1",
    "web:6",
];
/// How long a person waits for an answer, in milliseconds.
const PATIENCE: u64 = 2_500;
/// How often a person asks for the same.
const TRIES: u32 = 20;

/// Something that was asked for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) request: RequestId,
    pub(crate) command: Command,
    /// What was answered: from then on it must be true.
    pub(crate) answer: Option<Applied>,
}

/// What people asked for and were told.
#[derive(Debug, Default)]
pub(crate) struct People {
    pub(crate) asks: Vec<Ask>,
}

pub(crate) fn stack_name(text: &str) -> StackName {
    StackName::new(text).expect("a name")
}

pub(crate) fn service_name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a name")
}

/// The one kind of devices that worlds have.
pub(crate) fn gpu() -> GenericName {
    GenericName::new("gpu").expect("a name")
}

/// One replica that reserves and may use that many MiB.
pub(crate) fn service(image: &str, mib: u64) -> ServiceSpec {
    let mut spec = ServiceSpec::new(image);
    spec.resources.reserved.memory = Bytes::mib(mib);
    spec.resources.memory_limit = Bytes::mib(mib);
    spec.resources.basis = MemoryBasis::Reservation;
    spec
}

/// Mounts a named volume.
pub(crate) fn mount(spec: &mut ServiceSpec, volume: &str, read_only: bool) {
    let name = VolumeName::new(volume).expect("a name");
    let source = MountSource::Volume { name, no_copy: false };
    spec.mounts.push(Mount { source, target: format!("/{volume}"), read_only });
}

/// Waits for another service of the stack.
pub(crate) fn depend(spec: &mut ServiceSpec, on: &str, condition: Condition) {
    let dependency = Dependency { condition, required: true, restart: false };
    spec.depends_on.insert(service_name(on), dependency);
}

pub(crate) fn publish(spec: &mut ServiceSpec, port: u16) {
    let protocol = Protocol::Tcp;
    spec.ports.push(Port { host_ip: None, published: Some(port), target: port, protocol });
}

pub(crate) fn check_health(spec: &mut ServiceSpec) {
    spec.healthcheck = Some(Healthcheck {
        test: HealthTest::Shell("true".to_owned()),
        interval_ms: None,
        timeout_ms: None,
        retries: None,
        start_period_ms: None,
    });
}

/// A stack of these services, which declares the volumes they mount.
pub(crate) fn stack(name: &str, services: BTreeMap<ServiceName, ServiceSpec>) -> StackSpec {
    let mounts = services.values().flat_map(|spec| &spec.mounts);
    let volumes = mounts.filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some((name.clone(), VolumeSpec::default())),
        _ => None,
    });
    let (volumes, networks) = (volumes.collect(), BTreeMap::new());
    StackSpec { name: stack_name(name), volumes, networks, services }
}

fn any_service(chance: &mut Chance, name: &str) -> ServiceSpec {
    let image = *chance.pick(&IMAGES);
    let mut spec = service(image, chance.between(1, 6) * 100);
    spec.replicas = u32::try_from(chance.below(4)).unwrap_or_default();
    if chance.one_in(2) {
        let mib = spec.resources.reserved.memory.saturating_add(Bytes::mib(200));
        spec.resources.memory_limit = mib;
    }
    if chance.one_in(3) || image.starts_with("sick") {
        check_health(&mut spec);
    }
    spec.restart = match chance.below(6) {
        0 => RestartPolicy::Always,
        1 => RestartPolicy::OnFailure { max_attempts: Some(3) },
        2 if !image.starts_with("stubborn") => RestartPolicy::Never,
        _ => RestartPolicy::default(),
    };
    spec.stop_grace_ms = *chance.pick(&[500, 2_000, 10_000]);
    let one = |spec: &mut ServiceSpec| spec.replicas = spec.replicas.min(1);
    match chance.below(10) {
        0 => publish(&mut spec, 80),
        1 | 2 => {
            mount(&mut spec, "data", false);
            one(&mut spec);
        }
        3 => spec.placement.max_replicas_per_node = Some(1),
        4 => {
            spec.strict_singleton = true;
            one(&mut spec);
        }
        7 => {
            spec.strict_singleton = true;
            one(&mut spec);
            if chance.one_in(3) {
                mount(&mut spec, "data", false);
            }
        }
        5 if name == "web" => mount(&mut spec, "data", true),
        8 => spec.resources.generic.add(&gpu(), 1),
        6 => {
            let text = format!("node.labels.role != {}", chance.pick(&ROLES));
            spec.placement.constraints.push(text.parse().expect("a constraint"));
        }
        _ => {}
    }
    spec
}

/// Three strict singletons with different grace periods, and one service with data.
pub(crate) fn singletons(chance: &mut Chance) -> StackSpec {
    let mut services = BTreeMap::new();
    for name in ["api", "job", "web"] {
        let mut spec = service("web:1", 100);
        spec.strict_singleton = true;
        spec.stop_grace_ms = *chance.pick(&[500, 2_000, 10_000]);
        services.insert(service_name(name), spec);
    }
    let mut data = service("web:1", 100);
    mount(&mut data, "data", false);
    services.insert(service_name("db"), data);
    stack("one", services)
}

fn any_stack(chance: &mut Chance) -> StackSpec {
    let mut services = BTreeMap::new();
    for name in SERVICES {
        if chance.one_in(3) {
            continue;
        }
        let spec = any_service(chance, name);
        services.insert(service_name(name), spec);
    }
    let has_db = services.contains_key(&service_name("db"));
    if let Some(api) = services.get_mut(&service_name("api")).filter(|_| has_db) {
        let condition = *chance.pick(&[Condition::Started, Condition::Healthy]);
        depend(api, "db", condition);
    }
    stack(chance.pick::<&str>(&STACKS), services)
}

impl World {
    fn any_command(&mut self) -> Command {
        let nodes: Vec<model::NodeId> = self.machines.keys().copied().collect();
        if let Some(moved) = self.any_move() {
            return moved;
        }
        let wall = self.wall().0;
        let chance = &mut self.chance;
        let stack = stack_name(chance.pick::<&str>(&STACKS));
        let service = service_name(chance.pick::<&str>(&SERVICES));
        match chance.below(17) {
            0..6 => Command::ApplyStack { spec: any_stack(chance), basis: None },
            6 | 7 => {
                let replicas = u32::try_from(chance.below(4)).unwrap_or_default();
                Command::Scale { stack, service, replicas }
            }
            8 => Command::Restart { stack, service: None, slot: None },
            9 => Command::Restart { stack, service: Some(service), slot: Some(1) },
            10 => Command::RollbackStack { stack, to: None },
            11 => Command::RemoveStack { stack, volumes: chance.one_in(2) },
            14 => Command::RemoveNode {
                node: *chance.pick(&nodes),
                tasks: !chance.one_in(3),
                volumes: !chance.one_in(3),
                down_since: None,
            },
            13 => {
                let until = Timestamp(wall + chance.between(500, 60_000));
                Command::DrainNode { node: *chance.pick(&nodes), until }
            }
            12 => {
                let node = *chance.pick(&nodes);
                let role = ("role".to_owned(), (*chance.pick(&ROLES)).to_owned());
                let gone = ["role".to_owned()].into();
                let (set, remove) = if chance.one_in(3) {
                    (BTreeMap::new(), gone)
                } else {
                    ([role].into(), BTreeSet::new())
                };
                Command::LabelNode { node, set, remove }
            }
            _ => {
                let node = *chance.pick(&nodes);
                let schedulable = !chance.one_in(3);
                Command::SetSchedulable { node, schedulable }
            }
        }
    }

    /// In some worlds people move tasks now and then, by chances of their own: the other worlds stay as they
    /// are.
    fn any_move(&mut self) -> Option<Command> {
        let tasks: Vec<TaskId> = self.log.reference.tasks().keys().copied().collect();
        let nodes: Vec<model::NodeId> = self.machines.keys().copied().collect();
        let chance = self.movers.as_mut()?;
        (chance.one_in(4) && !tasks.is_empty())
            .then(|| Command::MoveTask { task: *chance.pick(&tasks), to: *chance.pick(&nodes) })
    }

    /// A person asks for something, and will again.
    pub(crate) fn person_acts(&mut self) {
        if !self.faults.on {
            return;
        }
        let command = self.any_command();
        self.ask(command);
        let next = self.chance.between(300, 12_000);
        self.queue.push(self.now + next, Event::PersonActs);
    }

    /// A person asks until there is an answer.
    pub(crate) fn ask(&mut self, command: Command) -> usize {
        let request = RequestId(u128::from(self.chance.next()));
        let ask = self.people.asks.len();
        self.people.asks.push(Ask { request, command, answer: None });
        self.send_ask(ask, 0);
        ask
    }

    fn send_ask(&mut self, ask: usize, tries: u32) {
        let patience = self.now + PATIENCE;
        self.queue.push(patience, Event::PersonLosesPatience { ask, tries });
        let Some(Ask { request, command, .. }) = self.people.asks.get(ask) else { return };
        let (request, command) = (*request, command.clone());
        if self.log.leading.is_some() {
            let command = self.with_leases(command);
            self.propose(Some(request), command, Proposer::Person { ask });
        }
    }

    /// What the leader adds to what a person asks of it.
    fn with_leases(&self, mut command: Command) -> Command {
        if let Command::RemoveNode { node, down_since, .. } = &mut command {
            let (cluster, leading) = (self.log.led(), self.log.leading.as_ref());
            *down_since = cluster.zip(leading).and_then(|(cluster, leading)| {
                let mut leases = leading.beats.leases.clone();
                leases.pass(Uptime(self.now));
                lease::all_over(cluster, *node, &leases)
            });
        }
        command
    }

    pub(crate) fn loses_patience(&mut self, ask: usize, tries: u32) {
        let done = self.people.asks.get(ask).is_some_and(|held| held.answer.is_some());
        // Now and then somebody repeats what was answered already.
        if tries < TRIES && (!done || self.chance.one_in(8)) {
            self.send_ask(ask, tries + 1);
        }
    }

    pub(crate) fn person_answered(&mut self, ask: usize, applied: Option<Applied>) {
        let Some(applied) = applied else { return };
        let Some(held) = self.people.asks.get_mut(ask) else { return };
        if let Some(before) = &held.answer {
            let words = |applied: &Applied| match &applied.result {
                Ok(outcome) => format!("{outcome:?}"),
                Err(why) => why.to_string(),
            };
            if words(before) != words(&applied) || before.revision != applied.revision {
                let text = format!("the same request was answered {before:?}, then {applied:?}");
                self.broken(text);
            }
            return;
        }
        held.answer = Some(applied.clone());
        if let Ok(outcome) = applied.result {
            let command = held.command.clone();
            self.members_answered(&command, &outcome);
        }
        self.check_told();
    }
}
