//! Nodes that are alike, asked together: the answer is what asking each of them gives.

use std::collections::BTreeSet;

use model::Liveness;
use proptest::prelude::*;

use super::*;
use crate::{
    Command,
    cluster::limits,
    orchestrate::orchestrate,
    placement::{cells::Cells, rank::Ranking, scales::Scales},
};

/// So many nodes are asked together.
const NODES: usize = 120;

/// Machines of some sizes, some of which are away, cordoned or of another kind.
fn machines(sizes: &[u64], odd: &[(usize, u8)]) -> World {
    let mut world = World::new(&[]);
    for index in 0..NODES {
        let zone = if index % 3 == 0 { "a" } else { "b" };
        let size = sizes[index % sizes.len()] * 100;
        world.join(&format!("n{index}"), size, &[("zone", zone)]);
    }
    for (index, what) in odd {
        let node = world.node(&format!("n{index}"));
        if *what == 0 {
            world.ok(Command::SetSchedulable { node, schedulable: false });
        } else {
            world.ok(Command::SetLiveness { node, liveness: Liveness::Unreachable });
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn cells_answer_what_their_nodes_would(
        sizes in prop::collection::vec(4_u64..12, 1..4),
        odd in prop::collection::vec((0..NODES, 0_u8..2), 0..4),
        services in prop::collection::vec((1_u64..9, 1_u32..40, 0_u8..4), 2..7),
        replaced in 1_u64..9,
        most in prop::sample::select(vec![1_usize, 4, 64, 200]),
    ) {
        let mut world = machines(&sizes, &odd);
        let shaped = |(size, replicas, shape): &(u64, u32, u8)| {
            service("x", size * 97).with(|s| {
                s.replicas = *replicas;
                match shape {
                    0 => s.placement.max_replicas_per_node = Some(1),
                    1 => s.placement.constraints = vec!["node.labels.zone == a".parse().unwrap()],
                    2 => s.resources.reserved.cpu = MilliCpu(700),
                    _ => {}
                }
            })
        };
        let names = ["s0", "s1", "s2"];
        let (before, after) = services.split_at(services.len() / 2);
        let before: Vec<_> = names.into_iter().zip(before.iter().map(shaped)).collect();
        world.apply(&stack("before", &before));
        world.settle();
        // What is replaced keeps room for what comes after it.
        let larger = before.into_iter().map(|(name, spec)| {
            (name, spec.with(|s| s.resources.reserved.memory = Bytes::mib(replaced * 97)))
        });
        world.apply(&stack("before", &larger.collect::<Vec<_>>()));
        world.lead();
        let after: Vec<_> = names.into_iter().zip(after.iter().map(shaped)).collect();
        world.apply(&stack("after", &after));
        let mut cluster = world.cluster.clone();
        let steps = orchestrate(&cluster, &world.beats, &BTreeSet::new(), world.now);
        cluster.take_changes(world.now, &steps.changes);
        let asks: Vec<Ask<'_>> = cluster.pending().map(Ask::of).collect();
        let mut fleet = Fleet::of(&cluster);
        let scales = Scales::of(&fleet, &asks);
        let mut cells = Cells::of(&fleet, &scales).unwrap();
        for ask in &asks {
            let each = Ranking::of(&fleet, &scales, ask, ask.reserved(), most);
            if let Some(found) = cells.ranking(&fleet, &scales, ask, most) {
                prop_assert_eq!(&found.best, &each.best);
                prop_assert_eq!(&found.misses, &each.misses);
            } else {
                prop_assert!(ask.replaces);
            }
            let Some(node) = each.best.first().map(|best| best.node) else { continue };
            fleet.put(*ask, node);
            cells.changed(&fleet, &scales, node);
        }
        // Whichever way each is asked, all are placed as if each had asked every node.
        let mut together = Fleet::of(&cluster);
        let found = place(&mut together, &asks, &mut Effort::new(0, 0));
        let mut alone = Fleet::of(&cluster);
        let kept = limits::verdicts_kept(cluster.tasks().len());
        // Where one after the other leaves something out, all are arranged anew.
        let all_have_one = found.iter().all(|held| {
            let ask = asks.iter().find(|ask| ask.task == held.task).unwrap();
            let each = Ranking::of(&alone, &scales, ask, ask.reserved(), 1);
            let first = each.best.first().map(|best| best.node);
            first.inspect(|node| alone.put(*ask, *node)).is_some()
        });
        prop_assume!(all_have_one);
        let mut alone = Fleet::of(&cluster);
        for held in &found {
            let ask = asks.iter().find(|ask| ask.task == held.task).unwrap();
            let each = Ranking::of(&alone, &scales, ask, ask.reserved(), kept);
            prop_assert_eq!(held.node, each.best.first().map(|best| best.node));
            prop_assert_eq!(&held.verdicts, &each.verdicts(&alone, ask));
            alone.put(*ask, held.node.unwrap());
        }
    }
}
