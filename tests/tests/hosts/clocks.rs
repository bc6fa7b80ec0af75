//! Clocks that are wrong.

use siso_tests::{
    PATIENT,
    hosts::{Cluster, Host, Readers, SCHEDULER, Shape},
    required, wait_until,
};

use crate::CALM;

#[test]
fn a_step_of_the_leaders_clock_makes_no_node_silent_and_moves_nothing() {
    let clocks = Host::has_clocks();
    if required("clocks", "SISO_REQUIRE_HOSTS", clocks).is_none() {
        return;
    }
    let Some(cluster) = Cluster::up("clocks", Shape::three()) else { return };
    cluster.apply(CALM).expect(0);
    let running = cluster.wait_running("calm", 3);
    // From its next start on each looks at a clock that can be shifted.
    for number in 1..=3 {
        let host = cluster.hosts.host(number);
        host.set_clock("+0").expect("a clock");
        host.kill(SCHEDULER);
        host.start(SCHEDULER);
        wait_until("it takes part again", PATIENT, || {
            let answer = cluster.ctl_of(number).run(&["status", "--timeout", "5s"]);
            if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
        });
    }
    (1..=3).for_each(|number| cluster.wait_node(number, "ready"));
    let silent = || {
        let events = cluster.ctl.json(&["events"]);
        let kinds = ["unreachable", "down"];
        let of = |event: &&serde_json::Value| kinds.iter().any(|kind| event["kind"] == *kind);
        events.as_array().expect("events").iter().filter(of).count()
    };
    let before = silent();
    let readers = Readers::of(&cluster, 3);
    for (number, shift) in ["+1h", "-1h", "+0"].into_iter().enumerate() {
        let leader = cluster.leader();
        cluster.hosts.host(leader).set_clock(shift).expect("a clock");
        // Each makes the leader plan, by the clock it has now.
        let stack = format!(
            "name: plan{number}\nservices:\n  web:\n    image: siso/test:1\n    command: [sleep, '1000000']\n    mem_limit: 16m\n"
        );
        cluster.apply(&stack).expect(0);
        assert_eq!(cluster.leader(), leader, "the same leads");
        assert_eq!(silent(), before, "after {shift}");
    }
    assert!(readers.finish() > 0, "they were answered");
    assert_eq!(cluster.wait_running("calm", 3), running, "a container was touched");
}
