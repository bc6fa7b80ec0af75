//! `sisoctl exec` by people who paste, resize, hang up and come in crowds: the command inside ends with
//! its listener, and nothing is left of either.

use std::fs;

use proto::v1::{
    ExecOptions, ExecRequest, ExecTarget, RelayFrame, Resize, control_client::ControlClient,
    relay_frame::Frame,
};
use siso_tests::{PATIENT, World, wait_until};
use tokio::task::JoinSet;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use super::caller::{Caller, admin};

const STACK: &str = "
name: host
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 64m
";
/// Pieces of this are pasted without an end.
const PASTE: &[u8] = &[b'x'; 64 << 10];
/// Sizes a terminal takes one after the other.
const RESIZES: u32 = 10_000;
/// Commands at once: more than an agent relays.
const CROWD: usize = 300;
/// What an agent relays at once, and how many of those an engine of a busy machine must manage to begin.
const PLACES: usize = 128;
const MOST_PLACES: usize = 100;
/// Connections to an engine or a scheduler that are kept for later.
const SPARE_FILES: usize = 16;

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("its files").count()
}

/// Waits until nothing but its first process is left in the container, and both programs have given
/// back what they had opened.
#[track_caller]
fn settled(world: &World, container: &str, before: [usize; 2]) {
    wait_until("nothing is left of the commands", PATIENT, || {
        let inside = world.engine.processes(container);
        let now = [world.agent.pid(), world.scheduler.pid()].map(open_files);
        let closed = now.iter().zip(before).all(|(now, before)| *now <= before + SPARE_FILES);
        // The first is the one that reaps the others.
        let rest: Vec<_> = inside.iter().filter(|line| !line.contains("sleep 1000000")).collect();
        let alone = rest.iter().all(|line| line.contains("init"));
        if closed && alone { Ok(()) } else { Err(format!("{inside:?}, files {before:?}, {now:?}")) }
    });
}

#[test]
fn a_command_ends_with_whoever_asked_for_it_and_leaves_nothing() {
    let Some(world) = World::new("hang-up") else { return };
    world.apply(STACK).expect(0);
    let container = world.container("host", "web");
    let before = [world.agent.pid(), world.scheduler.pid()].map(open_files);
    let deaf = "trap '' HUP INT TERM; while :; do sleep 7000001; done";
    let parent = "sleep 7000002 & sleep 7000003 & wait";
    for (what, command, marker, killed) in [
        ("one that reads nothing", vec!["sleep", "7000000"], "7000000", false),
        ("one that reads everything", vec!["sh", "-c", "cat > /dev/null # 7000004"], "cat", false),
        ("one that hears no signal", vec!["sh", "-c", deaf], "7000001", false),
        ("one with children", vec!["sh", "-c", parent], "7000003", false),
        ("one whose person was killed", vec!["sleep", "7000005"], "7000005", true),
    ] {
        let line = [&["exec", "host/web", "--"][..], &command].concat();
        let follower = world.ctl.spawn_fed(&line, PASTE);
        wait_until("the command runs", PATIENT, || {
            let inside = world.engine.processes(&container);
            if inside.iter().any(|line| line.contains(marker)) {
                Ok(())
            } else {
                Err(format!("{inside:?}"))
            }
        });
        if killed {
            drop(follower);
        } else {
            follower.interrupt();
            assert_eq!(follower.finish().code, 130, "{what}");
        }
        settled(&world, &container, before);
    }
    // The end of the input is no end of the command, but `cat` ends with it.
    let nothing = world.ctl.run_with_input(&["exec", "host/web", "--", "cat"], b"").expect(0);
    assert_eq!(nothing.stdout, "");
    let closed = world.ctl.run(&["exec", "host/web", "--", "sh", "-c", "cat; echo on"]).expect(0);
    assert_eq!(closed.stdout, "on\n");
    settled(&world, &container, before);
    world.expect_unharmed();
}

fn target(command: &[&str], tty: bool) -> ExecRequest {
    let options = ExecOptions {
        command: command.iter().map(|&word| word.to_owned()).collect(),
        tty,
        stdin: true,
        width: 80,
        height: 24,
    };
    let (stack, service) = ("host".to_owned(), "web".to_owned());
    let target = ExecTarget { stack, service, replica: None, options: Some(options) };
    ExecRequest { target: Some(target), frame: None }
}

fn typed(frame: Frame) -> ExecRequest {
    ExecRequest { target: None, frame: Some(RelayFrame { relay: 0, frame: Some(frame) }) }
}

