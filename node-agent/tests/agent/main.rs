//! A whole agent on the fake engine, with a scheduler behind real TLS.

#[path = "../common/mod.rs"]
mod common;
mod enrolment;
mod memory;
mod scheduler;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use clap::Parser as _;
use common::{assignment, spec, until, with_volume};
use model::{Assignment, Desired, Epoch, Health, NodeId, TaskState, task::Cause};
use node_agent::{
    Handle, StartError,
    config::Config,
    runtime::{Container, ContainerState, Order, Runtime as _, fake::FakeEngine},
    start,
};
use proto::v1::{ExecOptions, LogOptions, open_relay::What, relay_frame::Frame};
use scheduler::{Scheduler, set};
use tempfile::TempDir;

const IMAGE: &str = "image";
const STACK: &str = "shop";

/// A machine: an engine, a directory, and the scheduler it knows.
struct Machine {
    scheduler: Scheduler,
    engine: FakeEngine,
    directory: TempDir,
}

impl Machine {
    async fn new() -> Self {
        let scheduler = Scheduler::start().await;
        let directory = tempfile::tempdir().expect("a directory");
        let token = scheduler.token().to_string();
        fs::write(directory.path().join("token"), token).expect("a token file");
        Self { scheduler, engine: FakeEngine::new().with_image(IMAGE), directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The command line of every start, for a scheduler at this address.
    fn config(&self, scheduler: &str) -> Config {
        Config::parse_from([
            "siso-agent",
            "--data-dir",
            &self.path("agent"),
            "--scheduler",
            scheduler,
            "--token-file",
            &self.path("token"),
            "--name",
            "mini-1",
            "--metrics-listen",
            "127.0.0.1:0",
        ])
    }

    async fn try_start(&self) -> Result<Handle, StartError> {
        let address = self.scheduler.address.to_string();
        start(self.config(&address), self.engine.clone()).await
    }

    async fn start(&self) -> Handle {
        self.try_start().await.expect("started")
    }

    /// Starts it where no scheduler can be reached.
    async fn start_alone(&self) -> Handle {
        start(self.config("127.0.0.1:1"), self.engine.clone()).await.expect("started")
    }

    /// Hands out these tasks and waits until all of them run.
    async fn run(&self, generation: u64, tasks: Vec<Assignment>) {
        let ids: Vec<u64> = tasks.iter().map(|task| task.task.raw()).collect();
        self.scheduler.assign(set(generation, tasks));
        for id in ids {
            self.scheduler.wait_state(id, TaskState::Running).await;
        }
    }

    /// The one container of a task.
    fn container(&self, task: u64) -> Container {
        let mut found = self.engine.containers();
        found.retain(|found| found.task.raw() == task);
        assert_eq!(found.len(), 1, "containers of task {task}: {found:?}");
        found.remove(0)
    }

    async fn wait_containers(&self, what: &str, wanted: impl Fn(&[Container]) -> bool) {
        until(what, || async {
            let found = self.engine.containers();
            if wanted(&found) { Ok(()) } else { Err(found) }
        })
        .await;
    }
}

fn sleeper(task: u64) -> Assignment {
    assignment(STACK, task, spec(IMAGE, &["sleep", "1000000"]))
}

fn running(containers: &[Container]) -> usize {
    containers.iter().filter(|found| found.state == ContainerState::Running).count()
}

#[tokio::test]
async fn it_joins_runs_what_is_assigned_and_stops_what_is_not() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1), sleeper(2)]).await;
    assert_eq!(running(&machine.engine.containers()), 2);
    let status = machine.scheduler.status(1).expect("a status");
    assert_eq!(status.container, Some(machine.container(1).id.to_string()));
    assert!(machine.scheduler.inventory().engine_ready);

    let mut stopping = sleeper(1);
    stopping.desired = Desired::Stop;
    machine.scheduler.assign(set(3, vec![stopping, sleeper(2)]));
    let stopped = machine.scheduler.wait_state(1, TaskState::Stopped).await;
    assert_eq!(stopped.exit_code, Some(143));
    machine.wait_containers("only task 2 is left", |found| found.len() == 1).await;

    machine.scheduler.assign(set(4, Vec::new()));
    machine.wait_containers("nothing is left", <[_]>::is_empty).await;
    assert_eq!(machine.scheduler.joins(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_restarted_agent_adopts_what_runs_and_does_not_join_again() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1), sleeper(2)]).await;
    agent.stop().await;
    let before = machine.engine.containers();
    assert_eq!(running(&before), 2, "stopping the agent stops nothing");
    fs::remove_file(machine.path("token")).expect("the token is not needed any more");
    let agent = machine.start().await;
    let sessions = machine.scheduler.sessions();
    until("a new session", || async {
        if machine.scheduler.sessions() > sessions { Ok(()) } else { Err(()) }
    })
    .await;
    machine.run(3, vec![sleeper(1), sleeper(2), sleeper(3)]).await;
    let after = machine.engine.containers();
    for found in &before {
        assert!(after.contains(found), "{found:?} was touched: {after:?}");
    }
    assert_eq!((after.len(), machine.scheduler.joins()), (3, 1));
    assert_eq!(machine.scheduler.status(1).map(|status| status.restarts), Some(0));
    agent.stop().await;
}

