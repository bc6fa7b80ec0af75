//! What the unit tests of several rooms assign and see.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    Assignment, AssignmentSet, Desired, Epoch, Generation, Health, NodeId, ServiceName,
    ServiceSpec, StackName, TaskId,
};

use crate::runtime::{Container, ContainerId, ContainerState, Place};

/// The first replica of `shop/web`, to run.
pub(crate) fn assignment(task: u64, spec: ServiceSpec) -> Assignment {
    Assignment {
        task: TaskId::new(task),
        stack: StackName::new("shop").unwrap(),
        service: ServiceName::new("web").unwrap(),
        slot: 1,
        epoch: Epoch(task),
        desired: Desired::Run,
        spec: Arc::new(spec),
        volumes: BTreeMap::new(),
    }
}

/// The first set for node 1 of cluster `c1`.
pub(crate) fn set(tasks: Vec<Assignment>) -> AssignmentSet {
    AssignmentSet {
        cluster: "c1".to_owned(),
        node: NodeId::new(1),
        generation: Generation(1),
        stacks: Vec::new(),
        tasks,
        remove_volumes: Vec::new(),
    }
}

/// The container of that task.
pub(crate) fn container(task: u64, state: ContainerState) -> Container {
    Container {
        id: ContainerId(format!("c{task}")),
        task: TaskId::new(task),
        node: None,
        place: Place { stack: "shop".to_owned(), service: "web".to_owned(), slot: 1 },
        epoch: Epoch(task),
        state,
        health: Health::None,
        probe: None,
        started_at: None,
        finished_at: None,
        exit_code: None,
        oom_killed: false,
        leased: None,
        volumes: BTreeMap::new(),
        binds: BTreeMap::new(),
    }
}
