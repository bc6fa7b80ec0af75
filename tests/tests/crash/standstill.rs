//! Processes that stand still, or are killed for want of memory; an engine that answers nothing but
//! errors; a connection that is open and carries nothing.

use std::{
    collections::BTreeMap, os::unix::process::ExitStatusExt as _, path::Path, time::Duration,
};

use siso_tests::{
    BrokenEngine, Engine, PATIENT, Relay, World,
    crash::{Load, MemoryGroup, Victim},
    required, wait_until,
};

use crate::asked;

const SIGKILL: i32 = 9;
/// Writes of each writer while the memory runs out.
const WRITES_MAX: usize = 200;
/// How long a process stands still, in seconds: past a heartbeat, past what makes a node unreachable,
/// past what makes it lost. `SISO_STANDSTILL=120` stands still for that long, too.
const STANDSTILLS: [u64; 3] = [1, 5, 12];

const STACK: &str = "
name: steady
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    deploy: { replicas: 2 }
";

/// What may not change: the containers with their starts, and the tasks.
#[track_caller]
fn held(world: &World) -> (BTreeMap<String, String>, Vec<String>) {
    let containers = world.wait_running("steady", 2);
    let tasks = world.tasks("steady");
    assert!(tasks.iter().all(|task| task["restarts"] == 0), "{tasks:#?}");
    (containers, tasks.iter().map(|task| task["task"].to_string()).collect())
}

fn standstills() -> Vec<Duration> {
    let longest = asked("SISO_STANDSTILL", 0) as u64;
    let all = STANDSTILLS.into_iter().chain((longest > 0).then_some(longest));
    all.map(Duration::from_secs).collect()
}

#[test]
fn an_agent_that_stands_still_for_any_time_touches_nothing() {
    let Some(world) = World::new("standstill-agent") else { return };
    world.apply(STACK).expect(0);
    let before = held(&world);
    for length in standstills() {
        world.agent.pause();
        std::thread::sleep(length);
        assert_eq!(world.running("steady"), before.0, "{length:?}");
        world.agent.resume();
        world.wait_node("ready");
        assert_eq!(held(&world), before, "after {length:?}");
    }
}

/// What it answers afterwards is what is so: of a write asked while it stood still nothing is lost.
#[test]
fn a_scheduler_that_stands_still_for_any_time_answers_what_is_so() {
    let Some(world) = World::new("standstill-scheduler") else { return };
    world.apply(STACK).expect(0);
    let before = held(&world);
    for (round, length) in standstills().into_iter().enumerate() {
        world.scheduler.pause();
        let other = STACK.replace("name: steady", &format!("name: other{round}"));
        let file = world.write("other.yaml", &other);
        let asked = world.ctl.spawn(&["apply", "--yes", "--detach", &file]);
        std::thread::sleep(length);
        assert_eq!(world.running("steady"), before.0, "{length:?}");
        world.scheduler.resume();
        let answer = asked.finish();
        world.wait_session(true);
        world.wait_node("ready");
        let stacks = world.ctl.json(&["stack", "ls"]).to_string();
        let there = stacks.contains(&format!("other{round}"));
        assert!(there || answer.code != 0, "after {length:?}: {answer} {stacks}");
        assert_eq!(held(&world), before, "after {length:?}");
        // A node that is down for a moment would have its tasks again, with nothing else to see of it.
        let said = world.scheduler.output("stderr");
        assert!(
            !said.contains("liveness=\"down\""),
            "a node was taken for dead after {length:?}: {said}"
        );
        if there {
            world.ctl.run(&["stack", "rm", &format!("other{round}"), "--yes"]).expect(0);
        }
    }
}

#[test]
fn a_scheduler_killed_for_want_of_memory_keeps_every_acknowledged_write() {
    let group = MemoryGroup::new("scheduler");
    let Some(mut group) = required("memory", "SISO_REQUIRE_MEMORY_GROUP", group) else { return };
    let mut victim = Victim::new();
    let load = Load::left_on(&mut victim);
    for _ in 0..2 {
        victim.scheduler.wrapper = group.wrapper();
        victim.scheduler.start();
        victim.scheduler.wait_ready();
        let before = group.kills();
        group.run_out();
        let (_, ended) = load.write(&mut victim, WRITES_MAX);
        let status = ended.unwrap_or_else(|| victim.scheduler.wait_ended());
        assert_eq!(status.signal(), Some(SIGKILL), "{status}: {}", victim.scheduler.story());
        assert!(group.kills() > before, "it was killed by something else");
        group.relieve();
        victim.start();
        load.check(&victim.replicas().expect("an answer"));
        victim.scheduler.kill9();
    }
}

