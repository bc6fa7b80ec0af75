//! The parts of a service that describe its container.

use crate::{Bytes, VolumeName};

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
}
