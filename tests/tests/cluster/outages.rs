//! Power fails, nobody is there: everything comes back by itself.

use siso_tests::{PATIENT, World, wait_until};

use crate::stacks::sleepers;

/// What a power cut leaves: no process, no running container.
fn power_cut(world: &mut World) {
    world.agent.kill9();
    world.scheduler.kill9();
    for container in world.engine.containers(world.cluster()) {
        if container["State"] == "running" {
            world.engine.kill(container["Id"].as_str().expect("its id"));
        }
    }
}

#[test]
fn everything_comes_back_after_a_power_cut() {
    let Some(mut world) = World::new("power-cut") else { return };
    world.apply(&sleepers("homecoming", 3)).expect(0);
    world.wait_running("homecoming", 3);
    let stacks = world.ctl.json(&["stack", "ls"]);
    power_cut(&mut world);
    assert_eq!(world.running("homecoming").len(), 0);
    // As after a boot: in no particular order, and without a word from anybody.
    world.agent.start();
    world.scheduler.start();
    world.scheduler.wait_ready();
    world.wait_running("homecoming", 3);
    assert_eq!(world.engine.containers(world.cluster()).len(), 3, "one container per replica");
    assert_eq!(world.ctl.json(&["stack", "ls"])[0]["revision"], stacks[0]["revision"]);
}

#[test]
fn an_agent_without_a_scheduler_starts_what_its_ledger_holds() {
    let Some(mut world) = World::new("ledger") else { return };
    world.apply(&sleepers("alone", 2)).expect(0);
    world.wait_running("alone", 2);
    power_cut(&mut world);
    world.agent.start();
    wait_until("both run without a scheduler", PATIENT, || {
        let running = world.running("alone");
        if running.len() == 2 { Ok(()) } else { Err(format!("{running:?}")) }
    });
    let alone = world.running("alone");
    world.start_scheduler();
    world.wait_node("ready");
    assert_eq!(world.wait_running("alone", 2), alone, "the scheduler finds them as they are");
}

#[test]
fn a_container_that_ends_while_the_scheduler_is_away_is_started_again() {
    let Some(mut world) = World::new("away") else { return };
    world.apply(&sleepers("unattended", 1)).expect(0);
    let before = world.wait_running("unattended", 1);
    world.scheduler.kill9();
    let (id, _) = before.first_key_value().expect("a container");
    world.engine.kill(id);
    wait_until("it runs again", PATIENT, || {
        let running = world.running("unattended");
        if running.len() == 1 && running != before { Ok(()) } else { Err(format!("{running:?}")) }
    });
    world.start_scheduler();
    world.wait_task("unattended", "has its restart counted", |task| {
        task["restarts"] == 1 && task["state"] == "running"
    });
}

#[test]
fn a_container_removed_by_hand_is_made_again() {
    let Some(world) = World::new("removed-container") else { return };
    world.apply(&sleepers("removed", 1)).expect(0);
    let before = world.wait_running("removed", 1);
    world.engine.remove_container(before.keys().next().expect("a container"));
    wait_until("another one runs", PATIENT, || {
        let running = world.running("removed");
        if running.len() == 1 && running != before { Ok(()) } else { Err(format!("{running:?}")) }
    });
    world.wait_running("removed", 1);
}

#[test]
fn a_volume_that_vanished_is_an_error_and_never_made_anew() {
    let Some(mut world) = World::new("vanished-volume") else { return };
    let text = "
name: bereft
services:
  db:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    volumes: [data:/data]
volumes:
  data:
";
    world.apply(text).expect(0);
    world.wait_running("bereft", 1);
    world.agent.kill9();
    world.engine.remove_container(&world.container("bereft", "db"));
    let volumes = world.engine.volumes(world.cluster());
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    world.engine.remove_volume(&volumes[0]);
    world.start_agent();
    let task = world.wait_task("bereft", "says that its volume is gone", |task| {
        task["error"].as_str().is_some_and(|error| error.contains("volume"))
    });
    assert_ne!(task["state"], "running", "{task:#}");
    assert!(world.engine.volumes(world.cluster()).is_empty(), "an empty volume was made");
    assert!(world.running("bereft").is_empty());
    let status = world.ctl.json(&["status"]);
    assert!(status["problems"].to_string().contains("bereft"), "{status:#}");
}
