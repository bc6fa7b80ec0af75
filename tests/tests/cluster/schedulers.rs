//! Three schedulers: whichever dies, the others go on, and no container notices.

use serde_json::Value;
use siso_tests::{Ctl, Daemon, PATIENT, World, wait_until};

pub(crate) const STACK: &str = "
name: calm
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    deploy: { replicas: 2 }
";

fn status(ctl: &Ctl) -> Value {
    ctl.json(&["status"])
}

/// Waits until so many vote.
#[track_caller]
pub(crate) fn wait_voters(ctl: &Ctl, count: usize) {
    wait_until(&format!("{count} schedulers vote"), PATIENT, || {
        let status = status(ctl);
        let voters = status["schedulers"].as_array().map_or(0, Vec::len);
        if voters == count { Ok(()) } else { Err(status.to_string()) }
    });
}

/// A second and a third scheduler, which vote.
#[track_caller]
pub(crate) fn two_more(world: &World) -> [Daemon; 2] {
    [add(world, "second", 2), add(world, "third", 3)]
}

/// A further scheduler, with which so many vote.
#[track_caller]
pub(crate) fn add(world: &World, name: &str, voters: usize) -> Daemon {
    let mut scheduler = world.further_scheduler(name);
    scheduler.start();
    scheduler.wait_ready();
    wait_voters(&world.ctl, voters);
    scheduler
}

#[test]
fn whichever_of_three_schedulers_dies_the_others_go_on_and_nothing_restarts() {
    let Some(mut world) = World::new("three") else { return };
    world.apply(STACK).expect(0);
    let running = world.wait_running("calm", 2);
    let further = two_more(&world);
    let said = world.ctl.run(&["status"]).expect(0).stdout;
    assert!(said.contains("schedulers   3"), "{said}");
    let [mut second, mut third] = further;

    // The one that leads, which is also the only one the agent was started with.
    world.scheduler.kill9();
    // Its context names the others.
    world.ctl.run(&["scale", "calm/web=3"]).expect(0);
    world.ctl = world.ctl_of("third");
    let now = world.wait_running("calm", 3);
    assert!(running.iter().all(|held| now.get(held.0) == Some(held.1)), "{running:?}, {now:?}");
    world.wait_node("ready");
    assert_ne!(status(&world.ctl)["leader"], Value::Null);

    // Back, it follows and answers; then another dies.
    world.scheduler.start();
    world.scheduler.wait_ready();
    second.kill9();
    let first = world.ctl_of("scheduler");
    first.run(&["scale", "calm/web=2"]).expect(0);
    assert_eq!(world.wait_running("calm", 2).len(), 2);

    // All of them at once, as after a power cut.
    second.start();
    second.wait_ready();
    world.scheduler.kill9();
    second.kill9();
    third.kill9();
    for scheduler in [&mut second, &mut third, &mut world.scheduler] {
        scheduler.start();
    }
    for scheduler in [&mut second, &mut third, &mut world.scheduler] {
        scheduler.wait_ready();
    }
    wait_until("they answer again", PATIENT, || {
        let answer = world.ctl.run(&["ps", "calm"]);
        if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
    });
    let left = world.wait_running("calm", 2);
    assert!(left.iter().all(|held| now.get(held.0) == Some(held.1)), "{left:?}, {now:?}");
    wait_voters(&world.ctl, 3);
}

#[test]
fn a_lone_survivor_of_three_answers_nothing_it_cannot_know() {
    let world = World::scheduler_only("survivor");
    let mut further = two_more(&world);
    for scheduler in &mut further {
        scheduler.kill9();
    }
    let asked = world.ctl.run(&["token", "create", "--role", "node", "--timeout", "20s"]);
    assert!(asked.code == 3 || asked.code == 4, "{asked}");
    for question in ["status", "ps"] {
        let told = world.ctl.run(&[question]).expect(4);
        told.says(&["no majority of the schedulers is heard", "sisoctl scheduler ls"]);
    }
    for scheduler in &mut further[..1] {
        scheduler.start();
        scheduler.wait_ready();
    }
    wait_until("two of three go on", PATIENT, || {
        let asked = world.ctl.run(&["token", "create", "--role", "node"]);
        if asked.code == 0 { Ok(()) } else { Err(asked.to_string()) }
    });
}

#[test]
fn a_context_of_before_finds_schedulers_that_joined_since_and_says_whom_it_asked() {
    let mut world = World::scheduler_only("learned");
    let copied = world.path("laptop.yaml");
    std::fs::copy(&world.ctl.context, &copied).expect("a copy of the context");
    let laptop = world.ctl.with_context(&copied.display().to_string());
    let _others = two_more(&world);
    // The first leads, and is the only one the copy names. It hands over, is removed and ends.
    let rows = laptop.json(&["scheduler", "ls"]);
    let first = rows.as_array().expect("a list").iter().find(|row| row["role"] == "leader");
    let id = first.expect("a leader")["id"].to_string();
    let removed = laptop.run(&["scheduler", "rm", &id, "--yes"]).expect(0);
    assert!(removed.stdout.contains(&format!("scheduler {id} is removed")), "{removed}");
    assert!(!world.scheduler.wait_ended().success());
    let said = world.scheduler.output("stderr");
    assert!(said.contains("was removed from cluster"), "{said}");
    assert!(!said.contains("did not end in time"), "something held up its end: {said}");
    let asked = laptop.run(&["scheduler", "ls"]).expect(0);
    assert!(asked.stdout.contains("no better than one"), "{asked}");
    world.scheduler.start();
    assert!(world.scheduler.ready_or_ended().is_err(), "its directory remembers");
    // One of the two that are left is removed as well; the copy still finds the last.
    let id = asked.stdout.lines().find(|line| line.contains("follower")).expect("a follower");
    let id = id.split_whitespace().next().expect("its number").to_owned();
    laptop.run(&["scheduler", "rm", &id, "--yes"]).expect(0).says(&["survives the loss of none"]);
    laptop.run(&["token", "create", "--role", "node"]).expect(0);
    let told = laptop.run(&["status"]).expect(0);
    let learned = std::fs::read_to_string(copied.with_extension("schedulers")).expect("learned");
    assert_eq!(learned.lines().count(), 1, "{learned}");
    assert!(told.stdout.contains(learned.trim()), "{told}");
    // Whom it knows of is asked first; with that one gone, it says what it did.
    std::fs::remove_file(copied.with_extension("schedulers")).expect("it is there");
    laptop.run(&["status", "--timeout", "5s"]).expect(4);
    let both = format!("{}\n{}\n", learned.trim(), world.endpoint());
    std::fs::write(copied.with_extension("schedulers"), both).expect("written");
    laptop.run(&["status"]).expect(0).says(&["a scheduler this context does not name"]);
}
