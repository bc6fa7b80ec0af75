//! Writes of a scheduler's files that fail, one kind of file after the other: its log and mark, snapshots, keys
//! and certificates, identity and context.

use std::fs;

use serde_json::Value;
use siso_tests::{
    Ctl, Daemon, PATIENT, World,
    crash::{Fault, Load, Victim},
    wait_until,
};

use crate::{clocks::clock, disks::suffer, faults, names::named};

const ERRORS: [&str; 2] = ["EIO", "ENOSPC"];
/// What a first start writes, and how often each.
const FOUNDED: &[(&str, u32)] = &[
    ("identity.tmp", 2),
    ("pki/ca.key.tmp", 1),
    ("pki/ca.crt.tmp", 1),
    ("pki/scheduler.key.tmp", 1),
    ("pki/scheduler.crt.tmp", 1),
    ("pki/admin.key.tmp", 1),
    ("pki/admin.crt.tmp", 1),
    ("admin.yaml.tmp", 1),
];
/// What a further scheduler writes before it votes.
const JOINING: &[&str] = &[
    "joining.tmp",
    "pki/ca.key.tmp",
    "pki/ca.crt.tmp",
    "identity.tmp",
    "pki/scheduler.key.tmp",
    "admin.yaml.tmp",
];

/// It ended with this error of this file, and did not panic.
#[track_caller]
fn names(daemon: &Daemon, error: &str, file: &str) {
    let said = daemon.output("stderr");
    // A key and its certificate are written together.
    let path = [".tmp", ".crt", ".key"].iter().fold(file, |name, end| name.trim_end_matches(end));
    assert!(said.contains(named(error)), "{error} of {file} is not named: {said}");
    assert!(said.contains(path) && !said.contains("panicked"), "{error} of {file}: {said}");
}

#[test]
fn a_cluster_whose_founding_fails_at_any_write_is_founded_the_next_time() {
    if !faults("foundings whose writes fail") {
        return;
    }
    for error in ERRORS {
        for (file, nth) in
            FOUNDED.iter().flat_map(|(file, most)| (1..=*most).map(move |nth| (file, nth)))
        {
            let mut victim = Victim::new();
            let fault = Fault::error("write", error, nth).about([victim.data().join(file)]);
            victim.start_with(&fault);
            let Err(status) = victim.scheduler.ready_or_ended() else {
                panic!("{fault}: it goes on")
            };
            assert_eq!(status.code(), Some(1), "{fault}");
            names(&victim.scheduler, error, file);
            victim.start();
            victim.apply("first").expect(0);
            assert_eq!(victim.replicas().expect("an answer").len(), 1, "{fault}");
        }
    }
}

#[test]
fn a_write_of_log_mark_or_snapshot_that_fails_ends_it_and_nothing_acknowledged_is_lost() {
    if !faults("writes of log, mark and snapshots") {
        return;
    }
    let mut victim = Victim::new();
    let load = Load::left_on(&mut victim);
    let log = victim.data().join("log");
    for error in ERRORS {
        for (calls, kind, extension, numbers) in [
            ("pwrite64", "segments", "segment", &[1, 2, 9, 20][..]),
            ("pwrite64", "mark", "", &[1, 2, 9]),
            ("write", "snapshots", "tmp", &[1, 2]),
        ] {
            for &nth in numbers {
                let paths = if kind == "mark" {
                    vec![log.join(kind)]
                } else {
                    victim.numbered(kind, extension)
                };
                let fault = Fault::error(calls, error, nth).about(paths);
                let status = suffer(&mut victim, &load, &fault);
                assert_eq!(status.code(), Some(1), "{fault}: {}", victim.scheduler.story());
                names(&victim.scheduler, error, "log");
                victim.start();
                load.check(&victim.replicas().expect("an answer"));
                assert_eq!(load.write(&mut victim, 2), (4, None), "after {fault}");
                victim.scheduler.kill9();
            }
        }
    }
}

/// The rows of `scheduler ls` that vote.
fn voting(ctl: &Ctl) -> Vec<Value> {
    let rows = ctl.json(&["scheduler", "ls"]);
    let rows = rows.as_array().expect("a list").iter();
    rows.filter(|row| row["role"] != "joining").cloned().collect()
}

