//! `status`: every problem there is, with its cause, since when, and what to do.

use std::collections::BTreeMap;

use model::{
    Bytes, Desired, Health, Liveness, Node, NodeName, ServiceName, StackName, Task, TaskState,
    Timestamp,
    generic::Amount,
    task::Cause,
    view::{Problem, StatusView},
};

use crate::{
    cluster::{
        Cluster,
        invariants::{self, Violation},
    },
    orchestrate,
    view::{
        Soft,
        automatic::{automatic, pause_problem},
        explain::{Asking, replica_placement},
        losses::losses,
        tasks::waiting_for,
    },
};

/// A disk with a tenth of it free is nearly full only when one large image may fill that: 20 GiB.
const LOW_DISK: Bytes = Bytes::gib(20);

/// Problems listed; a screen holds fewer.
const MAX_PROBLEMS: usize = 200;
/// Restarts from which a task is said to crash again and again.
const CRASH_LOOP: u32 = 3;

/// The cluster on one screen. `leader` and `schedulers` are for the scheduler to fill in.
pub fn status(cluster: &Cluster, soft: &Soft<'_>) -> StatusView {
    let mut nodes = BTreeMap::new();
    for node in cluster.nodes().values() {
        tally(&mut nodes, node.liveness.as_str());
    }
    let mut tasks = BTreeMap::new();
    let shown = cluster.tasks().values().filter(|task| !task.is_history());
    for task in shown {
        tally(&mut tasks, task.status.state.as_str());
    }
    let mut problems = Vec::new();
    if cluster.nodes().is_empty() {
        problems.push(Problem {
            what: "no node has joined".to_owned(),
            cause: "nothing can be placed".to_owned(),
            since: None,
            fix:
                "make a token with `sisoctl token create --role node` and start siso-agent with it"
                    .to_owned(),
        });
    }
    problems.extend(cluster.nodes().values().filter_map(node_problem));
    problems.extend(cluster.nodes().values().filter_map(disk_problem));
    problems.extend(cluster.nodes().values().filter_map(ledger_problem));
    problems
        .extend(invariants::overbooked(cluster).iter().filter_map(|over| shrunk(cluster, over)));
    problems.extend(gave_up(cluster));
    problems.extend(data_left(cluster));
    problems.extend(pause_problem(cluster, soft));
    problems.truncate(MAX_PROBLEMS);
    let mut asking = Asking::of(cluster);
    let of_tasks =
        cluster.tasks().values().filter_map(|task| task_problem(&mut asking, soft, task));
    problems.extend(of_tasks.take(MAX_PROBLEMS.saturating_sub(problems.len())));
    let (losses, losses_unknown) = losses(cluster);
    StatusView {
        cluster: cluster.name().to_owned(),
        healthy: problems.is_empty(),
        leader: None,
        schedulers: Vec::new(),
        nodes,
        tasks,
        problems,
        losses,
        losses_unknown,
        cordoned: cordoned(cluster),
        automatic_rebalance: Some(automatic(cluster, soft)),
    }
}

/// By name: nothing new is placed there, which is easily forgotten.
fn cordoned(cluster: &Cluster) -> Vec<String> {
    let closed = cluster.nodes().values().filter(|node| !node.schedulable);
    let mut names: Vec<String> = closed.map(|node| node.name.to_string()).collect();
    names.sort();
    names
}

fn tally(counts: &mut BTreeMap<String, u32>, word: &str) {
    let count = counts.entry(word.to_owned()).or_default();
    *count = count.saturating_add(1);
}

fn node_problem(node: &Node) -> Option<Problem> {
    let name = &node.name;
    let since = Some(node.since.to_rfc3339());
    if node.liveness != Liveness::Ready {
        return Some(Problem {
            what: format!("node {name} is {}", node.liveness.as_str()),
            cause: "no heartbeat arrives from its agent".to_owned(),
            since,
            fix: format!(
                "check that {name} is on, that siso-agent runs there and that it reaches the scheduler{}",
                if node.liveness == Liveness::Down {
                    format!("; if it is gone for good: sisoctl node rm {name}")
                } else {
                    String::new()
                }
            ),
        });
    }
    (!node.inventory.engine_ready).then(|| Problem {
        what: format!("the container engine of {name} does not answer"),
        cause: "the agent is there, its engine is not; what runs there is unknown".to_owned(),
        since: None,
        fix: format!("start the engine on {name} (`colima start` or `systemctl start docker`)"),
    })
}

