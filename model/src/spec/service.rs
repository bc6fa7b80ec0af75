//! A service: what its containers are, how many, where they may go.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    Bytes, Generic, MilliCpu, Resources, ServiceName,
    name::NetworkName,
    spec::{
        Constraint, DeviceCount, Healthcheck, Logging, Mount, Port, Privileges, Protocol, Ulimit,
    },
};

/// Reserved for a service that says nothing about memory, until it was seen what it needs; plans mark it
/// *assumed*.
pub const ASSUMED_MEMORY: Bytes = Bytes::mib(256);
/// A container engine starts nothing with a lower limit of memory.
pub const LEAST_MEMORY: Bytes = Bytes::mib(6);
/// Processes a container may have when the service does not say: a fork bomb ends here.
pub const DEFAULT_PIDS_LIMIT: u32 = 4096;
/// `stop_grace_period` when the service does not say: Compose's 10 s, in milliseconds.
pub const DEFAULT_STOP_GRACE: u64 = 10_000;
/// `x-siso.priority` when the service does not say.
pub const DEFAULT_PRIORITY: u8 = 50;

/// When a dependency counts as met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// It runs.
    Started,
    /// It runs and its health check passes.
    Healthy,
    /// It ended with exit code 0.
    Completed,
}

impl Condition {
    /// Compose's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "service_started",
            Self::Healthy => "service_healthy",
            Self::Completed => "service_completed_successfully",
        }
    }
}

/// What must be true of another service before this one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dependency {
    /// What must be true.
    pub condition: Condition,
    /// False: start anyway when the other service is not part of the stack.
    pub required: bool,
    /// Whether a replaced dependency restarts this service too.
    pub restart: bool,
}

/// What happens when a container exits by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RestartPolicy {
    /// Never again (`no`).
    Never,
    /// After an exit code other than 0, at most this often. The default, without a maximum: a
    /// job ends, a service that crashes or is killed comes back.
    OnFailure {
        /// Unlimited when absent.
        max_attempts: Option<u32>,
    },
    /// Always (`always`, `unless-stopped`).
    Always,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self::OnFailure { max_attempts: None }
    }
}

/// Where a memory reservation came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryBasis {
    /// `deploy.resources.reservations.memory` or `mem_reservation`.
    Reservation,
    /// The limit, for want of a reservation.
    Limit,
    /// For want of both [`ASSUMED_MEMORY`]; in a stack that was applied, what the service was seen to need.
    Assumed,
}

/// What one replica needs and may use.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResourceAsk {
    /// What is set aside on its node.
    pub reserved: Resources,
    /// `deploy.resources.reservations.generic_resources`; devices that are requested come on top
    /// ([`ServiceSpec::generic_on`]).
    pub generic: Generic,
    /// Where `reserved.memory` came from.
    pub basis: MemoryBasis,
    /// The hard limit: its own, else its reservation. Exceeding it is an OOM kill.
    pub memory_limit: Bytes,
    /// The most CPU it may use.
    pub cpu_limit: Option<MilliCpu>,
    /// The most processes it may have.
    pub pids_limit: u32,
}

impl Default for ResourceAsk {
    fn default() -> Self {
        Self {
            reserved: Resources { memory: ASSUMED_MEMORY, cpu: MilliCpu::ZERO },
            generic: Generic::NONE,
            basis: MemoryBasis::Assumed,
            memory_limit: ASSUMED_MEMORY,
            cpu_limit: None,
            pids_limit: DEFAULT_PIDS_LIMIT,
        }
    }
}

/// Where replicas may and should go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PlacementRules {
    /// All must hold.
    pub constraints: Vec<Constraint>,
    /// `spread` over these node labels, most important first.
    pub spread: Vec<String>,
    /// At most this many replicas of the service on one node.
    pub max_replicas_per_node: Option<u32>,
}

