//! Disks that fail, are full, or are slow.

use std::{fmt::Write as _, fs, process::ExitStatus, time::Duration};

use serde_json::Value;
use siso_tests::{
    Ctl, Daemon, PATIENT, World,
    crash::{Fault, Load, Victim},
    get, wait_until,
};

use crate::{disk, faults};

/// Writes of each writer until the fault; it lies within them.
const WRITES_MAX: usize = 30;
const DISK_MIB: u64 = 192;
/// What a busy, a worn and a dying disk take for one sync; how many writes of each writer show it, and how
/// many of all must be acknowledged: two syncs of the last take as long as anybody waits for an answer. And
/// what the log says: of one commit alone, or of many in a row.
const SLOW_SYNCS: [(Duration, usize, usize, &str); 3] = [
    (
        Duration::from_millis(300),
        6,
        12,
        "the disk is slow: one log commit after the other takes long",
    ),
    (Duration::from_millis(1_500), 2, 4, "the disk is slow: one log commit took long"),
    (Duration::from_secs(5), 2, 1, "the disk is slow: one log commit took long"),
];
/// Stacks that are asked for until a slow disk is noticed.
const STACKS_MAX: usize = 60;

/// Starts it with the fault and writes until it has ended.
#[track_caller]
pub(crate) fn suffer(victim: &mut Victim, load: &Load, fault: &Fault) -> ExitStatus {
    victim.start_with(fault);
    if let Err(status) = victim.scheduler.ready_or_ended() {
        return status;
    }
    let (_, ended) = load.write(victim, WRITES_MAX);
    let scheduler = &mut victim.scheduler;
    ended.unwrap_or_else(|| {
        wait_until(&format!("{fault} ends it"), PATIENT, || {
            scheduler.ended().ok_or_else(|| "it runs".to_owned())
        })
    })
}

#[test]
fn a_sync_or_write_that_fails_ends_the_process_and_is_never_taken_for_done() {
    if !faults("failing syncs") {
        return;
    }
    let mut victim = Victim::new();
    let load = Load::left_on(&mut victim);
    for (calls, error, numbers) in [
        ("fdatasync", "EIO", &[1, 2, 4, 5, 6, 8, 20, 33][..]),
        // The second is a snapshot's, made beside what is served.
        ("fsync", "EIO", &[1, 2]),
        ("pwrite64", "EIO", &[3, 20, 47]),
        ("pwrite64", "ENOSPC", &[3, 20, 47]),
    ] {
        for &nth in numbers {
            let fault = Fault::error(calls, error, nth);
            let status = suffer(&mut victim, &load, &fault);
            let said = victim.scheduler.output("stderr");
            assert_eq!(status.code(), Some(1), "{fault}: {status}\n{said}");
            assert!(!said.contains("panicked"), "{fault}: {said}");
            let named = if error == "EIO" { "Input/output error" } else { "No space left" };
            assert!(said.contains(named), "{fault} is not named: {said}");
            victim.start();
            load.check(&victim.replicas().expect("an answer"));
            victim.scheduler.kill9();
        }
    }
}

#[test]
fn on_a_full_disk_it_refuses_writes_answers_reads_and_goes_on_when_there_is_room() {
    let Some((disk, _directory)) = disk("full disk", DISK_MIB) else { return };
    let mut victim = Victim::on(disk.path());
    victim.start();
    let load = Load::on(&victim);
    for round in 0..2 {
        let before = victim.replicas().expect("an answer");
        let filler = disk.fill();
        victim.scale("w0s0", 7).expect(3).says(&["MiB free", "free space"]);
        victim.apply("another").expect(3).says(&["MiB free"]);
        assert_eq!(victim.replicas().expect("an answer"), before);
        assert!(victim.scheduler.ended().is_none(), "{}", victim.scheduler.story());
        if round == 1 {
            // Killed with the disk full: it starts, or says why not; its files are what they were.
            victim.scheduler.kill9();
            victim.scheduler.start();
            if let Err(status) = victim.scheduler.ready_or_ended() {
                let said = victim.scheduler.output("stderr");
                assert_eq!(status.code(), Some(1), "{said}");
                assert!(said.contains("No space left") && !said.contains("panicked"), "{said}");
                fs::remove_file(&filler).expect("room");
                victim.start();
            }
            assert_eq!(victim.replicas().expect("an answer"), before);
        }
        let _ = fs::remove_file(&filler);
        assert_eq!(load.write(&mut victim, 4), (8, None), "it takes no writes again");
        load.check(&victim.replicas().expect("an answer"));
    }
    victim.scheduler.kill9();
    victim.start();
    load.check(&victim.replicas().expect("an answer"));
}

