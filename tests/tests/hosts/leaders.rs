//! Leaders that go.

use siso_tests::{
    PATIENT,
    hosts::{Cluster, Readers, SCHEDULER, Scribe, Shape},
    wait_until,
};

use crate::{CALM, patient};

/// Something done to the scheduler on a host.
type Deed = fn(&Cluster, u32);

/// What may become of a leader: what is done to it, and how it is taken back.
const FAULTS: [(&str, Deed, Deed); 4] = [
    (
        "killed",
        |cluster, leader| cluster.hosts.host(leader).kill(SCHEDULER),
        |cluster, leader| cluster.hosts.host(leader).start(SCHEDULER),
    ),
    (
        "paused",
        |cluster, leader| cluster.hosts.host(leader).pause(SCHEDULER),
        |cluster, leader| cluster.hosts.host(leader).resume(SCHEDULER),
    ),
    ("unplugged", |cluster, leader| cluster.hosts.cut(leader), |cluster, _| cluster.hosts.heal()),
    (
        "cut off from the others",
        |cluster, leader| cluster.hosts.partition(&[leader]),
        |cluster, _| cluster.hosts.heal(),
    ),
];

/// Waits until this many writes more than `before` were acknowledged.
#[track_caller]
fn wait_acknowledged(scribe: &Scribe, before: u64, more: u64) {
    wait_until("writes are acknowledged", PATIENT, || {
        let count = scribe.acknowledged() - before;
        if count >= more { Ok(()) } else { Err(format!("{count} so far")) }
    });
}

#[test]
fn whatever_becomes_of_the_leader_writes_go_on_nothing_is_lost_and_nothing_restarts() {
    let shape = Shape { scheduler_flags: patient(), ..Shape::three() };
    let Some(cluster) = Cluster::up("leaders", shape) else { return };
    cluster.apply(CALM).expect(0);
    let running = cluster.wait_running("calm", 3);
    let (scribe, readers) = (Scribe::of(&cluster), Readers::of(&cluster, 3));
    wait_acknowledged(&scribe, 0, 4);
    for (number, (what, fault, mend)) in FAULTS.iter().enumerate() {
        let leader = cluster.leader();
        fault(&cluster, leader);
        // What is written later would hide what the fault took.
        let held = scribe.hold();
        let next = cluster.leader_but(&[leader]);
        held.compare(&cluster);
        drop(held);
        let before = scribe.acknowledged();
        wait_acknowledged(&scribe, before, 4);
        // What was written while the old one was away it must not deny when it is back.
        let mark = format!("mark={number}");
        cluster.ctl_of(next).run(&["node", "label", "host-2", &mark]).expect(0);
        mend(&cluster, leader);
        let old = cluster.ctl_of(leader);
        wait_until(&format!("the leader that was {what} answers again"), PATIENT, || {
            let answer = old.run(&["-o", "json", "node", "ls", "--timeout", "5s"]);
            if answer.code != 0 {
                assert!(matches!(answer.code, 3 | 4), "{answer}");
                return Err(answer.to_string());
            }
            let marked = answer.json()[1]["labels"]["mark"].clone();
            assert_eq!(marked, number.to_string(), "{what}: an old answer");
            Ok(())
        });
        scribe.hold().compare(&cluster);
    }
    let answered = readers.finish();
    assert!(answered >= 100, "{answered} calls");
    let acknowledged = scribe.finish(&cluster);
    assert!(acknowledged >= 20, "{acknowledged} writes");
    assert_eq!(cluster.wait_running("calm", 3), running, "a container was touched");
}