#[test]
fn an_agent_killed_for_want_of_memory_adopts_its_containers() {
    let group = MemoryGroup::new("agent");
    let Some(mut group) = required("memory", "SISO_REQUIRE_MEMORY_GROUP", group) else { return };
    let Some(mut world) = World::new("memory-agent") else { return };
    world.apply(STACK).expect(0);
    let before = held(&world);
    world.agent.kill9();
    world.agent.wrapper = group.wrapper();
    world.start_agent();
    group.run_out();
    let status = world.agent.wait_ended();
    assert_eq!(status.signal(), Some(SIGKILL), "{status}: {}", world.agent.story());
    assert!(group.kills() > 0, "it was killed by something else");
    group.relieve();
    assert_eq!(world.running("steady"), before.0);
    world.agent.wrapper.clear();
    world.start_agent();
    assert_eq!(held(&world), before);
    assert_eq!(world.engine.containers(world.cluster()).len(), 2, "a duplicate");
}

#[test]
fn an_engine_that_answers_nothing_but_errors_is_told_of_and_costs_no_container() {
    let engine = Engine::with_test_image();
    let Some(engine) = required("a broken engine", "SISO_REQUIRE_ENGINE", engine) else { return };
    let directory = tempfile::tempdir().expect("tempdir");
    let socket = directory.path().join("engine.sock");
    let real = engine.endpoint();
    let real = Path::new(real.strip_prefix("unix://").expect("a socket"));
    let broken = BrokenEngine::before(real, &socket).expect("a socket");
    let world = World::on_engine("engine-errors", &Engine::at(&socket));
    world.apply(STACK).expect(0);
    let before = held(&world);

    broken.set_broken(true);
    let engine_ready = |ready: bool| {
        wait_until(&format!("engine_ready is {ready}"), PATIENT, || {
            let nodes = world.ctl.json(&["node", "ls"]);
            if nodes[0]["engine_ready"] == ready { Ok(()) } else { Err(nodes.to_string()) }
        });
    };
    engine_ready(false);
    let problems = world.problems();
    assert!(problems.iter().any(|problem| problem.to_string().contains("engine")), "{problems:#?}");
    assert_eq!(engine.running(world.cluster(), "steady"), before.0);
    let tasks = world.tasks("steady");
    assert!(tasks.iter().all(|task| task["restarts"] == 0), "{tasks:#?}");

    broken.set_broken(false);
    engine_ready(true);
    assert_eq!(held(&world), before, "something was moved or started");
    assert_eq!(engine.containers(world.cluster()).len(), 2, "a duplicate");
}

/// The keepalive of `proto/src/transport` is 5 s and 3 s for the answer.
#[test]
fn a_connection_that_carries_nothing_any_more_is_noticed_and_replaced() {
    let Some(mut world) = World::new("half-open") else { return };
    world.apply(STACK).expect(0);
    let before = held(&world);
    let relay = Relay::to(&world.endpoint()).expect("a relay");
    let at = world.agent.arguments.iter().position(|word| word == "--scheduler");
    relay.address().clone_into(&mut world.agent.arguments[at.expect("--scheduler") + 1]);
    world.agent.kill9();
    world.start_agent();
    let sessions = |count: usize| {
        wait_until(&format!("the agent has had {count} sessions"), PATIENT, || {
            let said = world.agent.output("stderr");
            let began = said.matches("session with a scheduler began").count();
            if began == count { Ok(()) } else { Err(said) }
        });
    };
    sessions(1);
    relay.swallow(true);
    // Past what carries nothing: it knows the scheduler's own address by now.
    sessions(2);
    world.wait_node("ready");
    assert_eq!(held(&world), before);
}
