//! A cluster with agents that do what they are told, or fail the way their image says. Every step
//! checks the invariants; nothing here sleeps: time is a number.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AssignmentSet, Bytes, Desired, Generation, Generic, GenericName, Health, Inventory, Liveness,
    MilliCpu, NodeId, NodeName, ServiceName, ServiceSpec, StackName, StackSpec, Task, TaskReport,
    TaskState, TaskStatus, Timestamp, VolumeName,
    lease::Uptime,
    spec::{Condition, Dependency, MemoryBasis, MountSource, Port, Protocol, VolumeSpec},
    task::{Cause, Failure},
    token::Role,
};

use crate::{
    Applied, Change, Cluster, ClusterImage, Command, Entry, Heartbeats, Outcome, Plan, Rejection,
    Ticks, Waits, assignments, cluster::invariants, lease::all_over, plan,
};

/// The wall-clock time at which every world begins.
const BEGINNING: u64 = 1_700_000_000_000;

pub(crate) fn stack_name(text: &str) -> StackName {
    StackName::new(text).unwrap()
}

pub(crate) fn service_name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

/// One replica that reserves and may use that many MiB.
pub(crate) fn service(image: &str, mib: u64) -> ServiceSpec {
    let mut spec = ServiceSpec::new(image);
    spec.resources.reserved.memory = Bytes::mib(mib);
    spec.resources.memory_limit = Bytes::mib(mib);
    spec.resources.basis = MemoryBasis::Reservation;
    spec
}

/// Changes to a specification in one expression.
pub(crate) trait With: Sized {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
impl With for ServiceSpec {}
impl With for StackSpec {}

pub(crate) fn stack(name: &str, services: &[(&str, ServiceSpec)]) -> StackSpec {
    let services: BTreeMap<_, _> =
        services.iter().map(|(name, spec)| (service_name(name), spec.clone())).collect();
    let volumes = services.values().flat_map(|spec| &spec.mounts);
    let volumes = volumes.filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some((name.clone(), VolumeSpec::default())),
        _ => None,
    });
    StackSpec {
        name: stack_name(name),
        volumes: volumes.collect(),
        networks: BTreeMap::new(),
        services,
    }
}

pub(crate) fn mount(spec: &mut ServiceSpec, volume: &str) {
    spec.mounts.push(model::spec::Mount {
        source: MountSource::Volume { name: VolumeName::new(volume).unwrap(), no_copy: false },
        target: format!("/{volume}"),
        read_only: false,
    });
}

pub(crate) fn publish(spec: &mut ServiceSpec, port: u16) {
    let protocol = Protocol::Tcp;
    spec.ports.push(Port { host_ip: None, published: Some(port), target: port, protocol });
}

pub(crate) fn depend(spec: &mut ServiceSpec, on: &str, condition: Condition) {
    let dependency = Dependency { condition, required: true, restart: false };
    spec.depends_on.insert(service_name(on), dependency);
}

/// Amounts of generic resources.
pub(crate) fn amounts(generic: &[(&str, u64)]) -> Generic {
    let amounts = generic.iter().map(|(kind, amount)| (GenericName::new(kind).unwrap(), *amount));
    Generic::new(amounts.collect()).unwrap()
}

pub(crate) fn inventory(mib: u64) -> Inventory {
    Inventory {
        memory: Bytes::mib(mib),
        cpu: MilliCpu::cores(8),
        arch: "arm64".into(),
        os: "linux".into(),
        engine: "docker 20.10".into(),
        engine_ready: true,
        ..Inventory::default()
    }
}

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) now: Timestamp,
    pub(crate) beats: Heartbeats,
    /// How far the wall clock was set, in milliseconds: `now` is what it says.
    stepped: i64,
    /// Nodes without power.
    pub(crate) dark: BTreeSet<NodeId>,
    /// Nodes whose agents do not answer though they are there.
    pub(crate) mute: BTreeSet<NodeId>,
    sets: BTreeMap<NodeId, (Generation, AssignmentSet)>,
}

impl World {
    /// Nodes with so many MiB that can be reserved.
    pub(crate) fn new(nodes: &[(&str, u64)]) -> Self {
        let now = Timestamp(BEGINNING);
        let mut world = Self {
            cluster: Cluster::new(),
            now,
            beats: Heartbeats::new(now).waiting(Waits::new(Ticks(0))),
            stepped: 0,
            dark: BTreeSet::new(),
            mute: BTreeSet::new(),
            sets: BTreeMap::new(),
        };
        world.ok(Command::Found { id: "abc".into(), name: "home".into() });
        for (name, mib) in nodes {
            world.join(name, *mib, &[]);
        }
        world
    }

