//! The container engine as a port: what the agent needs of one, in our words.
//!
//! **Invariant:** nothing outside [`docker`] names the engine's library. The contract tests in
//! `tests/docker_runtime.rs` hold the real engine and [`fake`] to the same behaviour.

pub mod clock;
pub mod docker;
pub mod fake;

use std::{
    collections::BTreeMap, fmt, future::Future, net::IpAddr, path::PathBuf, pin::Pin, sync::Arc,
    time::Duration,
};

use futures::stream::BoxStream;
use model::{Assignment, Bytes, Epoch, Health, MilliCpu, NodeId, TaskId, Timestamp, spec::Port};
use thiserror::Error;
use tokio::io::AsyncWrite;

/// The engine's id of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Which replica of which service: at most one container of it may exist per epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The stack's name.
    pub stack: String,
    /// The service's name.
    pub service: String,
    /// The replica, from 1.
    pub slot: u32,
}

impl Place {
    /// The place of an assignment.
    pub fn of(assignment: &Assignment) -> Self {
        Self {
            stack: assignment.stack.to_string(),
            service: assignment.service.to_string(),
            slot: assignment.slot,
        }
    }
}

/// What state a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its process runs (or is paused).
    Running,
    /// Its process ended.
    Exited,
    /// The engine is removing it.
    Leaving,
    /// Its command runs, and the engine does not know: it ended while it started this container.
    Lost,
}

impl ContainerState {
    /// Whether its command runs, known to the engine or not.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Lost)
    }
}

/// One container of this cluster as the engine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id.
    pub id: ContainerId,
    /// The task it was made for.
    pub task: TaskId,
    /// The node it was made by; `None` when it does not say.
    pub node: Option<NodeId>,
    /// The replica it was made for.
    pub place: Place,
    /// The attempt of the replica.
    pub epoch: Epoch,
    /// Its state.
    pub state: ContainerState,
    /// What its health check says.
    pub health: Health,
    /// What the last failed probe printed, while it is unhealthy.
    pub probe: Option<String>,
    /// When it last started, by the engine's clock.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub finished_at: Option<Timestamp>,
    /// The exit code, once it ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed one of its processes since it started, for exceeding the limit.
    pub oom_killed: bool,
    /// The volumes it mounts, by the engine's names, and whether it may write to each.
    pub volumes: BTreeMap<String, bool>,
    /// The paths of this machine it mounts, and whether it may write to each.
    pub binds: BTreeMap<PathBuf, bool>,
    /// That of a strict singleton may run only while its lease is good: its grace period, in
    /// milliseconds. `None` for any other.
    pub leased: Option<u64>,
}

/// One network of this cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The engine's id.
    pub id: String,
    /// The stack it was made for.
    pub stack: String,
}

/// Everything of one cluster that the engine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Its containers, running or not.
    pub containers: Vec<Container>,
    /// Its networks.
    pub networks: Vec<Network>,
}

/// What the engine says about its machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineFacts {
    /// Memory it can give out.
    pub memory: Bytes,
    /// CPU cores.
    pub cpu: MilliCpu,
    /// Architecture as Docker names it: `arm64`, `amd64`.
    pub arch: String,
    /// `linux`.
    pub os: String,
    /// Name and version, e.g. `docker 20.10.24`.
    pub engine: String,
    /// Where it keeps images, containers and volumes.
    pub root: PathBuf,
}

/// Something that happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Somebody sent it a signal that asks it to end.
    Killed,
    /// Its process ended.
    Died,
    /// The kernel killed one of its processes for memory.
    OutOfMemory,
    /// Anything else worth another look: started, health changed, removed.
    Changed,
}

/// What an event stream yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// From here on nothing is missed. What the engine remembers from before may come first.
    Listening,
    /// Something happened to a container of this cluster.
    Container {
        /// Which.
        id: ContainerId,
        /// Its task, by its label.
        task: TaskId,
        /// What.
        what: Happening,
        /// When, by the engine's clock.
        at: Timestamp,
    },
}

