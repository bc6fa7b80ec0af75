//! Words of strangers, members and containers that are meant to steer a terminal or to look like lines
//! of our own logs.

use proto::v1::{
    AgentMessage, Cause, Desired, Failure, Hello, Inventory, Reports, TaskReport, TaskState,
    TaskStatus, agent_client::AgentClient, agent_message::Message, scheduler_message,
};
use siso_tests::{PATIENT, World, wait_until};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::caller::{Caller, join, token};

/// A line of ours, a title, the clipboard, a colour, a bell, and a line written over.
const FORGED: &str = "x\n2026-01-01T00:00:00.000000Z  INFO forged: a line\r\u{1b}]0;owned\u{7}\u{1b}]52;c;cm0gLXJm\u{7}\u{1b}[31m\u{9b}31m\u{202e}";
/// A name longer than any line should be.
const LONG: usize = 3 << 20;
/// What a log may say of all that is refused here.
const LOG_BYTES_MAX: usize = 64 << 10;

/// Whether a text would steer a terminal, or hold a line that somebody else has written.
#[track_caller]
fn is_harmless(what: &str, shown: &str) {
    let steers = |c: char| matches!(c, '\u{7}' | '\u{9b}' | '\u{202e}');
    let colours = shown.split('\u{1b}').skip(1).all(|rest| {
        // Colours are ours: `sisoctl` paints its own words, and a logger its levels.
        let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '[' | ';'))).unwrap_or(0);
        rest.starts_with('[') && rest[end..].starts_with('m')
    });
    let forged = shown.lines().any(|line| line.starts_with("2026-01-01T00:00:00.000000Z"));
    assert!(!shown.contains(steers) && colours && !forged, "{what}: {shown:?}");
}

#[test]
fn what_is_refused_is_told_in_one_short_line_whatever_it_says() {
    let world = World::scheduler_only("forged-names");
    let before = world.scheduler.output("stderr").len();
    let long = "y".repeat(LONG);
    let lines = "2026-01-01T00:00:00.000000Z  INFO forged: a line\n".repeat(1000);
    let token = token(&world, "node");
    for name in [FORGED, &long, &lines, "\u{0}", ""] {
        let refused = join(&world, &token, name).expect_err("a refusal");
        assert!(refused.message().len() < 1000, "{} bytes are answered", refused.message().len());
        is_harmless("an answer", refused.message());
    }
    let said = world.scheduler.output("stderr").split_off(before);
    assert!(
        said.contains("a join was refused") && said.len() < LOG_BYTES_MAX,
        "{} bytes",
        said.len()
    );
    is_harmless("the log", &said);
    world.expect_unharmed();
}

/// Says all it can say of itself, and that its task failed, in those words.
fn slander(machine: &Caller) {
    let inventory = Inventory {
        memory: 4 << 30,
        cpu: 4000,
        arch: FORGED.to_owned(),
        os: FORGED.to_owned(),
        engine: FORGED.to_owned(),
        agent_version: FORGED.to_owned(),
        engine_ready: true,
        ..Inventory::default()
    };
    let hello = Hello {
        version: FORGED.to_owned(),
        inventory: Some(inventory),
        address: FORGED.to_owned(),
        generation: 0,
        life: 0,
    };
    let failure =
        Failure { cause: Cause::Image.into(), message: FORGED.repeat(100), no_variant: true };
    machine.runtime.block_on(async {
        let (outbox, messages) = mpsc::channel(16);
        let say = |sequence, message| AgentMessage { sequence, message: Some(message) };
        outbox.send(say(1, Message::Hello(hello))).await.expect("a session");
        let mut client = AgentClient::new(machine.channel.clone());
        let opened = client.session(ReceiverStream::new(messages)).await;
        let mut inbox = opened.expect("a session").into_inner();
        loop {
            let next = timeout(PATIENT, inbox.message()).await.expect("a message in time");
            let Some(message) = next.expect("assignments").expect("assignments").message else {
                continue;
            };
            match message {
                scheduler_message::Message::Assignments(set) => {
                    for task in
                        set.tasks.iter().filter(|task| task.desired == i32::from(Desired::Run))
                    {
                        let status = TaskStatus {
                            state: TaskState::Failed.into(),
                            sequence: 2,
                            health: proto::v1::Health::None.into(),
                            container: Some(FORGED.to_owned()),
                            failure: Some(failure.clone()),
                            ..TaskStatus::default()
                        };
                        let reports = vec![TaskReport { task: task.task, status: Some(status) }];
                        let reports = Message::Reports(Reports { reports });
                        outbox.send(say(2, reports)).await.expect("a session");
                    }
                }
                scheduler_message::Message::Acknowledge(_) => return,
                _ => {}
            }
        }
    });
}

#[test]
fn what_a_machine_says_of_itself_and_its_tasks_steers_no_terminal() {
    let world = World::scheduler_only("forged-words");
    let (_, identity) = join(&world, &token(&world, "node"), "mini-1").expect("a member");
    world
        .apply_with(&["--detach"], "name: shop\nservices: {web: {image: a, mem_limit: 16m}}\n")
        .expect(0);
    let machine = Caller::as_(&identity, &world);
    slander(&machine);
    wait_until("the failure is told", PATIENT, || {
        let events = world.ctl.run(&["events"]).stdout;
        if events.contains("forged") { Ok(()) } else { Err(events) }
    });
    for command in
        ["ps", "ps shop", "node ls", "events", "status", "explain shop/web.1", "placement"]
    {
        let shown = world.ctl.run_on_a_terminal(command).replace('\r', "");
        is_harmless(command, &shown);
        let words: Vec<&str> = command.split(' ').collect();
        let answer = world.ctl.run(&words);
        is_harmless(command, &(answer.stdout + &answer.stderr));
    }
    is_harmless("the log", &world.scheduler.output("stderr"));
    world.expect_unharmed();
}