    pub(crate) fn join(&mut self, name: &str, mib: u64, labels: &[(&str, &str)]) -> NodeId {
        let expires_at = self.now.plus_millis(1);
        let role = Role::Node;
        let made = self.ok(Command::CreateToken { role, secret_hash: [7; 32], expires_at });
        let Outcome::Token(token) = made else { panic!("{made:?}") };
        let joined = self.ok(Command::JoinNode {
            name: NodeName::new(name).unwrap(),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            address: format!("{name}:7401"),
            token,
            secret_hash: [7; 32],
        });
        let Outcome::Node(node) = joined else { panic!("{joined:?}") };
        self.ok(Command::UpdateNode { node, inventory: inventory(mib), address: name.into() });
        self.ok(Command::SetLiveness { node, liveness: Liveness::Ready });
        self.beats.beat(node, self.now);
        node
    }

    /// What else that node has a number of; its engine and memory stay as they are.
    pub(crate) fn offer(&mut self, name: &str, generic: &[(&str, u64)]) {
        let node = self.cluster.node(self.node(name)).unwrap().clone();
        let inventory = Inventory { generic: amounts(generic), ..node.inventory };
        self.ok(Command::UpdateNode { node: node.id, inventory, address: node.address });
    }

    /// What that node runs images for.
    pub(crate) fn arch(&mut self, name: &str, arch: &str) {
        let node = self.cluster.node(self.node(name)).unwrap().clone();
        let inventory = Inventory { arch: arch.into(), ..node.inventory };
        self.ok(Command::UpdateNode { node: node.id, inventory, address: node.address });
    }

    pub(crate) fn node(&self, name: &str) -> NodeId {
        self.cluster.node_named(&NodeName::new(name).unwrap()).unwrap().id
    }

    /// Applies a command and checks that the cluster is still one that can be.
    pub(crate) fn run(&mut self, command: Command) -> Applied {
        let entry = Entry { at: self.now, request: None, command };
        let before = self.cluster.clone();
        let applied = self.cluster.apply(&entry);
        let mut again = before;
        assert_eq!(again.apply(&entry), applied, "the same entry, the same answer");
        assert_eq!(again, self.cluster, "the same entry, the same cluster");
        self.check(&entry.command);
        applied
    }

    #[track_caller]
    pub(crate) fn ok(&mut self, command: Command) -> Outcome {
        self.run(command).result.unwrap()
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, command: Command) -> Rejection {
        let before = self.cluster.clone();
        let why = self.run(command).result.unwrap_err();
        assert_eq!(self.cluster, before, "a refused command changes nothing");
        why
    }

    #[track_caller]
    pub(crate) fn apply(&mut self, spec: &StackSpec) -> Outcome {
        self.ok(Command::ApplyStack { spec: spec.clone(), basis: None })
    }

    #[track_caller]
    fn check(&mut self, after: &Command) {
        assert_eq!(invariants::check(&self.cluster), [], "after {after:?}");
        assert_eq!(invariants::overbooked(&self.cluster), [], "after {after:?}");
        for node in self.cluster.nodes().keys() {
            let set = assignments(&self.cluster, *node);
            if let Some((generation, held)) = self.sets.get(node) {
                assert!(*generation <= set.generation, "generations only grow");
                let same = AssignmentSet { generation: set.generation, ..held.clone() } == set;
                assert!(*generation < set.generation || same, "{held:#?} became {set:#?}");
            }
            self.sets.insert(*node, (set.generation, set));
        }
    }

    /// One plan of the leader, taken; answers it.
    /// Places a service, in a stack of that name, on a node by closing all others.
    pub(crate) fn seat(&mut self, name: &str, spec: ServiceSpec, node: &str) {
        let nodes: Vec<_> =
            self.cluster.nodes().values().map(|held| (held.id, held.name.clone())).collect();
        for (id, held) in &nodes {
            let schedulable = held.as_str() == node;
            self.ok(Command::SetSchedulable { node: *id, schedulable });
        }
        self.apply(&stack(name, &[("web", spec)]));
        self.settle();
        for (id, _) in &nodes {
            self.ok(Command::SetSchedulable { node: *id, schedulable: true });
        }
    }

    pub(crate) fn lead(&mut self) {
        let _ = self.lead_with_plan();
    }

