//! `ps`.

use model::{
    Bytes, Desired, Liveness, Node, StackName, Task, TaskState,
    view::{PullProgress, Succession, TaskRow},
};

use crate::{
    cluster::Cluster,
    orchestrate,
    view::{Soft, explain::Asking, succession::succession},
};

/// The tasks of one stack, or of all: by stack, service, replica, the newest task first. Tasks that
/// ended and were replaced are not among them.
pub fn tasks(cluster: &Cluster, soft: &Soft<'_>, stack: Option<&StackName>) -> Vec<TaskRow> {
    list(cluster, soft, |task| !task.is_history() && is_of(task, stack))
}

/// The same with tasks that ended and were replaced, as far as they are remembered: the last failures
/// of each replica.
pub fn remembered_tasks(
    cluster: &Cluster,
    soft: &Soft<'_>,
    stack: Option<&StackName>,
) -> Vec<TaskRow> {
    list(cluster, soft, |task| is_of(task, stack))
}

fn is_of(task: &Task, stack: Option<&StackName>) -> bool {
    stack.is_none_or(|stack| *stack == task.stack)
}

fn list(cluster: &Cluster, soft: &Soft<'_>, wanted: impl Fn(&Task) -> bool) -> Vec<TaskRow> {
    let mut shown: Vec<&Task> = cluster.tasks().values().filter(|task| wanted(task)).collect();
    shown
        .sort_by_key(|task| (&task.stack, &task.service, task.slot, std::cmp::Reverse(task.epoch)));
    let mut asking = Asking::of(cluster);
    shown.into_iter().map(|task| row(&mut asking, soft, task)).collect()
}

fn row(asking: &mut Asking<'_>, soft: &Soft<'_>, task: &Task) -> TaskRow {
    let cluster = asking.cluster;
    let pull = soft.telemetry.get(&task.id).and_then(|known| known.pull);
    let preparing = task.status.state == TaskState::Preparing;
    TaskRow {
        stack: task.stack.to_string(),
        service: task.service.to_string(),
        replica: task.slot,
        task: task.id.to_string(),
        node: task.node.map(|node| cluster.node_name(node)),
        desired: task.desired.as_str().to_owned(),
        state: task.status.state.to_string(),
        health: task.status.health.as_str().map(str::to_owned),
        image: task.spec.image.clone(),
        memory_reservation: task.spec.resources.reserved.memory,
        memory_limit: task.spec.resources.memory_limit,
        memory_used: soft.memory_used(task.id),
        cpus: task.spec.resources.reserved.cpu,
        container: task.status.container.clone(),
        started_at: task.status.started_at.map(model::Timestamp::to_rfc3339),
        restarts: task.status.restarts,
        epoch: task.epoch.0,
        error: task.status.failure.as_ref().map(|failure| failure.message.clone()),
        revision: task.spec_revision.0,
        ready: task.is_ready(),
        pull: pull
            .filter(|_| preparing)
            .map(|(done, total): (Bytes, Bytes)| PullProgress { done, total }),
        waiting_for: waiting_for(asking, soft, task),
        succession: succession(cluster, task),
    }
}

/// Why the task does not run yet, when that is not for want of time.
pub(super) fn waiting_for(asking: &mut Asking<'_>, soft: &Soft<'_>, task: &Task) -> Option<String> {
    let cluster = asking.cluster;
    if task.desired.is_leaving() || task.status.state.is_over() {
        return None;
    }
    let Some(node) = task.node else {
        return Some(no_room(asking, task));
    };
    let node = cluster.node(node);
    if let Some(down) = node.filter(|node| node.liveness == Liveness::Down) {
        return Some(why_not_moved(cluster, soft, task, down));
    }
    if task.desired == Desired::Prepare {
        let depends = orchestrate::waits_for(cluster, task).map(|waits| waits.to_string());
        return Some(depends.unwrap_or_else(|| {
            match orchestrate::in_the_way(cluster, task) {
                Some(other) => lease_of(cluster, soft, other)
                    .unwrap_or_else(|| "waits for its predecessor to stop".to_owned()),
                None => "is about to start".to_owned(),
            }
        }));
    }
    let engine = node.is_some_and(|node| !node.inventory.engine_ready);
    engine.then(|| "waits for the container engine of its node".to_owned())
}

/// Why a task is still where it is though that node is down.
fn why_not_moved(cluster: &Cluster, soft: &Soft<'_>, task: &Task, down: &Node) -> String {
    let name = &down.name;
    if !orchestrate::is_movable(task) {
        return match task.volumes.keys().next() {
            Some(volume) => format!("held: its volume `{volume}` lives on {name}, which is down"),
            None => format!("held: it writes to a directory of {name}, which is down"),
        };
    }
    let service = cluster.service(&task.stack, &task.service);
    // Who has a successor has moved already, and is waited for alone.
    let stays = succession(cluster, task) != Some(Succession::Old);
    let hold = service
        .filter(|_| stays)
        .and_then(|held| orchestrate::held_down(cluster, held, task, (soft.waits, soft.now)));
    if let Some(hold) = hold {
        return format!(
            "{name} is down; it comes and goes, and the service moved {} ago: it moves again in {}, \
             unless {name} is back by then",
            span(hold.moved_ago),
            span(hold.left)
        );
    }
    let lease = lease_of(cluster, soft, task).map(|lease| format!("{name} is down: {lease}"));
    lease.unwrap_or_else(|| format!("{name} is down, no other node has room"))
}

/// What is waited for before another may run in the place of one that must never run twice and whose
/// node is down; nothing once that is over.
fn lease_of(cluster: &Cluster, soft: &Soft<'_>, task: &Task) -> Option<String> {
    let node = task.node.and_then(|node| cluster.node(node))?;
    let strict = task.spec.strict_singleton && node.liveness == Liveness::Down;
    if !strict || task.status.state == TaskState::Lost {
        return None;
    }
    let waits = format!("waits for the end of its lease on {}", node.name);
    let Some(leases) = soft.leases else { return Some(waits) };
    let left = leases.left(node.id, task.spec.stop_grace_ms)?;
    Some(format!("{waits}, at most {} more", span(left)))
}

/// A length of time as a person says it.
fn span(millis: u64) -> String {
    match millis.div_ceil(1_000) {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

/// Why a pending task has no node, in one sentence: the nearest miss.
pub(super) fn no_room(asking: &mut Asking<'_>, task: &Task) -> String {
    let cluster = asking.cluster;
    if cluster.nodes().is_empty() {
        return "no node has joined".to_owned();
    }
    let asked = asking.about(task, |judge, ask, predecessor| {
        (judge.verdicts(ask, 1).0.into_iter().next(), predecessor)
    });
    match asked.unwrap_or_default() {
        (Some(verdict), _) if !verdict.fits => format!("{}: {}", verdict.node, verdict.reason),
        (_, Some(old)) => match orchestrate::waits_for(cluster, task) {
            Some(waits) => waits.to_string(),
            None => format!("waits for {old} to stop"),
        },
        _ => "waits to be placed".to_owned(),
    }
}
