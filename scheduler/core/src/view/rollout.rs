//! How a stack's way to what is wanted stands: what `apply` follows until it is settled.

use model::{
    Bytes, Desired, Health, Liveness, Revision, ServiceName, StackName, Task, TaskState, Timestamp,
};

use crate::{
    cluster::{Cluster, Service, Stack},
    orchestrate,
    placement::Ask,
    view::{
        Soft,
        explain::{Asking, fleet_for},
        tasks::waiting_for,
    },
};

/// Restarts after which a task that does not run is said to fail; its agent goes on trying.
const CRASH_LOOP: u32 = 3;

/// How a stack's way to what is wanted stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutView {
    /// Nothing more will happen by itself, as far as anyone can tell.
    pub settled: bool,
    /// Services that are not as wanted, and why; only a person can help.
    pub failed: Vec<(ServiceName, String)>,
    /// Services on their way, and what they wait for.
    pub waiting: Vec<(ServiceName, String)>,
    /// The stack's revision.
    pub stack_revision: Revision,
    /// False once the stack is removed and all its tasks are gone.
    pub exists: bool,
}

/// How one replica or service stands.
enum Standing {
    Well,
    Waiting(String),
    Failed(String),
}

/// How the stack's way to what is wanted stands.
pub fn rollout(cluster: &Cluster, name: &StackName) -> RolloutView {
    let mut view = RolloutView {
        settled: true,
        failed: Vec::new(),
        waiting: Vec::new(),
        stack_revision: Revision(0),
        exists: false,
    };
    let Some(stack) = cluster.stack(name) else { return view };
    view.exists = true;
    view.stack_revision = stack.revision();
    for (service_name, service) in stack.services() {
        let tasks: Vec<&Task> = cluster.tasks_of_service(name, service_name).collect();
        match standing(cluster, stack, service, &tasks) {
            Standing::Well => {}
            Standing::Waiting(why) => view.waiting.push((service_name.clone(), why)),
            Standing::Failed(why) => view.failed.push((service_name.clone(), why)),
        }
    }
    // Once, however many services failed.
    if let (Some((_, why)), Some(past)) = (view.failed.last_mut(), stack.last_ready()) {
        let revision = past.revision;
        *why = format!(
            "{why} (`sisoctl stack rollback {name}` brings revision {revision} back, the last that was ready)"
        );
    }
    view.settled = view.waiting.is_empty() && stack.removal().is_none();
    view
}

/// The worst of a service's replicas; what still moves counts more than what failed.
fn standing(cluster: &Cluster, stack: &Stack, service: &Service, tasks: &[&Task]) -> Standing {
    let wanted = service.wanted && stack.removal().is_none();
    let count = if wanted { service.spec.replicas } else { 0 };
    let unreachable = |task: &&&Task| task.status.state == TaskState::Lost;
    // A replica too many is on its way out also when nothing of it runs (yet, or any more).
    let leaving = tasks.iter().filter(|task| {
        let surplus = task.slot > count && !task.is_history();
        surplus || task.desired.is_leaving() && task.holds_resources()
    });
    if let Some(task) = leaving.clone().find(|task| !unreachable(task)) {
        return Standing::Waiting(format!("replica {} is stopping", task.slot));
    }
    if let Some(task) = leaving.clone().next().filter(|_| stack.removal().is_some()) {
        let node = task.node.map_or_else(|| "a node".to_owned(), |node| cluster.node_name(node));
        return Standing::Waiting(format!(
            "replica {} may still run on {node}, which is down: the stack is gone when that node is \
             back and says so",
            task.slot
        ));
    }
    let mut failed = None;
    for slot in 1..=count {
        match replica(cluster, service, tasks, slot) {
            Standing::Well => {}
            Standing::Failed(why) => failed = failed.or(Some(why)),
            Standing::Waiting(why) => return Standing::Waiting(why),
        }
    }
    let gave_up = service
        .failed
        .as_ref()
        .map(|failed| format!("{}; what ran before still serves where it did", failed.reason));
    gave_up.or(failed).map_or(Standing::Well, Standing::Failed)
}

