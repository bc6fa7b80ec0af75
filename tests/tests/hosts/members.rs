//! Schedulers that come and go while everything is written, read and running.

use siso_tests::{
    PATIENT,
    hosts::{Cluster, Readers, SCHEDULER, Scribe, Shape},
    wait_until,
};

use crate::CALM;

/// Hosts, and the most schedulers.
const MOST: u32 = 5;

/// Waits until a write more than before is acknowledged.
#[track_caller]
fn wait_write(scribe: &Scribe) {
    let before = scribe.acknowledged();
    wait_until("a write is acknowledged", PATIENT, || {
        if scribe.acknowledged() > before { Ok(()) } else { Err(format!("{before}")) }
    });
}

#[test]
fn from_one_scheduler_to_five_and_back_to_three_nothing_is_lost_and_no_container_notices() {
    let shape = Shape { hosts: MOST, schedulers: 1, ..Shape::default() };
    let Some(mut cluster) = Cluster::up("members", shape) else { return };
    cluster.apply(CALM).expect(0);
    let running = cluster.wait_running("calm", 3);
    let scribe = Scribe::of(&cluster);
    let mut answered = 0;
    for (votes, grows) in [(2, true), (3, true), (4, true), (5, true), (4, false), (3, false)] {
        // Those there are, the one that is removed included, and right after it those with the one that came.
        let readers = Readers::of(&cluster, cluster.schedulers());
        wait_write(&scribe);
        if grows {
            cluster.grow();
        } else {
            cluster.shrink();
        }
        answered += readers.finish();
        let readers = Readers::of(&cluster, cluster.schedulers());
        wait_write(&scribe);
        scribe.hold().compare(&cluster);
        if votes == MOST {
            lose_two(&cluster, &scribe);
        }
        answered += readers.finish();
        assert_eq!(cluster.schedulers(), votes);
    }
    assert!(answered >= 100, "{answered} calls");

    // Those that were removed stay so, and the three that remain do without one of them.
    for number in [4, 5] {
        let host = cluster.hosts.host(number);
        let told = || host.story(SCHEDULER).matches("was removed").count();
        let before = told();
        assert!(before > 0, "{}", host.story(SCHEDULER));
        host.start(SCHEDULER);
        wait_until("it says again that it was removed", PATIENT, || {
            if told() > before { Ok(()) } else { Err(host.story(SCHEDULER)) }
        });
        host.hold(SCHEDULER);
    }
    let leader = cluster.leader();
    cluster.hosts.host(leader).kill(SCHEDULER);
    cluster.leader_but(&[leader]);
    wait_write(&scribe);
    let acknowledged = scribe.finish(&cluster);
    assert!(acknowledged >= 20, "{acknowledged} writes");
    assert_eq!(cluster.wait_running("calm", 3), running, "a container was touched");
}

/// Of five, the leader and another one go at once, and come back.
#[track_caller]
fn lose_two(cluster: &Cluster, scribe: &Scribe) {
    let leader = cluster.leader();
    let gone = [leader, leader % MOST + 1];
    for number in gone {
        cluster.hosts.host(number).kill(SCHEDULER);
    }
    let held = scribe.hold();
    cluster.leader_but(&gone);
    held.compare(cluster);
    drop(held);
    wait_write(scribe);
    for number in gone {
        cluster.hosts.host(number).start(SCHEDULER);
        wait_until("it takes part again", PATIENT, || {
            let answer = cluster.ctl_of(number).run(&["status", "--timeout", "5s"]);
            if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
        });
    }
    scribe.hold().compare(cluster);
}