/// What a cluster remembers of a stack at most: revisions of close to a megabyte each.
const REVISIONS: u32 = 20;
/// Room for what takes something away (8 MiB), and not for a snapshot of all those revisions.
const ROOM_MIB: u64 = 12;
/// More than come between two snapshots.
const REMOVED: u32 = 15;

/// A snapshot that cannot be written would end the process, and again after each start.
#[test]
fn without_room_for_a_snapshot_it_makes_none_and_goes_on() {
    let Some((disk, _directory)) = disk("nearly full disk", DISK_MIB) else { return };
    let mut victim = Victim::on(disk.path());
    victim.start();
    for number in 0..REMOVED {
        victim.apply(&format!("small-{number}")).expect(0);
    }
    let value = "x".repeat(50 << 10);
    for revision in 0..REVISIONS {
        let mut text = "name: large\nservices:\n".to_owned();
        for number in 0..18 {
            let web = "    image: siso/test:1\n    mem_limit: 16m\n    environment:\n";
            let _ = writeln!(text, "  web{number}:\n{web}      V: {revision}{value}");
        }
        victim.ctl.run_with_input(&["apply", "--yes", "--detach", "-"], text.as_bytes()).expect(0);
    }
    let filler = disk.fill_but(ROOM_MIB);
    for number in 0..REMOVED {
        let name = format!("small-{number}");
        victim.ctl.run(&["stack", "rm", &name, "--yes", "--detach"]).expect(0);
    }
    wait_until("it says that no snapshot is made", PATIENT, || {
        let said = victim.scheduler.output("stderr");
        if said.contains("no snapshot is made") { Ok(()) } else { Err(said) }
    });
    assert!(victim.scheduler.ended().is_none(), "{}", victim.scheduler.story());
    victim.scheduler.kill9();
    victim.start();
    fs::remove_file(filler).expect("room");
    victim.apply("later").expect(0);
    wait_until("what was removed is gone, and all else is there", PATIENT, || {
        let rows = victim.ctl.json(&["stack", "ls"]);
        let names = rows.as_array().into_iter().flatten().filter_map(|row| row["stack"].as_str());
        if names.eq(["large", "later"]) { Ok(()) } else { Err(rows.to_string()) }
    });
}

/// The term, as a scheduler's metrics tell it.
fn term(metrics: &str) -> String {
    let text = get(metrics, "/metrics").expect("metrics").text();
    let line = text.lines().find(|line| line.starts_with("siso_raft_term "));
    line.unwrap_or_else(|| panic!("no term in {text}")).to_owned()
}

/// Whether the status tells of a scheduler's slow disk, with cause and way out; and its log does.
#[track_caller]
fn is_told_of_as_slow(scheduler: &Daemon, ctl: &Ctl, words: &str) {
    let status = ctl.json(&["status"]);
    let problems = status["problems"].as_array().expect("a list of problems");
    let slow = problems.iter().find(|problem| {
        let what = problem["what"].as_str().unwrap_or_default();
        what.starts_with("the disk of scheduler 1 at ") && what.ends_with(" is slow")
    });
    let slow = slow.unwrap_or_else(|| panic!("no problem: {status}"));
    assert!(slow["cause"].as_str().is_some_and(|it| it.contains("a durable write took")), "{slow}");
    assert!(slow["fix"].as_str().is_some_and(|it| it.contains("about to fail")), "{slow}");
    let said = scheduler.output("stderr");
    assert!(said.contains(words), "{said}");
}