/// A container to be made.
#[derive(Debug, Clone)]
pub struct Order {
    /// The cluster it belongs to.
    pub cluster: String,
    /// The node it is made by.
    pub node: NodeId,
    /// What is to run.
    pub assignment: Arc<Assignment>,
    /// For every bind of the spec, the real path the policy found it to be.
    pub binds: BTreeMap<String, PathBuf>,
}

/// Why the engine did not do something.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// It did not answer, or not in time.
    #[error("the container engine does not answer")]
    Unreachable {
        /// What the connection said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered no, in its own words.
    #[error("{message}")]
    Refused {
        /// The engine's message.
        message: String,
    },
    /// What was named does not exist.
    #[error("the engine has no {what}")]
    Absent {
        /// What was named.
        what: String,
    },
    /// The engine's own leftovers keep it from ever starting this container; its command does not run.
    #[error("{message}")]
    Jammed {
        /// The engine's message.
        message: String,
    },
    /// The container's limit of memory leaves no room for the engine's own program that starts it.
    #[error("{message}")]
    Cramped {
        /// The engine's message.
        message: String,
    },
    /// What was to become the container's command ended before, and nothing says why.
    #[error("{message}")]
    Stillborn {
        /// The engine's message.
        message: String,
    },
    /// The image of a container to be made is not on the machine (any more).
    #[error("image {image} is not on this machine")]
    ImageAbsent {
        /// The image.
        image: String,
    },
    /// A volume that must hold data is missing.
    #[error("volume {volume} {why}; it is not made anew, because that would hide the loss")]
    VolumeAbsent {
        /// The engine's name of it.
        volume: String,
        /// Why it must be there.
        why: &'static str,
    },
}

impl RuntimeError {
    /// Whether the same request may succeed later although nothing was changed on this machine.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { .. }
            | Self::Absent { .. }
            | Self::Jammed { .. }
            | Self::Cramped { .. }
            | Self::Stillborn { .. }
            | Self::ImageAbsent { .. }
            | Self::VolumeAbsent { .. } => false,
        }
    }
}

/// Why an image could not be fetched.
#[derive(Debug, Error)]
pub enum PullError {
    /// No registry has it under this name.
    #[error("image {image} was not found: check its name and tag")]
    NotFound {
        /// The image.
        image: String,
    },
    /// There is one, for machines of another kind.
    #[error(
        "image {image} has no variant for {platform}: say where it runs with `platform: linux/ARCH` (or the \
         constraint `node.platform.arch == ARCH`), or take an image that has one"
    )]
    NoVariant {
        /// The image.
        image: String,
        /// What this machine is, in the engine's words.
        platform: String,
    },
    /// The registry wants a login.
    #[error(
        "image {image}: the registry denies access, or has no such image; a private one needs a login \
         (`docker login` on the node, for the user the agent runs as)"
    )]
    Denied {
        /// The image.
        image: String,
    },
    /// The registry asks us to come back later.
    #[error("image {image}: the registry limits how often it is asked")]
    Limited {
        /// The image.
        image: String,
    },
    /// Anything else, in the engine's words.
    #[error("image {image} could not be fetched: {message}")]
    Failed {
        /// The image.
        image: String,
        /// The engine's message.
        message: String,
    },
    /// The engine itself failed.
    #[error(transparent)]
    Engine(RuntimeError),
}

/// Called with `(bytes fetched, bytes to fetch)` as far as they are known.
pub type OnProgress = Box<dyn Fn(Bytes, Bytes) + Send + Sync>;

/// Which log lines are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Wait for more.
    pub follow: bool,
    /// Only lines written at this time or later.
    pub since: Option<Timestamp>,
    /// Only the last lines.
    pub tail: Option<u32>,
}

/// One line (or a piece of a long one) without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, by the engine's clock.
    pub at: Timestamp,
    /// Whether it went to standard error.
    pub stderr: bool,
    /// Its bytes.
    pub text: Vec<u8>,
}

/// A command to run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether it gets an input.
    pub stdin: bool,
}

/// A piece of a command's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// From standard output (or the terminal).
    Stdout(Vec<u8>),
    /// From standard error.
    Stderr(Vec<u8>),
}

/// The engine's id of a command that runs in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecId(pub String);

