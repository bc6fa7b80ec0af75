//! `kill -9` of the scheduler and of the agent: nothing acknowledged is lost, nothing that runs is
//! touched, nothing runs twice.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use siso_tests::{Acknowledged, Ctl, PATIENT, World, replicas, wait_until};

use crate::stacks::sleepers;

/// Writers at once, each with stacks of its own.
const WRITERS: usize = 2;
const STACKS_PER_WRITER: usize = 3;
/// Containers of the apply in which the agent is killed, once for each.
const REPLICAS: u32 = 4;
/// Kills of one scheduler, and how many further acknowledged writes come before each.
const KILLED_AFTER: &[usize] = &[5, 1, 8, 3];

#[test]
fn a_scheduler_killed_among_writes_keeps_every_acknowledged_one() {
    let mut world = World::scheduler_only("killed-writes");
    let ledger = Mutex::new(Acknowledged::default());
    let stack = |writer: usize, number: usize| format!("w{writer}s{number}");
    for writer in 0..WRITERS {
        for number in 0..STACKS_PER_WRITER {
            let name = stack(writer, number);
            ledger.lock().expect("the ledger").attempt(&name, 1);
            world.apply_with(&["--detach"], &sleepers(&name, 1)).expect(0);
            ledger.lock().expect("the ledger").acknowledge(&name, 1);
        }
    }
    for (round, &kill_after) in (1_u64..).zip(KILLED_AFTER) {
        let over = AtomicBool::new(false);
        let acknowledged = Mutex::new(0_usize);
        let (ctl, scheduler) = (&world.ctl, &mut world.scheduler);
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (ledger, over, acknowledged, stack) = (&ledger, &over, &acknowledged, &stack);
                scope.spawn(move || {
                    let values = (round * 1000..).step_by(7);
                    for (value, number) in values.zip((0..STACKS_PER_WRITER).cycle()) {
                        if over.load(Ordering::SeqCst) {
                            break;
                        }
                        if scale(ctl, ledger, &stack(writer, number), value % 50 + 1) {
                            *acknowledged.lock().expect("the count") += 1;
                        }
                    }
                });
            }
            wait_until(&format!("{kill_after} writes are acknowledged"), PATIENT, || {
                let count = *acknowledged.lock().expect("the count");
                if count >= kill_after { Ok(()) } else { Err(format!("{count} so far")) }
            });
            scheduler.kill9();
            over.store(true, Ordering::SeqCst);
        });
        world.start_scheduler();
        ledger.lock().expect("the ledger").check(&replicas(&world.ctl).expect("an answer"));
    }
}

/// Asks for `value` replicas; whether it was acknowledged.
fn scale(ctl: &Ctl, ledger: &Mutex<Acknowledged>, stack: &str, value: u64) -> bool {
    ledger.lock().expect("the ledger").attempt(stack, value);
    let answer = ctl.run(&["scale", "--detach", &format!("{stack}/web={value}")]);
    match answer.code {
        0 => ledger.lock().expect("the ledger").acknowledge(stack, value),
        4 => {}
        _ => panic!("neither done nor unreachable: {answer}"),
    }
    answer.code == 0
}

#[test]
fn a_killed_scheduler_leaves_containers_alone_and_finishes_what_it_began() {
    let Some(mut world) = World::new("killed-scheduler") else { return };
    world.apply(&sleepers("calm", 2)).expect(0);
    let calm = world.wait_running("calm", 2);
    let tasks = names(&world, "calm");
    world.apply_with(&["--detach"], &sleepers("begun", 4)).expect(0);
    world.scheduler.kill9();
    assert_eq!(world.running("calm"), calm, "while the scheduler is away");
    world.start_scheduler();
    world.wait_running("begun", 4);
    assert_eq!(world.running("calm"), calm, "after it came back");
    assert_eq!(names(&world, "calm"), tasks);
    exactly_one_container_per_replica(&world, "begun", 4);
}

