//! Stories of moves that nobody asked for.

use model::{ServiceSpec, TaskReport, TaskState, TaskStatus, view::AutomaticView};

use super::*;
use crate::{
    ClusterImage, Command, Outcome,
    cluster::AutomaticMove,
    testing::{With, World, mount, publish, service, service_name, single, stack, stack_name},
    view::{self, Soft},
};

const ON: Command = Command::SetAutomatic { on: true };

/// Two machines with something on each, so that 800 MiB have room once the first has moved.
fn crowded(spec: ServiceSpec) -> World {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.seat("one", spec, "a");
    let stays = service("web:1", 500).with(|s| publish(s, 80));
    world.seat("two", stays, "b");
    world
}

fn is_stuck(world: &World) -> bool {
    world.cluster.pending().next().is_some()
}

fn shown(world: &World) -> AutomaticView {
    let soft = Soft { waits: &world.beats.waits, ..Soft::none(world.now) };
    view::status(&world.cluster, &soft).automatic_rebalance.unwrap()
}

fn moves(world: &World) -> usize {
    world.cluster.automatic().map_or(0, |held| held.moves.len())
}

#[test]
fn what_is_stuck_for_long_is_rescued_by_itself_and_everybody_is_told_why() {
    let mut world = crowded(service("web:1", 400));
    assert_eq!(world.ok(ON), Outcome::Done);
    world.apply(&stack("big", &[("db", service("db:1", 800))]));
    world.seconds(PATIENCE_MS / 1_000);
    assert_eq!((is_stuck(&world), moves(&world)), (true, 0), "{:#?}", world.show());
    let ready = |world: &World| world.cluster.tasks().values().filter(|t| t.is_ready()).count();
    for _ in 0..20 {
        world.seconds(1);
        assert!(ready(&world) >= 2, "somebody is missed: {:#?}", world.show());
        world.check_snapshot();
    }
    assert!(!is_stuck(&world), "{:#?}", world.show());
    let why = "so that big/db.1 has room";
    assert_eq!(
        world.warned("moving"),
        [format!("one/web.1 is moved from a to b, by itself, {why}")]
    );
    assert_eq!(world.warned("moved"), [format!("one/web.1 moved from a to b, {why}")]);
    let (one, web) = (stack_name("one"), service_name("web"));
    let told = view::explain(&world.cluster, &one, &web, None, &Soft::none(world.now)).unwrap();
    let reason = &told[0].decided[0].reason;
    assert_eq!(*reason, format!("it was moved here by itself {why}; fits, leaves 100.0 MiB free"));
    let view = shown(&world);
    assert!(view.on && view.paused.is_none() && view.since.is_some());
    assert_eq!((view.moves_last_hour, view.most_per_hour), (1, 10));
    assert_eq!((view.moves[0].state.as_str(), view.moves[0].reason.as_str()), ("moved", why));
    let before = world.show();
    world.pass(AN_HOUR);
    world.settle();
    world.seconds(60);
    assert_eq!((world.show(), moves(&world)), (before, 1), "nothing is stuck: nothing moves");
    assert_eq!(shown(&world).moves_last_hour, 0);
}

#[test]
fn it_is_off_until_it_is_turned_on_and_a_plan_of_before_counts_for_nothing_once_it_is_off() {
    let mut world = crowded(service("web:1", 400));
    assert_eq!(world.ok(Command::SetAutomatic { on: false }), Outcome::Unchanged);
    assert_eq!(shown(&world), AutomaticView { most_per_hour: 10, ..AutomaticView::default() });
    world.apply(&stack("big", &[("db", service("db:1", 800))]));
    world.seconds(120);
    assert_eq!((is_stuck(&world), moves(&world)), (true, 0));
    let old = world.cluster.tasks_of(&stack_name("one")).next().unwrap().id;
    let (task, to, reason) = (old, world.node("b"), "so that it is so".to_owned());
    let command = single(&world, Change::MoveTask { task, to, reason });
    let refused = |world: &mut World, command: &Command| {
        let Outcome::Planned { refused } = world.ok(command.clone()) else { panic!() };
        refused
    };
    assert_eq!(refused(&mut world, &command), ["automatic rebalance is off"]);
    assert_eq!(world.ok(ON), Outcome::Done);
    assert_eq!(world.ok(ON), Outcome::Unchanged);
    assert_eq!(refused(&mut world, &command), Vec::<String>::new());
    assert_eq!(world.ok(Command::SetAutomatic { on: false }), Outcome::Done);
    world.seconds(60);
    assert_eq!(shown(&world).moves[0].state, "moved", "what has begun is brought to its end");
    assert!(!shown(&world).on);
    let said = ["automatic rebalance is turned on", "automatic rebalance is turned off"];
    assert_eq!(world.warned("rebalance"), said);
}

