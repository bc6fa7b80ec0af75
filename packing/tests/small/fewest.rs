//! As few bins as possible.

use proptest::prelude::*;
use siso_packing::{
    Bin, BinSet, Budget, Group, Item, Problem, Proof, UNLIMITED, check, fewest_bins, pack,
};

use crate::generate::Draw;

/// The fewest bins, by trying everything.
fn fewest(capacity: &[u64], demands: &[Vec<u64>], bins: &mut Vec<Vec<u64>>, best: usize) -> usize {
    if bins.len() >= best {
        return best;
    }
    let Some((first, rest)) = demands.split_first() else { return bins.len() };
    let mut best = best;
    for bin in 0..=bins.len() {
        if bin == bins.len() {
            bins.push(capacity.to_vec());
        }
        if bins[bin].iter().zip(first).all(|(free, one)| one <= free) {
            bins[bin].iter_mut().zip(first).for_each(|(free, one)| *free -= one);
            best = best.min(fewest(capacity, rest, bins, best));
            bins[bin].iter_mut().zip(first).for_each(|(free, one)| *free += one);
        }
        if bins[bin].iter().eq(capacity) {
            bins.truncate(bin);
            break;
        }
    }
    best
}

fn verify(capacity: &[u64], demands: &[Vec<u64>], bins: &[Vec<usize>]) {
    let mut seen: Vec<usize> = bins.iter().flatten().copied().collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..demands.len()).collect::<Vec<_>>());
    for bin in bins {
        for (resource, most) in capacity.iter().enumerate() {
            assert!(bin.iter().map(|item| demands[*item][resource]).sum::<u64>() <= *most);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn bounds_hold_and_few_bins_are_found(
        capacity in 5_u64..40,
        sizes in prop::collection::vec(1_u64..30, 1..8),
    ) {
        let demands: Vec<Vec<u64>> = sizes.iter().map(|size| vec![(*size).min(capacity)]).collect();
        let found = fewest_bins(&[capacity], &demands, Budget::steps(2_000_000)).unwrap();
        verify(&[capacity], &demands, &found.bins);
        let least = fewest(&[capacity], &demands, &mut Vec::new(), demands.len());
        prop_assert!(found.at_least <= least, "{} {}", found.at_least, least);
        prop_assert_eq!(found.bins.len(), least);
    }

    #[test]
    fn bounds_hold_in_two_dimensions(
        sizes in prop::collection::vec((0_u64..12, 1_u64..12), 1..7),
    ) {
        let demands: Vec<Vec<u64>> = sizes.iter().map(|(one, other)| vec![*one, *other]).collect();
        let found = fewest_bins(&[12, 12], &demands, Budget::steps(300_000)).unwrap();
        verify(&[12, 12], &demands, &found.bins);
        let least = fewest(&[12, 12], &demands, &mut Vec::new(), demands.len());
        prop_assert!(found.at_least <= least);
        prop_assert_eq!(found.bins.len(), least);
    }
}

#[test]
fn what_is_larger_than_a_bin_has_no_packing() {
    assert_eq!(fewest_bins(&[5], &[vec![6]], Budget::steps(1)), None);
    assert_eq!(fewest_bins(&[5], &[], Budget::steps(1)).unwrap().bins.len(), 0);
}

/// Three to a bin, without a rest: no simple bound or order finds these.
fn triplets(seed: u64, bins: usize) -> Vec<Vec<u64>> {
    let mut draw = Draw(seed);
    let mut demands = Vec::new();
    for _ in 0..bins {
        let first = 380 + draw.below(110);
        let second = 251 + draw.below((1_000 - first) / 2 - 250);
        demands.extend([first, second, 1_000 - first - second].map(|size| vec![size]));
    }
    demands
}

#[test]
fn triplets_are_found_among_the_patterns_that_fill_a_bin() {
    let mut steps = 0;
    for (seed, bins) in [(1, 20), (2, 20), (3, 40), (4, 80)] {
        let demands = triplets(seed, bins);
        let found = fewest_bins(&[1_000], &demands, Budget::steps(100_000_000)).unwrap();
        verify(&[1_000], &demands, &found.bins);
        assert_eq!((found.bins.len(), found.at_least), (bins, bins), "seed {seed}");
        steps += found.steps;
    }
    // Among all patterns it takes 22 million.
    assert!(steps < 15_000_000, "{steps}");
}

/// Two odd sizes among even ones fill no bin but together, and together they leave no room for a third.
#[test]
fn where_no_packing_is_full_one_bin_more_is_found() {
    let mut demands = triplets(5, 20);
    for demand in &mut demands {
        demand[0] *= 2;
    }
    (demands[0][0], demands[3][0]) = (demands[0][0] + 1, demands[3][0] - 1);
    let found = fewest_bins(&[2_000], &demands, Budget::steps(40_000_000)).unwrap();
    verify(&[2_000], &demands, &found.bins);
    assert_eq!(found.bins.len(), 21);
}

/// However large the unit is, and whatever else they need that no bin could run out of.
#[test]
fn bins_that_are_alike_are_filled_to_the_last_byte() {
    let bin = Bin { capacity: vec![1_000 << 20, UNLIMITED, 10], ..Bin::default() };
    for seed in 3..=5 {
        let item =
            |demand: Vec<u64>| Item { demand: vec![demand[0] << 20, 500, 1], ..Item::default() };
        let problem = Problem {
            resources: 3,
            bins: vec![bin.clone(); 30],
            items: triplets(seed, 30).into_iter().map(item).collect(),
            sets: vec![BinSet::all(30)],
            ..Problem::default()
        };
        let answer = pack(&problem, Budget::steps(5_000_000));
        assert_eq!(answer.left_out, Vec::<usize>::new(), "seed {seed}");
        assert_eq!((check(&problem, &answer.placement), answer.proof), (Ok(()), Proof::Optimal));
        // Three to a bin are one too many for its third resource.
        let mut four = problem;
        for bin in &mut four.bins {
            bin.capacity[2] = 2;
        }
        let answer = pack(&four, Budget::steps(500_000));
        assert_eq!(check(&four, &answer.placement), Ok(()));
        assert_eq!(answer.left_out.len(), 30);
    }
}

/// Two of each size, which would rather be apart: the sizes alone say nothing of that.
#[test]
fn members_that_would_rather_be_apart_are_where_their_sizes_allow_it() {
    let mut sizes: Vec<u64> = triplets(7, 20).into_iter().map(|demand| demand[0]).collect();
    sizes.extend(sizes.clone());
    let item = |(index, size): (usize, u64)| Item {
        demand: vec![size],
        groups: vec![index % 60],
        ..Item::default()
    };
    let problem = Problem {
        resources: 1,
        bins: vec![Bin { capacity: vec![1_000], ..Bin::default() }; 40],
        items: sizes.into_iter().enumerate().map(item).collect(),
        groups: vec![Group { apart: true, ..Group::default() }; 60],
        sets: vec![BinSet::all(40)],
        ..Problem::default()
    };
    let answer = pack(&problem, Budget::steps(20_000_000));
    assert_eq!(answer.left_out, Vec::<usize>::new());
    let together = (0..60).filter(|item| answer.placement[*item] == answer.placement[item + 60]);
    assert_eq!(together.count(), 0);
}

#[test]
fn uniform_sizes_are_proven() {
    for seed in 1..=3 {
        let mut draw = Draw(seed);
        let demands: Vec<Vec<u64>> = (0..120).map(|_| vec![20 + draw.below(81)]).collect();
        let found = fewest_bins(&[150], &demands, Budget::steps(100_000_000)).unwrap();
        verify(&[150], &demands, &found.bins);
        assert!(found.is_proven(), "seed {seed}: {} {}", found.bins.len(), found.at_least);
    }
}
