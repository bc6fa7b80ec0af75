//! No power anywhere.

use siso_tests::{
    PATIENT,
    hosts::{Cluster, Scribe, Shape},
    wait_until,
};

use crate::CALM;

#[test]
fn after_a_power_cut_of_all_hosts_everything_is_there_and_starts_by_itself() {
    let Some(mut cluster) = Cluster::up("power", Shape::three()) else { return };
    cluster.apply(CALM).expect(0);
    cluster.wait_running("calm", 3);
    let scribe = Scribe::of(&cluster);
    wait_until("writes are acknowledged", PATIENT, || {
        if scribe.acknowledged() >= 10 { Ok(()) } else { Err("fewer".to_owned()) }
    });
    cluster.hosts.power_cut(&[1, 2, 3]);
    cluster.hosts.boot(&[1, 2, 3]);
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
    scribe.finish(&cluster);
}
