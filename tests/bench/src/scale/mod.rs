//! What many agents and tasks cost one scheduler: memory and processor time, all of them connected and
//! nothing to do, and how long it takes until everything runs.
//!
//! The agents are simulated in this process; what goes over the wire is what real ones say, each over
//! a connection of its own with a certificate of its own.

mod agent;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use proto::v1::{StatusRequest, control_client::ControlClient};
use siso_tests::World;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    figure::{Report, Wanted},
    process::{megabytes, processor_seconds},
    say,
    way::Way,
};

/// Replicas of each service.
const REPLICAS: u32 = 100;
/// Services of each stack.
const SERVICES: u32 = 10;
/// After a change, before it counts.
const CALM: Duration = Duration::from_secs(10);
/// How long each state is watched.
const WATCHED: Duration = Duration::from_secs(30);
/// How long everything may take to run; generous, the figure tells.
const PATIENCE: Duration = Duration::from_mins(15);
/// Between two looks at how much runs.
const POLL: Duration = Duration::from_millis(200);

/// What the scheduler took in one state.
struct Cost {
    resident: f64,
    /// Cores.
    busy: f64,
}

/// Watches the scheduler for a while in which nothing is asked of it.
async fn watch(pid: u32) -> Cost {
    tokio::time::sleep(CALM).await;
    let before = (Instant::now(), processor_seconds(pid));
    tokio::time::sleep(WATCHED).await;
    let busy = (processor_seconds(pid) - before.1) / before.0.elapsed().as_secs_f64();
    Cost { resident: megabytes(pid, "VmRSS:"), busy }
}

fn stack(name: u32, services: u32) -> String {
    let mut text = format!("name: scale-{name}\nservices:\n");
    for service in 0..services {
        let _ = write!(
            text,
            "  s{service}:\n    image: simulated:1\n    mem_limit: 32m\n    deploy: {{ replicas: {REPLICAS} }}\n"
        );
    }
    text
}

async fn running(control: &mut ControlClient<Channel>) -> u32 {
    let status = control.status(StatusRequest {}).await.expect("a status").into_inner();
    status.tasks.get("running").copied().unwrap_or(0)
}

/// Takes all agents away, and watches a scheduler with many tasks and nowhere to place them.
async fn watch_without_agents(
    (pid, agents): (u32, u32),
    control: &mut ControlClient<Channel>,
    sessions: &mut JoinSet<String>,
) -> (Cost, u32) {
    sessions.abort_all();
    let gone = Instant::now();
    loop {
        let status = control.status(StatusRequest {}).await.expect("a status").into_inner();
        if status.nodes.get("down") == Some(&agents) {
            break;
        }
        assert!(gone.elapsed() < PATIENCE, "not every node is down");
        tokio::time::sleep(POLL).await;
    }
    let cost = watch(pid).await;
    let status = control.status(StatusRequest {}).await.expect("a status").into_inner();
    (cost, status.tasks.get("pending").copied().unwrap_or(0))
}

/// Measures with nobody, with all agents, with all agents and tasks, and with no agent any more.
pub(crate) fn measure(report: &mut Report, agents: u32, tasks: u32) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(report, agents, tasks));
}

async fn run(report: &mut Report, agents: u32, tasks: u32) {
    say(&format!("{agents} agents and {tasks} tasks on one scheduler"));
    let world = World::scheduler_only("bench-scale");
    let (pid, way) = (world.scheduler.pid(), Way::of(&world));
    let mut control = ControlClient::new(way.channel());
    let alone = watch(pid).await;

    let began = Instant::now();
    let mut sessions = JoinSet::new();
    for number in 1..=agents {
        let joined = agent::join(&way, &mut control, &format!("sim-{number}")).await;
        sessions.spawn(joined.serve());
    }
    let joining = began.elapsed().as_secs_f64();
    let connected = watch(pid).await;

    let services = tasks.div_ceil(REPLICAS);
    let before = processor_seconds(pid);
    let began = Instant::now();
    let mut applied = Vec::new();
    for (name, first) in (0..services).step_by(SERVICES as usize).enumerate() {
        let count = SERVICES.min(services - first);
        let asked = Instant::now();
        let text = stack(u32::try_from(name).unwrap_or(u32::MAX), count);
        world.apply_with(&["--detach"], &text).expect(0);
        applied.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    let wanted = services * REPLICAS;
    while running(&mut control).await < wanted {
        assert!(began.elapsed() < PATIENCE, "not everything runs");
        tokio::time::sleep(POLL).await;
    }
    let (took, worked) = (began.elapsed().as_secs_f64(), processor_seconds(pid) - before);
    let peak = megabytes(pid, "VmHWM:");
    let full = watch(pid).await;
    if let Some(Ok(why)) = sessions.try_join_next() {
        report.remark(format!("scale: a session ended: {why}"));
    }

    let (nowhere, pending) = watch_without_agents((pid, agents), &mut control, &mut sessions).await;

    let at_most = |most| Some(Wanted::AtMost(most));
    let mut add = |what: &str, unit, value: f64, wanted| {
        report.add("scale", (format!("scheduler, {what}"), unit), vec![value], wanted);
    };
    let (agents, wanted) = (f64::from(agents), f64::from(wanted));
    add("resident, nobody", "MB", alone.resident, None);
    add("resident, all agents", "MB", connected.resident, None);
    add("resident, all agents and tasks", "MB", full.resident, at_most(256.0));
    add("resident at most, while all was begun", "MB", peak, at_most(256.0));
    add("processor, all agents", "cores", connected.busy, None);
    add("processor, all agents and tasks", "cores", full.busy, at_most(1.0));
    add("processor, every agent gone", "cores", nowhere.busy, None);
    add("resident, every agent gone", "MB", nowhere.resident, None);
    add("per agent", "kB", (connected.resident - alone.resident) * 1e3 / agents, None);
    add("per task", "kB", (full.resident - connected.resident) * 1e3 / wanted, None);
    add("a join, in turn", "ms", joining * 1e3 / agents, None);
    add("from the first apply to all running", "s", took, None);
    add("processor time for that", "s", worked, None);
    report.add("scale", ("an apply of 1,000 tasks", "ms"), applied, None);
    report.remark(format!(
        "scale: {agents} agents simulated over gRPC and mutual TLS, {wanted} tasks in services of {REPLICAS}; with \
         every agent gone, {pending} of them were pending"
    ));
}
