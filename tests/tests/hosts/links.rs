//! Links that fail in part.

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use siso_tests::{
    PATIENT,
    hosts::{Cluster, Readers, Scribe, Shape},
    wait_until,
};

use crate::{CALM, patient};

/// How often the minority of a parted cluster is asked.
const ASKED: usize = 3;
/// Writes during which terms are watched: one takes a fraction of a second, or some when it reaches a
/// scheduler that is cut off; an election takes a fraction of a second.
const WATCHED_WRITES: u64 = 20;
/// Elections in that time that a slow machine may cause.
const ELECTIONS_MAX: u64 = 3;
/// Writes after which the events are looked at: a fraction of those that are remembered.
const LOOKED_AFTER: u64 = 10;
/// How long packets are lost in an ordinary run, in seconds.
const LOSSY_SECONDS: u64 = 25;

fn code_of(cluster: &Cluster, scheduler: u32, arguments: &[&str]) -> i32 {
    let answer = cluster.ctl_of(scheduler).run(&[arguments, &["--timeout", "4s"]].concat());
    assert!(matches!(answer.code, 0 | 3 | 4), "{answer}");
    answer.code
}

#[test]
fn a_minority_serves_no_read_and_no_write_and_has_them_all_when_it_is_back() {
    let shape = Shape { scheduler_flags: patient(), ..Shape::three() };
    let Some(cluster) = Cluster::up("minority", shape) else { return };
    let leader = cluster.leader();
    cluster.hosts.partition(&[leader]);
    let next = cluster.leader_but(&[leader]);
    let write = ["node", "label", "host-1", "side=majority"];
    cluster.ctl_of(next).run(&write).expect(0);
    for _ in 0..ASKED {
        assert_ne!(code_of(&cluster, leader, &["node", "ls"]), 0, "a read of a minority");
        let write = ["node", "label", "host-1", "side=minority"];
        assert_ne!(code_of(&cluster, leader, &write), 0, "a write of a minority");
    }
    cluster.hosts.heal();
    wait_until("it answers again", PATIENT, || {
        let answer = cluster.ctl_of(leader).run(&["-o", "json", "node", "ls"]);
        if answer.code != 0 {
            return Err(answer.to_string());
        }
        assert_eq!(answer.json()[0]["labels"]["side"], "majority", "{answer}");
        Ok(())
    });
}

#[test]
fn a_link_that_works_one_way_makes_no_elections_without_end() {
    let shape = Shape { scheduler_flags: patient(), ..Shape::three() };
    let Some(cluster) = Cluster::up("one-way", shape) else { return };
    let (scribe, readers) = (Scribe::of(&cluster), Readers::of(&cluster, 3));
    let all = [1, 2, 3];
    for of_leader in [true, false] {
        for deaf in [true, false] {
            let leader = cluster.leader();
            let one = if of_leader { leader } else { leader % 3 + 1 };
            let others: Vec<u32> = all.into_iter().filter(|number| *number != one).collect();
            if deaf {
                for other in others {
                    cluster.hosts.one_way(other, &[one]);
                }
            } else {
                cluster.hosts.one_way(one, &others);
            }
            let terms = || {
                let term = |number| cluster.figure(number, "siso_raft_term");
                all.into_iter().filter_map(term).max().expect("a term")
            };
            let wait = |more| {
                let before = scribe.acknowledged();
                wait_until("writes are acknowledged", PATIENT, || {
                    let count = scribe.acknowledged() - before;
                    if count >= more { Ok(()) } else { Err(format!("{count} so far")) }
                });
            };
            wait(2);
            let before = terms();
            wait(WATCHED_WRITES);
            let elections = terms() - before;
            let case = format!("of the leader: {of_leader}, deaf: {deaf}");
            assert!(elections <= ELECTIONS_MAX, "{elections} elections, {case}");
            let held = scribe.hold();
            cluster.hosts.heal();
            held.compare(&cluster);
            drop(held);
            wait(2);
        }
    }
    assert!(readers.finish() > 0, "they were answered");
    scribe.finish(&cluster);
}

/// Remembers which nodes were unreachable or down.
fn look(cluster: &Cluster, seen: &mut BTreeMap<u64, String>) {
    let events = wait_until("the events are told", PATIENT, || {
        let answer = cluster.ctl.run(&["-o", "json", "events"]);
        if answer.code == 0 { Ok(answer.json()) } else { Err(answer.to_string()) }
    });
    for event in events.as_array().expect("events") {
        let kind = event["kind"].as_str().expect("its kind");
        if ["unreachable", "down"].contains(&kind) {
            let what = format!("{kind} {} {}", event["node"], event["at"]);
            seen.insert(event["revision"].as_u64().expect("its revision"), what);
        }
    }
}

#[test]
fn a_fifth_of_all_packets_lost_makes_no_node_count_as_down() {
    let minutes = env::var("SISO_LOSS_MINUTES").ok().map(|text| text.parse::<u64>());
    let seconds = minutes.map_or(LOSSY_SECONDS, |minutes| minutes.expect("a number") * 60);
    let Some(cluster) = Cluster::up("lossy", Shape::three()) else { return };
    cluster.apply(CALM).expect(0);
    let running = cluster.wait_running("calm", 3);
    let (scribe, readers) = (Scribe::of(&cluster), Readers::of(&cluster, 3));
    cluster.hosts.loss(20);
    let began = Instant::now();
    // The cluster remembers the last events only, and the writes of this story make many.
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    while began.elapsed() < Duration::from_secs(seconds) {
        let before = scribe.acknowledged();
        wait_until("writes go on", PATIENT, || {
            let count = scribe.acknowledged() - before;
            if count >= LOOKED_AFTER { Ok(()) } else { Err(format!("{count}")) }
        });
        look(&cluster, &mut seen);
    }
    let held = scribe.hold();
    cluster.hosts.heal();
    held.compare(&cluster);
    drop(held);
    let answered = readers.finish();
    let acknowledged = scribe.finish(&cluster);
    look(&cluster, &mut seen);
    let of = |kind: &str| seen.values().filter(|held| held.starts_with(kind)).count();
    let figures = format!(
        "{seconds} s, {acknowledged} writes and {answered} calls, {} × unreachable, {} × down",
        of("unreachable"),
        of("down")
    );
    assert_eq!(of("down"), 0, "{figures}: {seen:#?}");
    assert_eq!(cluster.wait_running("calm", 3), running, "a container was touched: {figures}");
    assert!(acknowledged > 0 && answered > 0, "{figures}");
    // What a long run is made for.
    let _ = writeln!(io::stderr(), "a fifth of all packets lost: {figures}");
}
