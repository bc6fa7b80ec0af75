//! Nodes that go and come back.

use siso_tests::{
    PATIENT,
    hosts::{AGENT, Cluster, SCHEDULER, Scribe, Shape},
    wait_until,
};

const WITH_DATA: &str = "
name: mixed
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    deploy: { replicas: 3 }
  db:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    volumes: ['data:/data']
    deploy: { placement: { constraints: ['node.labels.host == 3'] } }
volumes: { data: {} }
";

/// Writes that are acknowledged before no scheduler runs anywhere.
const WRITTEN: u64 = 20;
/// The host that goes.
const LOST: u32 = 3;

/// How many events of this kind there are about the host that goes.
fn count(cluster: &Cluster, kind: &str) -> usize {
    let events = cluster.ctl.json(&["events"]);
    let about = |event: &&serde_json::Value| {
        event["kind"] == kind && event["node"].as_str() == Some("host-3")
    };
    events.as_array().expect("events").iter().filter(about).count()
}

#[test]
fn from_a_lost_node_moves_what_can_what_has_its_data_there_is_held_and_its_return_disturbs_nobody()
{
    let Some(cluster) = Cluster::up("loss", Shape::three()) else { return };
    cluster.apply(WITH_DATA).expect(0);
    let before = cluster.wait_running("mixed", 4);
    let lost: Vec<_> = before.iter().filter(|(_, (host, _))| *host == LOST).collect();
    assert!(lost.len() >= 2, "db and a web are on host-3: {before:?}");

    cluster.hosts.cut(LOST);
    cluster.wait_node(LOST, "down");
    assert_eq!((count(&cluster, "unreachable"), count(&cluster, "down")), (1, 1));
    wait_until("three webs run without it", PATIENT, || {
        let tasks = cluster.tasks("mixed")?;
        let serves = |task: &&serde_json::Value| {
            task["service"] == "web" && task["ready"] == true && task["node"] != "host-3"
        };
        let count = tasks.iter().filter(serves).count();
        if count == 3 { Ok(()) } else { Err(format!("{tasks:#?}")) }
    });
    // The one with its data there waits for it, and everybody is told why.
    let why = "held: its volume `data` lives on host-3, which is down";
    for asked in [&["ps", "mixed"][..], &["explain", "mixed/db"], &["status"]] {
        let said = cluster.ctl.run(asked).expect(0).stdout;
        assert!(said.contains(why), "{asked:?}: {said}");
    }
    let at_its_best = cluster.running("mixed");
    // Without a word from anybody the cut host keeps running what it has.
    assert!(lost.iter().all(|(id, held)| at_its_best.get(*id) == Some(held)), "{at_its_best:?}");

    cluster.hosts.heal();
    cluster.wait_node(LOST, "ready");
    let after = cluster.wait_running("mixed", 4);
    let stayed = |id: &String| at_its_best.get(id) == after.get(id);
    assert!(after.keys().all(stayed), "what served was touched: {at_its_best:?} became {after:?}");
    let db = lost.iter().filter(|(id, _)| after.contains_key(*id)).count();
    assert_eq!(db, 1, "of the lost host only db goes on: {after:?}");
    assert_eq!((count(&cluster, "down"), count(&cluster, "ready")), (1, 2), "it came once");
}

#[test]
fn a_host_without_a_scheduler_starts_its_tasks_from_its_ledger() {
    let Some(mut cluster) = Cluster::up("alone", Shape::three()) else { return };
    cluster.apply(WITH_DATA).expect(0);
    let before = cluster.wait_running("mixed", 4);
    let there = before.values().filter(|(host, _)| *host == LOST).count();
    let scribe = Scribe::of(&cluster);
    wait_until("writes are acknowledged", PATIENT, || {
        if scribe.acknowledged() >= WRITTEN { Ok(()) } else { Err("fewer".to_owned()) }
    });
    for number in 1..=3 {
        cluster.hosts.host(number).kill(SCHEDULER);
    }
    let held = scribe.hold();
    cluster.hosts.host_mut(LOST).power_cut();
    cluster.hosts.boot(&[LOST]);
    wait_until("its tasks run again", PATIENT, || {
        let running = cluster.running("mixed");
        let found = running.iter().filter(|(_, (host, _))| *host == LOST);
        let again = found.filter(|found| before.get(found.0) != Some(found.1)).count();
        if again == there {
            Ok(())
        } else {
            Err(format!("{running:?}\n{}", cluster.hosts.host(LOST).story(AGENT)))
        }
    });
    for number in 1..=3 {
        cluster.hosts.host(number).start(SCHEDULER);
    }
    held.compare(&cluster);
    drop(held);
    cluster.wait_node(LOST, "ready");
    let after = cluster.wait_running("mixed", 4);
    let others = before.iter().filter(|(_, (host, _))| *host != LOST);
    for (id, held) in others {
        assert_eq!(after.get(id), Some(held), "a container of another host was touched");
    }
    scribe.finish(&cluster);
}

/// Runs on one of the two hosts that come and go.
const WANDERER: &str = "
name: wanderer
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    deploy: { placement: { constraints: ['node.labels.host != 1'] } }
";

/// Waits until the one task is ready on another host than this, and answers on which.
#[track_caller]
fn wait_moved(cluster: &Cluster, from: u32) -> u32 {
    let task = cluster.wait_task("wanderer", "serves elsewhere", |task| {
        task["ready"] == true && task["node"] != format!("host-{from}")
    });
    let node = task["node"].as_str().and_then(|name| name.strip_prefix("host-"));
    node.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{task}"))
}

#[test]
fn from_nodes_that_come_and_go_a_service_moves_no_third_time_and_runs_on_untouched() {
    let shape = Shape { hosts: 3, schedulers: 1, ..Shape::default() };
    let Some(cluster) = Cluster::up("flapping", shape) else { return };
    cluster.apply(WANDERER).expect(0);
    let mut at = wait_moved(&cluster, 1);
    for _ in 0..2 {
        cluster.hosts.cut(at);
        let next = wait_moved(&cluster, at);
        cluster.hosts.heal();
        cluster.wait_node(at, "ready");
        at = next;
    }
    // The host it is on now came back a moment ago, and goes once more.
    let held = cluster.wait_running("wanderer", 1);
    cluster.hosts.cut(at);
    cluster.wait_node(at, "down");
    let why = format!("host-{at} is down; it comes and goes");
    let task = cluster.wait_task("wanderer", "is said to stay", |task| {
        task["waiting_for"].as_str().is_some_and(|told| told.contains(&why))
    });
    assert_eq!(task["node"], format!("host-{at}"));
    assert_eq!(cluster.running("wanderer"), held, "nothing was started elsewhere");
    cluster.hosts.heal();
    cluster.wait_node(at, "ready");
    assert_eq!(cluster.wait_running("wanderer", 1), held, "it ran on");
}
