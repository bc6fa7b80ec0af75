//! Problems: small ones with every kind of rule, and large ones made from a packing.

use proptest::prelude::*;
use siso_packing::{Bin, BinSet, Group, Item, Problem, Spread};

/// A small problem with labels, host ports, replicas, conflicts, skew and priorities; items may be
/// somewhere already, within the rules.
pub(crate) fn small(max_items: usize) -> impl Strategy<Value = Problem> {
    let bins = prop::collection::vec((4_u64..14, 3_u64..10), 1..4);
    let items = prop::collection::vec(
        (1_u64..8, 0_u64..5, 0_usize..3, 0_usize..4, 0_u32..6, 0_u32..2, any::<u8>()),
        1..=max_items,
    );
    let groups = prop::collection::vec((0_u32..3, 0_u32..3, 0_usize..5), 3);
    (bins, items, groups).prop_map(|(bins, items, groups)| build(&bins, &items, &groups))
}

type Drawn = (u64, u64, usize, usize, u32, u32, u8);

fn build(bins: &[(u64, u64)], items: &[Drawn], groups: &[(u32, u32, usize)]) -> Problem {
    let count = bins.len();
    let mut problem = Problem {
        resources: 2,
        bins: bins
            .iter()
            .map(|(memory, cpu)| Bin { capacity: vec![*memory, *cpu], ..Bin::default() })
            .collect(),
        sets: vec![
            BinSet::all(count),
            (0..count).filter(|bin| bin % 2 == 0).collect(),
            [count - 1].into_iter().collect(),
        ],
        partitions: vec![(0..count).map(|bin| Some(bin % 2)).collect()],
        ..Problem::default()
    };
    if count == 1 {
        problem.partitions = vec![vec![Some(0)]];
    }
    for (most, skew, conflict) in groups {
        problem.groups.push(Group {
            most_per_bin: Some(*most).filter(|most| *most > 0),
            spread: Some(*skew).filter(|skew| *skew > 0).map(|skew| Spread { partition: 0, skew }),
            conflicts: if *conflict < groups.len() { vec![(*conflict, 1)] } else { Vec::new() },
            apart: *most == 0,
        });
    }
    for (memory, cpu, set, group, key, priority, at) in items {
        problem.items.push(Item {
            demand: vec![*memory, *cpu],
            allowed: *set,
            groups: Some(*group).filter(|group| *group < groups.len()).into_iter().collect(),
            keys: Some(*key).filter(|key| *key < 2).into_iter().collect(),
            priority: *priority,
            current: None,
            pinned: false,
            twice: at % 3 != 0,
        });
    }
    // Some are somewhere already, as far as the rules allow.
    for (item, drawn) in items.iter().enumerate() {
        let mut placement = problem.current();
        placement[item] = Some(usize::from(drawn.6) % count);
        if drawn.6 >= 128 && siso_packing::check(&problem, &placement).is_ok() {
            problem.items[item].current = placement[item];
            problem.items[item].pinned = drawn.6 >= 240;
        }
    }
    problem
}

/// Numbers that are the same in every run.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Bins cut into pieces without a rest in the leading resource: everything fits, exactly.
pub(crate) fn perfect(bins: usize, seed: u64) -> Problem {
    let mut draw = Draw(seed);
    let capacity = vec![14_336, 8_000];
    let mut problem = Problem {
        resources: 2,
        bins: vec![Bin { capacity: capacity.clone(), ..Bin::default() }; bins],
        sets: vec![BinSet::all(bins)],
        ..Problem::default()
    };
    for _ in 0..bins {
        let mut left = capacity[0];
        while left > 0 {
            let size = if left < 600 { left } else { (64 + draw.below(2_400)).min(left) };
            left -= size;
            let cpu = size / 4 + draw.below(size / 8 + 1);
            problem.items.push(Item { demand: vec![size, cpu], ..Item::default() });
        }
    }
    problem
}

/// Bins with labels, ports, replicas that avoid each other, and two per cent of room: everything fits.
pub(crate) fn planted(bins: usize, seed: u64) -> Problem {
    let mut draw = Draw(seed);
    let mut problem = perfect(bins, seed);
    for bin in &mut problem.bins {
        bin.capacity[0] += 290;
    }
    let labelled: BinSet = (0..bins).filter(|bin| bin.is_multiple_of(3)).collect();
    problem.sets.push(labelled.clone());
    let mut at = 0;
    let (mut filled, mut ports) = (0, Vec::new());
    for item in &mut problem.items {
        if labelled.contains(at) && draw.below(3) == 0 {
            item.allowed = 1;
        }
        let port = u32::try_from(draw.below(40)).unwrap();
        if port < 6 && !ports.contains(&port) {
            item.keys = vec![port];
            ports.push(port);
        }
        filled += item.demand[0];
        if filled == 14_336 {
            (at, filled) = (at + 1, 0);
            ports.clear();
        }
    }
    problem
}
