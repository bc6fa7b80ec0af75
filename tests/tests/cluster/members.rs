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
    world
        .apply(&KEEPING.replace("kept", "labelled"))
        .expect(3)
        .says(&["sisoctl node label mini-1 role=database"]);
    let labelled = world.ctl.run(&["node", "label", "mini-1", "role=database"]).expect(0);
    assert_eq!(labelled.stdout, "mini-1: role=database\n");
    let running = world.wait_running("labelled", 1);
    world.agent.kill9();
    world.start_agent();
    assert_eq!(world.ctl.json(&["node", "ls"])[0]["labels"]["role"], "database");
    assert_eq!(world.wait_running("labelled", 1), running, "nothing was disturbed");
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

/// One that can run beside its successor, one that cannot, and one with data.
const MIXED: &str = "
name: mixed
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
  proxy:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    x-siso: { singleton: strict }
  db:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    volumes: [data:/data]
volumes:
  data:
";

#[test]
fn a_drained_node_keeps_its_data_and_hands_over_the_rest() {
    let Some(world) = World::new("drain") else { return };
    world.apply(MIXED).expect(0);
    let before = world.wait_running("mixed", 3);
    let alone = world.ctl.run(&["node", "drain", "mini-1", "--dry-run"]).expect(0);
    assert!(alone.stdout.contains("there is no other node"), "{alone}");
    assert_eq!(world.running("mixed"), before, "nothing was changed");

    let mut second = world.second_agent("mini-2");
    let planned = world.ctl.json(&["node", "drain", "mini-1", "--dry-run"]);
    let to = |service: &str| {
        let moves = planned["moves"].as_array().expect("moves").clone();
        let found = moves.iter().find(|held| held["service"] == service).cloned();
        found.unwrap_or_else(|| panic!("{service} does not move: {planned}"))["to"].clone()
    };
    assert_eq!((to("web"), to("proxy")), ("mini-2".into(), "mini-2".into()));
    let drained = world.ctl.run(&["node", "drain", "mini-1", "--yes", "--deadline", "2m"]);
    drained.expect(3).says(&["mixed/db.1 stays", "volume `data`", "node uncordon mini-1"]);
    let tasks = world.tasks("mixed");
    for (service, node) in [("web", "mini-2"), ("proxy", "mini-2"), ("db", "mini-1")] {
        let found = tasks.iter().any(|task| task["service"] == service && task["node"] == node);
        assert!(found, "{service} is not on {node}: {tasks:#?}");
    }
    let after = world.wait_running("mixed", 3);
    let kept = before.iter().filter(|(id, since)| after.get(*id) == Some(*since)).count();
    assert_eq!(kept, 1, "the data base was not touched: {before:?} {after:?}");
    let node = &world.ctl.json(&["node", "ls"])[0];
    assert_eq!((&node["schedulable"], &node["drain_until"]), (&false.into(), &().into()));

    // What is left ends with its stack, and the machine can go.
    world.ctl.run(&["stack", "rm", "mixed", "--yes", "--volumes"]).expect(0);
    wait_until("nothing is left there", PATIENT, || {
        let removed = world.ctl.run(&["node", "rm", "mini-1", "--yes"]);
        if removed.code == 0 { Ok(()) } else { Err(removed.to_string()) }
    });
    second.kill9();
}
