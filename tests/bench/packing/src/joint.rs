//! Greed over whole clusters with the constraints of the instances, by each policy.

use packing::{Measure, Problem, check};

use crate::{draw::Draw, policy::Policy};

/// Places items in the order they come; answers the part of all memory that was left out.
pub(crate) fn greedy(problem: &Problem, policy: Policy) -> f64 {
    let mut placement: Vec<Option<usize>> = vec![None; problem.items.len()];
    let mut free: Vec<Vec<u64>> = problem.bins.iter().map(|bin| bin.capacity.clone()).collect();
    let mut contents: Vec<Vec<usize>> = vec![Vec::new(); problem.bins.len()];
    let mut draw = Draw::new(1);
    let measure = Measure::of(problem);
    let signed = |list: &[u64]| list.iter().map(|one| *one as i64).collect::<Vec<_>>();
    for item in 0..problem.items.len() {
        let mut fitting: Vec<usize> = (0..problem.bins.len())
            .filter(|bin| fits(problem, item, *bin, (&free, &contents), &placement))
            .collect();
        if policy == Policy::NomadLog {
            draw.shuffle(&mut fitting);
            fitting.truncate((problem.bins.len() as f64).log2().ceil().max(2.0) as usize);
        }
        let group = problem.items[item].groups[0];
        let beside = |bin: usize| {
            contents[bin].iter().filter(|other| problem.items[**other].groups[0] == group).count()
        };
        let demand = &problem.items[item].demand;
        let used = |bin: usize, at: usize| {
            1.0 - (free[bin][at] - demand[at]) as f64 / problem.bins[bin].capacity[at] as f64
        };
        let score = |bin: usize| -> f64 {
            let (memory, cpu) = (used(bin, 0), used(bin, 1));
            let mean = f64::midpoint(memory, cpu);
            let balance = (100.0 * (1.0 - (memory - cpu).abs() / 2.0)).floor();
            match policy {
                Policy::Swarm => beside(bin) as f64 * 1e6 + contents[bin].len() as f64,
                Policy::Least => -(100.0 * (1.0 - mean)).floor() - balance,
                Policy::Most => -(100.0 * mean).floor() - balance,
                Policy::BestFit => free[bin][0] as f64,
                Policy::NomadLog | Policy::NomadFull => {
                    let sum = 10_f64.powf(1.0 - memory) + 10_f64.powf(1.0 - cpu);
                    -(20.0 - sum).clamp(0.0, 18.0)
                }
                Policy::Shape => {
                    let (mut left, mut wanted) = (Vec::new(), Vec::new());
                    measure.scaled(&signed(&free[bin]), &mut left);
                    measure.scaled(&signed(demand), &mut wanted);
                    Measure::shape(&left, &wanted) as f64
                }
            }
        };
        let best =
            fitting.into_iter().min_by(|a, b| score(*a).total_cmp(&score(*b)).then(a.cmp(b)));
        if let Some(bin) = best {
            placement[item] = Some(bin);
            contents[bin].push(item);
            for (free, one) in free[bin].iter_mut().zip(demand) {
                *free -= one;
            }
        }
    }
    // Skew is looked at when placing; what is left out may still leave it broken, as with the others.
    if let Err(why) = check(problem, &placement) {
        assert!(matches!(why, packing::Violation::Skew { .. }), "{why:?}");
    }
    let memory = |item: &usize| problem.items[*item].demand[0] as f64;
    let all: f64 = problem.bins.iter().map(|bin| bin.capacity[0] as f64).sum();
    let left_out = (0..placement.len()).filter(|item| placement[*item].is_none());
    left_out.map(|item| memory(&item)).sum::<f64>() / all
}

fn fits(
    problem: &Problem,
    item: usize,
    bin: usize,
    (free, contents): (&[Vec<u64>], &[Vec<usize>]),
    placement: &[Option<usize>],
) -> bool {
    let what = &problem.items[item];
    let group = what.groups[0];
    let of_group = |other: &&usize| problem.items[**other].groups[0] == group;
    let rules = &problem.groups[group];
    let has_room = free[bin].iter().zip(&what.demand).all(|(free, one)| one <= free);
    let own_ports = contents[bin]
        .iter()
        .all(|other| problem.items[*other].keys.iter().all(|key| !what.keys.contains(key)));
    let few = rules
        .most_per_bin
        .is_none_or(|most| (contents[bin].iter().filter(of_group).count() as u32) < most);
    let even = rules.spread.is_none_or(|spread| {
        let parts = &problem.partitions[spread.partition];
        let count = parts.iter().flatten().max().map_or(0, |last| last + 1);
        let mut there = vec![0_u32; count];
        for (other, at) in placement.iter().enumerate() {
            if problem.items[other].groups[0] == group
                && let Some(part) = at.and_then(|bin| parts[bin])
            {
                there[part] += 1;
            }
        }
        let least = there.iter().min().copied().unwrap_or(0);
        parts[bin].is_some_and(|part| there[part] < least + spread.skew)
    });
    has_room && own_ports && few && even && problem.sets[what.allowed].contains(bin)
}
