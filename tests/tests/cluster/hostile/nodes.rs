//! Machines that are members and lie: of others, of the past, or after they were removed.

use std::{
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proto::v1::{
    AgentMessage, AssignmentSet, Desired, Heartbeat, Hello, Inventory, RelayFrame, RenewRequest,
    Reports, SchedulerMessage, TaskReport, TaskState, TaskStatus, TaskTelemetry,
    agent_client::AgentClient, agent_message::Message, scheduler_message,
};
use siso_tests::{Daemon, PATIENT, World, get, program, wait_until};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::caller::{Caller, join, token};

/// More reports than one message may have.
const TOO_MANY: usize = 1001;
const BEAT: Duration = Duration::from_millis(500);

/// A machine that says what it is told to say.
struct Machine {
    caller: Caller,
    outbox: mpsc::Sender<AgentMessage>,
    inbox: Option<Streaming<SchedulerMessage>>,
    sequence: u64,
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the end of time")
}

fn hello() -> Message {
    let inventory = Inventory {
        memory: 4 << 30,
        cpu: 4000,
        arch: "amd64".to_owned(),
        os: "linux".to_owned(),
        engine: "docker 20.10".to_owned(),
        agent_version: "0.1.0".to_owned(),
        engine_ready: true,
        ..Inventory::default()
    };
    Message::Hello(Hello {
        version: "0.1.0".to_owned(),
        inventory: Some(inventory),
        address: "127.0.0.1:7401".to_owned(),
        generation: 0,
        life: 0,
    })
}

fn report(task: u64, state: TaskState, sequence: u64) -> TaskReport {
    let container = Some(format!("container-of-{task}"));
    let status = TaskStatus {
        state: state.into(),
        sequence,
        health: proto::v1::Health::None.into(),
        container,
        ..TaskStatus::default()
    };
    TaskReport { task, status: Some(status) }
}

impl Machine {
    /// Joins, and begins a session with these first words.
    #[track_caller]
    fn join(world: &World, name: &str) -> Self {
        let (_, identity) = join(world, &token(world, "node"), name).expect("a member");
        let mut machine = Self::speaking(Caller::as_(&identity, world));
        machine.begin(hello()).expect("a session");
        machine
    }

    fn speaking(caller: Caller) -> Self {
        let (outbox, _) = mpsc::channel(1);
        Self { caller, outbox, inbox: None, sequence: 0 }
    }

    /// A new session.
    fn begin(&mut self, first: Message) -> Result<(), Status> {
        let (outbox, messages) = mpsc::channel(64);
        self.outbox = outbox;
        self.sequence = 0;
        self.say(Some(first));
        let mut client = AgentClient::new(self.caller.channel.clone());
        let opened = client.session(ReceiverStream::new(messages));
        let opened = self.caller.runtime.block_on(opened)?;
        self.inbox = Some(opened.into_inner());
        let beating = self.outbox.clone();
        self.caller.runtime.spawn(async move {
            loop {
                tokio::time::sleep(BEAT).await;
                let beat = Heartbeat { at: now(), telemetry: Vec::new(), memory: Vec::new() };
                let message = Some(Message::Heartbeat(beat));
                if beating.send(AgentMessage { sequence: 0, message }).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    fn say(&mut self, message: Option<Message>) {
        self.sequence += 1;
        let message = AgentMessage { sequence: self.sequence, message };
        // It may have been hung up on.
        let _ = self.caller.runtime.block_on(self.outbox.send(message));
    }

    fn tell(&mut self, reports: Vec<TaskReport>) {
        self.say(Some(Message::Reports(Reports { reports })));
    }

    fn next(&mut self) -> Result<scheduler_message::Message, Status> {
        let inbox = self.inbox.as_mut().expect("a session");
        let next = async { timeout(PATIENT, inbox.message()).await };
        let message = self.caller.runtime.block_on(next);
        let message = message.expect("a message in time")?;
        let message = message.ok_or_else(|| Status::ok("ended"))?;
        Ok(message.message.expect("a message of a known kind"))
    }

    /// How the session ends.
    fn end(&mut self) -> Status {
        loop {
            if let Err(ended) = self.next() {
                return ended;
            }
        }
    }

    /// The task it is to run, once it is to run one.
    fn task(&mut self) -> u64 {
        loop {
            let message = self.next().expect("assignments");
            let scheduler_message::Message::Assignments(AssignmentSet { tasks, .. }) = message
            else {
                continue;
            };
            let mut wanted = tasks.iter();
            if let Some(task) = wanted.find(|task| task.desired == i32::from(Desired::Run)) {
                return task.task;
            }
        }
    }

    /// Waits until all it said is in the log.
    fn acknowledged(&mut self) {
        loop {
            if let scheduler_message::Message::Acknowledge(acknowledge) =
                self.next().expect("an acknowledgement")
                && acknowledge.sequence >= self.sequence
            {
                return;
            }
        }
    }
}

const STACK: &str = "name: shop\nservices: {web: {image: a, mem_limit: 16m}}\n";

fn state(world: &World) -> (String, u64) {
    let row = &world.tasks("shop")[0];
    (row["state"].as_str().expect("a state").to_owned(), row["restarts"].as_u64().expect("a count"))
}

#[test]
fn what_a_machine_says_of_others_or_of_the_past_changes_nothing() {
    let world = World::scheduler_only("liars");
    let mut owner = Machine::join(&world, "mini-1");
    world.apply_with(&["--detach"], STACK).expect(0);
    let task = owner.task();
    owner.tell(vec![report(task, TaskState::Running, 7)]);
    owner.acknowledged();
    wait_until("it runs", PATIENT, || {
        let at = state(&world);
        if at.0 == "running" { Ok(()) } else { Err(format!("{at:?}")) }
    });
    let mut liar = Machine::join(&world, "mini-2");
    let unknown = task + 1_000_000;
    for (what, by_liar, reports) in [
        ("another's end", true, vec![report(task, TaskState::Failed, 900)]),
        ("another's end, again", true, vec![report(task, TaskState::Failed, 900)]),
        ("a task nobody knows", true, vec![report(unknown, TaskState::Running, 1)]),
        ("what was before", false, vec![report(task, TaskState::Starting, 6)]),
        ("what was before, as if it were new", false, vec![report(task, TaskState::Starting, 60)]),
        ("the same, twice", false, vec![report(task, TaskState::Running, 7); 2]),
        ("what is not a node's to say", false, vec![report(task, TaskState::Lost, 61)]),
    ] {
        let machine = if by_liar { &mut liar } else { &mut owner };
        machine.tell(reports);
        machine.acknowledged();
        assert_eq!(state(&world), ("running".to_owned(), 0), "{what}");
    }
    let log = world.scheduler.output("stderr");
    assert!(log.contains("a report was refused"), "{log}");
    let metrics = get(&world.scheduler_metrics(), "/metrics").expect("metrics").text();
    assert!(metrics.contains("siso_refusals_total{what=\"report\"} 2\n"), "{metrics}");

    // An older epoch's words come after its replacement.
    world.ctl.run(&["restart", "shop/web", "--detach"]).expect(0);
    owner.tell(vec![report(task, TaskState::Stopped, 70)]);
    let next = loop {
        let newer = owner.task();
        if newer != task {
            break newer;
        }
    };
    owner.tell(vec![report(next, TaskState::Running, 1)]);
    owner.tell(vec![report(task, TaskState::Running, 71)]);
    owner.acknowledged();
    let rows = world.tasks("shop");
    let running: Vec<_> = rows.iter().filter(|row| row["state"] == "running").collect();
    assert_eq!(running.len(), 1, "{rows:#?}");
    assert_eq!(running[0]["epoch"], 2, "{rows:#?}");
    world.expect_unharmed();
}

#[test]
fn a_session_that_breaks_its_rules_ends_and_says_which() {
    let world = World::scheduler_only("rules");
    let mut calm = Machine::join(&world, "mini-1");
    let (_, identity) = join(&world, &token(&world, "node"), "mini-2").expect("a member");
    let many = vec![report(1, TaskState::Running, 1); TOO_MANY];
    let telemetry = vec![TaskTelemetry::default(); 10_001];
    let nonsense = vec![TaskReport { task: 1, status: None }];
    let beat = |telemetry| Message::Heartbeat(Heartbeat { at: 0, telemetry, memory: Vec::new() });
    let no_inventory = Message::Hello(Hello::default());
    for (what, first, then, says) in [
        ("no hello", beat(Vec::new()), None, "must be a hello"),
        ("a hello without its machine", no_inventory, None, "inventory"),
        ("two hellos", hello(), Some(Some(hello())), "one hello"),
        ("nothing at all", hello(), Some(None), "unknown kind"),
        (
            "too many reports",
            hello(),
            Some(Some(Message::Reports(Reports { reports: many }))),
            "at most",
        ),
        ("too many figures", hello(), Some(Some(beat(telemetry))), "more than"),
        (
            "a report of nothing",
            hello(),
            Some(Some(Message::Reports(Reports { reports: nonsense }))),
            "status",
        ),
    ] {
        let mut machine = Machine::speaking(Caller::as_(&identity, &world));
        let ended = machine.begin(first).err().unwrap_or_else(|| {
            if let Some(then) = then {
                machine.say(then);
            }
            machine.end()
        });
        assert_eq!(ended.code(), Code::InvalidArgument, "{what}: {ended:?}");
        assert!(ended.message().contains(says), "{what}: {ended:?}");
    }
    world.apply_with(&["--detach"], STACK).expect(0);
    calm.task();
    world.expect_unharmed();
}

#[test]
fn a_removed_machine_is_nobody_from_that_moment_on() {
    let world = World::scheduler_only("removed");
    let mut staying = Machine::join(&world, "mini-1");
    let mut removed = Machine::join(&world, "mini-2");
    world.ctl.run(&["node", "rm", "mini-2", "--yes", "--force"]).expect(0);
    let ended = removed.end();
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended:?}");
    let again = removed.begin(hello()).expect_err("no session");
    assert_eq!(again.code(), Code::PermissionDenied, "{again:?}");
    let runtime = &removed.caller.runtime;
    let client = || AgentClient::new(removed.caller.channel.clone());
    let relay = runtime.block_on(async {
        client().relay(tokio_stream::once(RelayFrame::default())).await.map(drop)
    });
    let renew = runtime
        .block_on(async { client().renew(RenewRequest { csr: Vec::new() }).await.map(drop) });
    for refused in [relay, renew] {
        let refused = refused.expect_err("refused");
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        assert!(refused.message().contains("no member"), "{refused:?}");
    }
    world.apply_with(&["--detach"], STACK).expect(0);
    staying.task();
    world.expect_unharmed();
}

const CALM: &str = "
name: copied
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
";

#[test]
fn a_copy_of_a_machine_is_turned_away_and_told_why() {
    let Some(world) = World::new("copy") else { return };
    world.apply(CALM).expect(0);
    let running = world.wait_running("copied", 1);
    let (from, to) = (world.path("agent"), world.path("copy"));
    let copied = Command::new("cp").arg("-a").args([&from, &to]).status().expect("cp");
    assert!(copied.success(), "{copied}");
    let mut arguments = world.agent_arguments("copy", "/nonexistent/token");
    let engine = arguments.iter().position(|argument| argument == "--docker-host");
    arguments[engine.expect("--docker-host") + 1] = "unix:///nonexistent/docker.sock".to_owned();
    let mut copy = Daemon::new("copy", program("siso-agent"), arguments, &world.path(""));
    copy.start();
    wait_until("the copy is told that it is one", PATIENT, || {
        let said = copy.output("stderr");
        if said.contains("another process speaks as this node") { Ok(()) } else { Err(said) }
    });
    let node = &world.ctl.json(&["node", "ls"])[0];
    assert_eq!(node["state"], "ready", "{node}");
    assert!(node["engine"].as_str().is_some_and(|engine| !engine.is_empty()), "{node}");
    assert_eq!(world.running("copied"), running);
    copy.kill9();
    world.expect_unharmed();
}