fn disk_problem(node: &Node) -> Option<Problem> {
    let (size, free) = (node.inventory.disk, node.inventory.disk_free);
    let low = size.0 > 0 && free < LOW_DISK && free.0 < size.0.checked_div(10).unwrap_or(0);
    low.then(|| Problem {
        what: format!("the disk of {} is nearly full", node.name),
        cause: format!("{free} of {size} are free"),
        since: None,
        fix: format!("make room on {}: `docker system df` there shows what takes it. Images that Siso fetched and \
             nothing needs were removed already", node.name),
    })
}

fn ledger_problem(node: &Node) -> Option<Problem> {
    let why = node.inventory.ledger_error.as_ref()?;
    Some(Problem {
        what: format!("the agent of {} cannot write its ledger", node.name),
        cause: why.clone(),
        since: None,
        fix: format!(
            "make room on the disk of {} or mend it: all goes on, but started again its agent would know less",
            node.name
        ),
    })
}

fn shrunk(cluster: &Cluster, violation: &Violation) -> Option<Problem> {
    let (node, cause, back) = match violation {
        Violation::Overbooked { node, reserved, allocatable } => {
            let cause = format!(
                "its tasks reserve {reserved}, it offers {allocatable} since its memory changed"
            );
            (node, cause, "its memory back".to_owned())
        }
        Violation::GenericOverbooked { node, kind, reserved, offered } => {
            let cause = format!(
                "its tasks reserve {} {kind}, it offers {} since its agent was started otherwise",
                Amount(*reserved),
                Amount(*offered)
            );
            (node, cause, format!("its {kind} back (`--generic` of its agent)"))
        }
        Violation::Crowded { .. }
        | Violation::Misfiled
        | Violation::Doubled { .. }
        | Violation::EpochReused { .. }
        | Violation::AwayFromVolume { .. }
        | Violation::Orphan { .. }
        | Violation::NoSuchNode { .. }
        | Violation::IdAhead { .. }
        | Violation::StateWithoutNode { .. }
        | Violation::Authorities
        | Violation::Operator { .. }
        | Violation::OverLimit { .. } => return None,
    };
    let name = cluster.node_name(*node);
    Some(Problem {
        what: format!("node {name} is overbooked"),
        cause,
        since: None,
        fix: format!("give {name} {back}, or scale something down that runs there"),
    })
}

fn gave_up(cluster: &Cluster) -> Vec<Problem> {
    let services = cluster.stacks().iter().flat_map(|(stack, held)| {
        held.wanted().filter_map(move |(name, service)| {
            let failed = service.failed.as_ref()?;
            if let Some(node) = drained_from(cluster, stack, name) {
                return Some(Problem {
                    what: format!("{stack}/{name} did not get away from {node}"),
                    cause: format!("a new one failed elsewhere: {}", failed.reason),
                    since: Some(failed.at.to_rfc3339()),
                    fix: format!(
                        "correct it and drain again, or let {node} take work: sisoctl node uncordon {node}"
                    ),
                });
            }
            Some(Problem {
                what: format!(
                    "the change of {stack}/{name} to revision {} was given up",
                    failed.revision
                ),
                cause: failed.reason.clone(),
                since: Some(failed.at.to_rfc3339()),
                fix: held.last_ready().map_or_else(
                    || "apply a corrected file".to_owned(),
                    |past| {
                        let revision = past.revision;
                        format!(
                            "apply a corrected file, or `sisoctl stack rollback {stack}`: back to \
                             revision {revision}, the last that was ready"
                        )
                    },
                ),
            })
        })
    });
    services.collect()
}

/// The closed node on which a service is what is wanted: what failed was its way from there.
fn drained_from(cluster: &Cluster, stack: &StackName, name: &ServiceName) -> Option<NodeName> {
    let service = cluster.service(stack, name)?;
    let serves = |task: &&Task| {
        task.service == *name && !task.desired.is_leaving() && !task.status.state.is_over()
    };
    let mut tasks = cluster.tasks_of(stack).filter(serves).peekable();
    tasks.peek()?;
    let wanted = |task: &Task| orchestrate::is_current(cluster, service, task);
    if !cluster.tasks_of(stack).filter(serves).all(wanted) {
        return None;
    }
    let node = |task: &Task| cluster.node(task.node?).filter(|node| !node.schedulable);
    tasks.find_map(node).map(|node| node.name.clone())
}

