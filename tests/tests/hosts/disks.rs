//! Disks that containers fill.

use siso_tests::{
    PATIENT,
    hosts::{AGENT, Cluster, SCHEDULER, Scribe, Shape},
    wait_until,
};

use crate::CALM;

const FILLER: &str = "
name: filler
services:
  filler:
    image: siso/test:1
    command: [sh, -c, 'dd if=/dev/zero of=/filling bs=1M; exec sleep 1000000']
    mem_limit: 32m
    stop_grace_period: 1s
    deploy: { placement: { constraints: ['node.labels.host == 3'] } }
";
/// The host that it fills.
const FULL: u32 = 3;

#[test]
fn a_container_that_fills_its_hosts_disk_disturbs_nobody_and_all_is_well_when_it_is_gone() {
    let Some(cluster) = Cluster::up("disks", Shape::three()) else { return };
    cluster.apply(CALM).expect(0);
    let before = cluster.wait_running("calm", 3);
    let scribe = Scribe::of(&cluster);
    // Whether it is told of as ready is a race with the disk; what it does is looked at below.
    let _ = cluster.apply(FILLER);
    let complains = |cluster: &Cluster| {
        let said = cluster.ctl.run(&["status"]).stdout;
        if said.contains("the disk of host-3 is nearly full") { Ok(()) } else { Err(said) }
    };
    let full = |cluster: &Cluster| {
        let (size, free) = cluster.hosts.host(FULL).room();
        if free < size / 500 { Ok(()) } else { Err(format!("{free} of {size} bytes are free")) }
    };
    wait_until("its disk is full", PATIENT, || full(&cluster));
    wait_until("the status says so", PATIENT, || complains(&cluster));
    let written = scribe.acknowledged();
    wait_until("writes go on", PATIENT, || {
        if scribe.acknowledged() >= written + 5 { Ok(()) } else { Err("none".to_owned()) }
    });
    assert_eq!(cluster.running("calm"), before, "a container of somebody else was touched");
    assert_eq!(cluster.node_state(FULL).as_deref(), Ok("ready"));

    // What filled it can still be removed, and everybody goes on as before.
    cluster.ctl.run(&["stack", "rm", "filler", "--yes"]).expect(0);
    wait_until("the status is content", PATIENT, || match complains(&cluster) {
        Ok(()) => Err("it still complains".to_owned()),
        Err(said) if said.contains("ledger") => Err(said),
        Err(_) => Ok(()),
    });
    assert_eq!(cluster.running("calm"), before, "a container of somebody else was touched");
    scribe.finish(&cluster);
    wait_until("every scheduler has everything", PATIENT, || {
        let applied: Vec<_> =
            (1..=3).map(|number| cluster.figure(number, "siso_raft_applied_index")).collect();
        let same = applied.iter().all(|found| found.is_some() && *found == applied[0]);
        let story = || cluster.hosts.host(FULL).story(SCHEDULER);
        if same { Ok(()) } else { Err(format!("{applied:?}\n{}", story())) }
    });
    let said = cluster.hosts.host(FULL).story(AGENT);
    assert!(!said.contains("panicked"), "{said}");
}
