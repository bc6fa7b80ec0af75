//! One attempt to run one replica on one node: what is wanted of it, what it is.
//!
//! A task only moves forward, through attempts and, within an attempt, through [`TaskState`]; so a
//! report may be repeated or reordered and nothing breaks (see [`TaskStatus::merge`]).

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    Bytes, Epoch, NodeId, Revision, ServiceName, ServiceSpec, StackName, TaskId, Timestamp,
    VolumeName,
    planted::{Bug, is_planted},
    view::Verdict,
};

/// What the scheduler wants of a task. Written by orchestration; only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Desired {
    /// Its memory is reserved and its image may be fetched, but it waits for its dependencies.
    Prepare,
    /// It must run.
    Run,
    /// It must end, for it was given up; its remains stay on its node, so that its logs can be read.
    Rest,
    /// It must stop and be removed.
    Stop,
}

impl Desired {
    /// The word shown. What becomes of the remains is no concern of scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Run => "run",
            Self::Rest | Self::Stop => "stop",
        }
    }

    /// Whether the task is to end or has ended on request.
    pub const fn is_leaving(self) -> bool {
        matches!(self, Self::Rest | Self::Stop)
    }
}

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// No node has room for it, or none was asked yet.
    Pending,
    /// A node is chosen; its memory is reserved there from here on.
    Assigned,
    /// The agent asks its policy and fetches the image.
    Preparing,
    /// Its node has what it takes: it may be started, is being started, or waits for its next start
    /// after an exit.
    Starting,
    /// The container runs.
    Running,
    /// It was told to stop and has not yet.
    Stopping,
    /// It ended as it should: stopped on request, or finished with exit code 0. Frees its memory.
    Stopped,
    /// It ended and will not be started again. Frees its memory.
    Failed,
    /// Its node is gone; nobody knows.
    Lost,
}

impl TaskState {
    /// Whether the agent has confirmed that nothing of it runs any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }

    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Preparing => "preparing",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the container's health check says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// The container has no health check.
    #[default]
    None,
    /// No verdict yet.
    Starting,
    /// The last probe passed.
    Healthy,
    /// Too many probes failed in a row.
    Unhealthy,
}

impl Health {
    /// The word shown; `None` when there is no health check.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Starting => Some("starting"),
            Self::Healthy => Some("healthy"),
            Self::Unhealthy => Some("unhealthy"),
        }
    }
}

/// Why an attempt ended or cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The container exited with a code other than 0.
    Exited,
    /// The kernel killed it because it exceeded its memory limit.
    OutOfMemory,
    /// The image could not be fetched.
    Image,
    /// The engine could not create or start it.
    Start,
    /// The agent does not allow what it asks for.
    Refused,
    /// Its health check failed for too long.
    Unhealthy,
    /// Its node went away.
    NodeLost,
    /// It was ended from outside, or while the engine or the agent was away: no fault of its own.
    Interrupted,
}

impl Cause {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::OutOfMemory => "out of memory",
            Self::Image => "image",
            Self::Start => "start",
            Self::Refused => "refused",
            Self::Unhealthy => "unhealthy",
            Self::NodeLost => "node lost",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub cause: Cause,
    /// One sentence for a person, with amounts (`killed: exceeded its limit of 512.0 MiB`).
    pub message: String,
    /// The image has no variant for the platform of the node, though it has others: it will do elsewhere.
    pub no_variant: bool,
}

impl Failure {
    /// One that says nothing of the image's platforms.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), no_variant: false }
    }
}

/// What an agent observed of a task. Written by the agent, merged by `apply`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// How often the agent started it again; counts from 0.
    pub restarts: u32,
    /// How far this attempt has come.
    pub state: TaskState,
    /// Orders reports of one attempt and state (health, error): the agent counts it up.
    pub sequence: u64,
    /// What the health check says.
    pub health: Health,
    /// The container's id.
    pub container: Option<String>,
    /// The exit code of the last exit.
    pub exit_code: Option<i64>,
    /// The last thing that went wrong.
    pub failure: Option<Failure>,
    /// When the container last started, by the node's clock.
    pub started_at: Option<Timestamp>,
    /// When it last exited, by the node's clock.
    pub finished_at: Option<Timestamp>,
}

impl Default for TaskStatus {
    fn default() -> Self {
        Self {
            restarts: 0,
            state: TaskState::Pending,
            sequence: 0,
            health: Health::None,
            container: None,
            exit_code: None,
            failure: None,
            started_at: None,
            finished_at: None,
        }
    }
}

impl TaskStatus {
    /// The later of two reports. Reports order by attempt, then state, then sequence; an ended task
    /// never comes back, and one that was given up as lost is only ever heard of again as ended: its
    /// replica may have another task by now.
    #[must_use]
    pub fn merge(self, reported: Self) -> Self {
        let later = |status: &Self| {
            let state = status.state;
            let lost = state == TaskState::Lost;
            (state.is_over(), lost, status.restarts, state, status.sequence)
        };
        if later(&reported) > later(&self) { reported } else { self }
    }
}

