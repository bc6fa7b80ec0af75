//! `rebalance`: what moves, in which order, and that nothing is left to gain after it.

use model::{MilliCpu, Resources, ServiceSpec, view::RebalanceView};
use proptest::prelude::*;

use super::*;
use crate::{placement::Goal, testing::service_name, view::rebalance::rebalance_within};

/// Enough for a handful of tasks.
const STEPS: u64 = 200_000;

fn asked(world: &World, goal: Goal) -> RebalanceView {
    let before = world.cluster.clone();
    let view = rebalance_within(&world.cluster, goal, world.now, STEPS).unwrap();
    assert_eq!(world.cluster, before, "asking changes nothing");
    view
}

/// `web.1 a>b` for each move.
fn moves(view: &RebalanceView) -> Vec<String> {
    let line = |held: &model::view::RebalanceMove| {
        format!("{}.{} {}>{}", held.service, held.replica, held.from, held.to)
    };
    view.moves.iter().map(line).collect()
}

/// Makes the moves one by one, as a person would; nothing that served is missed meanwhile but what stops
/// first.
#[track_caller]
fn make(world: &mut World, view: &RebalanceView) {
    for held in &view.moves {
        let replica = (stack_name(&held.stack), service_name(&held.service), held.replica);
        let mut tasks = world.cluster.tasks_of_slot(&replica.0, &replica.1, replica.2);
        let old = tasks.find(|task| task.is_ready()).unwrap();
        assert_eq!(world.cluster.node_name(old.node.unwrap()), held.from);
        let command = Command::MoveTask { task: old.id, to: world.node(&held.to) };
        drop(tasks);
        let ready =
            |world: &World| world.cluster.tasks().values().filter(|task| task.is_ready()).count();
        let before = ready(world);
        assert_eq!(world.ok(command), crate::Outcome::Done, "{held:?}");
        for _ in 0..20 {
            world.seconds(1);
            let missed = before.saturating_sub(ready(world));
            let most = usize::from(held.how == "stop-first");
            assert!(missed <= most, "{held:?}: {:#?}", world.show());
        }
        world.settle();
    }
}

#[test]
fn what_is_stuck_gets_a_place_by_the_fewest_moves_and_then_there_is_nothing_to_gain() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.seat("one", service("web:1", 400), "a");
    world.seat("two", service("web:1", 500), "b");
    world.apply(&stack("big", &[("db", service("db:1", 800))]));
    world.settle();
    assert_eq!(world.cluster.pending().count(), 1);
    let view = asked(&world, Goal::Best);
    assert_eq!((view.unplaced_before, view.unplaced_after), (1, 0));
    assert_eq!(moves(&view).len(), 1, "{view:?}");
    assert!(view.fewest);
    assert_eq!(view.moves[0].how, "start-first");
    assert!(view.gains[0].starts_with("big/db.1 gets a place on "), "{:?}", view.gains);
    make(&mut world, &view);
    assert_eq!(world.cluster.pending().count(), 0, "{:#?}", world.show());
    let again = asked(&world, Goal::Best);
    assert_eq!(moves(&again), Vec::<String>::new());
    assert!(again.gains.is_empty() && again.left.is_empty() && again.fewest, "{again:?}");
}

#[test]
fn a_fix_of_what_is_stuck_names_the_moves_and_they_help() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.seat("one", service("web:1", 400), "a");
    let near = "node.hostname == b".parse().unwrap();
    let bound = service("web:1", 500).with(|s| s.placement.constraints = vec![near]);
    world.seat("two", bound, "b");
    world.apply(&stack("big", &[("db", service("db:1", 800))]));
    world.settle();
    let told = view::explain(
        &world.cluster,
        &stack_name("big"),
        &service_name("db"),
        None,
        &Soft::none(world.now),
    );
    let fixes = told.unwrap().remove(0).placement.fixes;
    assert_eq!(fixes[0], "move one/web.1 to b: sisoctl rebalance --apply", "{fixes:?}");
    let view = asked(&world, Goal::Best);
    make(&mut world, &view);
    assert_eq!(world.cluster.pending().count(), 0);
}

