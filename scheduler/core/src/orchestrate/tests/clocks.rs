//! Deadlines while the wall clock of whoever leads steps, and while leaders change.

use std::collections::BTreeMap;

use model::{NodeName, Timestamp, TokenId, token::Role};

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

fn runs(world: &World, epoch: u64, node: &str) -> bool {
    world.show().contains(&format!("s/web.1 e{epoch} run running@{node}"))
}

/// Seconds pass until the service runs in that epoch on that node; answers how many.
#[track_caller]
fn until_runs(world: &mut World, epoch: u64, node: &str) -> u64 {
    let Ticks(began) = world.ticks();
    for _ in 0..600 {
        if runs(world, epoch, node) {
            return (world.ticks().0 - began) / 1_000;
        }
        world.seconds(1);
    }
    panic!("e{epoch} does not run on {node}: {:#?}", world.show());
}

/// Two nodes; `a` went and came back, so the service is on `b`.
fn fled(form: u32) -> World {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    if form > 1 {
        world.ok(Command::RaiseForm { form });
    }
    world.apply(&web("web:1", 100));
    world.settle();
    world.dark.insert(world.node("a"));
    until_runs(&mut world, 2, "b");
    world.dark.clear();
    world.seconds(10);
    world
}

/// The service flees back to `a`, which goes again; answers when it had moved there.
fn flees_back(world: &mut World) -> Ticks {
    world.dark = [world.node("b")].into();
    until_runs(world, 3, "a");
    let moved = world.ticks();
    world.dark = [world.node("a")].into();
    moved
}

const HOLD: u64 = HOLD_DOWN_MS / 1_000;
/// What the detection of a loss and the start of a task take.
const MOMENT: u64 = 15;

#[test]
fn a_service_is_held_down_for_five_minutes_whatever_the_clock_says() {
    for step in STEPS {
        for steps in [1, 9] {
            let mut world = fled(6);
            let Ticks(moved) = flees_back(&mut world);
            for _ in 0..steps {
                world.seconds(12);
                world.step(step);
            }
            until_runs(&mut world, 4, "b");
            let held = (world.ticks().0 - moved) / 1_000;
            assert!((HOLD - 2..=HOLD + MOMENT).contains(&held), "{step}: {held} s");
        }
    }
}

#[test]
fn a_node_that_was_there_for_long_is_left_at_once_and_one_that_was_not_is_not_whatever_the_clock_says()
 {
    for step in STEPS {
        let mut world = fled(6);
        world.seconds(HOLD);
        world.step(step);
        flees_back(&mut world);
        let took = until_runs(&mut world, 4, "b");
        assert!(took <= MOMENT, "{step}: {took} s");

        let mut world = fled(6);
        world.step(step);
        flees_back(&mut world);
        let took = until_runs(&mut world, 4, "b");
        assert!(took > HOLD - 2 * MOMENT, "{step}: {took} s");
    }
}

#[test]
fn a_new_leader_holds_a_service_down_for_the_rest_that_the_stamps_say_and_for_no_future() {
    let new_leader = |world: &mut World| {
        let ticks = world.ticks();
        world.beats = Heartbeats::new(world.now).waiting(Waits::new(ticks));
    };
    let mut world = fled(6);
    let Ticks(moved) = flees_back(&mut world);
    world.seconds(100);
    new_leader(&mut world);
    until_runs(&mut world, 4, "b");
    let held = (world.ticks().0 - moved) / 1_000;
    assert!((HOLD - 2..=HOLD + MOMENT).contains(&held), "{held} s");
    // The stamp of the move is of a time that has not come.
    let mut world = fled(6);
    flees_back(&mut world);
    world.seconds(20);
    world.step(-HOUR);
    new_leader(&mut world);
    assert!(until_runs(&mut world, 4, "b") <= MOMENT);
}

#[test]
fn before_every_scheduler_leaves_it_to_the_leader_nothing_is_planned_that_the_log_refuses() {
    for step in [0, 240_000, -240_000, HOUR, -HOUR] {
        let mut world = fled(1);
        let Ticks(moved) = flees_back(&mut world);
        world.seconds(30);
        world.step(step);
        until_runs(&mut world, 4, "b");
        let held = (world.ticks().0 - moved) / 1_000;
        assert!(held >= HOLD - 2, "{step}: {held} s");
    }
}

#[test]
fn who_asks_is_told_of_the_hold_by_the_clock_of_the_leader() {
    let mut world = fled(6);
    flees_back(&mut world);
    world.seconds(20);
    world.step(HOUR);
    world.lead();
    let waits = world.beats.waits.clone();
    let soft = view::Soft { waits: &waits, ..view::Soft::none(world.now) };
    let why = view::tasks(&world.cluster, &soft, None)[0].waiting_for.clone().unwrap();
    assert!(why.starts_with("a is down; it comes and goes, and the service moved 2"), "{why}");
}

/// A token that is good for a minute.
fn token(world: &mut World) -> TokenId {
    let expires_at = world.now.plus_millis(60_000);
    let role = Role::Node;
    let made = world.ok(Command::CreateToken { role, secret_hash: [7; 32], expires_at });
    let Outcome::Token(token) = made else { panic!("{made:?}") };
    token
}

fn joins(token: TokenId) -> Command {
    Command::JoinNode {
        name: NodeName::new("late").unwrap(),
        labels: BTreeMap::new(),
        address: String::new(),
        token,
        secret_hash: [7; 32],
    }
}

fn ended(world: &World, token: TokenId) -> Option<Timestamp> {
    world.cluster.tokens()[&token].ended_at
}

#[test]
fn a_token_is_good_for_its_time_and_no_step_of_the_clock_makes_that_longer() {
    for step in STEPS {
        let mut world = World::new(&[("a", 1_000)]);
        world.ok(Command::RaiseForm { form: 6 });
        let token = token(&mut world);
        world.seconds(5);
        world.step(step);
        world.seconds(50);
        // A step ahead ends it, for what is over by the wall clock is over.
        assert_eq!(ended(&world, token).is_some(), step > 0, "{step}");
        world.seconds(10);
        assert!(ended(&world, token).is_some(), "{step}");
        world.check_snapshot();
        assert_eq!(world.refused(joins(token)), Rejection::BadToken, "{step}");
        // Nor does a clock that is set right again.
        world.step(-step);
        world.step(-60_000);
        assert_eq!(world.refused(joins(token)), Rejection::BadToken, "{step}");
        let rows = view::tokens(&world.cluster, world.now);
        assert_eq!(rows.last().unwrap().state, "expired");
        world.seconds(3);
    }
}

#[test]
fn a_token_that_was_used_or_revoked_is_not_ended_and_none_before_every_scheduler_reads_it() {
    let mut world = World::new(&[("a", 1_000)]);
    world.ok(Command::RaiseForm { form: 4 });
    let early = token(&mut world);
    world.seconds(70);
    assert_eq!(ended(&world, early), None);
    assert_eq!(world.refused(joins(early)), Rejection::BadToken);
    world.ok(Command::RaiseForm { form: 6 });
    world.seconds(1);
    assert!(ended(&world, early).is_some());
    let (used, revoked) = (token(&mut world), token(&mut world));
    world.ok(joins(used));
    world.ok(Command::RevokeToken { token: revoked });
    world.seconds(70);
    assert_eq!(ended(&world, used), None);
    let change = Change::EndToken { token: used };
    let basis = world.cluster.revision();
    let taken = world.ok(Command::Plan { basis, changes: vec![change] });
    assert!(matches!(taken, Outcome::Planned { refused } if refused.len() == 1));
}