#[tokio::test]
async fn without_a_scheduler_it_starts_what_its_ledger_holds() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1), sleeper(2)]).await;
    agent.stop().await;
    // As after a power cut.
    machine.engine.restart();
    assert_eq!(running(&machine.engine.containers()), 0);
    let agent = machine.start_alone().await;
    machine.wait_containers("both run", |found| running(found) == 2 && found.len() == 2).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_job_that_ends_while_the_agent_is_away_is_done_and_not_run_again() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1)]).await;
    agent.stop().await;
    machine.engine.exit(&machine.container(1).id, 0);
    let agent = machine.start().await;
    let done = machine.scheduler.wait_state(1, TaskState::Stopped).await;
    assert_eq!((done.restarts, done.exit_code), (0, Some(0)));
    assert_eq!(machine.engine.starts().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn what_another_node_made_on_the_same_engine_is_left_alone() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    let order = Order {
        cluster: agent.cluster.clone(),
        node: NodeId::new(99),
        assignment: Arc::new(sleeper(7)),
        binds: BTreeMap::default(),
    };
    let theirs = machine.engine.create(&order).await.expect("made");
    machine.engine.start(&theirs).await.expect("started");
    machine.run(2, vec![sleeper(1)]).await;
    machine.scheduler.assign(set(3, Vec::new()));
    machine.wait_containers("ours are gone", |found| found.len() == 1).await;
    let left = machine.container(7);
    assert_eq!((left.id, left.state), (theirs, ContainerState::Running));
    agent.stop().await;
}

#[tokio::test]
async fn an_engine_that_goes_and_comes_changes_nothing_but_what_it_ended() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1)]).await;
    let before = machine.container(1);
    machine.engine.go_down();
    until("the engine is told to be away", || async {
        if machine.scheduler.inventory().engine_ready { Err(()) } else { Ok(()) }
    })
    .await;
    let told = machine.scheduler.status(1).expect("a status");
    assert_eq!(told.state, TaskState::Running, "not knowing is no news");
    assert!(machine.scheduler.inventory().memory.0 > 0, "the last known is kept");
    machine.engine.come_up();
    until("the engine is told to be back", || async {
        if machine.scheduler.inventory().engine_ready { Ok(()) } else { Err(()) }
    })
    .await;
    assert_eq!(machine.container(1), before, "it ran on");

    machine.engine.restart();
    let again = machine.scheduler.wait_status(1, |status| status.restarts == 1).await;
    assert!(again.failure.expect("a reason").message.contains("away"));
    machine.scheduler.wait_status(1, |status| status.state == TaskState::Running).await;
    assert_eq!(machine.container(1).id, before.id, "in place");
    agent.stop().await;
}