/// A command that runs in a container.
pub struct Exec {
    /// Names it.
    pub id: ExecId,
    /// What it prints; ends with it.
    pub output: BoxStream<'static, Result<Output, RuntimeError>>,
    /// What it reads; shutting it down is the end of its input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A container engine. Every call may be repeated: making what is there and removing what is gone
/// succeed.
pub trait Runtime: Send + Sync + 'static {
    /// What the engine says about its machine.
    fn facts(&self) -> impl Future<Output = Result<EngineFacts, RuntimeError>> + Send;

    /// Everything of one cluster.
    fn look(&self, cluster: &str) -> impl Future<Output = Result<Look, RuntimeError>> + Send;

    /// One container of a cluster; `None` when it is gone or of another cluster.
    fn inspect(
        &self,
        cluster: &str,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<Container>, RuntimeError>> + Send;

    /// What happens to the containers of one cluster. Ends or yields an error when the engine goes.
    fn events(&self, cluster: &str) -> BoxStream<'static, Result<EngineEvent, RuntimeError>>;

    /// The engine's id of an image; `None` when it is not on the machine.
    fn image_id(
        &self,
        image: &str,
    ) -> impl Future<Output = Result<Option<String>, RuntimeError>> + Send;

    /// Removes an image by its id; fine when it is gone. Answers false when it is left, because a container
    /// was made from it or it has other names.
    fn remove_image(&self, id: &str) -> impl Future<Output = Result<bool, RuntimeError>> + Send;

    /// Size of the disk the engine keeps everything on, and what is free of it; nothing where it cannot be
    /// seen from here.
    fn disk(&self) -> impl Future<Output = Result<(Bytes, Bytes), RuntimeError>> + Send;

    /// Fetches an image.
    fn pull(
        &self,
        image: &str,
        progress: OnProgress,
    ) -> impl Future<Output = Result<(), PullError>> + Send;

    /// Whether something listens on a port of this machine, so that the engine could not.
    fn is_port_taken(&self, port: &Port) -> bool;

    /// Makes a container with its networks and volumes, or finds the one that was made for this
    /// task before. Does not start it.
    fn create(
        &self,
        order: &Order,
    ) -> impl Future<Output = Result<ContainerId, RuntimeError>> + Send;

    /// Starts a container; fine when it runs.
    fn start(&self, id: &ContainerId) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Sends the container's stop signal, waits for its grace period, then kills it; returns when
    /// it has ended.
    fn stop(&self, id: &ContainerId) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// The same with another grace period than the container's own.
    fn stop_within(
        &self,
        id: &ContainerId,
        grace: Duration,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Removes an ended container and its anonymous volumes; fine when it is gone.
    fn remove(&self, id: &ContainerId) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Removes a network; fine when it is gone.
    fn remove_network(&self, id: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Removes a volume that was made for this cluster, and its data; fine when it is gone, an error
    /// while a container uses it. Answers false when it is left as it is: somebody else made it.
    fn remove_volume(
        &self,
        cluster: &str,
        name: &str,
    ) -> impl Future<Output = Result<bool, RuntimeError>> + Send;

    /// Memory in use without page cache; `None` when it does not run.
    fn memory_used(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<Bytes>, RuntimeError>> + Send;

    /// The log of a container.
    fn logs(
        &self,
        id: &ContainerId,
        query: LogQuery,
    ) -> BoxStream<'static, Result<LogLine, RuntimeError>>;

    /// Runs a command in a running container.
    fn exec(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
    ) -> impl Future<Output = Result<Exec, RuntimeError>> + Send;

    /// Sets the size of a command's terminal, in characters.
    fn resize(
        &self,
        exec: &ExecId,
        width: u16,
        height: u16,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// The exit code of a command; `None` while it runs.
    fn exit_code(
        &self,
        exec: &ExecId,
    ) -> impl Future<Output = Result<Option<i64>, RuntimeError>> + Send;

    /// Where a running container is reached from the engine's machine; `None` when it has no network.
    fn address(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<IpAddr>, RuntimeError>> + Send;

    /// Ends a command that nobody listens to any more, and what it started.
    fn end_exec(&self, exec: &ExecId) -> impl Future<Output = Result<(), RuntimeError>> + Send;
}