#[test]
fn nobody_who_would_be_interrupted_or_is_bound_is_moved() {
    for spec in [
        service("web:1", 400).with(|s| publish(s, 81)),
        service("web:1", 400).with(|s| s.strict_singleton = true),
        service("web:1", 400).with(|s| mount(s, "data")),
        service("slow:1", 400),
    ] {
        let mut world = crowded(spec.clone());
        world.ok(ON);
        world.apply(&stack("big", &[("db", service("db:1", 800))]));
        world.seconds(120);
        assert_eq!((is_stuck(&world), moves(&world)), (true, 0), "{spec:?}");
    }
}

#[test]
fn nothing_is_moved_while_anything_else_is_on_its_way() {
    let mut world = crowded(service("web:1", 400));
    world.join("c", 200, &[]);
    world.seat("three", service("web:1", 50), "c");
    world.ok(ON);
    world.apply(&stack("three", &[("web", service("slow:2", 50))]));
    world.apply(&stack("big", &[("db", service("db:1", 800))]));
    world.seconds(120);
    assert_eq!((is_stuck(&world), moves(&world)), (true, 0), "{:#?}", world.show());
    world.ok(Command::RollbackStack { stack: stack_name("three"), to: None });
    world.seconds(60);
    assert_eq!((is_stuck(&world), moves(&world)), (false, 1), "{:#?}", world.show());
}

/// The larger one must not be given the room that only the smaller one can use.
#[test]
fn what_waits_is_placed_as_the_planner_places_it_and_not_by_size() {
    let mut world = World::new(&[("n1", 1_000), ("n2", 1_000), ("n3", 1_000), ("n4", 1_000)]);
    let stays = |mib| service("web:1", mib).with(|s| publish(s, 80));
    for (node, mib) in [("n1", 200), ("n2", 300), ("n3", 500), ("n4", 800)] {
        world.seat(&format!("fixed-{node}"), stays(mib), node);
    }
    world.seat("m", service("web:1", 500), "n1");
    world.seat("n", service("web:1", 200), "n2");
    let there = "node.hostname == n1".parse().unwrap();
    let bound = service("db:1", 500).with(|s| s.placement.constraints = vec![there]);
    world.ok(ON);
    world.apply(&stack("x", &[("db", service("db:1", 600))]));
    world.apply(&stack("y", &[("db", bound)]));
    world.seconds(120);
    assert!(!is_stuck(&world), "{:#?}", world.show());
}

#[test]
fn what_was_moved_is_not_moved_again_within_an_hour_whatever_the_wall_clock_says() {
    let mut world = crowded(service("web:1", 400));
    world.ok(ON);
    world.apply(&stack("big", &[("db", service("db:1", 800))]));
    world.seconds(60);
    assert_eq!((is_stuck(&world), moves(&world)), (false, 1));
    for gone in ["big", "two"] {
        world.ok(Command::RemoveStack { stack: stack_name(gone), volumes: false });
    }
    world.settle();
    let there = "node.hostname == b".parse().unwrap();
    let bound = service("db:1", 800).with(|s| s.placement.constraints = vec![there]);
    world.apply(&stack("next", &[("db", bound)]));
    world.seconds(60);
    world.step(3_600_000);
    world.seconds(60);
    assert_eq!((is_stuck(&world), moves(&world)), (true, 1), "{:#?}", world.show());
    world.pass(AN_HOUR);
    world.seconds(60);
    assert_eq!((is_stuck(&world), moves(&world)), (false, 2), "{:#?}", world.show());
}

/// The successor that is being moved by itself fails for good.
fn fail_the_move(world: &mut World) {
    let moving = world.cluster.tasks().values().find(|task| task.moves_from.is_some()).unwrap();
    let (task, node) = (moving.id, moving.node.unwrap());
    let status = TaskStatus {
        state: TaskState::Failed,
        sequence: moving.status.sequence + 9,
        exit_code: Some(1),
        ..moving.status.clone()
    };
    world.ok(Command::ReportTasks { node, reports: vec![TaskReport { task, status }] });
}

#[test]
fn after_a_move_that_failed_it_pauses_and_says_so() {
    let mut world = crowded(service("web:1", 400));
    world.join("c", 1_000, &[]);
    world.seat("three", service("web:1", 450), "c");
    world.ok(ON);
    world.apply(&stack("big", &[("db", service("db:1", 800))]));
    while moves(&world) == 0 {
        world.lead();
        world.pass(1_000);
    }
    fail_the_move(&mut world);
    world.seconds(120);
    assert_eq!((is_stuck(&world), moves(&world)), (true, 1), "{:#?}", world.show());
    let given_up = world.warned("moved");
    assert!(given_up[0].ends_with("; no task is moved by itself for an hour"), "{given_up:?}");
    let soft = Soft { waits: &world.beats.waits, ..Soft::none(world.now) };
    let problems = view::status(&world.cluster, &soft).problems;
    let paused = problems.iter().find(|held| held.what == "automatic rebalance is paused").unwrap();
    assert!(
        paused.cause.starts_with("the move of one/web.1 from a to b was given up: "),
        "{paused:?}"
    );
    assert_eq!(shown(&world).moves[0].state, "failed");
    assert_eq!(world.ok(ON), Outcome::Done, "a person knows better");
    assert_eq!(shown(&world).paused, None);
    world.seconds(60);
    assert_eq!((is_stuck(&world), moves(&world)), (false, 2), "{:#?}", world.show());
}

