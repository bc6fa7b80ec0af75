//! Two of three schedulers are destroyed: the one that is left goes on, with everything that runs.

use std::{fs, path::Path, process::Command};

use siso_tests::{Answer, Ctl, PATIENT, World, program, wait_until};

use crate::schedulers::{STACK, add, wait_voters};

#[track_caller]
fn shows(answer: &Answer, words: &[&str]) {
    for word in words {
        assert!(answer.stdout.contains(word), "stdout does not say {word:?}: {answer}");
    }
}

fn recover(ctl: &Ctl, data: &str, sure: bool) -> Answer {
    let program = program("siso-scheduler").display().to_string();
    let mut line = vec!["scheduler", "recover", "--data-dir", data, "--program", &program];
    if sure {
        line.push("--i-know-others-are-dead");
    }
    ctl.run(&line)
}

#[test]
fn a_directory_from_a_backup_is_recovered_and_what_it_knew_runs_on() {
    let Some(mut world) = World::new("backup") else { return };
    world.apply(STACK).expect(0);
    let running = world.wait_running("calm", 2);
    let (directory, backup) = (world.path("scheduler"), world.path("backup"));
    world.scheduler.stop();
    copy(&directory, &backup);
    world.start_scheduler();
    world.wait_session(true);
    // Numbers and sets that the backup knows nothing of.
    let later = STACK.replace("calm", "later");
    for replicas in ["replicas: 3", "replicas: 1"] {
        world.apply(&later.replace("replicas: 2", replicas)).expect(0);
    }
    let forgotten = world.wait_running("later", 1);
    world.scheduler.kill9();
    fs::remove_dir_all(&directory).expect("it is lost");
    copy(&backup, &directory);

    let data = directory.display().to_string();
    recover(&world.ctl, &data, true).expect(3).says(&["--from-backup"]);
    let program = program("siso-scheduler").display().to_string();
    let line =
        ["scheduler", "recover", "--data-dir", &data, "--program", &program, "--from-backup"];
    shows(&world.ctl.run(&line).expect(0), &["goes on as"]);
    world.start_scheduler();
    world.wait_node("ready");
    world.wait_session(true);
    // The agent takes its sets, none of its new tasks is taken for one that was forgotten.
    world.apply(&later).expect(0);
    let anew = world.wait_running("later", 2);
    assert!(forgotten.keys().all(|id| !anew.contains_key(id)), "{forgotten:?} {anew:?}");
    assert_eq!(world.wait_running("calm", 2), running, "what was known runs on");
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp").success());
}