#[tokio::test]
async fn ends_are_told_and_made_good_as_the_policy_says() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    let job = assignment(STACK, 2, spec(IMAGE, &["sh", "-c", "exit 0"]));
    let mut once = assignment(STACK, 3, spec(IMAGE, &["sh", "-c", "exit 4"]));
    let mut never = model::ServiceSpec::clone(&once.spec);
    never.restart = model::spec::RestartPolicy::Never;
    once.spec = Arc::new(never);
    machine.scheduler.assign(set(2, vec![sleeper(1), job, once]));
    machine.scheduler.wait_state(2, TaskState::Stopped).await;
    let failed = machine.scheduler.wait_state(3, TaskState::Failed).await;
    assert_eq!(failed.exit_code, Some(4));

    machine.scheduler.wait_state(1, TaskState::Running).await;
    let id = machine.container(1).id;
    machine.engine.kill(&id);
    let again = |restarts| {
        machine.scheduler.wait_status(1, move |status| {
            status.restarts == restarts && status.state == TaskState::Running
        })
    };
    let told = again(1).await;
    assert!(told.failure.expect("a reason").message.contains("from outside, exit code 137"));
    machine.engine.run_out_of_memory(&id);
    let told = again(2).await.failure.expect("a reason");
    assert_eq!((told.cause, told.message.contains("32.0 MiB")), (Cause::OutOfMemory, true));
    machine.engine.vanish(&id);
    machine.scheduler.assign(set(3, vec![sleeper(1)]));
    again(3).await;
    assert_ne!(machine.container(1).id, id, "made anew");
    agent.stop().await;
}

#[tokio::test]
async fn health_is_told_as_it_changes() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1)]).await;
    let id = machine.container(1).id;
    for health in [Health::Starting, Health::Healthy, Health::Unhealthy, Health::Healthy] {
        machine.engine.set_health(&id, health);
        machine.scheduler.wait_status(1, |status| status.health == health).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_creation_whose_answer_got_lost_makes_one_container() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.engine.lose_replies(1);
    machine.run(2, vec![sleeper(1)]).await;
    machine.container(1);
    assert_eq!(machine.scheduler.status(1).map(|status| status.restarts), Some(0));
    agent.stop().await;
}

#[tokio::test]
async fn a_start_that_fails_is_told_and_tried_again() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.engine.fail_starts(1);
    machine.scheduler.assign(set(2, vec![sleeper(1)]));
    let told = machine.scheduler.wait_status(1, |status| status.restarts == 1).await;
    let failure = told.failure.expect("a reason");
    assert_eq!(failure.cause, Cause::Start);
    assert!(failure.message.contains("already allocated"), "{}", failure.message);
    machine.scheduler.wait_state(1, TaskState::Running).await;
    agent.stop().await;
}

#[tokio::test]
async fn preparing_fetches_the_image_and_makes_nothing() {
    let mut machine = Machine::new().await;
    machine.engine = FakeEngine::new().with_remote(IMAGE, 0);
    let agent = machine.start().await;
    let mut waiting = sleeper(1);
    waiting.desired = Desired::Prepare;
    machine.scheduler.assign(set(2, vec![waiting]));
    machine.scheduler.wait_state(1, TaskState::Starting).await;
    until("the image was fetched", || async {
        if machine.engine.pulls().is_empty() { Err(()) } else { Ok(()) }
    })
    .await;
    assert!(machine.engine.containers().is_empty());
    machine.run(3, vec![sleeper(1)]).await;
    assert_eq!(machine.engine.pulls(), [IMAGE], "once");
    agent.stop().await;
}

#[tokio::test]
async fn an_image_nobody_has_is_told_and_holds_up_nobody_else() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    let missing = assignment(STACK, 1, spec("no-such-image", &["sleep", "1"]));
    machine.scheduler.assign(set(2, vec![missing, sleeper(2)]));
    machine.scheduler.wait_state(2, TaskState::Running).await;
    let told = machine.scheduler.wait_status(1, |status| status.failure.is_some()).await;
    assert_eq!(told.state, TaskState::Preparing);
    let failure = told.failure.expect("a reason");
    assert_eq!(failure.cause, Cause::Image);
    assert!(failure.message.contains("no-such-image"), "{}", failure.message);
    assert!(!failure.no_variant);
    agent.stop().await;
}