#[test]
fn a_terminal_that_changes_its_size_ten_thousand_times_still_answers() {
    let Some(world) = World::new("resizes") else { return };
    world.apply(STACK).expect(0);
    let container = world.container("host", "web");
    let before = [world.agent.pid(), world.scheduler.pid()].map(open_files);
    let person = Caller::as_(&admin(&world), &world);
    person.runtime.block_on(async {
        let (outbox, messages) = tokio::sync::mpsc::channel(16);
        let mut control = ControlClient::new(person.channel.clone());
        outbox.send(target(&["sh"], true)).await.expect("a stream");
        let opened = control.exec(ReceiverStream::new(messages)).await;
        let mut output = opened.expect("a command").into_inner();
        let typing = tokio::spawn(async move {
            for number in 0..RESIZES {
                let width = if number % 3 == 0 { u32::MAX } else { number };
                let size = Frame::Resize(Resize { width, height: number % 100 });
                outbox.send(typed(size)).await.expect("a stream");
            }
            let last = Frame::Stdin(b"echo here-$((40 + 2)); exit 3\n".to_vec());
            outbox.send(typed(last)).await.expect("a stream");
            outbox
        });
        let (mut shown, mut code) = (Vec::new(), None);
        while let Some(Ok(frame)) = output.next().await {
            match frame.frame {
                Some(Frame::Stdout(bytes)) => shown.extend(bytes),
                Some(Frame::ExitCode(exit)) => code = Some(exit),
                _ => {}
            }
        }
        drop(typing.await.expect("typing"));
        let shown = String::from_utf8_lossy(&shown);
        assert!(shown.contains("here-42") && code == Some(3), "{code:?} {shown}");
    });
    settled(&world, &container, before);
    world.expect_unharmed();
}

#[test]
fn a_crowd_of_commands_gets_the_places_there_are_and_gives_them_back() {
    let Some(world) = World::new("exec-crowd") else { return };
    world.apply(STACK).expect(0);
    let container = world.container("host", "web");
    let before = [world.agent.pid(), world.scheduler.pid()].map(open_files);
    let people = Caller::as_(&admin(&world), &world);
    let outcomes = people.runtime.block_on(async {
        let mut calls = JoinSet::new();
        for _ in 0..CROWD {
            let mut control = ControlClient::new(people.channel.clone());
            calls.spawn(async move {
                let (typing, messages) = tokio::sync::mpsc::channel(2);
                for message in [target(&["cat"], false), typed(Frame::Stdin(b"x".to_vec()))] {
                    typing.send(message).await.expect("a stream");
                }
                let mut output = control.exec(ReceiverStream::new(messages)).await?.into_inner();
                while let Some(frame) = output.message().await? {
                    match frame.frame {
                        // Who has a place keeps it.
                        Some(Frame::Stdout(_)) => return Ok((typing, output)),
                        Some(Frame::Error(why)) => return Err(tonic::Status::aborted(why)),
                        _ => {}
                    }
                }
                Err(tonic::Status::unknown("no output"))
            });
        }
        calls.join_all().await
    });
    let held = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!((MOST_PLACES..=PLACES).contains(&held), "{held} have a place: {refused:?}");
    assert_eq!(held + refused.len(), CROWD);
    for why in refused {
        assert!(!why.message().is_empty(), "refused without a word: {why:?}");
    }
    drop(outcomes);
    settled(&world, &container, before);
    world.ctl.run(&["exec", "host/web", "--", "true"]).expect(0);
    assert!(!world.agent.output("stderr").contains("panicked"));
    world.expect_unharmed();
}

/// People who stand still, with a container that never stops writing and commands that never read.
const STILL: usize = 6;
const CHATTER: &str = "
name: chatter
services:
  web:
    image: siso/test:1
    command: [sh, -c, 'while :; do head -c 1000000 /dev/zero | tr \"\\0\" x | fold -w 1000; sleep 0.1; done']
    mem_limit: 64m
    logging: {driver: local, options: {max-size: 5m, max-file: '2'}}
";

#[test]
fn people_who_stand_still_hold_up_neither_a_machine_nor_each_other() {
    let Some(world) = World::new("stand-still") else { return };
    world.apply(STACK).expect(0);
    world.apply(CHATTER).expect(0);
    let container = world.container("host", "web");
    let before = [world.agent.pid(), world.scheduler.pid()].map(open_files);
    let readers: Vec<_> = (0..STILL)
        .map(|_| {
            let reader = world.ctl.spawn(&["logs", "chatter/web", "-f"]);
            reader.wait_for("xxx");
            reader.pause();
            reader
        })
        .collect();
    let pasters: Vec<_> = (0..STILL)
        .map(|_| world.ctl.spawn_fed(&["exec", "host/web", "--", "sleep", "7000006"], PASTE))
        .collect();
    wait_until("all commands run", PATIENT, || {
        let inside = world.engine.processes(&container);
        let count = inside.iter().filter(|line| line.contains("7000006")).count();
        if count == STILL { Ok(()) } else { Err(format!("{inside:?}")) }
    });
    // The next to come are served, and the machine is heard: what it is told it does, and says so.
    for number in 0..5 {
        let stack = format!("later-{number}");
        world.apply(&STACK.replace("name: host", &format!("name: {stack}"))).expect(0);
        let answer = world.ctl.run(&["exec", &format!("{stack}/web"), "--", "echo", "on"]);
        assert_eq!(answer.expect(0).stdout, "on\n");
        assert!(
            world.ctl.run(&["logs", "chatter/web", "--tail", "1"]).expect(0).stdout.contains('x')
        );
    }
    let lost = world.events().iter().any(|event| {
        event["kind"] == "node" && event["message"].to_string().contains("unreachable")
    });
    assert!(!lost, "{:#?}", world.events());
    for paster in &pasters {
        paster.interrupt();
    }
    drop((readers, pasters));
    settled(&world, &container, before);
    world.expect_unharmed();
}