#[test]
fn what_runs_on_several_nodes_is_brought_together_and_replicas_stay_apart() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000), ("c", 1_000)]);
    world.seat("one", service("web:1", 300), "a");
    world.seat("two", service("web:1", 300), "b");
    world.seat("three", service("web:1", 200), "c");
    let view = asked(&world, Goal::Best);
    assert_eq!(moves(&view).len(), 2, "{view:?}");
    let emptied = view.gains.iter().filter(|gain| gain.ends_with("becomes empty")).count();
    assert_eq!(emptied, 2, "{:?}", view.gains);
    make(&mut world, &view);
    assert_eq!(moves(&asked(&world, Goal::Best)), Vec::<String>::new());

    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&stack("s", &[("web", service("web:1", 100).with(|s| s.replicas = 2))]));
    world.settle();
    assert_eq!(moves(&asked(&world, Goal::Best)), Vec::<String>::new());
}

#[test]
fn a_node_is_emptied_of_what_can_move_and_what_stays_is_told() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.seat("one", service("web:1", 300).with(|s| publish(s, 80)), "a");
    world.seat("two", service("db:1", 200).with(|s| mount(s, "data")), "a");
    world.seat("three", service("web:1", 300), "a");
    let view = asked(&world, Goal::Empty(world.node("a")));
    let mut told = moves(&view);
    told.sort();
    assert_eq!(told, ["web.1 a>b", "web.1 a>b"]);
    let how: Vec<_> = view.moves.iter().map(|held| (&*held.stack, &*held.how)).collect();
    assert!(how.contains(&("one", "stop-first")) && how.contains(&("three", "start-first")));
    assert_eq!(view.left.len(), 1);
    assert!(view.left[0].reason.contains("its volume `data` lives on a"), "{:?}", view.left);
    assert_eq!(view.left[0].fixes[0], "keep a", "it is not closed, and stays so");
    assert!(view.warnings.iter().any(|told| told.contains("one/web.1 is down for a moment")));
    make(&mut world, &view);
    let again = asked(&world, Goal::Empty(world.node("a")));
    assert_eq!(moves(&again), Vec::<String>::new());
    // A node that takes nothing new is emptied as well.
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.seat("one", service("web:1", 300), "a");
    let a = world.node("a");
    world.ok(Command::SetSchedulable { node: a, schedulable: false });
    assert_eq!(moves(&asked(&world, Goal::Empty(a))), ["web.1 a>b"]);
    let unknown = model::NodeId::new(99);
    let refused = rebalance_within(&world.cluster, Goal::Empty(unknown), world.now, STEPS);
    assert_eq!(refused.unwrap_err(), crate::Rejection::UnknownNode(unknown));
}

#[test]
fn a_place_that_something_waiting_takes_on_the_way_leads_to_other_moves() {
    let mut world = World::new(&[("a", 1_000), ("b", 800), ("c", 600)]);
    let apart = |s: &mut ServiceSpec| s.placement.max_replicas_per_node = Some(1);
    world.seat("one", service("web:1", 100), "b");
    let twice = service("web:1", 800).with(|s| s.replicas = 2).with(apart);
    world.seat("two", twice, "a");
    world.apply(&stack("three", &[("web", service("web:1", 100).with(|s| publish(s, 80)))]));
    world.settle();
    let goal = Goal::Empty(world.node("a"));
    let view = asked(&world, goal);
    assert_eq!(moves(&view), ["web.1 b>c", "web.1 a>c"], "{view:?}");
    make(&mut world, &view);
    assert_eq!(moves(&asked(&world, goal)), Vec::<String>::new());
}

