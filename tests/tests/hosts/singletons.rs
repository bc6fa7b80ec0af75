//! Strict singletons while their hosts, agents, links and leaders fail: one at most runs, anywhere.

use std::time::Duration;

use siso_tests::{
    PATIENT,
    beats::{Beat, Recorder, overlaps, singleton, told},
    hosts::{AGENT, Cluster, SCHEDULER, Shape},
    wait_until,
};

/// A lease is good for 20 s and waited for with its grace and a margin; a machine may be busy.
const LEASE_WAIT: Duration = Duration::from_mins(2);
/// Longer than a lease is good with its grace and the wait for it, in hundredths of a second.
const LEASE_AND_MORE: u64 = 3_000;
/// Faults of an ordinary run: the first so many, of which three move it and two must not.
const ORDINARY: usize = 5;
/// How often leaders are changed until one is where it is wanted.
const LEADERS: usize = 12;

/// Something done while the strict singleton runs on this host.
type Deed = fn(&mut Cluster, u32);

/// What may happen, whether the singleton has to move for it, how it comes and how it goes.
struct Fault {
    what: &'static str,
    moves: bool,
    comes: Deed,
    goes: Deed,
}

const FAULTS: [Fault; 9] = [
    Fault {
        what: "its host is unplugged",
        moves: true,
        comes: |cluster, holder| cluster.hosts.cut(holder),
        goes: |cluster, _| cluster.hosts.heal(),
    },
    Fault {
        what: "its agent stands still",
        moves: true,
        comes: |cluster, holder| cluster.hosts.host(holder).pause(AGENT),
        goes: |cluster, holder| cluster.hosts.host(holder).resume(AGENT),
    },
    Fault {
        what: "the leader is killed",
        moves: false,
        comes: |cluster, _| {
            let leader = cluster.leader();
            cluster.hosts.host(leader).crash(SCHEDULER);
        },
        goes: |_, _| {},
    },
    Fault {
        what: "its host is parted from the others, with the leader",
        moves: true,
        comes: |cluster, holder| {
            lead_from(cluster, holder);
            cluster.hosts.partition(&[holder]);
        },
        goes: |cluster, _| cluster.hosts.heal(),
    },
    Fault {
        what: "its agent is killed and started again",
        moves: false,
        comes: |cluster, holder| cluster.hosts.host(holder).crash(AGENT),
        goes: |_, _| {},
    },
    Fault {
        what: "its host loses power",
        moves: true,
        comes: |cluster, holder| cluster.hosts.power_cut(&[holder]),
        goes: |cluster, holder| cluster.hosts.boot(&[holder]),
    },
    Fault {
        what: "its agent is killed and stays so",
        moves: true,
        comes: |cluster, holder| cluster.hosts.host(holder).kill(AGENT),
        goes: |cluster, holder| cluster.hosts.host(holder).start(AGENT),
    },
    Fault {
        what: "what its host sends arrives nowhere",
        moves: true,
        comes: |cluster, holder| cluster.hosts.one_way(holder, &others(holder)),
        goes: |cluster, _| cluster.hosts.heal(),
    },
    Fault {
        what: "what is sent to its host does not arrive",
        moves: true,
        comes: |cluster, holder| {
            for other in others(holder) {
                cluster.hosts.one_way(other, &[holder]);
            }
        },
        goes: |cluster, _| cluster.hosts.heal(),
    },
];

fn others(holder: u32) -> Vec<u32> {
    (1..=3).filter(|number| *number != holder).collect()
}

/// Has the scheduler on that host lead.
#[track_caller]
fn lead_from(cluster: &Cluster, wanted: u32) {
    for _ in 0..LEADERS {
        let leader = cluster.leader();
        if leader == wanted {
            return;
        }
        let host = cluster.hosts.host(leader);
        host.kill(SCHEDULER);
        cluster.leader_but(&[leader]);
        host.start(SCHEDULER);
        wait_until("it takes part again", PATIENT, || {
            let answer = cluster.ctl_of(leader).run(&["status", "--timeout", "5s"]);
            if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
        });
    }
    panic!("host-{wanted} never came to lead");
}

/// Waits until a beat was heard for which this holds; answers the last one.
#[track_caller]
fn wait_beat(recorder: &Recorder, what: &str, holds: impl Fn(&Beat) -> bool) -> Beat {
    wait_until(what, LEASE_WAIT, || {
        let beats = recorder.beats();
        let found = beats.iter().rev().find(|beat| holds(beat)).cloned();
        found.ok_or_else(|| format!("{:?}", beats.last()))
    })
}

/// One fault while one strict singleton of its own runs; whatever moved or not, none ran twice.
#[track_caller]
fn episode(cluster: &mut Cluster, number: usize, fault: &Fault) {
    let stack = format!("alone-{number}");
    cluster.apply(&singleton(&stack)).expect(0);
    let engines: Vec<_> = cluster.hosts.all().map(siso_tests::hosts::Host::engine).collect();
    let recorder = Recorder::of(engines, cluster.id(), &stack);
    let first = wait_beat(&recorder, "it beats", |_| true);
    let running = cluster.running(&stack);
    let holder = running.values().next().unwrap_or_else(|| panic!("it runs: {running:?}")).0;
    (fault.comes)(cluster, holder);
    let epoch = first.epoch;
    if fault.moves {
        wait_beat(&recorder, fault.what, |beat| beat.epoch > epoch);
    } else {
        let came = wait_beat(&recorder, fault.what, |beat| beat.at > first.at).at;
        wait_beat(&recorder, fault.what, |beat| beat.at > came + LEASE_AND_MORE);
    }
    (fault.goes)(cluster, holder);
    for number in 1..=3 {
        cluster.wait_node(number, "ready");
    }
    // The old one has its chance to run again.
    let back = wait_beat(&recorder, "it beats on", |_| true).at;
    wait_beat(&recorder, "it beats on", |beat| beat.at > back + 200);
    let beats = recorder.beats();
    if let Some(overlap) = overlaps(&beats) {
        let story = cluster.hosts.host(holder).story(AGENT);
        let spans = told(&beats);
        panic!("{} ({stack} on host-{holder}): {overlap}\n{spans}{story}", fault.what);
    }
    let last = beats.last().map_or(0, |beat| beat.epoch);
    let expected = if fault.moves { epoch + 1 } else { epoch };
    assert_eq!(last, expected, "{}: the copy that serves stays", fault.what);
    cluster.ctl.run(&["stack", "rm", &stack, "--yes"]).expect(0);
}

/// `SISO_EPISODES` faults, one after the other; a few when it is not set.
#[test]
#[allow(clippy::print_stderr, reason = "whoever asks for hours of it wants to know how far it is")]
fn whatever_fails_a_strict_singleton_never_runs_twice_and_moves_when_it_must() {
    let Some(mut cluster) = Cluster::up("singletons", Shape::three()) else { return };
    let given = std::env::var("SISO_EPISODES").ok().and_then(|text| text.parse().ok());
    let count = given.unwrap_or(ORDINARY);
    for (number, fault) in FAULTS.iter().cycle().take(count).enumerate() {
        episode(&mut cluster, number, fault);
        if given.is_some() {
            eprintln!("{}: {}, no overlap", number + 1, fault.what);
        }
    }
}
