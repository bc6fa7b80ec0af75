//! Machines that people label and remove.

use std::fs;

use siso_tests::{PATIENT, World, wait_until};

/// Runs where the label says, and keeps something there.
const KEEPING: &str = "
name: kept
services:
  db:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    volumes: [data:/data]
    deploy:
      placement: { constraints: ['node.labels.role == database'] }
volumes:
  data:
";

#[test]
fn a_label_of_people_outlives_the_agents_own_and_places_what_asked_for_it() {
    let Some(mut world) = World::new("labels") else { return };
    // Joined with role=test: nothing fits.
    world.apply(KEEPING).expect(3).says(&["sisoctl node label mini-1 role=database"]);
    let labelled = world.ctl.run(&["node", "label", "mini-1", "role=database"]).expect(0);
    assert_eq!(labelled.stdout, "mini-1: role=database\n");
    let running = world.wait_running("kept", 1);
    world.agent.kill9();
    world.start_agent();
    assert_eq!(world.ctl.json(&["node", "ls"])[0]["labels"]["role"], "database");
    assert_eq!(world.wait_running("kept", 1), running, "nothing was disturbed");
    world.ctl.run(&["node", "label", "mini-1", "Role=", "x"]).expect(2).says(&["no value"]);
    world.ctl.run(&["node", "label", "mini-3", "role=x"]).expect(1).says(&["mini-1"]);
}

#[test]
fn a_node_is_removed_once_nothing_of_it_is_lost_and_its_certificate_is_worth_nothing() {
    let Some(mut world) = World::new("removal") else { return };
    world.ctl.run(&["node", "label", "mini-1", "role=database"]).expect(0);
    world.apply(KEEPING).expect(0);
    let held = ["kept/db.1", "kept_data", "sisoctl node drain mini-1"];
    world.ctl.run(&["node", "rm", "mini-1"]).expect(3).says(&held);
    world
        .ctl
        .run(&["node", "rm", "mini-1", "--force", "--with-volumes"])
        .expect(3)
        .says(&held[..1]);
    world.ctl.run(&["stack", "rm", "kept", "--yes"]).expect(0);
    world.ctl.run(&["node", "rm", "mini-1"]).expect(3).says(&["kept_data", "--with-volumes"]);
    world.ctl.run(&["node", "rm", "mini-1", "--yes", "--with-volumes"]).expect(0);
    assert_eq!(world.ctl.json(&["node", "ls"]), serde_json::json!([]));
    world.wait_session(false);
    assert_eq!(world.engine.volumes(world.cluster()).len(), 1, "the data stays where it is");

    // The same machine under its old identity is turned away, and comes back as another node.
    world.agent.stop();
    world.agent.start();
    wait_until("the agent is told that it is no member", PATIENT, || {
        let said = world.agent.output("stderr");
        if said.contains("no member of the cluster") { Ok(()) } else { Err(said) }
    });
    world.agent.stop();
    fs::remove_dir_all(world.path("agent")).expect("the agent's directory");
    let token = world.ctl.run(&["token", "create", "--role", "node"]).expect(0).stdout;
    world.write("agent.token", &token);
    world.start_agent();
    assert_eq!(world.ctl.json(&["node", "ls"])[0]["id"], "n2", "an id is never used again");
}
