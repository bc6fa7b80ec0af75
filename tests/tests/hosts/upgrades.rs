//! Programs that are replaced by those of another version, and schedulers that come back another day.

use std::{collections::BTreeMap, fs, path::Path};

use siso_tests::{
    PATIENT, earlier_program, has_earlier_programs,
    hosts::{AGENT, Cluster, Host, Readers, SCHEDULER, Scribe, Shape},
    program, required, wait_until,
};

use crate::CALM;

/// What an upgrade may disturb: replicas, one with a health check, one with data, one that is fetched a
/// lease for, and one that is limited.
const KEPT: &str = "
name: kept
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    environment: { MODE: plain }
    healthcheck: { test: [CMD, 'true'], interval: 2s, start_period: 10s }
    deploy: { replicas: 3 }
  db:
    image: siso/test:1
    command: [sleep, '1000000']
    stop_grace_period: 1s
    volumes: [data:/data]
    deploy: { resources: { limits: { memory: 64m, cpus: '0.5' }, reservations: { memory: 32m } } }
  alone:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    x-siso: { singleton: strict }
volumes:
  data:
";
const CONTAINERS: usize = 5;
/// A change that the log of an earlier version has no words for.
const NEWER: [&str; 4] = ["rebalance", "--auto", "on", "--yes"];

/// Waits until the scheduler on a host answers what only a majority knows.
#[track_caller]
fn wait_answer(cluster: &Cluster, number: u32) {
    wait_until(&format!("the scheduler on host-{number} takes part"), PATIENT, || {
        let answer = cluster.ctl_of(number).run(&["status", "--timeout", "5s"]);
        if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
    });
}

/// As an upgrade does it: stopped, replaced, started.
#[track_caller]
fn replace(cluster: &Cluster, number: u32, unit: &str, program: &Path) {
    let host = cluster.hosts.host(number);
    host.stop(unit);
    host.replace(unit, program);
    host.start(unit);
    wait_answer(cluster, number);
    cluster.wait_node(number, "ready");
}

/// The programs that the guards of all hosts run, once there is one and all run what is there now.
#[track_caller]
fn wait_new_guards() {
    wait_until("guards run the new program", PATIENT, || {
        let guard = |entry: fs::DirEntry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let ours = line.contains("\0guard\0") && line.contains("/siso-hosts/");
            let program = fs::read_link(entry.path().join("exe")).ok().filter(|_| ours)?;
            Some(program.display().to_string())
        };
        let found: Vec<_> =
            fs::read_dir("/proc").expect("/proc").flatten().filter_map(guard).collect();
        let new = |program: &String| program.ends_with("/files/agent");
        if !found.is_empty() && found.iter().all(new) { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[track_caller]
fn assert_untouched(cluster: &Cluster, stack: &str, running: &BTreeMap<String, (u32, String)>) {
    assert_eq!(&cluster.running(stack), running, "a container was touched");
    let tasks = cluster.tasks(stack).expect("tasks");
    assert_eq!(tasks.len(), running.len());
    assert!(tasks.iter().all(|task| task["restarts"] == 0), "{tasks:#?}");
}

#[test]
fn an_upgrade_from_an_earlier_version_touches_no_container_and_can_be_taken_back_until_all_have_it()
{
    if required("upgrade", "SISO_REQUIRE_EARLIER", has_earlier_programs()).is_none() {
        return;
    }
    let Some(cluster) = Cluster::up("upgrade", Shape { earlier: true, ..Shape::three() }) else {
        return;
    };
    cluster.apply(KEPT).expect(0);
    let running = cluster.wait_running("kept", CONTAINERS);
    let (scribe, readers) = (Scribe::of(&cluster), Readers::of(&cluster, 3));
    let (old, new) = (earlier_program("siso-scheduler"), program("siso-scheduler"));
    let agent = program("siso-agent");
    // An agent may be ahead of the schedulers.
    replace(&cluster, 1, AGENT, &agent);
    // The first one goes back once more: what is written is in the words of the earlier version.
    for (number, to) in [(1, &new), (1, &old), (1, &new), (2, &new), (3, &new)] {
        replace(&cluster, number, SCHEDULER, to);
        scribe.hold().compare(&cluster);
        if number < 3 {
            let refused = cluster.ctl.run(&NEWER).expect(3);
            // Told by whoever leads, or by sisoctl where that one has never heard of it.
            refused.says(&["of an earlier version", "sisoctl scheduler ls"]);
        }
    }
    assert_untouched(&cluster, "kept", &running);
    cluster.ctl.run(&NEWER).expect(0);

    // The second time the same path holds another file, as it does wherever programs are installed.
    for number in [1, 2, 3, 1, 2, 3] {
        replace(&cluster, number, AGENT, &agent);
        scribe.hold().compare(&cluster);
    }
    wait_new_guards();
    assert_untouched(&cluster, "kept", &running);
    // An agent may go back at any time.
    for to in [&earlier_program("siso-agent"), &agent] {
        replace(&cluster, 1, AGENT, to);
    }
    assert_untouched(&cluster, "kept", &running);

    // Now there is no way back, and whoever tries is told before anything is touched.
    let host = cluster.hosts.host(3);
    host.stop(SCHEDULER);
    host.replace(SCHEDULER, &old);
    host.start(SCHEDULER);
    wait_until("the earlier version says why it does not start", PATIENT, || {
        let said = host.story(SCHEDULER);
        let refused =
            said.contains("is of a newer version") && said.contains("nothing was touched");
        if refused { Ok(()) } else { Err(said) }
    });
    host.hold(SCHEDULER);
    host.replace(SCHEDULER, &new);
    host.start(SCHEDULER);
    wait_answer(&cluster, 3);

    // What was placed by the earlier version is managed by this one.
    cluster.apply(&KEPT.replace("plain", "other")).expect(0);
    let next = cluster.wait_running("kept", CONTAINERS);
    let same = running.iter().filter(|(id, since)| next.get(*id) == Some(since)).count();
    assert_eq!(same, 2, "what did not change was not touched: {running:?} {next:?}");
    assert!(readers.finish() > 0, "they were answered");
    assert!(scribe.finish(&cluster) > 0, "writes go on");
}

#[test]
fn no_container_notices_that_schedulers_were_away_for_a_day() {
    if required("away", "SISO_REQUIRE_HOSTS", Host::has_clocks()).is_none() {
        return;
    }
    let Some(cluster) = Cluster::up("away", Shape::three()) else { return };
    // A strict singleton ends with its lease, however long the schedulers take.
    cluster.apply(CALM).expect(0);
    let running = cluster.wait_running("calm", 3);
    let scribe = Scribe::of(&cluster);
    let held = scribe.hold();
    for number in 1..=3 {
        cluster.hosts.host(number).stop(SCHEDULER);
    }
    for number in 1..=3 {
        let host = cluster.hosts.host(number);
        host.set_clock("+1d").expect("a clock");
        host.start(SCHEDULER);
    }
    (1..=3).for_each(|number| wait_answer(&cluster, number));
    (1..=3).for_each(|number| cluster.wait_node(number, "ready"));
    held.compare(&cluster);
    drop(held);
    cluster.apply(&CALM.replace("calm", "next")).expect(0);
    cluster.wait_running("next", 3);
    assert_untouched(&cluster, "calm", &running);
    scribe.finish(&cluster);
}