#[test]
fn on_a_slow_disk_it_is_slow_says_so_and_stays_the_leader() {
    if !faults("slow disk") {
        return;
    }
    for (sync, writes, least, words) in SLOW_SYNCS {
        let mut victim = Victim::new();
        victim.scheduler.start();
        let ready = victim.scheduler.wait_ready();
        let metrics = ready.rsplit(' ').next().expect("the address of its metrics").to_owned();
        let load = Load::on(&victim);
        let status = victim.ctl.json(&["status"]);
        let before = term(&metrics);
        let slow = Fault::delay("fsync,fdatasync", sync).strike(victim.scheduler.pid());
        let (written, ended) = load.write(&mut victim, writes);
        assert!(written >= least, "only {written}, {sync:?}: {}", victim.scheduler.story());
        assert_eq!(ended, None);
        assert_eq!(term(&metrics), before, "there was an election");
        is_told_of_as_slow(&victim.scheduler, &victim.ctl, words);
        assert!(!status.to_string().contains("is slow"), "it was told before it was so: {status}");
        load.check(&victim.replicas().expect("an answer"));
        drop(slow);
        victim.scheduler.kill9();
        victim.start();
        load.check(&victim.replicas().expect("an answer"));
    }
}

/// Asks for one stack after the other until the slow disk of the leader is noticed. The other two are a
/// majority: its own disk may be behind what they have agreed to.
#[track_caller]
fn until_noticed(world: &World, words: &str) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < STACKS_MAX {
        let name = format!("s{}", names.len());
        let stack = format!("name: {name}\nservices:\n  web:\n    image: siso/test:1\n");
        world.apply_with(&["--detach"], &stack).expect(0);
        names.push(name);
        if world.scheduler.output("stderr").contains(words) {
            return names;
        }
    }
    // What it has taken may be on its way to the disk yet.
    wait_until("a slow write is noticed", PATIENT, || {
        let said = world.scheduler.output("stderr");
        if said.contains(words) { Ok(()) } else { Err(said) }
    });
    names
}

#[test]
fn of_three_schedulers_the_leader_with_a_slow_disk_says_so_and_stays_the_leader() {
    if !faults("slow leader") {
        return;
    }
    for (sync, _, _, words) in SLOW_SYNCS {
        let mut world = World::scheduler_only("slow-leader");
        let mut others = ["second", "third"].map(|name| world.further_scheduler(name));
        for (count, other) in (2..).zip(&mut others) {
            other.start();
            other.wait_ready();
            voting(&world.ctl, count);
        }
        let metrics = world.scheduler_metrics();
        let before = term(&metrics);
        let _slow = Fault::delay("fsync,fdatasync", sync).strike(world.scheduler.pid());
        let names = until_noticed(&world, words);
        is_told_of_as_slow(&world.scheduler, &world.ctl, words);
        assert_eq!(term(&metrics), before, "there was an election");
        world.scheduler.kill9();
        wait_until("the others have every acknowledged stack", PATIENT, || {
            let listed = world.ctl_of("second").run(&["-o", "json", "stack", "ls"]);
            let missing: Vec<_> = names
                .iter()
                .filter(|name| !listed.stdout.contains(&format!("\"{name}\"")))
                .collect();
            if listed.code == 0 && missing.is_empty() { Ok(()) } else { Err(format!("{listed}")) }
        });
    }
}

/// Waits until so many schedulers vote.
#[track_caller]
fn voting(ctl: &Ctl, count: usize) {
    wait_until(&format!("{count} vote"), PATIENT, || {
        let rows = ctl.json(&["scheduler", "ls"]);
        let votes = |row: &&Value| row["role"] != "joining";
        let voting = rows.as_array().expect("a list").iter().filter(votes).count();
        if voting == count { Ok(()) } else { Err(rows.to_string()) }
    });
}
