//! The parts of a service that describe its container.

use crate::{Bytes, GenericName, VolumeName};

/// Transport of a published port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
}

impl Protocol {
    /// The word Compose uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A container port made reachable on its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The node's address to listen on; all when absent.
    pub host_ip: Option<String>,
    /// The node's port; one is chosen by the engine when absent.
    pub published: Option<u16>,
    /// The container's port.
    pub target: u16,
    /// Its transport.
    pub protocol: Protocol,
}

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MountSource {
    /// A named volume declared by the stack.
    Volume {
        /// Its name in the stack.
        name: VolumeName,
        /// Do not fill an empty volume from the image.
        no_copy: bool,
    },
    /// A volume without a name, removed with its container.
    Anonymous,
    /// A directory or file of the node; absolute.
    Bind {
        /// The path on the node.
        path: String,
        /// Make it when it is missing.
        create: bool,
    },
    /// Memory.
    Tmpfs {
        /// At most this much; half of the node's memory when absent, as in Docker.
        size: Option<Bytes>,
        /// Mode bits of its root.
        mode: Option<u32>,
    },
}

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mount {
    /// Where its content comes from.
    pub source: MountSource,
    /// Where it appears; absolute.
    pub target: String,
    /// Whether the container may write.
    pub read_only: bool,
}

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthTest {
    /// The image's own check.
    Inherit,
    /// None, not even the image's own.
    Disabled,
    /// A command and its arguments.
    Exec(Vec<String>),
    /// A line for the container's shell.
    Shell(String),
}

/// A health check. Times in milliseconds; absent means the engine's default.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Healthcheck {
    /// What is run.
    pub test: HealthTest,
    /// Between two probes (engine: 30 s).
    pub interval_ms: Option<u64>,
    /// How long one may take (engine: 30 s).
    pub timeout_ms: Option<u64>,
    /// Failures in a row until unhealthy (engine: 3).
    pub retries: Option<u32>,
    /// Failures this long after the start do not count (engine: 0).
    pub start_period_ms: Option<u64>,
}

/// A soft and a hard limit; −1 is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ulimit {
    /// What applies.
    pub soft: i64,
    /// How far the process may raise it.
    pub hard: i64,
}

/// Where the container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Logging {
    /// The engine's log driver.
    pub driver: String,
    /// Its options.
    pub options: std::collections::BTreeMap<String, String>,
}

/// What an agent refuses unless it was started with `--allow`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Privileges {
    /// `privileged: true`
    pub privileged: bool,
    /// `cap_add`
    pub cap_add: Vec<String>,
    /// `devices`, as `HOST:CONTAINER[:rwm]`.
    pub devices: Vec<String>,
    /// `network_mode: host`
    pub host_network: bool,
    /// `pid: host`
    pub host_pid: bool,
    /// `ipc: host`
    pub host_ipc: bool,
    /// `userns_mode: host`
    pub host_userns: bool,
    /// `security_opt` entries other than `no-new-privileges`.
    pub security_opt: Vec<String>,
    /// `gpus` and `deploy.resources.reservations.devices`.
    pub device_requests: Vec<DeviceRequest>,
}

/// The kind of generic resources that a request for graphics processors reserves.
pub const GPU: &str = "gpu";

/// How many devices, or which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceCount {
    /// All that the machine has.
    All,
    /// So many; which is for the engine's driver to say.
    Number(u32),
    /// Those, as the driver names them.
    Ids(Vec<String>),
}

/// Devices by what they can do: the engine looks for them when it makes the container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceRequest {
    /// Who looks for them; any that can when absent.
    pub driver: Option<String>,
    /// How many, or which.
    pub count: DeviceCount,
    /// What they must be able to do, all of it.
    pub capabilities: Vec<String>,
    /// For the driver.
    pub options: std::collections::BTreeMap<String, String>,
}

impl DeviceRequest {
    /// The kind of generic resources it reserves: `gpu` when that is among the capabilities, else the
    /// first that is a name.
    pub fn kind(&self) -> Option<GenericName> {
        let gpu = self.capabilities.iter().filter(|word| *word == GPU);
        gpu.chain(&self.capabilities).find_map(|word| GenericName::new(word).ok())
    }

    /// How much of its kind it reserves on a machine that has so much of it: all is at least one.
    pub fn amount(&self, there: u64) -> u64 {
        match &self.count {
            DeviceCount::All => there.max(1),
            DeviceCount::Number(number) => u64::from(*number),
            DeviceCount::Ids(ids) => u64::try_from(ids.len()).unwrap_or(u64::MAX),
        }
    }
}
