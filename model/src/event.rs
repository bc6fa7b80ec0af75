//! What happened, in words a person reads; written by `apply`, so every replica has the same list.

use crate::{NodeId, Revision, ServiceName, StackName, TaskId, Timestamp};

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Normal,
    /// Worth a look.
    Warning,
}

impl Severity {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warning => "warning",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The cluster revision that made it; later events have higher ones.
    pub revision: Revision,
    /// When the change was proposed.
    pub at: Timestamp,
    /// How much it matters.
    pub severity: Severity,
    /// A short word for filters: `applied`, `placed`, `running`, `failed`, `oom`, …
    pub kind: String,
    /// The stack concerned.
    pub stack: Option<StackName>,
    /// The service concerned.
    pub service: Option<ServiceName>,
    /// The task concerned.
    pub task: Option<TaskId>,
    /// The node concerned.
    pub node: Option<NodeId>,
    /// One sentence.
    pub message: String,
}