/// Data a person asked to remove on a node that cannot be asked.
fn data_left(cluster: &Cluster) -> Vec<Problem> {
    let left = cluster.volumes().iter().filter(|(_, volume)| volume.removing);
    let left = left.filter_map(|(name, volume)| {
        let home = cluster.node(volume.home)?;
        (home.liveness == Liveness::Down).then(|| Problem {
            what: format!("the data of volume {name} is not removed yet"),
            cause: format!("it lives on {}, which is down", home.name),
            since: Some(home.since.to_rfc3339()),
            fix: format!(
                "bring {0} back; if it is gone for good: sisoctl node rm {0} --with-volumes",
                home.name
            ),
        })
    });
    left.collect()
}

fn task_problem(asking: &mut Asking<'_>, soft: &Soft<'_>, task: &Task) -> Option<Problem> {
    let cluster = asking.cluster;
    if task.desired.is_leaving() {
        return stuck(soft, task);
    }
    let name = format!("{}/{}.{}", task.stack, task.service, task.slot);
    let why = task.status.failure.as_ref();
    let cause = why.map_or_else(|| "it said nothing more".to_owned(), |held| held.message.clone());
    let problem = |what: String, cause: String, fix: String| {
        Some(Problem { what, cause, since: Some(task.since.to_rfc3339()), fix })
    };
    let fix = fix(why.map(|held| held.cause), task);
    if task.node.is_none() {
        let fixes = replica_placement(asking, task).fixes;
        let fix = fixes.into_iter().next().unwrap_or_else(|| "wait: it is being placed".to_owned());
        let cause = waiting_for(asking, soft, task).unwrap_or_default();
        return problem(format!("{name} is pending"), cause, fix);
    }
    let node = task.node.and_then(|node| cluster.node(node));
    let down = node.filter(|node| node.liveness == Liveness::Down);
    if let Some(down) = down.filter(|_| !task.status.state.is_over()) {
        return Some(Problem {
            what: format!("{name} is out of reach"),
            cause: waiting_for(asking, soft, task).unwrap_or_default(),
            since: Some(down.since.to_rfc3339()),
            fix: format!("bring {} back", down.name),
        });
    }
    let waits = orchestrate::waits_for(cluster, task).filter(|_| task.desired == Desired::Prepare);
    if let Some(waits) = waits.filter(|waits| waits.hopeless.is_some()) {
        let fix = format!("correct {} first", waits.on);
        return problem(format!("{name} cannot start"), format!("it {waits}"), fix);
    }
    let ended_badly = task.status.state == TaskState::Stopped
        && task.status.exit_code.is_some_and(|code| code != 0);
    if task.status.state == TaskState::Failed || ended_badly {
        problem(format!("{name} failed"), cause, fix)
    } else if task.status.health == Health::Unhealthy {
        problem(format!("{name} is unhealthy"), cause, fix)
    } else if task.status.restarts >= CRASH_LOOP && !task.is_ready() {
        let what = format!("{name} was started again {} times", task.status.restarts);
        problem(what, cause, fix)
    } else {
        // An image that cannot be fetched, a start that is refused: tried again, but worth a look.
        let early = matches!(task.status.state, TaskState::Preparing | TaskState::Starting);
        why.filter(|_| early)?;
        problem(format!("{name} does not get on"), cause, fix)
    }
}

/// What a person can do about a failure of this kind.
fn fix(cause: Option<Cause>, task: &Task) -> String {
    let (stack, service, image) = (&task.stack, &task.service, &task.spec.image);
    match cause {
        Some(Cause::OutOfMemory) => format!("raise deploy.resources.limits.memory of {service}"),
        // These never ran, so there is nothing in their logs.
        Some(Cause::Image) => {
            format!("correct the image of {service} and apply again, or bring {image} to its node")
        }
        Some(Cause::Start | Cause::Refused) => {
            format!("correct what the message names in {service} and apply again")
        }
        Some(Cause::Exited | Cause::Unhealthy | Cause::NodeLost | Cause::Interrupted) | None => {
            format!("see `sisoctl logs {stack}/{service}`, correct it and apply again")
        }
    }
}

/// A stop that takes far longer than it was given.
fn stuck(soft: &Soft<'_>, task: &Task) -> Option<Problem> {
    /// Beyond the grace period: the engine kills at once, so this is an engine that hangs.
    const PATIENCE_MS: u64 = 60_000;
    let stopping = task.status.state == TaskState::Stopping;
    let over =
        soft.now.millis_since(task.since) > task.spec.stop_grace_ms.saturating_add(PATIENCE_MS);
    (stopping && over).then(|| Problem {
        what: format!("{}/{}.{} does not stop", task.stack, task.service, task.slot),
        cause: "its stop grace period is long over".to_owned(),
        since: Some(Timestamp::to_rfc3339(task.since)),
        fix: "look at the container engine of its node".to_owned(),
    })
}
