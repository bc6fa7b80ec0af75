//! The complete set of tasks a node must have: what is missing from it must stop.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Desired, Epoch, Generation, NodeId, ServiceName, ServiceSpec, StackName, TaskId, VolumeName,
};

/// One task as its node needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The task.
    pub task: TaskId,
    /// Its stack.
    pub stack: StackName,
    /// Its service.
    pub service: ServiceName,
    /// Which replica.
    pub slot: u32,
    /// Which attempt.
    pub epoch: Epoch,
    /// What is wanted.
    pub desired: Desired,
    /// What is to run.
    pub spec: Arc<ServiceSpec>,
    /// The named volumes its mounts use.
    pub volumes: BTreeMap<VolumeName, AssignedVolume>,
}

/// A named volume as its node needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedVolume {
    /// The engine's name for it.
    pub engine_name: String,
    /// It must exist already; the agent never makes it.
    pub external: bool,
    /// Whether it has held data here before: then a missing volume is an error, never made anew.
    pub must_exist: bool,
}

/// Everything a node must have, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentSet {
    /// The cluster; an agent of another one refuses the set.
    pub cluster: String,
    /// For which node.
    pub node: NodeId,
    /// Older sets are refused.
    pub generation: Generation,
    /// The tasks, by id.
    pub tasks: Vec<Assignment>,
    /// Stacks whose leftover networks may be removed are those not named here.
    pub stacks: Vec<StackName>,
    /// Engine names of volumes whose data a person asked to remove and that live on this node.
    pub remove_volumes: Vec<String>,
}