/// Waits until two vote, and takes the second out again.
#[track_caller]
fn wait_joined(world: &World, what: &str) {
    let rows = wait_until(&format!("it votes, {what}"), PATIENT, || {
        let rows = voting(&world.ctl);
        if rows.len() == 2 { Ok(rows) } else { Err(format!("{rows:?}")) }
    });
    world.ctl.run(&["scheduler", "rm", &rows[1]["id"].to_string(), "--yes"]).expect(0);
}

#[test]
fn a_scheduler_whose_joining_fails_at_any_write_joins_the_next_time_with_the_same_token() {
    if !faults("joins whose writes fail") {
        return;
    }
    let world = World::scheduler_only("joins-that-fail");
    for (error, (number, file)) in ERRORS.into_iter().cycle().zip(JOINING.iter().enumerate()) {
        let name = format!("further-{number}");
        let mut further = world.further_scheduler(&name);
        let fault = Fault::error("write", error, 1).about([world.path(&name).join(file)]);
        further.wrapper = fault.wrapper();
        further.start();
        let Err(status) = further.ready_or_ended() else { panic!("{fault}: it goes on") };
        assert_eq!(status.code(), Some(1), "{fault}");
        names(&further, error, file);
        further.wrapper.clear();
        further.start();
        further.wait_ready();
        wait_joined(&world, &fault.to_string());
    }
}

/// Without this, a log that is lost later would not be missed.
#[test]
fn that_a_scheduler_votes_is_noted_once_the_disk_takes_it() {
    if !faults("a note that cannot be written") {
        return;
    }
    let world = World::scheduler_only("noted-late");
    let mut further = world.further_scheduler("further");
    let file = |name: &str| world.path("further").join(name);
    // It ends when it knows who it is and before it votes; nothing else is written to its identity then.
    further.wrapper = Fault::error("write", "EIO", 1).about([file("admin.yaml.tmp")]).wrapper();
    further.start();
    assert!(further.ready_or_ended().is_err(), "it goes on");
    further.wrapper = Fault::error("write", "ENOSPC", 1).about([file("identity.tmp")]).wrapper();
    further.start();
    further.wait_ready();
    wait_until("it votes and has noted so", PATIENT, || {
        let said = further.output("stderr");
        assert!(!said.contains("panicked"), "{said}");
        let told = said.contains("could not be noted") && said.contains(named("ENOSPC"));
        let identity = fs::read_to_string(file("identity")).expect("the identity");
        if told && identity.contains("member: true") { Ok(()) } else { Err(identity + &said) }
    });
}

/// The context file is for whoever is asked to use it next: it is written once there is room.
#[test]
fn a_context_that_cannot_be_written_stays_whole_and_is_written_once_there_is_room() {
    if !faults("contexts that cannot be written") {
        return;
    }
    let mut victim = Victim::new();
    victim.start();
    let path = victim.beside("ada.yaml").display().to_string();
    victim.ctl.run(&["operator", "add", "ada", "--file", &path]).expect(0);
    let ada = victim.ctl.with_context(&path);
    let files = ["pki/admin.key.tmp", "pki/admin.crt.tmp", "admin.yaml.tmp"];
    for (number, (file, error)) in files.into_iter().zip(ERRORS.into_iter().cycle()).enumerate() {
        victim.scheduler.kill9();
        let fault = Fault::error("write", error, 1).about([victim.data().join(file)]);
        victim.start_with(&fault);
        victim.scheduler.wait_ready();
        let before = fs::read_to_string(&victim.ctl.context).expect("the context");
        let operator =
            if number == 0 { "admin".to_owned() } else { format!("admin-{}", number + 1) };
        ada.run(&["operator", "rm", &operator, "--yes"]).expect(0);
        wait_until("it says that it cannot", PATIENT, || {
            let said = victim.scheduler.output("stderr");
            let told = said.contains("the context file could not be written");
            if told && said.contains(named(error)) { Ok(()) } else { Err(said) }
        });
        wait_until("the context is good again", PATIENT, || {
            let now = fs::read_to_string(&victim.ctl.context).expect("the context");
            if now == before {
                return Err("it is as it was".to_owned());
            }
            let answer = victim.ctl.run(&["stack", "ls", "--timeout", "5s"]);
            if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
        });
        assert!(victim.scheduler.ended().is_none(), "{fault}");
    }
}