#[test]
fn of_a_pause_there_is_nothing_left_after_an_hour() {
    let mut world = crowded(service("web:1", 400));
    world.ok(ON);
    world.apply(&stack("big", &[("db", service("db:1", 800))]));
    while moves(&world) == 0 {
        world.lead();
        world.pass(1_000);
    }
    fail_the_move(&mut world);
    world.seconds(60);
    assert!(shown(&world).paused.is_some());
    world.pass(AN_HOUR);
    world.seconds(60);
    assert_eq!((is_stuck(&world), moves(&world)), (false, 2), "{:#?}", world.show());
    assert_eq!(shown(&world).paused, None);
}

#[test]
fn what_would_take_more_moves_than_may_begin_is_not_begun() {
    let mut world = World::new(&[("a", 1_000), ("b", 500), ("c", 500)]);
    world.seat("one", service("web:1", 400), "a");
    world.seat("two", service("web:1", 400), "a");
    world.ok(ON);
    let mut image = ClusterImage::from(&world.cluster);
    let begun = AutomaticMove {
        at: world.now,
        stack: stack_name("gone"),
        service: service_name("web"),
        slot: 1,
        task: TaskId::new(999),
        from: world.node("a"),
        to: world.node("b"),
        reason: "so that it was so".to_owned(),
        ended_at: Some(world.now),
        failed: None,
    };
    image.automatic.as_mut().unwrap().moves = vec![begun; MOST_AN_HOUR - 1];
    world.cluster = Cluster::try_from(image).unwrap();
    world.apply(&stack("big", &[("db", service("db:1", 900))]));
    world.seconds(120);
    assert_eq!((is_stuck(&world), moves(&world)), (true, 9), "{:#?}", world.show());
    world.pass(AN_HOUR);
    world.seconds(120);
    assert_eq!((is_stuck(&world), moves(&world)), (false, 10), "{:#?}", world.show());
    let told = &world.cluster.automatic().unwrap().moves;
    let reasons: Vec<&str> = told.iter().rev().take(2).map(|held| held.reason.as_str()).collect();
    let why = "so that big/db.1 has room";
    assert_eq!(reasons, [why.to_owned(), format!("{why} (first of 2 moves)")]);
}

#[test]
fn nothing_is_looked_for_twice_and_nothing_at_all_for_what_no_move_can_help() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.seat("one", service("web:1", 600), "a");
    world.seat("two", service("web:1", 600), "b");
    world.ok(ON);
    world.apply(&stack("huge", &[("db", service("db:1", 2_000))]));
    world.seconds(60);
    assert_eq!(world.lead_with_plan().sought, None);
    world.apply(&stack("big", &[("db", service("db:1", 800))]));
    world.seconds(60);
    let first = world.lead_with_plan().sought.unwrap();
    assert!(first.found().shifts.is_empty());
    world.seconds(5);
    let again = world.lead_with_plan().sought.unwrap();
    assert!(Arc::ptr_eq(&first, &again), "the answer is the one that was found before");
    assert_eq!(moves(&world), 0);
}

#[test]
fn those_that_cannot_be_helped_are_not_in_the_way_of_the_one_that_can() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000), ("c", 500)]);
    let bound = |node: &str, mib, replicas| {
        let there = format!("node.hostname == {node}").parse().unwrap();
        service("db:1", mib).with(|s| {
            (s.replicas, s.placement.constraints) = (replicas, vec![there]);
        })
    };
    world.seat("one", service("web:1", 400), "a");
    world.seat("two", bound("b", 700, 1), "b");
    world.ok(ON);
    world.apply(&stack("many", &[("db", bound("b", 800, 20))]));
    world.apply(&stack("one-more", &[("db", bound("a", 800, 1))]));
    world.seconds(60);
    assert_eq!(
        world.warned("moved"),
        ["one/web.1 moved from a to c, so that one-more/db.1 has room"]
    );
    assert_eq!(world.cluster.pending().count(), 20);
}

#[test]
fn a_reason_names_a_few_and_counts_the_others() {
    let mut world = World::new(&[]);
    let many = service("web:1", 100).with(|s| s.replicas = 5);
    world.apply(&stack("s", &[("web", many)]));
    world.lead();
    let ids: Vec<TaskId> = world.cluster.tasks().keys().copied().collect();
    let told = |count: usize, moves| reason(&world.cluster, &ids[..count], moves);
    assert_eq!(told(1, 1), "so that s/web.1 has room");
    assert_eq!(told(2, 3), "so that s/web.1 and s/web.2 have room (first of 3 moves)");
    assert_eq!(told(5, 1), "so that s/web.1, s/web.2, s/web.3 and 2 more have room");
}
