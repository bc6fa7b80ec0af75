//! What a person wants. Never written by the system.

mod constraint;
mod container;
mod service;
mod stack;

pub use constraint::{Constraint, ConstraintError, ConstraintKey, ConstraintOp};
pub use container::{
    DeviceCount, DeviceRequest, GPU, HealthTest, Healthcheck, Logging, Mount, MountSource, Port,
    Privileges, Protocol, Ulimit,
};
pub use service::{
    ASSUMED_MEMORY, Condition, DEFAULT_PIDS_LIMIT, DEFAULT_PRIORITY, DEFAULT_STOP_GRACE,
    Dependency, LEAST_MEMORY, MemoryBasis, PlacementRules, ResourceAsk, RestartPolicy, ServiceSpec,
};
pub use stack::{NetworkSpec, StackSpec, VolumeSpec};
