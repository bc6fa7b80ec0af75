//! Planning on imagined machines, without a cluster.

use std::{collections::BTreeSet, sync::Arc};

use model::{
    ImaginedNode, NodeName, ServiceName, StackName, StackSpec, Timestamp,
    task::Decision,
    view::{PlanView, RebalanceView, WhatIfView},
};
use thiserror::Error;

use crate::{
    Heartbeats,
    cluster::{Change, Cluster, Command, Entry, Rejection},
    orchestrate::orchestrate,
    placement::{self, Goal},
    view::{self, Supposition},
};

/// Where a replica runs that is only imagined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Its stack.
    pub stack: StackName,
    /// Its service.
    pub service: ServiceName,
    /// Which one, from 1.
    pub slot: u32,
    /// Where it runs.
    pub node: NodeName,
}

/// Why something cannot be imagined.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unimaginable {
    /// A stack cannot be applied.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A replica cannot run where it is said to.
    #[error("{stack}/{service}.{slot} cannot run on {node}: {why}", stack = .seat.stack, service = .seat.service, slot = .seat.slot, node = .seat.node)]
    Misplaced {
        /// Where it is said to run.
        seat: Box<Seat>,
        /// Why that cannot be.
        why: String,
    },
}

/// When everything that is imagined happens.
const NOW: Timestamp = Timestamp(0);

/// What applying the stack would do on these machines, were they all there is; replicas with a seat run
/// there already.
pub fn plan_offline(
    spec: &StackSpec,
    nodes: &[ImaginedNode],
    seats: &[Seat],
) -> Result<PlanView, Unimaginable> {
    let stacks = if seats.is_empty() { &[][..] } else { std::slice::from_ref(spec) };
    Ok(view::plan_view(&imagined(stacks, nodes, seats)?, spec, NOW)?)
}

/// What the cluster of these machines would come to on which these stacks run; replicas without a seat
/// are placed first.
pub fn what_if_offline(
    stacks: &[StackSpec],
    nodes: &[ImaginedNode],
    seats: &[Seat],
    suppositions: impl FnOnce(&Cluster) -> Result<Vec<Supposition>, Rejection>,
) -> Result<WhatIfView, Unimaginable> {
    let mut cluster = imagined(stacks, nodes, seats)?;
    view::settle(&mut cluster, NOW);
    Ok(view::what_if(&cluster, &suppositions(&cluster)?, NOW)?)
}

/// By which few moves those stacks would be packed better on these machines; replicas without a seat are
/// placed first. `goal` names nodes of that cluster.
pub fn rebalance_offline(
    stacks: &[StackSpec],
    nodes: &[ImaginedNode],
    seats: &[Seat],
    goal: impl FnOnce(&Cluster) -> Result<Goal, Rejection>,
) -> Result<RebalanceView, Unimaginable> {
    let mut cluster = imagined(stacks, nodes, seats)?;
    view::settle(&mut cluster, NOW);
    let goal = goal(&cluster)?;
    Ok(view::rebalance(&cluster, goal, NOW)?)
}

/// A cluster of these machines on which these stacks are wanted and what has a seat runs.
fn imagined(
    stacks: &[StackSpec],
    nodes: &[ImaginedNode],
    seats: &[Seat],
) -> Result<Cluster, Unimaginable> {
    let mut cluster = Cluster::new();
    for imagined in nodes {
        cluster.imagine(imagined);
    }
    for spec in stacks {
        let command = Command::ApplyStack { spec: spec.clone(), basis: None };
        cluster.apply(&Entry { at: NOW, request: None, command }).result?;
    }
    let wanted = orchestrate(&cluster, &Heartbeats::new(NOW), &BTreeSet::new(), NOW);
    cluster.take_changes(NOW, &wanted.changes);
    for seat in seats {
        sit(&mut cluster, seat)?;
    }
    view::settle_seated(&mut cluster, NOW);
    Ok(cluster)
}

fn sit(cluster: &mut Cluster, seat: &Seat) -> Result<(), Unimaginable> {
    let misplaced = |why: String| Unimaginable::Misplaced { seat: Box::new(seat.clone()), why };
    let node = cluster
        .node_named(&seat.node)
        .ok_or_else(|| misplaced("there is no such node".to_owned()))?;
    let mut tasks = cluster.tasks_of_slot(&seat.stack, &seat.service, seat.slot);
    let task = tasks.next().ok_or_else(|| misplaced("there is no such replica".to_owned()))?;
    placement::fits(cluster, task, node.id).map_err(|misfit| misplaced(misfit.to_string()))?;
    let verdicts = Vec::new();
    let decision = Arc::new(Decision { at: NOW, revision: cluster.revision(), verdicts });
    let change = Change::Place { task: task.id, node: node.id, decision };
    drop(tasks);
    match cluster.take_changes(NOW, &[change]).pop() {
        Some(why) => Err(misplaced(why)),
        None => Ok(()),
    }
}