/// Why a task sits where it does, as it was decided. Written by placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// When it was decided.
    pub at: Timestamp,
    /// The cluster revision it was decided on.
    pub revision: Revision,
    /// A verdict per node that was considered, the best first; bounded by the core.
    pub verdicts: Vec<Verdict>,
}

/// A named volume as the stack defined it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskVolume {
    /// The engine's name for it.
    pub engine_name: String,
    /// It must exist already and is never made or removed.
    pub external: bool,
}

/// One attempt to run one replica of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The stack it belongs to.
    pub stack: StackName,
    /// The service it is a replica of.
    pub service: ServiceName,
    /// Which replica, from 1.
    pub slot: u32,
    /// Which attempt of the replica; higher replaces lower.
    pub epoch: Epoch,
    /// What is to run. Written by a person through `apply`.
    pub spec: Arc<ServiceSpec>,
    /// The stack revision the spec came with.
    pub spec_revision: Revision,
    /// The named volumes its mounts use, as the stack defined them when the task was made.
    pub volumes: BTreeMap<VolumeName, TaskVolume>,
    /// What is wanted of it. Written by orchestration.
    pub desired: Desired,
    /// Where it is. Written by placement, once.
    pub node: Option<NodeId>,
    /// Why it is there. Written by placement.
    pub decision: Option<Arc<Decision>>,
    /// What was observed. Written by the agent.
    pub status: TaskStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When `status.state` last changed here, by the proposer's clock.
    pub since: Timestamp,
    /// Where the task is that it takes over from, while it is moved on request. That one is as it should
    /// be, and stays when this one fails. Written by `apply`.
    pub moves_from: Option<NodeId>,
}

impl Task {
    /// Whether its reservation counts on its node: from placement until the agent confirms its end.
    pub fn holds_resources(&self) -> bool {
        let freed = is_planted(Bug::FreedOnRequest) && self.desired.is_leaving();
        self.node.is_some() && !self.status.state.is_over() && !freed
    }

    /// Whether its agent lets it run and has its image: nothing is known that stands against a start.
    pub fn is_prepared(&self) -> bool {
        self.status.state >= TaskState::Starting && !self.status.state.is_over()
    }

    /// Whether it has ended on request or was given up: nobody waits for it any more.
    pub fn is_history(&self) -> bool {
        self.desired.is_leaving() && self.status.state.is_over()
    }

    /// Whether it had to be started again for a reason of its own. Interruptions do not count: they
    /// say nothing about it.
    pub fn has_crashed(&self) -> bool {
        let counts = is_planted(Bug::InterruptionIsFailure);
        let interrupted = |failure: &Failure| failure.cause == Cause::Interrupted && !counts;
        self.status.restarts > 0 && !self.status.failure.as_ref().is_some_and(interrupted)
    }

    /// Whether it is running and, where it has a health check, healthy.
    pub fn is_ready(&self) -> bool {
        self.status.state == TaskState::Running
            && matches!(self.status.health, Health::None | Health::Healthy)
    }
}

/// One observation on its way to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskReport {
    /// Of which task.
    pub task: TaskId,
    /// What was observed.
    pub status: TaskStatus,
}

/// What changes too often for the log; kept in the leader's memory only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// Memory in use (without page cache), when it runs.
    pub memory_used: Option<Bytes>,
    /// Image bytes fetched and to fetch, while it is preparing.
    pub pull: Option<(Bytes, Bytes)>,
}

/// What was seen of a task's memory since its agent began to look, which is when the task or the agent
/// began. Kept by the agent, and in the leader's memory only; what it comes to is in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemorySeen {
    /// The most that was measured.
    pub peak: Bytes,
    /// What it stayed at or under in 95 of 100 measurements, or up to a quarter more.
    pub usual: Bytes,
    /// For how long it was looked at, in milliseconds.
    pub observed_ms: u64,
    /// How often it was measured for `usual`.
    pub samples: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(restarts: u32, state: TaskState, sequence: u64) -> TaskStatus {
        TaskStatus { restarts, state, sequence, ..TaskStatus::default() }
    }

    #[test]
    fn a_report_never_moves_a_task_back() {
        use TaskState::{Lost, Running, Starting, Stopped};
        let check = |held: TaskStatus, news: TaskStatus, takes: bool| {
            let merged = held.clone().merge(news.clone());
            assert_eq!(merged, if takes { news } else { held });
        };
        check(status(0, Starting, 1), status(0, Running, 2), true);
        check(status(0, Running, 2), status(0, Starting, 9), false);
        check(status(0, Running, 2), status(1, Starting, 3), true);
        check(status(1, Starting, 3), status(0, Running, 9), false);
        check(status(0, Running, 2), status(0, Running, 3), true);
        check(status(0, Stopped, 2), status(3, Running, 9), false);
        check(status(3, Running, 9), status(0, Stopped, 0), true);
        check(status(0, Lost, 2), status(1, Running, 3), false);
        check(status(0, Lost, 2), status(1, Stopped, 3), true);
    }
}
