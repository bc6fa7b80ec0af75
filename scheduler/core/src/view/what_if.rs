//! `whatif`: what the cluster would come to, were something else so. As in a preview, all of it is
//! imagined on a copy, at once, and played to its end.

use std::collections::BTreeSet;

use model::{
    Bytes, ImaginedNode, NodeId, StackName, StackSpec, Task, TaskState, Timestamp,
    view::{ReplicaPlacement, ServiceChange, Verdict, WhatIfView},
};

use crate::{
    cluster::{Cluster, Command, Entry, Rejection, Stack},
    orchestrate::{self, READY_DEADLINE_MS},
    view::{
        Soft,
        drain::drain_stays,
        explain::{Asking, replica_placement},
        preview::{self, Played, play},
        stacks::changes,
        tasks::waiting_for,
    },
};

/// Something that is not so, and what it would come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Supposition {
    /// The node is gone, and nobody knows when it comes back.
    Lose(NodeId),
    /// The node is drained.
    Drain(NodeId),
    /// There is one more node.
    Add(ImaginedNode),
    /// The stack is applied.
    Apply(StackSpec),
}

/// What all of it together would come to; nothing is changed. The placements are those of the stacks that
/// are applied, of all that would move, and of all that would be nowhere.
pub fn what_if(
    cluster: &Cluster,
    suppositions: &[Supposition],
    now: Timestamp,
) -> Result<WhatIfView, Rejection> {
    let mut scene = Scene {
        draft: cluster.draft(),
        lost: BTreeSet::new(),
        drained: BTreeSet::new(),
        applied: BTreeSet::new(),
        changes: Vec::new(),
    };
    for supposition in suppositions {
        scene.suppose(cluster, supposition, now)?;
    }
    let Scene { mut draft, lost, drained, applied, changes } = scene;
    let replicas = suppositions.iter().map(|supposition| match supposition {
        Supposition::Apply(spec) => spec.services.values().map(|held| held.replicas).sum(),
        Supposition::Lose(_) | Supposition::Drain(_) | Supposition::Add(_) => 0_u32,
    });
    let asked = usize::try_from(replicas.fold(1, u32::saturating_add)).unwrap_or(usize::MAX);
    let steps = preview::steps(draft.tasks().len().saturating_add(asked));
    let Played { ends, settled, .. } = play(&mut draft, now, steps);
    let mut warnings: Vec<String> = Vec::new();
    for id in &drained {
        let node = draft.node(*id).ok_or(Rejection::UnknownNode(*id))?;
        warnings.extend(drain_stays(&draft, node).into_iter().map(|stay| {
            let (stack, service, slot) = (stay.stack, stay.service, stay.replica);
            format!("{stack}/{service}.{slot} stays on {}: {}", node.name, stay.reason)
        }));
    }
    let stopped = cluster.tasks().values().filter(|task| ends.contains(&task.id));
    warnings.extend(stopped.map(|task| {
        let (stack, service, slot) = (&task.stack, &task.service, task.slot);
        format!(
            "{stack}/{service}.{slot} stops before its successor starts: there is no room for both"
        )
    }));
    if !settled {
        warnings.push(format!(
            "only the first {steps} steps were looked at: what is shown is on its way, not the end"
        ));
    }
    let placements = placements(cluster, &draft, (&lost, &applied), now);
    let unplaced = placements.iter().filter(|placement| placement.node.is_none()).count();
    let mut nodes = preview::nodes(cluster, &draft);
    let gone: BTreeSet<String> =
        lost.iter().filter_map(|id| Some(draft.node(*id)?.name.to_string())).collect();
    // What was on a machine that is gone is nowhere, and nothing of it is free for anybody.
    for node in nodes.iter_mut().filter(|node| gone.contains(&node.name)) {
        (node.reserved_after, node.free_after) = (Bytes::ZERO, Bytes::ZERO);
        node.tasks.clear();
    }
    let single = applied.iter().next().filter(|_| applied.len() == 1);
    Ok(WhatIfView {
        stack: single.map(ToString::to_string),
        revision: single.and_then(|name| draft.stack(name)).map(|stack| stack.revision().0),
        changes,
        placements,
        nodes,
        unplaced: u32::try_from(unplaced).unwrap_or(u32::MAX),
        warnings,
    })
}

/// The copy on which it is imagined, and what was.
struct Scene {
    draft: Cluster,
    lost: BTreeSet<NodeId>,
    drained: BTreeSet<NodeId>,
    applied: BTreeSet<StackName>,
    changes: Vec<ServiceChange>,
}