fn replica(cluster: &Cluster, service: &Service, tasks: &[&Task], slot: u32) -> Standing {
    let holders = tasks.iter().filter(|task| task.slot == slot && !task.desired.is_leaving());
    let Some(newest) = holders.clone().max_by_key(|task| task.epoch) else {
        return Standing::Waiting(format!("replica {slot} is to be made"));
    };
    let outdated = !orchestrate::is_current(cluster, service, newest);
    if outdated && service.failed.is_none() {
        let down = newest.node.and_then(|node| cluster.node(node));
        if down.is_some_and(|node| node.liveness == Liveness::Down) {
            return held(cluster, newest);
        }
        return Standing::Waiting(format!("replica {slot} is to be replaced"));
    }
    let replacing = holders.filter(|task| !task.status.state.is_over()).count() > 1;
    let standing = task(cluster, newest);
    match standing {
        Standing::Well if replacing => {
            Standing::Waiting(format!("replica {slot} proves itself before the old one stops"))
        }
        Standing::Well | Standing::Waiting(_) | Standing::Failed(_) => standing,
    }
}

fn held(cluster: &Cluster, task: &Task) -> Standing {
    let why = waiting_for(&mut Asking::of(cluster), &Soft::none(Timestamp(0)), task)
        .unwrap_or_else(|| "its node is down".to_owned());
    Standing::Failed(format!("replica {}: {why}", task.slot))
}

fn task(cluster: &Cluster, task: &Task) -> Standing {
    let slot = task.slot;
    let cause = task.status.failure.as_ref().map(|failure| failure.message.clone());
    let because = |what: &str| match &cause {
        Some(cause) => format!("replica {slot} {what}: {cause}"),
        None => format!("replica {slot} {what}"),
    };
    if task.node.is_none() {
        return unplaced(cluster, task);
    }
    let node = task.node.and_then(|node| cluster.node(node));
    if node.is_some_and(|node| node.liveness == Liveness::Down) && !task.status.state.is_over() {
        return held(cluster, task);
    }
    match task.status.state {
        TaskState::Stopped if task.status.exit_code.is_none_or(|code| code == 0) => Standing::Well,
        TaskState::Stopped | TaskState::Failed => Standing::Failed(because("failed")),
        TaskState::Lost => Standing::Failed(because("was lost")),
        TaskState::Running if task.is_ready() => Standing::Well,
        TaskState::Running if task.status.health == Health::Unhealthy => {
            Standing::Failed(because("is unhealthy"))
        }
        TaskState::Pending
        | TaskState::Assigned
        | TaskState::Preparing
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Stopping => {
            if task.status.restarts >= CRASH_LOOP {
                let what = format!("was started again {} times", task.status.restarts);
                return Standing::Failed(because(&what));
            }
            match (orchestrate::waits_for(cluster, task), task.desired) {
                (Some(waits), Desired::Prepare) if waits.hopeless.is_some() => {
                    Standing::Failed(format!("replica {slot} {waits}"))
                }
                (Some(waits), Desired::Prepare) => {
                    Standing::Waiting(format!("replica {slot} {waits}"))
                }
                _ => Standing::Waiting(because(&format!("is {}", task.status.state))),
            }
        }
    }
}

/// A task without a node waits when something is stopping somewhere or it has room already, else only
/// a person can help.
fn unplaced(cluster: &Cluster, task: &Task) -> Standing {
    let stopping = cluster.tasks().values().any(|other| {
        other.desired.is_leaving()
            && other.holds_resources()
            && other.status.state != TaskState::Lost
    });
    let why = format!(
        "replica {} is pending: {}",
        task.slot,
        waiting_for(&mut Asking::of(cluster), &Soft::none(Timestamp(0)), task).unwrap_or_default()
    );
    // A node that is late, or that has only just joined, is there or gone in some seconds.
    let undecided = cluster
        .nodes()
        .values()
        .any(|node| node.liveness == Liveness::Unreachable || node.inventory.memory == Bytes::ZERO);
    // What stopped a moment ago has left room that the leader has not given out yet.
    let (fleet, _) = fleet_for(cluster, task);
    let fits = cluster.nodes().keys().any(|node| fleet.fits(&Ask::of(task), *node).is_ok());
    if stopping || undecided || fits { Standing::Waiting(why) } else { Standing::Failed(why) }
}
