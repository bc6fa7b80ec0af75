//! Killed at a numbered system call, or cut off from its power there.

use std::os::unix::process::ExitStatusExt as _;

use siso_tests::crash::{Campaign, Fault, Victim};

use crate::{asked, disk, faults};

const SIGKILL: i32 = 9;
const KILLS: usize = 25;
const CUTS: usize = 12;
/// Holds a log and snapshots many times over.
const DISK_MIB: u64 = 192;
/// The system calls of a first start, up to which number, and every how many of them one is hit.
const FOUNDING: &[(&str, u32, usize)] = &[
    ("fsync", 23, 2),
    ("rename,mkdir,ftruncate", 12, 2),
    ("fdatasync", 5, 1),
    ("pwrite64", 11, 2),
];
/// Threads share the calls between them, not always alike: so many of a hundred must be hit.
const HITS_PERCENT: usize = 80;

#[test]
fn killed_at_any_system_call_it_keeps_every_acknowledged_write() {
    if faults("kills") {
        let kills = asked("SISO_KILLS", KILLS);
        assert_eq!(Campaign::of_kills().run(kills).crashes, kills);
    }
}

#[test]
fn without_power_at_any_system_call_it_keeps_every_acknowledged_write() {
    if !faults("power cuts") {
        return;
    }
    let Some((disk, _directory)) = disk("power cuts", DISK_MIB) else { return };
    let cuts = asked("SISO_CUTS", CUTS);
    assert_eq!(Campaign::of_power_cuts(disk).run(cuts).crashes, cuts);
}

#[test]
fn killed_while_a_cluster_is_founded_it_founds_it_the_next_time() {
    if !faults("founding") {
        return;
    }
    let (mut tried, mut hit) = (0, 0);
    for &(calls, most, step) in FOUNDING {
        for nth in (1..=most).step_by(step) {
            let mut victim = Victim::new();
            victim.start_with(&Fault::kill(calls, nth));
            tried += 1;
            match victim.scheduler.ready_or_ended() {
                Ok(_) => victim.scheduler.kill9(),
                Err(status) => {
                    assert_eq!(status.signal(), Some(SIGKILL), "{calls} {nth}: {status}");
                    hit += 1;
                }
            }
            victim.start();
            victim.apply("first").expect(0);
            let found = victim.replicas();
            assert_eq!(found.expect("an answer").len(), 1, "{calls} {nth}");
        }
    }
    assert!(hit * 100 >= tried * HITS_PERCENT, "{hit} of {tried} were hit");
}
