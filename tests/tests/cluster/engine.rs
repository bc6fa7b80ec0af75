//! The container engine ends under running tasks and comes back.

use std::fs;

use siso_tests::{OwnEngine, PATIENT, World, required, wait_until};

use crate::stacks::sleepers;

const STACK: &str = "
name: survivor
services:
  db:
    image: siso/test:1
    # Writes once, then only ever finds what it wrote.
    command: [sh, -c, 'test -s /data/born || date +%s%N > /data/born; exec sleep 1000000']
    mem_limit: 16m
    volumes: [data:/data]
    healthcheck: { test: [CMD, test, -s, /data/born], interval: 1s }
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    depends_on: { db: { condition: service_healthy } }
    deploy: { replicas: 2 }
  polite:
    image: siso/test:1
    # Ends with 0 when it is told to: still no reason to stay away.
    command: [sh, -c, 'trap \"exit 0\" TERM; while true; do sleep 1; done']
    mem_limit: 16m
volumes:
  data:
";

fn check(test: &str, end: impl FnOnce(&mut OwnEngine)) {
    let directory = tempfile::Builder::new().prefix("siso-engine-").tempdir().expect("tempdir");
    let started = OwnEngine::start(directory.path(), false);
    let Some(mut own) = required(test, "SISO_REQUIRE_OWN_ENGINE", started) else { return };
    let world = World::on_engine(test, own.engine());
    world.apply(STACK).expect(0);
    world.wait_running("survivor", 4);
    let born = |world: &World| world.ctl.run(&["exec", "survivor/db", "--", "cat", "/data/born"]);
    let data = born(&world).expect(0).stdout;
    assert!(!data.trim().is_empty(), "the volume holds nothing");

    end(&mut own);
    wait_engine_ready(&world, false);
    own.start_again();

    world.wait_running("survivor", 4);
    assert_eq!(born(&world).expect(0).stdout, data, "the volume's data is kept");
    let containers = own.engine().containers(world.cluster());
    assert_eq!(containers.len(), 4, "a duplicate: {containers:#?}");
    assert_eq!(own.engine().volumes(world.cluster()).len(), 1);
    // The world ends before its engine.
    drop(world);
}

/// Waits until the node's agent reports this of its engine.
fn wait_engine_ready(world: &World, ready: bool) {
    wait_until(&format!("engine_ready is {ready}"), PATIENT, || {
        let nodes = world.ctl.json(&["node", "ls"]);
        if nodes[0]["engine_ready"] == ready { Ok(()) } else { Err(nodes.to_string()) }
    });
}

#[test]
fn an_engine_that_hangs_costs_no_container() {
    let directory = tempfile::Builder::new().prefix("siso-engine-").tempdir().expect("tempdir");
    let started = OwnEngine::start(directory.path(), false);
    let Some(own) = required("engine-hangs", "SISO_REQUIRE_OWN_ENGINE", started) else { return };
    let world = World::on_engine("engine-hangs", own.engine());
    world.apply(&sleepers("hanging", 2)).expect(0);
    let before = world.wait_running("hanging", 2);
    own.pause();
    wait_engine_ready(&world, false);
    let status = world.ctl.json(&["status"]);
    assert!(status["problems"].to_string().contains("engine"), "{status:#}");
    own.resume();
    wait_engine_ready(&world, true);
    assert_eq!(world.wait_running("hanging", 2), before, "unknown is not absent");
    assert_eq!(own.engine().containers(world.cluster()).len(), 2);
    drop(world);
}

#[test]
fn everything_runs_again_after_the_engine_was_restarted() {
    check("engine-restarted", OwnEngine::stop);
}

#[test]
fn everything_runs_again_after_the_engine_was_killed() {
    check("engine-killed", OwnEngine::kill9);
}

/// Engines that Siso installs let containers outlive them: then nothing is started again.
fn check_live(test: &str, end: impl FnOnce(&mut OwnEngine)) {
    let directory = tempfile::Builder::new().prefix("siso-engine-").tempdir().expect("tempdir");
    let started = OwnEngine::start(directory.path(), true);
    let Some(mut own) = required(test, "SISO_REQUIRE_OWN_ENGINE", started) else { return };
    let world = World::on_engine(test, own.engine());
    world.apply(STACK).expect(0);
    let before = world.wait_running("survivor", 4);

    end(&mut own);
    wait_engine_ready(&world, false);
    own.start_again();
    wait_engine_ready(&world, true);

    let after = world.wait_running("survivor", 4);
    assert_eq!(after, before, "the same containers, started when they were before");
    let restarts: Vec<_> =
        world.tasks("survivor").iter().map(|task| task["restarts"].clone()).collect();
    assert!(restarts.iter().all(|count| *count == 0), "{restarts:?}");
    world.ctl.run(&["stack", "rm", "survivor", "--yes"]).expect(0);
    drop(world);
}

#[test]
fn nothing_is_started_again_when_an_engine_that_keeps_containers_was_restarted() {
    check_live("engine-live-restarted", OwnEngine::stop);
}

#[test]
fn nothing_is_started_again_when_an_engine_that_keeps_containers_was_killed() {
    check_live("engine-live-killed", OwnEngine::kill9);
}

#[test]
fn an_agent_that_starts_before_its_engine_waits_and_finds_everything() {
    let directory = tempfile::Builder::new().prefix("siso-engine-").tempdir().expect("tempdir");
    let started = OwnEngine::start(directory.path(), true);
    let Some(mut own) = required("engine-late", "SISO_REQUIRE_OWN_ENGINE", started) else { return };
    let mut world = World::on_engine("engine-late", own.engine());
    world.apply(STACK).expect(0);
    let before = world.wait_running("survivor", 4);
    own.kill9();
    world.agent.kill9();
    world.agent.start();
    world.agent.wait_ready();
    wait_engine_ready(&world, false);
    own.start_again();
    wait_engine_ready(&world, true);
    assert_eq!(world.wait_running("survivor", 4), before);
    assert_eq!(own.engine().containers(world.cluster()).len(), 4);
    world.ctl.run(&["stack", "rm", "survivor", "--yes"]).expect(0);
    drop(world);
}

#[test]
fn an_engine_whose_socket_is_gone_costs_no_container() {
    let directory = tempfile::Builder::new().prefix("siso-engine-").tempdir().expect("tempdir");
    let started = OwnEngine::start(directory.path(), false);
    let Some(own) = required("engine-socket", "SISO_REQUIRE_OWN_ENGINE", started) else { return };
    let world = World::on_engine("engine-socket", own.engine());
    world.apply(&sleepers("socketless", 2)).expect(0);
    let before = world.wait_running("socketless", 2);
    let (socket, away) = (directory.path().join("docker.sock"), directory.path().join("away"));
    fs::rename(&socket, &away).expect("the socket is gone");
    wait_engine_ready(&world, false);
    world.ctl.run(&["scale", "--detach", "socketless/web=3"]).expect(0);
    fs::rename(&away, &socket).expect("the socket is back");
    wait_engine_ready(&world, true);
    let after = world.wait_running("socketless", 3);
    assert!(before.iter().all(|(id, since)| after.get(id) == Some(since)), "{before:?} {after:?}");
    assert_eq!(own.engine().containers(world.cluster()).len(), 3);
    drop(world);
}