#[test]
fn a_killed_agent_adopts_its_containers() {
    let Some(mut world) = World::new("killed-agent") else { return };
    world.apply(&sleepers("adopted", 3)).expect(0);
    let before = world.wait_running("adopted", 3);
    let tasks = names(&world, "adopted");
    for _ in 0..2 {
        world.agent.kill9();
        assert_eq!(world.running("adopted"), before, "while the agent is away");
        world.start_agent();
        assert_eq!(world.wait_running("adopted", 3), before, "after it came back");
    }
    assert_eq!(names(&world, "adopted"), tasks);
    for task in world.tasks("adopted") {
        assert_eq!(task["restarts"], 0, "{task:#}");
    }
    exactly_one_container_per_replica(&world, "adopted", 3);
}

#[test]
fn an_agent_killed_at_any_moment_of_an_apply_makes_each_container_once() {
    let Some(mut world) = World::new("killed-apply") else { return };
    world.apply_with(&["--detach"], &sleepers("moments", REPLICAS)).expect(0);
    // Each kill falls where one more container has just been made: before, in or after its start.
    for seen in 1..=REPLICAS as usize {
        wait_until(&format!("{seen} containers were made"), PATIENT, || {
            let made = world.engine.containers(world.cluster()).len();
            if made >= seen { Ok(()) } else { Err(format!("{made} so far")) }
        });
        world.agent.kill9();
        world.agent.start();
    }
    world.agent.wait_ready();
    world.wait_running("moments", REPLICAS as usize);
    exactly_one_container_per_replica(&world, "moments", REPLICAS as usize);
}

#[test]
fn an_agent_that_stood_still_comes_back_to_what_it_had() {
    let Some(world) = World::new("paused-agent") else { return };
    world.apply(&sleepers("still", 2)).expect(0);
    let before = world.wait_running("still", 2);
    world.agent.pause();
    world.wait_node("down");
    assert_eq!(world.running("still"), before, "nobody else may touch them");
    world.agent.resume();
    world.wait_node("ready");
    world.wait_running("still", 2);
    exactly_one_container_per_replica(&world, "still", 2);
}

#[test]
fn a_scheduler_that_stood_still_takes_nobody_for_dead() {
    let Some(world) = World::new("paused-scheduler") else { return };
    world.apply(&sleepers("patient", 2)).expect(0);
    let before = world.wait_running("patient", 2);
    let tasks = names(&world, "patient");
    world.scheduler.pause();
    // By then every heartbeat it knows of is older than what makes a node count as down.
    world.wait_session(false);
    world.scheduler.resume();
    world.wait_session(true);
    world.wait_node("ready");
    assert_eq!(world.wait_running("patient", 2), before);
    assert_eq!(names(&world, "patient"), tasks, "a task was replaced");
    let said = world.scheduler.output("stderr");
    assert!(!said.contains("liveness=\"down\""), "a node was taken for dead: {said}");
}

#[test]
fn sigterm_stops_both_cleanly_and_leaves_containers_running() {
    let Some(mut world) = World::new("sigterm") else { return };
    world.apply(&sleepers("terminated", 2)).expect(0);
    let before = world.wait_running("terminated", 2);
    assert!(world.agent.stop().success(), "{}", world.agent.story());
    assert!(world.scheduler.stop().success(), "{}", world.scheduler.story());
    assert_eq!(world.running("terminated"), before, "while both are away");
    world.start_scheduler();
    world.start_agent();
    assert_eq!(world.wait_running("terminated", 2), before, "after both came back");
}

/// The ids of a stack's tasks.
fn names(world: &World, stack: &str) -> Vec<String> {
    let task = |task: serde_json::Value| task["task"].as_str().expect("its id").to_owned();
    let mut names: Vec<_> = world.tasks(stack).into_iter().map(task).collect();
    names.sort();
    names
}

/// Stopped containers count too: a duplicate that has ended was one.
#[track_caller]
fn exactly_one_container_per_replica(world: &World, stack: &str, replicas: usize) {
    let what = format!("{stack} has one container per replica");
    wait_until(&what, Duration::from_secs(30), || {
        let mut slots = std::collections::BTreeMap::<String, u32>::new();
        for container in world.engine.containers(world.cluster()) {
            let labels = &container["Labels"];
            if labels["siso.stack"] == stack {
                let slot = format!("{}.{}", labels["siso.service"], labels["siso.slot"]);
                *slots.entry(slot).or_default() += 1;
            }
        }
        let once = slots.values().all(|count| *count == 1);
        if once && slots.len() == replicas { Ok(()) } else { Err(format!("{slots:?}")) }
    });
}