#[tokio::test]
async fn an_image_for_other_machines_is_told_so_and_fetched_anew_for_a_task_that_comes_later() {
    let mut machine = Machine::new().await;
    machine.engine = FakeEngine::new().with_foreign(IMAGE);
    let agent = machine.start().await;
    for (task, generation) in [(1, 2), (2, 4)] {
        machine.scheduler.assign(set(generation, vec![sleeper(task)]));
        let told = machine.scheduler.wait_status(task, |status| status.failure.is_some()).await;
        assert_eq!(told.state, TaskState::Preparing);
        let failure = told.failure.expect("a reason");
        assert!(failure.no_variant && failure.cause == Cause::Image, "{failure:?}");
        let mut stopping = sleeper(task);
        stopping.desired = Desired::Stop;
        machine.scheduler.assign(set(generation + 1, vec![stopping]));
        machine.scheduler.wait_state(task, TaskState::Stopped).await;
    }
    assert_eq!(machine.engine.pulls(), [IMAGE, IMAGE]);
    agent.stop().await;
}

#[tokio::test]
async fn what_the_policy_forbids_is_refused_by_name_and_never_made() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    let mut privileged = sleeper(1);
    let mut wanted = model::ServiceSpec::clone(&privileged.spec);
    wanted.privileges.privileged = true;
    privileged.spec = Arc::new(wanted);
    machine.scheduler.assign(set(2, vec![privileged, sleeper(2)]));
    let told = machine.scheduler.wait_state(1, TaskState::Failed).await;
    let failure = told.failure.expect("a reason");
    assert_eq!(failure.cause, Cause::Refused);
    assert!(failure.message.contains("--allow privileged"), "{}", failure.message);
    machine.scheduler.wait_state(2, TaskState::Running).await;
    assert_eq!(machine.engine.containers().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_volume_that_held_data_and_is_gone_fails_the_task() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    let task = |id, must_exist| with_volume(sleeper(id), &format!("data-{id}"), must_exist);
    machine.scheduler.assign(set(2, vec![task(1, true), task(2, false)]));
    let told = machine.scheduler.wait_state(1, TaskState::Failed).await;
    assert!(told.failure.expect("a reason").message.contains("not made anew"));
    machine.scheduler.wait_state(2, TaskState::Running).await;
    assert_eq!(machine.engine.volumes(), ["data-2".to_owned()].into());

    // A person asks for its removal: it waits for its container, and is confirmed.
    let mut stopping = task(2, true);
    stopping.desired = Desired::Stop;
    let mut news = set(3, vec![stopping]);
    news.remove_volumes = vec!["data-2".to_owned(), "never-was".to_owned()];
    machine.scheduler.assign(news);
    until("both are confirmed", || async {
        let mut removed = machine.scheduler.removed();
        removed.sort();
        removed.dedup();
        if removed == ["data-2", "never-was"] { Ok(()) } else { Err(removed) }
    })
    .await;
    assert!(machine.engine.volumes().is_empty());
    agent.stop().await;
}

#[tokio::test]
async fn older_assignments_and_those_of_others_are_refused() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(5, vec![sleeper(1)]).await;
    let mut foreign = set(9, Vec::new());
    foreign.cluster = "c2".to_owned();
    let mut misdirected = set(9, Vec::new());
    misdirected.node = NodeId::new(2);
    for news in [set(4, Vec::new()), foreign, misdirected] {
        machine.scheduler.assign(news);
        // The next heartbeat but one comes after it was read.
        let beats = machine.scheduler.heartbeats() + 2;
        until("it was read", || async {
            if machine.scheduler.heartbeats() > beats { Ok(()) } else { Err(()) }
        })
        .await;
        assert_eq!(running(&machine.engine.containers()), 1);
    }
    machine.run(6, vec![sleeper(1), sleeper(2)]).await;
    agent.stop().await;
}

#[tokio::test]
async fn nothing_is_swept_until_the_connected_scheduler_leaves_it_out() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1), sleeper(2)]).await;
    agent.stop().await;
    // The ledger of a smaller set, as after a restore of an old disk; and no scheduler.
    let agent = machine.start_alone().await;
    until("it looked", || async {
        let ready = agent.board.inventory.borrow().engine_ready;
        if ready { Ok(()) } else { Err(()) }
    })
    .await;
    fs::remove_file(machine.path("agent/ledger")).expect("a ledger");
    agent.stop().await;
    let _ = fs::remove_file(machine.path("agent/ledger"));
    let agent = machine.start_alone().await;
    until("it looked", || async {
        let ready = agent.board.inventory.borrow().engine_ready;
        if ready { Ok(()) } else { Err(()) }
    })
    .await;
    assert_eq!(running(&machine.engine.containers()), 2, "an empty ledger sweeps nothing");
    agent.stop().await;
    let agent = machine.start().await;
    machine.scheduler.assign(set(3, vec![sleeper(2)]));
    machine.wait_containers("the stray is gone", |found| found.len() == 1).await;
    machine.container(2);
    agent.stop().await;
}