#[test]
fn the_last_of_three_schedulers_is_recovered_and_no_container_notices() {
    let Some(mut world) = World::new("recovered") else { return };
    world.apply(STACK).expect(0);
    let running = world.wait_running("calm", 2);
    let mut second = add(&world, "second", 2);
    let mut third = add(&world, "third", 3);
    let listed = world.ctl.run(&["scheduler", "ls"]).expect(0);
    shows(&listed, &["Three schedulers survive the loss of one"]);
    let known = world.ctl.json(&["status"])["cluster"].clone();

    let (kept, away) = (world.path("second"), world.path("destroyed"));
    second.kill9();
    third.kill9();
    fs::rename(&kept, &away).expect("the directory of the second");
    world.wait_session(false);
    let listed = world.ctl.run(&["scheduler", "ls", "--timeout", "30s"]).expect(0);
    shows(&listed, &["Only 1 of 3 can be reached, which is no majority", "scheduler recover"]);

    let data = world.path("scheduler").display().to_string();
    recover(&world.ctl, &data, false).expect(1).says(&["nothing was changed", "hint"]);
    let used = recover(&world.ctl, &data, true).expect(3);
    used.says(&["is used by another siso-scheduler", "stop the scheduler first"]);
    world.scheduler.stop();
    // One that answers is not lost.
    third.start();
    third.wait_ready();
    let alive = recover(&world.ctl, &data, true).expect(3);
    alive.says(&["answers: it is not lost", "hint"]);
    third.kill9();
    let recovered = recover(&world.ctl, &data, true).expect(0);
    shows(&recovered, &["left behind for good", "goes on as"]);

    world.start_scheduler();
    world.wait_node("ready");
    world.wait_session(true);
    assert_ne!(world.context_value("cluster"), world.cluster(), "it has an id of its own");
    assert_eq!(world.ctl.json(&["status"])["cluster"], known);
    assert_eq!(world.wait_running("calm", 2), running, "no container was restarted");
    let events = world.events();
    assert!(events.iter().any(|event| event["kind"] == "recovered"), "{events:#?}");
    // It decides, and the agent does what it says.
    world.ctl.run(&["scale", "calm/web=3"]).expect(0);
    let now = world.wait_running("calm", 3);
    assert!(running.iter().all(|held| now.get(held.0) == Some(held.1)), "{running:?}, {now:?}");

    // One that was not destroyed after all: it is told, ends, and says what to do; nothing it is asked
    // is done.
    third.start();
    let told = wait_until("the old voter ends", PATIENT, || match third.ended() {
        Some(status) if !status.success() => Ok(third.output("stderr")),
        other => Err(format!("{other:?}")),
    });
    for says in ["was left behind when cluster", "sisoctl token create --role scheduler"] {
        assert!(told.contains(says), "{told}");
    }
    third.start();
    assert!(third.ready_or_ended().is_err(), "its directory remembers");
    wait_voters(&world.ctl, 1);

    // Two new ones, one of them on the machine of an old voter.
    fs::rename(world.path("third"), world.path("third-of-before")).expect("its directory");
    let fourth = add(&world, "third", 2);
    let mut fifth = add(&world, "fifth", 3);
    fifth.kill9();
    world.ctl.run(&["scale", "calm/web=2"]).expect(0);
    let left = world.wait_running("calm", 2);
    assert!(left.iter().all(|held| now.get(held.0) == Some(held.1)), "{left:?}, {now:?}");
    drop(fourth);
}

#[test]
fn what_cannot_be_recovered_says_so_and_is_left_alone() {
    let mut world = World::scheduler_only("not-recovered");
    world.scheduler.stop();
    let data = world.path("scheduler").display().to_string();
    let before = fs::read(world.path("scheduler/identity")).expect("the identity");
    let alone = recover(&world.ctl, &data, true).expect(3);
    alone.says(&["is the only one of its cluster", "start it"]);
    assert_eq!(fs::read(world.path("scheduler/identity")).expect("the identity"), before);
    let empty = world.path("empty").display().to_string();
    let nobody = recover(&world.ctl, &empty, true).expect(3);
    nobody.says(&["is not the directory of a scheduler that is a member"]);
    world.start_scheduler();
}

#[test]
fn a_follower_whose_leader_is_gone_for_good_lists_what_is_left_and_is_recovered() {
    let mut world = World::scheduler_only("orphan");
    let mut second = add(&world, "second", 2);
    let survivor = world.ctl_of("second");
    world.scheduler.kill9();
    let listed = wait_until("it sees that the other is gone", PATIENT, || {
        let listed = survivor.run(&["scheduler", "ls", "--timeout", "20s"]);
        if listed.stdout.contains("Only 1 of 2") { Ok(listed) } else { Err(listed.to_string()) }
    });
    shows(&listed, &["which is no majority", "sisoctl scheduler recover"]);
    assert!(!listed.stdout.contains("leader"), "{listed}");
    second.stop();
    let data = world.path("second").display().to_string();
    shows(&recover(&survivor, &data, true).expect(0), &["left behind for good: 1 at"]);
    second.start();
    second.wait_ready();
    survivor.run(&["token", "create", "--role", "scheduler"]).expect(0);
    // The founder is left behind as any other.
    world.scheduler.start();
    assert!(!world.scheduler.wait_ended().success());
    let said = world.scheduler.output("stderr");
    assert!(said.contains("scheduler 1 was left behind"), "{said}");
}
