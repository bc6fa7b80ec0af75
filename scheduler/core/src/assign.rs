//! The cluster -> the complete set of one node.

use std::{collections::BTreeSet, sync::Arc};

use model::{
    Assignment, AssignmentSet, Desired, NodeId, StackName, Task, assignment::AssignedVolume,
};

use crate::cluster::Cluster;

/// Everything the node must have. What is missing from the set must stop, so a task stays in it
/// until the agent has confirmed its end. The generation changes only when the set does.
pub fn assignments(cluster: &Cluster, node: NodeId) -> AssignmentSet {
    set_of(cluster, node, |task| !is_settled(task))
}

/// The same without the remains of what ended, which no bound of a node counts: it loses what they wrote, and
/// nothing that is wanted.
pub fn assignments_without_remains(cluster: &Cluster, node: NodeId) -> AssignmentSet {
    set_of(cluster, node, |task| !(is_settled(task) || is_remains(task)))
}

fn set_of(cluster: &Cluster, node: NodeId, holds: impl Fn(&Task) -> bool) -> AssignmentSet {
    let tasks: Vec<Assignment> = cluster
        .tasks_on(node)
        .filter(|task| holds(task))
        .map(|task| assignment(cluster, task))
        .collect();
    let stacks: BTreeSet<StackName> = tasks.iter().map(|held| held.stack.clone()).collect();
    let volumes = cluster.volumes().iter();
    AssignmentSet {
        cluster: cluster.origin().to_owned(),
        node,
        generation: cluster.generation(node),
        tasks,
        stacks: stacks.into_iter().collect(),
        remove_volumes: volumes
            .filter(|(_, volume)| volume.removing && volume.home == node)
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

/// Whether the task was to stop and has: its node need not know it any more. What rests is still
/// known there, or its remains would go.
pub(crate) fn is_settled(task: &Task) -> bool {
    task.desired == Desired::Stop && task.status.state.is_over()
}

fn is_remains(task: &Task) -> bool {
    task.desired == Desired::Rest && task.status.state.is_over()
}

fn assignment(cluster: &Cluster, task: &Task) -> Assignment {
    let volumes = task.volumes.iter().map(|(name, volume)| {
        let known = cluster.volumes().get(&volume.engine_name);
        let assigned = AssignedVolume {
            engine_name: volume.engine_name.clone(),
            external: volume.external,
            must_exist: known.is_some_and(|known| known.used),
        };
        (name.clone(), assigned)
    });
    Assignment {
        task: task.id,
        stack: task.stack.clone(),
        service: task.service.clone(),
        slot: task.slot,
        epoch: task.epoch,
        desired: task.desired,
        spec: Arc::clone(&task.spec),
        volumes: volumes.collect(),
    }
}
