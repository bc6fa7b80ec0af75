//! Killed at a numbered system call, or cut off from its power there.

use std::{fs, os::unix::process::ExitStatusExt as _, thread};

use siso_tests::crash::{Campaign, Fault, Load, LoopDisk, Victim};

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
/// Power cuts until a lie must have been seen, and the writes of each writer before each.
const LIES_MAX: usize = 3;
const LIED_WRITES: usize = 6;
/// Threads share the calls between them, not always alike: so many of a hundred must be hit.
const HITS_PERCENT: usize = 80;
/// Writes that are made while somebody looks at what is there.
const WRITES_MEANWHILE: u64 = 30;

/// It takes several questions, and what is in doubt may be done between any two of them.
#[test]
fn what_is_compared_is_of_one_moment_though_a_write_is_made_meanwhile() {
    let mut victim = Victim::new();
    victim.start();
    victim.apply("web").expect(0);
    let victim = &victim;
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for replicas in 2..2 + WRITES_MEANWHILE {
                victim.scale("web", replicas).expect(0);
            }
        });
        while !writer.is_finished() {
            victim.replicas().expect("an answer");
        }
    });
    let found = victim.replicas().expect("an answer");
    assert_eq!(found["web"].latest.last(), Some(&(1 + WRITES_MEANWHILE)));
}

#[test]
fn killed_at_any_system_call_it_keeps_every_acknowledged_write() {
    if faults("kills") {
        let kills = asked("SISO_KILLS", KILLS);
        let tally = Campaign::of_kills().run(kills);
        assert_eq!(tally.crashes, kills);
        assert!(tally.points >= kills.min(KILLS), "the same points again and again: {tally}");
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

/// What a power cut shows of a scheduler that answers although these calls were never made: `None` when
/// everything is there all the same.
#[track_caller]
fn seen_of_a_lie(disk: &LoopDisk, calls: &str) -> Option<String> {
    let mut victim = Victim::on(disk.path());
    let load = Load::left_on(&mut victim);
    let mut seen = None;
    for _ in 0..LIES_MAX {
        victim.start_with(&Fault::skip(calls));
        victim.scheduler.wait_ready();
        let (acknowledged, ended) = load.write(&mut victim, LIED_WRITES);
        assert!(acknowledged > 0 && ended.is_none(), "{calls}: {}", victim.scheduler.story());
        victim.scheduler.kill9();
        disk.cut_power();
        victim.scheduler.wrapper.clear();
        victim.scheduler.start();
        if victim.scheduler.ready_or_ended().is_err() {
            seen = Some(victim.scheduler.output("stderr"));
            break;
        }
        let wrong = load.contradictions(&victim.replicas().expect("an answer"));
        victim.scheduler.kill9();
        if !wrong.is_empty() {
            seen = Some(wrong.join("\n"));
            break;
        }
    }
    fs::remove_dir_all(victim.data()).expect("room for the next");
    seen
}

/// The campaign above would see it. What it cannot see is a new segment whose directory was not synced:
/// ext4 writes the name down with the file's first sync. `log/store/tests/cuts.rs` has disks that do not.
#[test]
fn a_power_cut_shows_every_answer_that_was_given_before_its_sync() {
    if !faults("syncs that are lies") {
        return;
    }
    let Some((disk, _directory)) = disk("syncs that are lies", DISK_MIB) else { return };
    for calls in ["fsync,fdatasync", "fdatasync"] {
        let seen = seen_of_a_lie(&disk, calls);
        let seen = seen.unwrap_or_else(|| panic!("without {calls} nothing was lost"));
        let named = seen.contains("was acknowledged") || seen.contains("known id, empty log");
        assert!(named && !seen.contains("panicked"), "without {calls}: {seen}");
    }
    assert_eq!(seen_of_a_lie(&disk, "getpriority"), None, "with every sync nothing is lost");
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