/// Waits until this phase of replacing the authority is told.
#[track_caller]
fn wait_phase(ctl: &Ctl, phase: &str, what: &str) {
    wait_until(&format!("it is {phase}, {what}"), PATIENT, || {
        let answer = ctl.run(&["-o", "json", "authority", "ls"]);
        let reached = answer.code == 0 && answer.json()["phase"] == phase;
        if reached { Ok(()) } else { Err(answer.to_string()) }
    });
}

#[test]
fn an_authority_that_cannot_be_written_is_told_of_and_replaced_once_there_is_room() {
    if !faults("authorities that cannot be written") {
        return;
    }
    let mut victim = Victim::new();
    victim.start();
    let files = [
        "pki/authorities.tmp",
        "pki/scheduler.key.tmp",
        "pki/scheduler.crt.tmp",
        "pki/client.key.tmp",
        "pki/client.crt.tmp",
    ];
    for (file, error) in files.into_iter().zip(ERRORS.into_iter().cycle()) {
        victim.scheduler.kill9();
        let fault = Fault::error("write", error, 1).about([victim.data().join(file)]);
        victim.start_with(&fault);
        victim.scheduler.wait_ready();
        wait_until(&format!("another authority is begun, {fault}"), PATIENT, || {
            let answer = victim.ctl.run(&["authority", "rotate"]);
            assert!([0, 3].contains(&answer.code), "{fault}: {answer}");
            if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
        });
        wait_phase(&victim.ctl, "moving", &fault.to_string());
        wait_until(&format!("the older one is given up, {fault}"), PATIENT, || {
            let answer = victim.ctl.run(&["authority", "finish", "--yes"]);
            if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
        });
        let said = victim.scheduler.output("stderr");
        assert!(said.contains(named(error)) && !said.contains("panicked"), "{fault}: {said}");
        wait_until("people come in", PATIENT, || {
            let answer = victim.ctl.run(&["stack", "ls", "--timeout", "5s"]);
            if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
        });
        victim.scheduler.kill9();
        victim.start();
        victim.ctl.run(&["stack", "ls"]).expect(0);
    }
}

/// Nothing else happens in the cluster: nobody would wake the one that is behind.
#[test]
fn a_follower_that_could_not_write_authorities_is_not_left_behind() {
    if !faults("a follower's authorities") {
        return;
    }
    let world = World::scheduler_only("authority-behind");
    let mut further = world.further_scheduler("further");
    let authorities = world.path("further/pki/authorities.tmp");
    further.wrapper = Fault::error("write", "ENOSPC", 1).about([authorities]).wrapper();
    further.start();
    further.wait_ready();
    wait_until("it votes", PATIENT, || {
        let rows = voting(&world.ctl);
        if rows.len() == 2 { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    world.ctl.run(&["authority", "rotate"]).expect(0);
    wait_phase(&world.ctl, "moving", "although a follower's disk was full");
    let said = further.output("stderr");
    assert!(said.contains("cannot be put in force") && said.contains(named("ENOSPC")), "{said}");
}

/// Past half of its life a certificate is renewed when a scheduler starts. Until it ends it is as good as ever.
#[test]
fn a_certificate_that_cannot_be_written_stays_whole_and_serves_on() {
    if !faults("certificates that cannot be written") {
        return;
    }
    let mut world = World::scheduler_only("renewal");
    let Some(clock) = clock("certificates that cannot be written", &world) else { return };
    let directory = world.path("scheduler/pki");
    let held = || {
        ["scheduler.key", "scheduler.crt"].map(|name| fs::read(directory.join(name)).expect("it"))
    };
    let before = held();
    clock.set("+20d");
    for (file, error) in ["scheduler.key.tmp", "scheduler.crt.tmp"].into_iter().zip(ERRORS) {
        world.scheduler.kill9();
        let fault = Fault::error("write", error, 1);
        let fault = fault.about([directory.join(file)]);
        world.scheduler.wrapper = [fault.wrapper(), clock.wrapper.clone()].concat();
        world.scheduler.start();
        world.scheduler.wait_ready();
        names(&world.scheduler, error, file);
        assert_eq!(held(), before, "{fault}: it is as it was");
        world.ctl.run(&["stack", "ls"]).expect(0);
    }
    world.scheduler.kill9();
    world.scheduler.wrapper = clock.wrapper.clone();
    world.start_scheduler();
    assert_ne!(held(), before, "it is renewed when it can be");
    clock.set("+0");
}
