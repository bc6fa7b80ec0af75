//! `node drain`: what would move and where to, and what stays and why.

use model::{
    Node, NodeId, ServiceSpec, Task, TaskState, Timestamp,
    view::{DrainMove, DrainStay, DrainView},
};

use crate::{
    cluster::{Cluster, Command, Entry, Rejection},
    orchestrate::{self, READY_DEADLINE_MS, Tie},
    placement::{self, Ask, Effort, Fleet, Judge, Queue},
    plan::SEARCH_STEPS,
    view::{
        explain::has_place_with,
        preview::{self, alone_because},
    },
};

/// Steps of all plans that show whether a fix helps: who watches a drain asks again and again.
const FIX_STEPS: u64 = SEARCH_STEPS / 10;

/// What draining the node would do; nothing is changed.
pub fn drain_plan(cluster: &Cluster, id: NodeId, now: Timestamp) -> Result<DrainView, Rejection> {
    let node = cluster.node(id).ok_or(Rejection::UnknownNode(id))?;
    let mut draft = cluster.draft();
    // Longer than agents that obey at once ever take.
    let until = now.plus_millis(READY_DEADLINE_MS.saturating_mul(100));
    let command = Command::DrainNode { node: id, until };
    let applied = draft.apply(&Entry { at: now, request: None, command });
    applied.result?;
    let steps = preview::steps(draft.tasks().len());
    preview::play(&mut draft, now, steps);
    let (mut moves, mut staying) = (Vec::new(), Vec::new());
    for task in there(cluster, id) {
        let left = draft.task(task.id).filter(|left| !left.desired.is_leaving());
        if left.is_some_and(Task::holds_resources) {
            staying.push(task);
        } else if let Some(to) = successor(&draft, task).and_then(|new| new.node) {
            moves.push(r#move(&draft, task, to));
        }
    }
    moves.sort_by_key(|held| held.down_because.is_some());
    let (node, nodes) = (node.name.to_string(), preview::nodes(cluster, &draft));
    let stays = stays(&draft, &staying);
    Ok(DrainView { node, moves, stays, nodes })
}

/// The tasks that are on the node to stay, as far as a drain does not move them, by name.
fn there(cluster: &Cluster, node: NodeId) -> Vec<&Task> {
    let holds = |task: &&Task| {
        let lost = task.status.state == TaskState::Lost;
        task.holds_resources() && !task.desired.is_leaving() && !lost
    };
    let mut tasks: Vec<&Task> = cluster.tasks_on(node).filter(holds).collect();
    tasks.sort_by_key(|task| (&task.stack, &task.service, task.slot, task.epoch));
    tasks
}

/// The task that serves its replica once the drain is over.
fn successor<'a>(after: &'a Cluster, task: &'a Task) -> Option<&'a Task> {
    let serves = |other: &&Task| !other.desired.is_leaving() && other.epoch > task.epoch;
    after.tasks_of_replica(task).filter(serves).max_by_key(|other| other.epoch)
}

fn r#move(after: &Cluster, task: &Task, to: NodeId) -> DrainMove {
    let alone = !orchestrate::starts_first(&task.spec);
    DrainMove {
        task: task.id.to_string(),
        stack: task.stack.to_string(),
        service: task.service.to_string(),
        replica: task.slot,
        memory: task.spec.resources.reserved.memory,
        to: after.node_name(to),
        down_because: alone.then(|| format!("it {}", alone_because(&task.spec))),
    }
}

/// What is on a node that is, or was, drained, and why it is still there.
pub fn drain_stays(cluster: &Cluster, node: &Node) -> Vec<DrainStay> {
    stays(cluster, &there(cluster, node.id))
}

/// The first tasks leave the others as much effort as they have. For a dozen there is enough.
fn stays(cluster: &Cluster, tasks: &[&Task]) -> Vec<DrainStay> {
    let mut effort = Effort::new(SEARCH_STEPS, FIX_STEPS);
    let one = |(task, left): (&&Task, usize)| {
        let mut share = effort.share(left);
        let told = stay(cluster, task, &mut share);
        effort.give_back(&share);
        told
    };
    tasks.iter().zip((1..=tasks.len()).rev()).map(one).collect()
}

fn stay(cluster: &Cluster, task: &Task, effort: &mut Effort) -> DrainStay {
    let (reason, fixes) = why(cluster, task, effort);
    DrainStay {
        task: task.id.to_string(),
        stack: task.stack.to_string(),
        service: task.service.to_string(),
        replica: task.slot,
        memory: task.spec.resources.reserved.memory,
        reason,
        fixes,
    }
}

/// Why a task does not leave its node, and what would let it go.
fn why(cluster: &Cluster, task: &Task, effort: &mut Effort) -> (String, Vec<String>) {
    let (stack, service) = (&task.stack, &task.service);
    let name = task.node.map(|node| cluster.node_name(node)).unwrap_or_default();
    if let Some(tie) = orchestrate::tie(task) {
        let what = match tie {
            Tie::Volume(volume) => format!("its volume `{volume}` lives on {name}"),
            Tie::Directory(path) => format!("it writes to {path} of {name}"),
        };
        let node = task.node.and_then(|node| cluster.node(node));
        let keep = if node.is_some_and(|node| node.schedulable) {
            format!("keep {name}")
        } else {
            format!("keep {name} and let it take work again: sisoctl node uncordon {name}")
        };
        return (
            format!("{what}: data does not move by itself"),
            vec![
                keep,
                format!(
                    "save its data, then remove {stack} with all it holds (sisoctl stack rm {stack} --volumes), \
                     apply it again, which begins empty elsewhere, and bring the data there"
                ),
            ],
        );
    }
    let held = cluster.service(stack, service);
    if let Some(failed) = held.and_then(|held| held.failed.as_ref()) {
        return (
            format!("a new one failed elsewhere: {}", failed.reason),
            vec![format!("see `sisoctl logs {stack}/{service}`, correct it and drain again")],
        );
    }
    let fleet = task.node.map_or_else(|| Fleet::of(cluster), |node| Fleet::without(cluster, node));
    let ask = Ask::of(task);
    let judge = Judge::new(fleet, &[ask]);
    let waiting: Vec<Ask<'_>> = cluster.pending().map(Ask::of).collect();
    let applied = |spec: &ServiceSpec| has_place_with(cluster, task, spec);
    let waiting = Queue { all: &waiting, former: None, moves: None, applied: &applied };
    let fixes = || placement::fixes(&judge.fleet, &ask, waiting, effort);
    let nearest = judge.verdicts(&ask, 1).0.into_iter().next();
    match nearest {
        Some(verdict) if verdict.fits => (
            "its successor was not ready in time".to_owned(),
            vec![format!("see `sisoctl ps {stack}`, and drain again with a longer --deadline")],
        ),
        Some(verdict) => {
            (format!("it fits nowhere else: {}: {}", verdict.node, verdict.reason), fixes())
        }
        None => ("there is no other node".to_owned(), fixes()),
    }
}