#[test]
fn room_is_made_where_it_takes_least_or_where_it_was_asked_for() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.seat("one", service("web:1", 400), "a");
    world.seat("two", service("web:1", 300), "a");
    world.seat("three", service("web:1", 500), "b");
    let room = |mib, on| Goal::Room {
        amount: Resources { memory: Bytes::mib(mib), cpu: MilliCpu::ZERO },
        on,
    };
    assert_eq!(moves(&asked(&world, room(500, None))), Vec::<String>::new(), "b has that");
    let view = asked(&world, room(700, None));
    assert_eq!(moves(&view), ["web.1 a>b"], "{view:?}");
    assert!(view.gains.contains(&"700.0 MiB free on a".to_owned()), "{:?}", view.gains);
    make(&mut world, &view);
    let again = asked(&world, room(700, None));
    assert_eq!(moves(&again), Vec::<String>::new());
    assert_eq!(again.gains, ["700.0 MiB free on a"]);
    let view = asked(&world, room(600, Some(world.node("b"))));
    assert_eq!(moves(&view).len(), 1, "{view:?}");
    let view = asked(&world, room(1_500, None));
    assert_eq!(moves(&view), Vec::<String>::new());
    assert_eq!(view.warnings, ["no moves of what can move make 1.5 GiB free on any node"]);
    let endless = Resources { memory: Bytes(u64::MAX), cpu: MilliCpu(u64::MAX) };
    let view = asked(&world, Goal::Room { amount: endless, on: None });
    assert_eq!((moves(&view).len(), view.warnings.len()), (0, 1));
}

#[test]
fn what_no_moves_help_is_told_with_what_would() {
    let mut world = World::new(&[("a", 1_000)]);
    world.seat("one", service("web:1", 400), "a");
    world.apply(&stack("big", &[("db", service("db:1", 800))]));
    world.settle();
    let view = asked(&world, Goal::Best);
    assert_eq!((moves(&view).len(), view.unplaced_after), (0, 1));
    assert!(
        view.left[0].reason.contains("no moves make room for it: a: needs 800.0 MiB"),
        "{view:?}"
    );
    assert!(!view.left[0].fixes.is_empty());
}

fn any_services() -> impl Strategy<Value = Vec<(u64, u32, u32, usize)>> {
    prop::collection::vec((1_u64..9, 0_u32..8, 1_u32..3, 0_usize..4), 1..9)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 24,
        ..ProptestConfig::default()
    })]

    /// Each step of a sequence holds, only what can move is moved, and a second run moves nothing.
    #[test]
    fn every_move_that_is_told_can_be_made_and_then_there_is_none(
        services in any_services(),
        goal in 0_u32..3,
    ) {
        let mut world = World::new(&[("a", 1_000), ("b", 800), ("c", 600)]);
        for (index, (size, shape, replicas, node)) in services.iter().enumerate() {
            let spec = service("web:1", size * 100).with(|s| {
                s.replicas = *replicas;
                match shape {
                    0 => publish(s, 80),
                    1 => {
                        mount(s, "data");
                        s.replicas = 1;
                    }
                    2 => s.placement.max_replicas_per_node = Some(1),
                    3 => {
                        s.strict_singleton = true;
                        s.replicas = 1;
                    }
                    _ => {}
                }
            });
            let name = format!("s{index}");
            if let Some(node) = ["a", "b", "c"].get(*node) {
                world.seat(&name, spec, node);
            } else {
                world.apply(&stack(&name, &[("web", spec)]));
                world.settle();
            }
        }
        world.settle();
        let goal = match goal {
            0 => Goal::Best,
            1 => Goal::Empty(world.node("a")),
            _ => Goal::Room {
                amount: Resources { memory: Bytes::mib(500), cpu: MilliCpu::ZERO },
                on: None,
            },
        };
        let view = asked(&world, goal);
        prop_assert!(view.unplaced_after <= view.unplaced_before, "{view:?}");
        make(&mut world, &view);
        let pending = u32::try_from(world.cluster.pending().count()).unwrap();
        prop_assert_eq!(pending, view.unplaced_after, "{:?}", view);
        let again = asked(&world, goal);
        prop_assert_eq!(moves(&again), Vec::<String>::new(), "after {:?}", view);
    }
}