/// A service as a person wants it. Two equal specs need no replacement of running tasks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceSpec {
    /// The image reference as written.
    pub image: String,
    /// How many replicas.
    pub replicas: u32,
    /// Replaces the image's command; empty clears it.
    pub command: Option<Vec<String>>,
    /// Replaces the image's entrypoint; empty clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Container labels.
    pub labels: BTreeMap<String, String>,
    /// `deploy.labels`: labels of the service itself.
    pub service_labels: BTreeMap<String, String>,
    /// User (and group) inside the container.
    pub user: Option<String>,
    /// Working directory inside the container.
    pub working_dir: Option<String>,
    /// Host name inside the container.
    pub hostname: Option<String>,
    /// Kept as a further DNS name on the stack's network; the container's real name is Siso's.
    pub container_name: Option<String>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Ports other services may use; for people.
    pub expose: BTreeSet<(u16, Protocol)>,
    /// Volumes, binds and tmpfs.
    pub mounts: Vec<Mount>,
    /// What must be true before it starts.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// Its health check; the image's own when absent.
    pub healthcheck: Option<Healthcheck>,
    /// What happens when it exits by itself.
    pub restart: RestartPolicy,
    /// From the stop signal to SIGKILL, in milliseconds.
    pub stop_grace_ms: u64,
    /// The stop signal; the image's own when absent.
    pub stop_signal: Option<String>,
    /// Resource limits of its processes.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Further lines of `/etc/hosts`, as `(name, address)`.
    pub extra_hosts: Vec<(String, String)>,
    /// Whether a small init reaps children; yes when absent.
    pub init: Option<bool>,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Size of `/dev/shm`.
    pub shm_size: Option<Bytes>,
    /// Capabilities taken away.
    pub cap_drop: Vec<String>,
    /// `security_opt: no-new-privileges`
    pub no_new_privileges: bool,
    /// What an agent refuses unless it was told to allow it.
    pub privileges: Privileges,
    /// Its log driver; the capped `local` driver when absent.
    pub logging: Option<Logging>,
    /// What one replica needs and may use.
    pub resources: ResourceAsk,
    /// Where replicas may and should go.
    pub placement: PlacementRules,
    /// Networks of the stack it is on; `default` when empty.
    pub networks: BTreeSet<NetworkName>,
    /// `x-siso.singleton: strict`: never two at once, not even for a moment.
    pub strict_singleton: bool,
    /// `x-siso.priority`, 0–100: who is placed first when not all fit.
    pub priority: u8,
}

impl ServiceSpec {
    /// One replica of `image` with everything else at its default.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            replicas: 1,
            command: None,
            entrypoint: None,
            environment: BTreeMap::new(),
            labels: BTreeMap::new(),
            service_labels: BTreeMap::new(),
            user: None,
            working_dir: None,
            hostname: None,
            container_name: None,
            ports: Vec::new(),
            expose: BTreeSet::new(),
            mounts: Vec::new(),
            depends_on: BTreeMap::new(),
            healthcheck: None,
            restart: RestartPolicy::default(),
            stop_grace_ms: DEFAULT_STOP_GRACE,
            stop_signal: None,
            ulimits: BTreeMap::new(),
            extra_hosts: Vec::new(),
            init: None,
            read_only: false,
            shm_size: None,
            cap_drop: Vec::new(),
            no_new_privileges: false,
            privileges: Privileges::default(),
            logging: None,
            resources: ResourceAsk::default(),
            placement: PlacementRules::default(),
            networks: BTreeSet::new(),
            strict_singleton: false,
            priority: DEFAULT_PRIORITY,
        }
    }

    /// Whether it asks for any generic resource.
    pub fn wants_generic(&self) -> bool {
        !self.resources.generic.is_empty() || !self.privileges.device_requests.is_empty()
    }

    /// What is set aside for one replica, of generic resources, on a machine that offers these. A kind
    /// that is asked for both as an amount and by devices counts once.
    pub fn generic_on(&self, offered: &Generic) -> Cow<'_, Generic> {
        if self.privileges.device_requests.is_empty() {
            return Cow::Borrowed(&self.resources.generic);
        }
        let (mut all, mut some) = (Generic::NONE, Generic::NONE);
        for request in &self.privileges.device_requests {
            let Some(kind) = request.kind() else { continue };
            let amount = request.amount(offered.get(&kind));
            // All of them twice is still all of them.
            if request.count == DeviceCount::All {
                all = all.larger(&[(&kind, amount)].into_iter().collect());
            } else {
                some.add(&kind, amount);
            }
        }
        Cow::Owned(self.resources.generic.clone().larger(&some).larger(&all))
    }
}
