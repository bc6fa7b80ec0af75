//! Programs that are replaced, and schedulers that come back another day.

use siso_tests::{
    PATIENT,
    hosts::{AGENT, Cluster, Host, SCHEDULER, Scribe, Shape},
    required, wait_until,
};

use crate::{CALM, patient};

/// Waits until the scheduler on a host answers what only a majority knows.
#[track_caller]
fn wait_answer(cluster: &Cluster, number: u32) {
    wait_until(&format!("the scheduler on host-{number} takes part"), PATIENT, || {
        let answer = cluster.ctl_of(number).run(&["status", "--timeout", "5s"]);
        if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
    });
}

#[test]
fn no_container_notices_that_programs_are_replaced_or_that_schedulers_were_away_for_a_day() {
    if required("upgrades", "SISO_REQUIRE_HOSTS", Host::has_clocks()).is_none() {
        return;
    }
    let shape = Shape { scheduler_flags: patient(), ..Shape::three() };
    let Some(cluster) = Cluster::up("upgrades", shape) else { return };
    cluster.apply(CALM).expect(0);
    let running = cluster.wait_running("calm", 3);

    let scribe = Scribe::of(&cluster);
    // As an upgrade does it: one at a time, each stopped, replaced and started.
    for unit in [SCHEDULER, AGENT] {
        for number in 1..=3 {
            let host = cluster.hosts.host(number);
            host.stop(unit);
            host.replace(unit);
            host.start(unit);
            wait_answer(&cluster, number);
            cluster.wait_node(number, "ready");
            scribe.hold().compare(&cluster);
        }
    }
    assert!(scribe.finish(&cluster) > 0, "writes go on");
    assert_eq!(cluster.running("calm"), running, "a container was touched");

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
    let change = CALM.replace("calm", "next");
    cluster.apply(&change).expect(0);
    cluster.wait_running("next", 3);
    assert_eq!(cluster.running("calm"), running, "a container was touched");
    let restarts: Vec<_> =
        cluster.tasks("calm").expect("tasks").iter().map(|task| task["restarts"].clone()).collect();
    assert_eq!(restarts, [0, 0, 0]);
}
