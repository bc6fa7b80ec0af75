//! No power anywhere.

use siso_tests::{
    PATIENT,
    hosts::{Cluster, Readers, Scribe, Shape},
    wait_until,
};

use crate::CALM;

/// Writes that are acknowledged before the cut.
const WRITTEN: u64 = 40;
/// Keys these are of, at least.
const COMPARED: usize = 20;

#[test]
fn after_a_power_cut_of_all_hosts_everything_is_there_and_starts_by_itself() {
    let Some(mut cluster) = Cluster::up("power", Shape::three()) else { return };
    cluster.apply(CALM).expect(0);
    cluster.wait_running("calm", 3);
    let (scribe, readers) = (Scribe::of(&cluster), Readers::of(&cluster, 3));
    wait_until("writes are acknowledged", PATIENT, || {
        if scribe.acknowledged() >= WRITTEN { Ok(()) } else { Err("fewer".to_owned()) }
    });
    cluster.hosts.power_cut(&[1, 2, 3]);
    // What a writer writes later would hide what the cut took.
    let held = scribe.hold();
    cluster.hosts.boot(&[1, 2, 3]);
    let compared = held.compare(&cluster);
    assert!(compared >= COMPARED, "{compared} keys");
    drop(held);
    for number in 1..=3 {
        cluster.wait_node(number, "ready");
    }
    let after = cluster.wait_running("calm", 3);
    let hosts: std::collections::BTreeSet<u32> = after.values().map(|(host, _)| *host).collect();
    assert_eq!(hosts.len(), 3, "each where it was: {after:?}");
    let acknowledged = scribe.acknowledged();
    wait_until("writes are acknowledged again", PATIENT, || {
        if scribe.acknowledged() > acknowledged { Ok(()) } else { Err("none".to_owned()) }
    });
    assert!(readers.finish() > 0, "they were answered");
    scribe.finish(&cluster);
}
