//! An agent whose disk is full or fails while its containers run.

use std::{collections::BTreeMap, fs, process::Command};

use siso_tests::{
    PATIENT, World,
    crash::{Fault, LoopDisk},
    wait_until,
};

use crate::{LOADER, disk, faults};

/// A ledger many times over.
pub(crate) const DISK_MIB: u64 = 16;

const STACK: &str = "
name: busy
services:
  web:
    image: siso/test:1
    command: [sh, -c, 'echo s >> /starts; exec sleep 1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    deploy: { replicas: COUNT }
  job:
    image: siso/test:1
    command: [sh, -c, 'echo s >> /starts; until test -e /end; do sleep 0.1; done']
    mem_limit: 16m
";

fn stack(replicas: u32) -> String {
    STACK.replace("COUNT", &replicas.to_string())
}

/// How often each container was started, by itself, by its id.
fn starts(world: &World) -> BTreeMap<String, usize> {
    let containers = world.engine.containers(world.cluster());
    let ids = containers.iter().map(|row| row["Id"].as_str().expect("its id").to_owned());
    ids.map(|id| {
        let starts = world.engine.file(&id, "/starts").unwrap_or_default().lines().count();
        (id, starts)
    })
    .collect()
}

/// An agent that keeps its files on the disk, and what it runs: two services and a job.
#[track_caller]
pub(crate) fn on_disk(name: &str, disk: &LoopDisk) -> Option<World> {
    let mut world = World::new(name)?;
    world.agent.stop();
    let (from, to) = (world.path("agent"), disk.path().join("agent"));
    let copied = Command::new("cp").arg("-a").args([&from, &to]).status().expect("cp");
    assert!(copied.success(), "{} to {}", from.display(), to.display());
    // The agent syncs what it writes itself.
    let synced = Command::new("sync").arg("-f").arg(&to).status().expect("sync");
    assert!(synced.success(), "{}", to.display());
    let token = world.path("agent.token").display().to_string();
    world.agent.arguments = world.agent_arguments(&to.display().to_string(), &token);
    world.start_agent();
    world.apply_with(&["--detach"], &stack(2)).expect(0);
    world.wait_running("busy", 3);
    Some(world)
}

/// Waits until the agent has said this.
#[track_caller]
pub(crate) fn wait_said(world: &World, words: &[&str]) {
    wait_until(&format!("the agent says {words:?}"), PATIENT, || {
        let said = world.agent.output("stderr");
        let line = said.lines().find(|line| words.iter().all(|word| line.contains(word)));
        line.map(|_| ()).ok_or(said)
    });
    let said = world.agent.output("stderr");
    assert!(!said.contains("panicked"), "{said}");
}

/// Waits until `status` tells of a ledger that cannot be written, or no more.
#[track_caller]
fn wait_trouble(world: &World, expected: bool) {
    wait_until(&format!("status tells of the ledger: {expected}"), PATIENT, || {
        let status = world.ctl.json(&["status"]);
        let problems = status["problems"].as_array().expect("problems");
        let told = problems.iter().any(|problem| {
            let what = problem["what"].as_str().expect("what");
            what.contains("cannot write its ledger")
        });
        if told == expected { Ok(()) } else { Err(status.to_string()) }
    });
}

/// The job and the newest container of the service: ends the one, kills the other.
#[track_caller]
fn end_and_kill(world: &World) -> (String, String) {
    let job = world.container("busy", "job");
    let web = world.running("busy").into_keys().find(|id| *id != job).expect("a container");
    world.engine.exec(&job, &["touch", "/end"]);
    world.engine.kill(&web);
    (job, web)
}

#[test]
fn on_a_full_disk_an_agent_keeps_all_running_and_goes_on_when_there_is_room() {
    let Some((disk, _directory)) = disk("an agent's full disk", DISK_MIB) else { return };
    let Some(mut world) = on_disk("agent-full-disk", &disk) else { return };
    let before = world.running("busy");
    let filler = disk.fill();

    world.apply_with(&["--detach"], &stack(3)).expect(0);
    world.wait_running("busy", 4);
    wait_said(&world, &["ledger", "No space left on device"]);
    wait_trouble(&world, true);
    let (job, web) = end_and_kill(&world);
    wait_until("the killed one runs again", PATIENT, || {
        let found = starts(&world);
        if found[&web] == 2 { Ok(()) } else { Err(format!("{found:?}")) }
    });
    let mut all = starts(&world);
    assert_eq!((all.len(), all.remove(&web)), (4, Some(2)), "{all:?}");
    assert!(all.values().all(|starts| *starts == 1), "{all:?}");

    // What it could not write down it finds again.
    for _ in 0..2 {
        world.agent.kill9();
        world.start_agent();
        wait_said(&world, &["ledger", "No space left on device"]);
        let found = starts(&world);
        assert_eq!((found.len(), found[&web], found[&job]), (4, 2, 1), "{found:?}");
    }
    assert!(world.agent.ended().is_none(), "{}", world.agent.story());

    fs::remove_file(&filler).expect("room");
    wait_said(&world, &["ledger", "written again"]);
    wait_trouble(&world, false);
    world.wait_task("busy", "is done", |task| {
        task["service"] == "job" && task["state"] == "stopped"
    });
    world.wait_running("busy", 3);
    world.agent.kill9();
    world.start_agent();
    let now = world.wait_running("busy", 3);
    let untouched = before.iter().filter(|(id, _)| **id != web && **id != job);
    assert!(
        untouched.into_iter().all(|(id, since)| now.get(id) == Some(since)),
        "{before:?}, {now:?}"
    );
    let found = starts(&world);
    assert_eq!((found.len(), found[&web], found[&job]), (4, 2, 1), "{found:?}");
}

#[test]
fn on_a_disk_that_fails_an_agent_keeps_all_running_and_finds_it_again() {
    let Some((disk, _directory)) = disk("an agent's failing disk", DISK_MIB) else { return };
    let Some(mut world) = on_disk("agent-failing-disk", &disk) else { return };
    let before = world.running("busy");
    disk.fail();

    world.apply_with(&["--detach"], &stack(3)).expect(0);
    world.wait_running("busy", 4);
    wait_said(&world, &["ledger", "Input/output error"]);
    let (job, web) = end_and_kill(&world);
    wait_until("the killed one runs again", PATIENT, || {
        let found = starts(&world);
        if found[&web] == 2 { Ok(()) } else { Err(format!("{found:?}")) }
    });

    // Without its files it knows neither its name nor the cluster's: it refuses, and touches nothing.
    world.agent.kill9();
    let running = world.running("busy");
    world.agent.start();
    let status = world.agent.wait_ended();
    let said = world.agent.output("stderr") + &world.agent.output("stdout");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("Input/output error") && !said.contains("panicked"), "{said}");
    assert_eq!(world.running("busy"), running);

    disk.replace();
    world.start_agent();
    world.wait_task("busy", "is done", |task| {
        task["service"] == "job" && task["state"] == "stopped"
    });
    let now = world.wait_running("busy", 3);
    assert_eq!(now, running, "found again");
    assert!(
        before
            .iter()
            .filter(|(id, _)| **id != web && **id != job)
            .all(|(id, since)| now.get(id) == Some(since)),
        "{before:?}, {now:?}"
    );
    let found = starts(&world);
    assert_eq!((found.len(), found[&web], found[&job]), (4, 2, 1), "{found:?}");
}

