//! Disks that fail, are full, or are slow.

use std::{fs, process::ExitStatus, time::Duration};

use siso_tests::{
    PATIENT,
    crash::{Fault, Load, Victim},
    get, wait_until,
};

use crate::{disk, faults};

/// Writes of each writer until the fault; it lies within them.
const WRITES_MAX: usize = 30;
const DISK_MIB: u64 = 192;
/// What a worn flash disk takes for one sync.
const SLOW_SYNC: Duration = Duration::from_millis(300);

/// Starts it with the fault and writes until it has ended.
#[track_caller]
fn suffer(victim: &mut Victim, load: &Load, fault: &Fault) -> ExitStatus {
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
    victim.start();
    let load = Load::on(&victim);
    victim.scheduler.kill9();
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

#[test]
fn on_a_slow_disk_it_is_slow_and_stays_the_leader() {
    if !faults("slow disk") {
        return;
    }
    let mut victim = Victim::new();
    victim.start();
    let load = Load::on(&victim);
    victim.scheduler.kill9();
    victim.start_with(&Fault::delay("fsync,fdatasync", SLOW_SYNC));
    let ready = victim.scheduler.ready_or_ended().expect("it is ready");
    let metrics = ready.rsplit(' ').next().expect("the address of its metrics").to_owned();
    let term = || {
        let text = get(&metrics, "/metrics").expect("metrics").text();
        let line = text.lines().find(|line| line.starts_with("siso_raft_term "));
        line.unwrap_or_else(|| panic!("no term in {text}")).to_owned()
    };
    let before = term();
    let written = load.write(&mut victim, 4);
    assert_eq!(written, (8, None), "a write was refused: {}", victim.scheduler.story());
    assert_eq!(term(), before, "there was an election");
    load.check(&victim.replicas().expect("an answer"));
}
