//! Placements per second of a whole scheduler: its leader plans, its log is on the disk, and a task counts
//! when the entry that places it is durable. It runs in this process; its nodes are entries of the log that
//! no agent stands behind.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser as _;
use futures::{StreamExt as _, stream};
use model::{
    Bytes, Inventory, Liveness, MilliCpu, Resources, ServiceSpec, StackName, StackSpec, Timestamp,
    token::Role,
};
use scheduler::{Config, log::ReplicatedLog};
use scheduler_core::{Command, Outcome};

use crate::{clock, draw::Draw};

/// Nodes of the cluster.
const NODES: usize = 10_000;
/// Tasks that are placed: as many as a cluster may have.
const TASKS: usize = 20_000;
/// Tasks of one stack.
const TASKS_PER_STACK: usize = 1_000;
/// What a node offers; a task reserves from `LEAST_MIB` to so much more.
const NODE_MIB: u64 = 1_024;
const LEAST_MIB: u64 = 64;
const SPREAD_MIB: usize = 700;
/// Proposals under way while the cluster is made.
const AT_ONCE: usize = 64;
/// How long all of it may take; generous, the figure tells.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often each is measured.
const ROUNDS: usize = 7;

/// Tasks per service: replicas, and services that are all different.
const REPLICAS: [usize; 2] = [100, 1];

/// Prints the table.
pub(crate) fn measure() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    println!(
        "\n## Placements per second, durable: {TASKS} tasks on {NODES} nodes, a whole scheduler\n"
    );
    println!(
        "| tasks per service | seconds, median (min, max) | placements/s | processor seconds |\n|---|---|---|---|"
    );
    for replicas in REPLICAS {
        let mut runs: Vec<Run> = (0..ROUNDS).map(|_| runtime.block_on(once(replicas))).collect();
        runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let run = &runs[ROUNDS / 2];
        println!(
            "| {replicas} | {:.2} ({:.2}, {:.2}) | {:.0} | {:.2} |",
            run.seconds,
            runs[0].seconds,
            runs[ROUNDS - 1].seconds,
            TASKS as f64 / run.seconds,
            run.processor
        );
    }
}

struct Run {
    seconds: f64,
    /// Of all threads.
    processor: f64,
}

async fn once(replicas: usize) -> Run {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("its name").to_owned();
    let hour = "60m";
    let config = Config::parse_from([
        "siso-scheduler",
        "--data-dir",
        &path,
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
        "--unreachable-after",
        hour,
        "--down-after",
        hour,
    ]);
    let handle = scheduler::start(config).await.expect("a scheduler");
    let log = handle.log();
    stream::iter(0..NODES).for_each_concurrent(AT_ONCE, |number| join(&*log, number)).await;
    let stacks = stacks(replicas);
    let mut revision = log.revision();
    let (began, clock) = (Instant::now(), clock::process_seconds());
    for spec in stacks {
        propose(&*log, Command::ApplyStack { spec, basis: None }).await;
    }
    loop {
        assert!(began.elapsed() < PATIENCE, "not everything is placed");
        let pending = {
            let cluster = log.cluster();
            let all = cluster.tasks().len();
            (all - cluster.tasks().values().filter(|task| task.node.is_some()).count(), all)
        };
        if pending == (0, TASKS) {
            break;
        }
        revision.changed().await.expect("the log goes on");
    }
    let run =
        Run { seconds: began.elapsed().as_secs_f64(), processor: clock::process_seconds() - clock };
    handle.stop().await;
    run
}

async fn propose(log: &dyn ReplicatedLog, command: Command) -> Outcome {
    log.propose(None, command).await.expect("the log").result.expect("it is taken")
}

async fn join(log: &dyn ReplicatedLog, number: usize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let expires_at = Timestamp(now.as_millis() as u64 + 3_600_000);
    let secret_hash = [0; 32];
    let made =
        propose(log, Command::CreateToken { role: Role::Node, secret_hash, expires_at }).await;
    let Outcome::Token(token) = made else { panic!("{made:?}") };
    let name = format!("node-{number}").parse().expect("a name");
    let (labels, address) = (BTreeMap::new(), "127.0.0.1:7401".to_owned());
    let joined = propose(
        log,
        Command::JoinNode { name, labels, address: address.clone(), token, secret_hash },
    );
    let Outcome::Node(node) = joined.await else { panic!("a node") };
    propose(log, Command::RevokeToken { token }).await;
    propose(log, Command::UpdateNode { node, inventory: inventory(), address }).await;
    propose(log, Command::SetLiveness { node, liveness: Liveness::Ready }).await;
}

fn inventory() -> Inventory {
    Inventory {
        memory: Bytes::mib(NODE_MIB),
        cpu: MilliCpu(8_000),
        arch: "arm64".to_owned(),
        os: "linux".to_owned(),
        engine: "docker 28.0.0".to_owned(),
        agent_version: "1.0.0".to_owned(),
        engine_ready: true,
        ..Inventory::default()
    }
}

/// Services of drawn sizes, which fill four fifths of the cluster.
fn stacks(replicas: usize) -> Vec<StackSpec> {
    let mut draw = Draw::new(1);
    let mut service = |number: usize| {
        let mut spec = ServiceSpec::new("simulated:1");
        spec.replicas = u32::try_from(replicas).expect("a number");
        let memory = Bytes::mib(LEAST_MIB + draw.below(SPREAD_MIB) as u64);
        spec.resources.reserved = Resources { memory, cpu: MilliCpu(0) };
        spec.resources.memory_limit = memory;
        (format!("s{number}").parse().expect("a name"), spec)
    };
    let each = TASKS_PER_STACK / replicas;
    let stack = |number: usize| StackSpec {
        name: StackName::new(format!("stack-{number}")).expect("a name"),
        services: (0..each).map(&mut service).collect(),
        volumes: BTreeMap::new(),
        networks: BTreeMap::new(),
    };
    (0..TASKS / TASKS_PER_STACK).map(stack).collect()
}