impl Scene {
    fn suppose(
        &mut self,
        cluster: &Cluster,
        supposition: &Supposition,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        match supposition {
            Supposition::Lose(id) => {
                self.draft.node(*id).ok_or(Rejection::UnknownNode(*id))?;
                // It was down before now, and does not come and go: what waits for either is not waited for.
                let before = Timestamp(now.0.saturating_sub(1));
                self.draft.assume_lost(*id, before);
                self.lost.insert(*id);
            }
            Supposition::Drain(id) => {
                // Longer than agents that obey at once ever take.
                let until = now.plus_millis(READY_DEADLINE_MS.saturating_mul(100));
                self.command(Command::DrainNode { node: *id, until }, now)?;
                self.drained.insert(*id);
            }
            Supposition::Add(imagined) => {
                if self.draft.node_named(&imagined.name).is_some() {
                    return Err(Rejection::ImaginedTwice(imagined.name.clone()));
                }
                self.draft.imagine(imagined);
            }
            Supposition::Apply(spec) => {
                let before = cluster.stack(&spec.name).and_then(Stack::spec).cloned();
                self.command(Command::ApplyStack { spec: spec.clone(), basis: None }, now)?;
                let given = self.draft.stack(&spec.name).and_then(Stack::spec).cloned();
                let given = given.as_deref().unwrap_or(spec);
                self.changes.extend(changes(before.as_deref(), given));
                self.applied.insert(spec.name.clone());
            }
        }
        Ok(())
    }

    fn command(&mut self, command: Command, now: Timestamp) -> Result<(), Rejection> {
        self.draft.apply(&Entry { at: now, request: None, command }).result.map(drop)
    }
}

/// The task that serves a replica, or is to.
fn serving<'a>(cluster: &'a Cluster, task: &Task) -> Option<&'a Task> {
    let serves = |other: &&Task| !other.desired.is_leaving() && !other.is_history();
    cluster.tasks_of_replica(task).filter(serves).max_by_key(|other| other.epoch)
}

fn placements(
    before: &Cluster,
    after: &Cluster,
    (lost, applied): (&BTreeSet<NodeId>, &BTreeSet<StackName>),
    now: Timestamp,
) -> Vec<ReplicaPlacement> {
    let newest = |task: &&Task| {
        !task.desired.is_leaving() && serving(after, task).is_some_and(|held| held.id == task.id)
    };
    let mut tasks: Vec<&Task> = after.tasks().values().filter(newest).collect();
    tasks.sort_by_key(|task| (&task.stack, &task.service, task.slot));
    let mut asking = Asking::of(after);
    let told = tasks.into_iter().filter_map(|task| {
        // One that has ended for good needs no place any more.
        let over = task.status.state.is_over() && task.status.state != TaskState::Lost;
        let was = serving(before, task).and_then(|held| held.node);
        let held = task.node.filter(|node| lost.contains(node) && !over);
        let moved = task.node != was || (task.node.is_none() && !over);
        let is_applied = applied.contains(&task.stack);
        let serves_on = task.node.is_none() && serves_beside(after, task, lost);
        if !is_applied && (serves_on || (held.is_none() && !moved)) {
            return None;
        }
        // Of a stack that is applied it is told of those as well that stay.
        let told = moved || held.is_some() || is_applied;
        let origin = was.filter(|_| told).map(|node| before.node_name(node));
        let told = ReplicaPlacement { origin, ..replica_placement(&mut asking, task) };
        Some(match held {
            Some(node) => homeless(&mut asking, task, node, told, now),
            None => told,
        })
    });
    told.collect()
}

/// Whether an older task of the same replica serves on: then the new one is only wished for.
fn serves_beside(after: &Cluster, task: &Task, lost: &BTreeSet<NodeId>) -> bool {
    after.tasks_of_replica(task).any(|other| {
        other.epoch < task.epoch
            && !other.desired.is_leaving()
            && other.holds_resources()
            && other.node.is_some_and(|node| !lost.contains(&node))
    })
}

/// What stays with a node that is gone.
fn homeless(
    asking: &mut Asking<'_>,
    task: &Task,
    node: NodeId,
    told: ReplicaPlacement,
    now: Timestamp,
) -> ReplicaPlacement {
    let name = asking.cluster.node_name(node);
    let movable = orchestrate::is_movable(task);
    let why = waiting_for(asking, &Soft::none(now), task);
    let verdict = Verdict {
        node: name.clone(),
        fits: false,
        reason: why.unwrap_or_else(|| format!("{name} is gone")),
        resource: Some(if movable { "node" } else { "volume" }.to_owned()),
        needed: None,
        free: None,
        short: None,
        score: None,
    };
    // Where its data is not, nothing else matters.
    let others = told
        .verdicts
        .into_iter()
        .filter(|verdict| movable && verdict.node != name && !verdict.fits);
    let mut fixes = vec![format!("bring {name} back")];
    if !movable {
        fixes.push(format!(
            "keep a copy of its data elsewhere: nothing moves data by itself when {name} is gone"
        ));
    }
    ReplicaPlacement {
        node: None,
        verdicts: std::iter::once(verdict).chain(others).collect(),
        fixes,
        ..told
    }
}
