//! Deadlines while the wall clock of whoever leads steps, and while leaders change.

use super::*;
use crate::{Heartbeats, Ticks, Waits, orchestrate::READY_DEADLINE_MS};

const MINUTES: u64 = READY_DEADLINE_MS / 60_000;
const HOUR: i64 = 3_600_000;
/// What people and time servers do to a clock; none of it is time that passes.
const STEPS: [i64; 5] = [0, HOUR, -HOUR, 30 * 24 * HOUR, -2 * 365 * 24 * HOUR];

/// A service that runs, and a replacement that does not become healthy.
fn late() -> World {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    let late = service("late:1", 100).with(check_health);
    world.apply(&stack("s", &[("web", late)]));
    world.seconds(10);
    world.expect(&["s/web.1 e1 run running@a", "s/web.1 e2 run running@a"]);
    world
}

fn given_up(world: &World) -> bool {
    let service = world.cluster.service(&stack_name("s"), &service_name("web")).unwrap();
    service.failed.as_ref().is_some_and(|failed| failed.reason.contains("was not ready after"))
}

#[test]
fn a_replacement_that_does_not_get_ready_is_given_up_in_time_whatever_the_clock_says() {
    for step in STEPS {
        let mut world = late();
        world.step(step);
        world.seconds(60 * MINUTES - 20);
        assert!(!given_up(&world), "{step}: too soon");
        world.seconds(20);
        assert!(given_up(&world), "{step}: never");
    }
}

#[test]
fn a_clock_that_steps_again_and_again_ends_no_deadline_early_and_none_never() {
    let mut world = late();
    for minute in 0..MINUTES {
        assert!(!given_up(&world), "after {minute} minutes");
        world.step(STEPS[usize::try_from(minute).unwrap() % STEPS.len()]);
        world.seconds(60);
    }
    world.seconds(10);
    assert!(given_up(&world));
}

#[test]
fn a_new_leader_measures_a_deadline_anew_and_in_full() {
    let mut world = late();
    world.seconds(60 * MINUTES - 60);
    let Ticks(now) = world.ticks();
    world.beats = Heartbeats::new(world.now).waiting(Waits::new(Ticks(now)));
    world.seconds(60 * MINUTES - 20);
    assert!(!given_up(&world));
    world.seconds(30);
    assert!(given_up(&world));
}

#[test]
fn what_was_ready_for_a_moment_does_not_take_over_because_the_clock_steps() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    world.apply(&web("web:2", 100));
    while !world.show().contains(&"s/web.1 e2 run running@a".to_owned()) {
        world.seconds(1);
    }
    world.lead();
    world.step(HOUR);
    world.lead();
    world.expect(&["s/web.1 e1 run running@a", "s/web.1 e2 run running@a"]);
    world.seconds(3);
    world.settle();
    world.expect(&["s/web.1 e2 run running@a"]);
}

#[test]
fn a_drain_ends_at_its_deadline_whatever_the_clock_says() {
    const DEADLINE: u64 = 300;
    for step in STEPS {
        let mut world = World::new(&[("a", 1_000)]);
        world.ok(Command::RaiseForm { form: 4 });
        world.apply(&web("web:1", 100));
        world.settle();
        let (node, until) = (world.node("a"), world.now.plus_millis(DEADLINE * 1_000));
        world.ok(Command::DrainNode { node, until });
        let drains = |world: &World| world.cluster.node(node).unwrap().drain.is_some();
        // There is no other node: it waits for one.
        world.seconds(5);
        world.step(step);
        world.check_snapshot();
        world.seconds(DEADLINE - 10);
        assert!(drains(&world), "{step}: too soon");
        world.seconds(15);
        assert!(!drains(&world), "{step}: never");
        assert!(world.cluster.node(node).unwrap().drain_since.is_none());
    }
}

/// Before every scheduler can write down when it began, the wall clock has to do.
#[test]
fn a_drain_of_before_ends_when_the_wall_clock_says_so() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    let (node, until) = (world.node("a"), world.now.plus_millis(60_000));
    world.ok(Command::DrainNode { node, until });
    assert_eq!(world.cluster.node(node).unwrap().drain_since, None);
    world.seconds(55);
    assert!(world.cluster.node(node).unwrap().drain.is_some());
    world.seconds(10);
    assert!(world.cluster.node(node).unwrap().drain.is_none());
}
