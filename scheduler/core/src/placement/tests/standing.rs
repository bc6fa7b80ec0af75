//! Replicas one after the other: ranked as if each had asked alone.

use proptest::prelude::*;

use super::*;
use crate::{
    placement::{rank::Ranking, scales::Scales},
    plan::{Draft, plan_within},
};

const MOST: usize = 64;

/// Random machines, one of which has something on it already.
fn machines(sizes: &[u64]) -> World {
    let mut world = World::new(&[]);
    for (index, size) in sizes.iter().enumerate() {
        let zone = if index % 2 == 0 { "a" } else { "b" };
        world.join(&format!("n{index}"), size * 100, &[("zone", zone)]);
    }
    world.apply(&stack("before", &[("x", service("x", 100).with(|s| publish(s, 80)))]));
    world.settle();
    world
}

fn shaped(mib: u64, replicas: u32, shape: u8) -> ServiceSpec {
    service("x", mib).with(|s| {
        s.replicas = replicas;
        match shape {
            0 => publish(s, 80),
            1 => s.placement.max_replicas_per_node = Some(2),
            2 => s.placement.spread = vec!["zone".to_owned()],
            3 => s.placement.constraints = vec!["node.labels.zone == a".parse().unwrap()],
            _ => {}
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replicas_are_ranked_as_if_each_had_asked_alone(
        sizes in prop::collection::vec(6_u64..30, 3..7),
        services in prop::collection::vec((40_u64..200, 1_u32..4, 0_u8..6), 1..5),
    ) {
        let mut world = machines(&sizes);
        let services: Vec<(String, ServiceSpec)> = services
            .iter()
            .enumerate()
            .map(|(index, (mib, replicas, shape))| (format!("s{index}"), shaped(*mib, *replicas, *shape)))
            .collect();
        let services: Vec<(&str, ServiceSpec)> =
            services.iter().map(|(name, spec)| (name.as_str(), spec.clone())).collect();
        world.apply(&stack("s", &services));
        let mut cluster = world.cluster.clone();
        let steps = crate::orchestrate::orchestrate(
            &cluster,
            &world.beats,
            &std::collections::BTreeSet::new(),
            world.now,
        );
        cluster.take_changes(world.now, &steps.changes);
        let asks: Vec<Ask<'_>> = cluster.pending().map(Ask::of).collect();
        let mut fleet = Fleet::of(&cluster);
        let found = place(&mut fleet, &asks, &mut Effort::new(1_000, 1_000));
        prop_assume!(found.iter().all(|held| held.node.is_some()));
        let mut alone = Fleet::of(&cluster);
        let scales = Scales::of(&alone, &asks);
        for held in &found {
            let ask = asks.iter().find(|ask| ask.task == held.task).unwrap();
            let ranking = Ranking::of(&alone, &scales, ask, ask.reserved(), MOST);
            prop_assert_eq!(&held.verdicts, &ranking.verdicts(&alone, ask));
            prop_assert_eq!(held.node, ranking.best.first().map(|best| best.node));
            alone.put(*ask, held.node.unwrap());
        }
    }
}

#[test]
fn nodes_it_does_not_fit_on_are_counted_by_what_is_in_the_way() {
    let mut world = World::new(&[]);
    for index in 0..100 {
        let role = if index < 90 { "web" } else { "database" };
        world.join(&format!("n{index}"), 500, &[("role", role)]);
    }
    let large = service("x", 600)
        .with(|s| s.placement.constraints = vec!["node.labels.role == database".parse().unwrap()]);
    world.apply(&stack("s", &[("large", large), ("small", service("x", 100))]));
    world.settle();
    let soft = view::Soft::none(world.now);
    let explain = |service: &str| {
        let service = crate::testing::service_name(service);
        let explained = view::explain(&world.cluster, &stack_name("s"), &service, None, &soft);
        explained.unwrap().remove(0).placement
    };
    let misfits: Vec<_> = explain("large").misfits.into_iter().collect();
    assert_eq!(misfits, [("constraint".to_owned(), 90), ("memory".to_owned(), 10)]);
    assert!(explain("small").misfits.is_empty());
}

/// What fits nowhere comes first in every plan, and keeps nothing out that fits.
#[test]
fn a_plan_of_few_changes_is_gone_on_with_until_all_have_a_place() {
    let mut world = World::new(&[("a", 2_000)]);
    let never = service("x", 3_000).with(|s| s.replicas = 7);
    let small = service("x", 100).with(|s| s.replicas = 9);
    world.apply(&stack("s", &[("never", never), ("small", small)]));
    let mut cluster = world.cluster.clone();
    let beats = world.beats.clone();
    let mut plans = 0;
    loop {
        let plan = plan_within(Draft::of(&cluster), &beats, world.now, 4);
        if plan.is_empty() {
            assert_eq!(plan.report.left_out.len(), 7);
            break;
        }
        assert!(plan.changes.len() <= 4);
        assert!(plan.wake_at == Some(world.now) || plan.changes.len() < 4);
        assert_eq!(cluster.take_changes(world.now, &plan.changes), Vec::<String>::new());
        plans += 1;
    }
    // 16 are made, nine placed, nine told to run.
    assert_eq!((plans, cluster.pending().count()), (9, 7));
}
