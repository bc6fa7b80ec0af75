//! The nouns every part of Siso agrees on: ids, units, what a person wants (specs), what is
//! (nodes, tasks, volumes), and what is shown (views).
//!
//! **Invariant:** nothing here decides, waits or talks; a value that exists is valid in itself.
//! Read [`task`] first, then [`spec`].

#![warn(missing_docs)]

pub mod allow;
pub mod assignment;
pub mod event;
pub mod generic;
pub mod id;
pub mod lease;
pub mod name;
pub mod node;
pub mod planted;
pub mod size;
pub mod spec;
pub mod story;
pub mod task;
pub mod time;
pub mod token;
pub mod units;
pub mod view;

pub use allow::{Allows, Capability};
pub use assignment::{Assignment, AssignmentSet};
pub use event::Event;
pub use generic::Generic;
pub use id::{Id, NodeId, RequestId, TaskId, TokenId};
pub use name::{
    GenericName, NameError, NodeName, OperatorName, ServiceName, StackName, VolumeName,
};
pub use node::{ImaginedNode, Inventory, Liveness, Node};
pub use spec::{ServiceSpec, StackSpec};
pub use story::story;
pub use task::{Desired, Health, Task, TaskReport, TaskState, TaskStatus};
pub use time::{Epoch, Generation, Revision, Timestamp};
pub use units::{Bytes, MilliCpu, Resources, Shortfall};