/// Its identity, ledger and the schedulers it knows: none of them is needed to leave containers alone.
#[test]
fn at_a_file_that_cannot_be_opened_or_made_an_agent_says_so_and_touches_nothing() {
    if !faults("an agent's files") {
        return;
    }
    let Some(mut world) = World::new("agent-files") else { return };
    world.apply_with(&["--detach"], &stack(2)).expect(0);
    let before = world.wait_running("busy", 3);
    let mut ended = 0;
    let opens = (LOADER + 1..LOADER + 16).step_by(3).map(|nth| ("openat", nth));
    for (calls, nth) in opens.chain([("mkdir", 1), ("unlink", 1), ("rename", 1), ("rename", 2)]) {
        for (error, named) in [("EIO", "Input/output error"), ("ENOSPC", "No space left")] {
            let fault = Fault::error(calls, error, nth);
            world.agent.kill9();
            world.agent.wrapper = fault.wrapper();
            world.agent.start();
            let outcome =
                wait_until(&format!("{fault}: it ends or has a session"), PATIENT, || {
                    if let Some(status) = world.agent.ended() {
                        return Ok(Some(status));
                    }
                    let said = world.agent.output("stderr");
                    if said.contains("session with a scheduler began") {
                        Ok(None)
                    } else {
                        Err(said)
                    }
                });
            let said = world.agent.output("stderr") + &world.agent.output("stdout");
            assert!(!said.contains("panicked"), "{fault}: {said}");
            if let Some(status) = outcome {
                assert_eq!(status.code(), Some(1), "{fault}: {said}");
                assert!(said.contains(named), "{fault} is not named: {said}");
                ended += 1;
            }
            assert_eq!(world.running("busy"), before, "{fault}");
            world.agent.kill9();
            world.agent.wrapper.clear();
            world.start_agent();
            assert_eq!(world.wait_running("busy", 3), before, "after {fault}");
        }
    }
    assert!(ended >= 4, "only {ended} of these faults ended it");
}
