//! One at a time.

use proptest::prelude::*;
use siso_packing::{BINDING_SLACK, Measure, Online};

use crate::generate::Draw;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 40, ..ProptestConfig::default() })]

    /// The index says no only where nothing fits, as a look at every bin does.
    #[test]
    fn what_fits_somewhere_finds_a_bin_that_fits(bins in 1_usize..260, seed in any::<u64>()) {
        let mut draw = Draw(seed);
        let capacity = vec![14_336, 8_000, 200_000];
        let measure = Measure::new(&[700, 300, 1_000], &capacity, BINDING_SLACK);
        let classes: Vec<usize> = (0..bins).map(|bin| bin % 3).collect();
        let mut online = Online::new(&vec![capacity.clone(); bins], classes.clone(), measure);
        let mut free = vec![capacity; bins];
        let mut placed: Vec<(usize, Vec<u64>)> = Vec::new();
        for _ in 0..bins * 40 {
            let demand = vec![draw.below(1_500), draw.below(700), draw.below(3_000)];
            let class = Some(draw.below(5)).filter(|class| *class < 3);
            let even_only = draw.below(4) == 0;
            let may = |bin: usize| class.is_none_or(|class| classes[bin] as u64 == class);
            let accept = |bin: usize| !even_only || bin.is_multiple_of(2);
            let fits = |bin: usize| free[bin].iter().zip(&demand).all(|(free, one)| one <= free);
            let found = online.best(
                &demand,
                |own| class.is_none_or(|class| own as u64 == class).then_some(0),
                accept,
            );
            match found {
                Some(bin) => {
                    prop_assert!(fits(bin) && may(bin) && accept(bin));
                    online.put(bin, &demand);
                    free[bin].iter_mut().zip(&demand).for_each(|(free, one)| *free -= one);
                    placed.push((bin, demand));
                }
                None => prop_assert!(!(0..bins).any(|bin| fits(bin) && may(bin) && accept(bin))),
            }
            if draw.below(3) == 0 && !placed.is_empty() {
                let index = usize::try_from(draw.below(placed.len() as u64)).unwrap();
                let (bin, demand) = placed.swap_remove(index);
                online.take(bin, &demand);
                free[bin].iter_mut().zip(&demand).for_each(|(free, one)| *free += one);
            }
        }
    }
}

#[test]
fn what_is_free_stays_in_proportion_to_what_is_wanted() {
    let capacity = vec![100, 100];
    let measure = Measure::new(&[10, 10], &capacity, BINDING_SLACK);
    let mut online = Online::new(&[capacity.clone(), capacity], vec![0, 0], measure);
    online.put(0, &[60, 20]);
    online.put(1, &[20, 60]);
    // Much CPU goes where much CPU is left, though the other bin is as full.
    assert_eq!(online.best(&[5, 30], |_| Some(0), |_| true), Some(0));
    assert_eq!(online.best(&[30, 5], |_| Some(0), |_| true), Some(1));
}

#[test]
fn what_has_little_left_to_even_it_out_with_stays_even() {
    let capacity = vec![200, 200];
    let measure = Measure::new(&[10, 10], &capacity, BINDING_SLACK);
    let mut online = Online::new(&[capacity.clone(), capacity], vec![0, 0], measure);
    online.put(0, &[180, 140]);
    online.put(1, &[80, 60]);
    // Both have as much CPU more than memory, and the first is fuller.
    assert_eq!(online.best(&[10, 0], |_| Some(0), |_| true), Some(1));
    assert_eq!(online.best(&[0, 10], |_| Some(0), |_| true), Some(0));
}

#[test]
fn a_large_bin_of_the_right_shape_wins_over_a_small_one_of_the_wrong_shape() {
    let measure = Measure::new(&[10, 10], &[500, 500], BINDING_SLACK);
    let bins = [vec![100, 120], vec![900, 880]];
    let mut online = Online::new(&bins, vec![0, 0], measure);
    assert_eq!(online.best(&[14, 10], |_| Some(0), |_| true), Some(1));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 40, ..ProptestConfig::default() })]

    /// The two resources of a bin are scored as any number of them are.
    #[test]
    fn the_bin_it_finds_has_the_least_score(seed in any::<u64>()) {
        let mut draw = Draw(seed);
        let bins: Vec<Vec<u64>> =
            (0..50).map(|_| vec![draw.below(60_000), draw.below(14_000)]).collect();
        let measure = Measure::new(&[700, 300], &[30_000, 7_000], BINDING_SLACK);
        let mut online = Online::new(&bins, vec![0; bins.len()], measure.clone());
        for _ in 0..100 {
            let demand = [draw.below(3_000), draw.below(1_300)];
            let score = |free: &[i64]| {
                let wanted = demand.map(|one| i64::try_from(one).unwrap());
                let fits = free.iter().zip(wanted).all(|(free, one)| one <= *free);
                let (mut left, mut scaled) = (Vec::new(), Vec::new());
                measure.scaled(free, &mut left);
                measure.scaled(&wanted, &mut scaled);
                fits.then(|| Measure::shape(&left, &scaled))
            };
            let least = (0..bins.len()).filter_map(|bin| score(online.free(bin))).min();
            let found = online.best(&demand, |_| Some(0), |_| true);
            prop_assert_eq!(found.and_then(|bin| score(online.free(bin))), least);
            if let Some(bin) = found {
                online.put(bin, &demand);
            }
        }
    }
}