#[tokio::test]
async fn a_damaged_ledger_starts_and_removes_nothing_until_a_scheduler_speaks() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1), sleeper(2)]).await;
    agent.stop().await;
    let path = machine.path("agent/ledger");
    let mut bytes = fs::read(&path).expect("a ledger");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("damaged");
    machine.engine.kill(&machine.container(2).id);
    let agent = machine.start_alone().await;
    until("it looked", || async {
        let ready = agent.board.inventory.borrow().engine_ready;
        if ready { Ok(()) } else { Err(()) }
    })
    .await;
    assert_eq!(machine.engine.containers().len(), 2);
    assert_eq!(running(&machine.engine.containers()), 1);
    assert!(Path::new(&machine.path("agent/ledger.damaged")).exists(), "it is kept to look into");
    agent.stop().await;
    let agent = machine.start().await;
    machine.wait_containers("both run", |found| running(found) == 2 && found.len() == 2).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_new_attempt_takes_the_place_of_a_forgotten_one() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1)]).await;
    let mut newer = sleeper(7);
    (newer.slot, newer.epoch) = (1, Epoch(2));
    machine.run(3, vec![newer]).await;
    assert_eq!(machine.engine.containers().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_is_told_again_here_and_in_the_next_session() {
    let machine = Machine::new().await;
    machine.scheduler.acknowledge(false);
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1)]).await;
    let told = machine.scheduler.reports();
    until("it is told again", || async {
        if machine.scheduler.reports() > told { Ok(()) } else { Err(machine.scheduler.reports()) }
    })
    .await;
    machine.scheduler.acknowledge(true);
    let sessions = machine.scheduler.sessions();
    machine.scheduler.throw_out();
    machine.run(3, vec![sleeper(1), sleeper(2)]).await;
    assert!(machine.scheduler.sessions() > sessions);
    assert_eq!(machine.engine.containers().len(), 2, "losing the scheduler changes nothing");
    agent.stop().await;
}

#[tokio::test]
async fn logs_and_commands_are_relayed() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1)]).await;
    let options = LogOptions { follow: false, since: None, tail: None };
    let frames = machine.scheduler.relay(1, 1, What::Logs(options)).await;
    let Some(Frame::Log(line)) = frames.first() else { panic!("{frames:?}") };
    assert_eq!(line.text, b"started");
    let command = ["echo", "hello"].map(str::to_owned).to_vec();
    let exec = ExecOptions { command, tty: false, stdin: false, width: 0, height: 0 };
    let frames = machine.scheduler.relay(2, 1, What::Exec(exec.clone())).await;
    let [Frame::Stdout(said), Frame::ExitCode(code), _] = frames.as_slice() else {
        panic!("{frames:?}")
    };
    assert_eq!((said.as_slice(), *code), (&b"echo hello"[..], 2));
    let frames = machine.scheduler.relay(3, 99, What::Exec(exec)).await;
    assert!(matches!(frames.first(), Some(Frame::Error(_))), "{frames:?}");
    agent.stop().await;
}

#[tokio::test]
async fn health_and_metrics_answer() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1)]).await;
    let ask = |path: &'static str| {
        let address = agent.metrics;
        async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
            let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("asked");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("answered");
            answer
        }
    };
    assert!(ask("/healthz").await.starts_with("HTTP/1.0 200"));
    let metrics = ask("/metrics").await;
    let line = "siso_agent_task_running{stack=\"shop\",service=\"web\",replica=\"1\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
    assert!(ask("/nothing").await.starts_with("HTTP/1.0 404"));
    machine.engine.go_down();
    until("it is unwell", || async {
        let answer = ask("/healthz").await;
        if answer.starts_with("HTTP/1.0 503") { Ok(()) } else { Err(answer) }
    })
    .await;
    agent.stop().await;
}