    /// One plan of the leader, taken; answers it.
    pub(crate) fn lead_with_plan(&mut self) -> Plan {
        for node in self.cluster.nodes().keys() {
            if !self.dark.contains(node) {
                self.beats.beat(*node, self.now);
            }
        }
        let (uptime, ticks) = (self.uptime(), self.ticks());
        let beats = &mut self.beats;
        beats.waits.pass(ticks);
        beats.leases.pass(uptime);
        for node in self.cluster.nodes().values() {
            // A node that is there renews its leases as it beats.
            if !self.dark.contains(&node.id) {
                beats.leases.answer(node.id, uptime);
            }
        }
        let planned = plan(&self.cluster, &self.beats, self.now);
        self.beats.waits.keep(&planned.waits, self.now);
        self.beats.waits.remember(&planned);
        for (node, liveness) in &planned.liveness {
            self.ok(Command::SetLiveness { node: *node, liveness: *liveness });
        }
        let changes = planned.changes.clone();
        if !changes.is_empty() {
            let taken = self.ok(Command::Plan { basis: planned.basis, changes });
            assert_eq!(taken, Outcome::Planned { refused: vec![] });
        }
        let again = plan(&self.cluster, &self.beats, self.now);
        assert_eq!(again.changes, [], "a plan taken leaves nothing to plan");
        assert_eq!(again.liveness, []);
        planned
    }

    /// Every agent that is there does the next thing for each of its tasks; answers whether any did.
    pub(crate) fn agents(&mut self) -> bool {
        let nodes: Vec<NodeId> = self.cluster.nodes().keys().copied().collect();
        let mut any = false;
        for node in nodes {
            if self.dark.contains(&node) || self.mute.contains(&node) {
                continue;
            }
            let set = assignments(&self.cluster, node);
            let reports: Vec<TaskReport> = set
                .tasks
                .iter()
                .filter_map(|held| {
                    let task = self.cluster.task(held.task)?;
                    let arch = &self.cluster.node(node)?.inventory.arch;
                    Some(TaskReport { task: held.task, status: next_status(task, arch, self.now)? })
                })
                .collect();
            if !reports.is_empty() {
                any |= self.ok(Command::ReportTasks { node, reports }) == Outcome::Done;
            }
            if !set.remove_volumes.is_empty() {
                let (volumes, left) = (set.remove_volumes, Vec::new());
                any |= self.ok(Command::ConfirmVolumesRemoved { node, volumes, left })
                    == Outcome::Done;
            }
        }
        any
    }

    /// Gives a node up, with all that is there or with nothing, as the leader does.
    pub(crate) fn remove(&mut self, node: NodeId, all: bool) -> Applied {
        let down_since = all_over(&self.cluster, node, &self.beats.leases);
        self.run(Command::RemoveNode { node, tasks: all, volumes: all, down_since })
    }

    /// The leader's clock for leases, which is no wall clock.
    pub(crate) fn uptime(&self) -> Uptime {
        Uptime(self.ticks().0)
    }

    /// The leader's own clock.
    pub(crate) fn ticks(&self) -> Ticks {
        let true_time = self.now.0.saturating_add_signed(self.stepped.saturating_neg());
        Ticks(true_time.saturating_sub(BEGINNING))
    }

    /// Somebody sets the wall clock.
    pub(crate) fn step(&mut self, millis: i64) {
        self.stepped += millis;
        self.now = Timestamp(self.now.0.saturating_add_signed(millis));
        self.beats.step(millis);
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Plans and obeys, a second at a time, until nothing moves for some seconds.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..2_000 {
            let planned = self.lead_with_plan();
            let moved = self.agents() || !planned.is_empty();
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet > 12 {
                return;
            }
            self.pass(1_000);
        }
        panic!("it never settles: {:#?}", self.show());
    }

    pub(crate) fn seconds(&mut self, count: u64) {
        for _ in 0..count {
            self.lead();
            self.agents();
            self.pass(1_000);
        }
    }

    /// Every remembered task in one line: `s/web.1 e2 run running@a`.
    pub(crate) fn show(&self) -> Vec<String> {
        let mut tasks: Vec<&Task> = self.cluster.tasks().values().collect();
        tasks.sort_by_key(|task| (&task.stack, &task.service, task.slot, task.epoch));
        let line = |task: &&Task| {
            let at = task.node.map_or(String::new(), |n| format!("@{}", self.cluster.node_name(n)));
            format!(
                "{}/{}.{} e{} {} {}{at}",
                task.stack,
                task.service,
                task.slot,
                task.epoch,
                task.desired.as_str(),
                task.status.state
            )
        };
        tasks.iter().map(line).collect()
    }

