//! Strict singletons under leases: what is cut off, hangs or is killed never makes two of them run at once.

use std::time::Duration;

use serde_json::Value;
use siso_tests::{
    World,
    beats::{Beat, Recorder, overlaps, singleton},
    wait_until,
};

/// A lease is good for 20 s and waited for with its grace and a margin; a machine may be busy.
const LEASE_WAIT: Duration = Duration::from_mins(2);

/// Longer than a lease is good with its grace, in hundredths of a second.
const LEASE_AND_MORE: u64 = 2_500;

/// The newest epoch of the one service of a stack that runs, and the name of its node.
fn holder(world: &World, stack: &str) -> (u64, String) {
    let task = world
        .wait_task(stack, "runs", |task| task["state"] == "running" && task["desired"] == "run");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (task["epoch"].as_u64().unwrap_or_default(), text(&task["node"]))
}

/// Waits until the recorder has heard an epoch; answers its last beat.
#[track_caller]
fn wait_epoch(recorder: &Recorder, epoch: u64) -> Beat {
    wait_until(&format!("epoch {epoch} beats"), LEASE_WAIT, || {
        let beats = recorder.beats();
        let found = beats.iter().rev().find(|beat| beat.epoch >= epoch).cloned();
        found.ok_or_else(|| format!("{:?}", beats.last()))
    })
}

#[track_caller]
fn expect_alone(recorder: &Recorder) {
    let beats = recorder.beats();
    assert!(beats.len() > 20, "too little was recorded: {beats:?}");
    if let Some(overlap) = overlaps(&beats) {
        panic!("{overlap}");
    }
}

#[test]
fn an_agent_that_hangs_or_is_killed_never_makes_a_strict_singleton_run_twice() {
    let Some(mut world) = World::new("singleton") else { return };
    let mut other = world.second_agent("mini-2");
    for (stack, hangs) in [("hanging", true), ("killed", false)] {
        world.apply(&singleton(stack)).expect(0);
        let recorder = Recorder::of([world.engine.clone()], world.cluster(), stack);
        let (epoch, node) = holder(&world, stack);
        wait_epoch(&recorder, epoch);
        let agent = if node == "mini-2" { &mut other } else { &mut world.agent };
        if hangs {
            agent.pause();
        } else {
            agent.kill9();
        }
        wait_epoch(&recorder, epoch + 1);
        let explained = world.ctl.run(&["events"]).expect(0).stdout;
        assert!(explained.contains("was lost with its node"), "{explained}");
        let agent = if node == "mini-2" { &mut other } else { &mut world.agent };
        if hangs {
            agent.resume();
        } else {
            agent.start();
        }
        wait_until("both nodes are ready", LEASE_WAIT, || {
            let nodes = world.ctl.json(&["node", "ls"]);
            let rows = nodes.as_array().cloned().unwrap_or_default();
            let ready = rows.iter().filter(|row| row["state"] == "ready").count();
            if ready == 2 { Ok(()) } else { Err(nodes.to_string()) }
        });
        let (now, _) = holder(&world, stack);
        assert_eq!(now, epoch + 1, "the copy that serves stays");
        expect_alone(&recorder);
        world.ctl.run(&["stack", "rm", stack, "--yes"]).expect(0);
    }
}

#[test]
fn without_a_scheduler_a_strict_singleton_stops_by_itself_and_comes_back_with_it() {
    let Some(world) = World::new("singleton-alone") else { return };
    world.apply(&singleton("lonely")).expect(0);
    let recorder = Recorder::of([world.engine.clone()], world.cluster(), "lonely");
    let (epoch, _) = holder(&world, "lonely");
    wait_epoch(&recorder, epoch);
    world.scheduler.pause();
    wait_until("it has stopped", LEASE_WAIT, || {
        let running = world.running("lonely");
        if running.is_empty() { Ok(()) } else { Err(format!("{running:?}")) }
    });
    let stopped = recorder.beats().len();
    world.scheduler.resume();
    wait_until("it beats again", LEASE_WAIT, || {
        let beats = recorder.beats().len();
        if beats > stopped + 5 { Ok(()) } else { Err(format!("{beats} beats, {stopped} before")) }
    });
    expect_alone(&recorder);
}

#[test]
fn an_agent_that_is_restarted_keeps_its_strict_singleton_running() {
    let Some(mut world) = World::new("singleton-restart") else { return };
    world.apply(&singleton("steady")).expect(0);
    let recorder = Recorder::of([world.engine.clone()], world.cluster(), "steady");
    let (epoch, _) = holder(&world, "steady");
    let killed_at = wait_epoch(&recorder, epoch).at;
    let before = world.wait_running("steady", 1);
    world.agent.kill9();
    world.start_agent();
    wait_until("it beats for longer than the lease of before was good", LEASE_WAIT, || {
        let last = recorder.beats().last().map_or(0, |beat| beat.at);
        if last >= killed_at + LEASE_AND_MORE { Ok(()) } else { Err(format!("{last}")) }
    });
    let task = world.wait_task("steady", "runs", |task| task["state"] == "running");
    assert_eq!((world.running("steady"), task["restarts"].as_u64()), (before, Some(0)));
}