    #[track_caller]
    pub(crate) fn expect(&self, lines: &[&str]) {
        assert_eq!(self.show(), lines);
    }

    pub(crate) fn warned(&self, kind: &str) -> Vec<String> {
        let events = self.cluster.events().iter().filter(|event| event.kind == kind);
        events.map(|event| event.message.clone()).collect()
    }

    /// The cluster written down and read back is the same.
    pub(crate) fn check_snapshot(&self) {
        let image = ClusterImage::from(&self.cluster);
        let back = Cluster::try_from(image.clone()).unwrap();
        assert_eq!(back, self.cluster);
        assert_eq!(ClusterImage::from(&back), image);
    }
}

/// What an agent reports next. The image says how the container behaves: `crash…` exits and is
/// started again for ever, `fail…` is given up, `sick…` becomes unhealthy, `job…` completes, `none…`
/// cannot be fetched, `intel…` is for amd64 alone and `alien…` for no machine, `refused…` is not allowed,
/// `slow…` never gets past starting, `late…` runs and never becomes healthy, `cut…` is interrupted
/// once, all others run and, with a health check, are healthy.
fn next_status(task: &Task, arch: &str, now: Timestamp) -> Option<TaskStatus> {
    use TaskState::{Assigned, Failed, Preparing, Running, Starting, Stopped};
    let held = &task.status;
    let over = held.state.is_over();
    let like = |prefix: &str| task.spec.image.starts_with(prefix);
    let next = |state| TaskStatus { state, sequence: held.sequence + 1, ..held.clone() };
    let failure = |message: &str| Some(Failure::new(Cause::Exited, message));
    Some(match (task.desired, held.state) {
        (Desired::Stop, _) if !over => TaskStatus { exit_code: Some(0), ..next(Stopped) },
        (Desired::Rest, _) if !over => TaskStatus { exit_code: Some(0), ..next(Failed) },
        (Desired::Prepare | Desired::Run, Assigned | Preparing) if like("refused") => TaskStatus {
            failure: Some(Failure::new(Cause::Refused, "it is not allowed")),
            ..next(Failed)
        },
        (Desired::Prepare | Desired::Run, Preparing) if like("none") => return None,
        (Desired::Prepare | Desired::Run, Preparing)
            if like("alien") || (like("intel") && arch != "amd64") =>
        {
            let message = format!("image {} has no variant for linux/{arch}/v8", task.spec.image);
            let failure = Failure { no_variant: true, ..Failure::new(Cause::Image, message) };
            if held.failure.as_ref() == Some(&failure) {
                return None;
            }
            TaskStatus { failure: Some(failure), ..next(Preparing) }
        }
        (Desired::Prepare | Desired::Run, Assigned) if like("alien") || like("intel") => {
            next(Preparing)
        }
        (Desired::Prepare, Assigned) => next(Preparing),
        (Desired::Prepare, Preparing) | (Desired::Run, Assigned | Preparing) => next(Starting),
        (Desired::Run, Starting) if like("fail") => TaskStatus {
            failure: failure("exited with code 1"),
            exit_code: Some(1),
            ..next(Failed)
        },
        (Desired::Run, Starting) if like("slow") => return None,
        (Desired::Run, Starting) if like("crash") && held.restarts < 5 => TaskStatus {
            restarts: held.restarts + 1,
            failure: failure("exited with code 2"),
            ..next(Starting)
        },
        (Desired::Run, Starting) if like("crash") => return None,
        (Desired::Run, Starting) => {
            let checked = task.spec.healthcheck.is_some();
            let health = if checked { Health::Starting } else { Health::None };
            TaskStatus { started_at: Some(now), health, ..next(Running) }
        }
        (Desired::Run, Running) if like("cut") && held.restarts == 0 => TaskStatus {
            restarts: 1,
            failure: Some(Failure::new(Cause::Interrupted, "the engine ended")),
            ..next(Starting)
        },
        (Desired::Run, Running) if like("job") => {
            TaskStatus { exit_code: Some(0), ..next(Stopped) }
        }
        (Desired::Run, Running) if like("late") => return None,
        (Desired::Run, Running) if held.health == Health::Starting => {
            let health = if like("sick") { Health::Unhealthy } else { Health::Healthy };
            TaskStatus { health, ..next(Running) }
        }
        _ => return None,
    })
}

/// A plan with one change, as if the leader had made it now.
pub(crate) fn single(world: &World, change: Change) -> Command {
    Command::Plan { basis: world.cluster.revision(), changes: vec![change] }
}
