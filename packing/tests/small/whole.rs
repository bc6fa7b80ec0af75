//! Everything at once.

use proptest::prelude::*;
use siso_packing::{Bin, BinSet, Budget, Item, Problem, Proof, Short, check, pack};

use crate::{generate, oracle};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn as_little_is_left_out_as_can_be(problem in generate::small(6)) {
        let answer = pack(&problem, Budget::steps(20_000_000));
        prop_assert_eq!(check(&problem, &answer.placement), Ok(()));
        let least = oracle::least_loss(&problem);
        prop_assert_eq!(&oracle::loss(&problem, &answer.placement), &least);
        prop_assert_eq!(answer.proof, Proof::Optimal);
        let nowhere: Vec<usize> =
            (0..problem.items.len()).filter(|item| answer.placement[*item].is_none()).collect();
        prop_assert_eq!(&answer.left_out, &nowhere);
        // Whoever says that not everything can be placed is right, and says by how much.
        if let Some(why) = answer.impossible {
            prop_assert!(why.loss > 0);
            prop_assert!(least.iter().sum::<u64>() >= why.loss, "{:?} {:?}", why, least);
        }
    }

    #[test]
    fn a_smaller_budget_says_how_far_it_may_be_off(problem in generate::small(6), steps in 1_u64..400) {
        let answer = pack(&problem, Budget::steps(steps));
        prop_assert_eq!(check(&problem, &answer.placement), Ok(()));
        let (loss, least) = (oracle::loss(&problem, &answer.placement), oracle::least_loss(&problem));
        match answer.proof {
            Proof::Optimal => prop_assert_eq!(loss, least),
            Proof::AtMost { off } => {
                // The first priority at which it is not proven.
                let differs = loss.iter().zip(&least).find(|(loss, least)| loss != least);
                if let Some((loss, least)) = differs {
                    prop_assert!(loss - least <= off, "{} {} {}", loss, least, off);
                }
            }
        }
    }

    #[test]
    fn the_same_problem_has_the_same_answer(problem in generate::small(8)) {
        let budget = Budget::steps(50_000);
        prop_assert_eq!(pack(&problem, budget.clone()), pack(&problem, budget));
    }
}

#[test]
fn bins_that_were_cut_without_a_rest_are_packed_without_a_rest() {
    for (bins, seed) in [(3, 1), (3, 2), (5, 3), (8, 4)] {
        let problem = generate::perfect(bins, seed);
        let answer = pack(&problem, Budget::steps(60_000_000));
        assert_eq!(check(&problem, &answer.placement), Ok(()));
        assert_eq!(answer.left_out, [0; 0], "{bins} bins, seed {seed}, {} steps", answer.steps);
        assert_eq!(answer.proof, Proof::Optimal);
    }
}

#[test]
fn labels_ports_and_two_per_cent_of_room_leave_nothing_out() {
    for (bins, seed) in [(3, 1), (6, 2), (10, 3)] {
        let problem = generate::planted(bins, seed);
        let answer = pack(&problem, Budget::steps(60_000_000));
        assert_eq!(check(&problem, &answer.placement), Ok(()));
        assert_eq!(answer.left_out, [0; 0], "{bins} bins, seed {seed}, {} steps", answer.steps);
    }
}

#[test]
fn amounts_without_a_common_measure_are_packed_as_well() {
    let mut problem = generate::planted(6, 7);
    for item in &mut problem.items {
        item.demand[0] = item.demand[0] * 1_048_573 - item.demand[0] % 7;
    }
    for bin in &mut problem.bins {
        bin.capacity[0] *= 1_048_573;
    }
    let answer = pack(&problem, Budget::steps(60_000_000));
    assert_eq!(check(&problem, &answer.placement), Ok(()));
    assert_eq!(answer.left_out, [0; 0]);
}

#[test]
fn what_is_short_where_is_said() {
    let bin = |memory| Bin { capacity: vec![memory], ..Bin::default() };
    let item = |memory, allowed| Item { demand: vec![memory], allowed, ..Item::default() };
    let problem = Problem {
        resources: 1,
        bins: vec![bin(10), bin(10), bin(40)],
        items: vec![item(6, 1), item(5, 1), item(6, 1), item(6, 1), item(20, 0)],
        sets: vec![BinSet::all(3), [0, 1].into_iter().collect()],
        ..Problem::default()
    };
    let answer = pack(&problem, Budget::steps(1_000_000));
    let why = answer.impossible.expect("23 do not go into 20");
    assert_eq!(why.bins, [0, 1]);
    assert_eq!(why.items, [0, 1, 2, 3]);
    // Five and more share no bin with six; two bins, four items.
    assert!(matches!(why.short, Short::Pieces { .. } | Short::Resource { .. }), "{why:?}");
    assert_eq!(answer.left_out.len(), 2);
    assert_eq!(answer.proof, Proof::Optimal);
}

#[test]
fn a_problem_with_numbers_that_do_not_fit_together_is_told_apart() {
    let mut problem = generate::perfect(2, 1);
    assert_eq!(problem.well_formed(), Ok(()));
    problem.items[3].allowed = 9;
    assert_eq!(problem.well_formed().unwrap_err().to_string(), "item 3: an index leads nowhere");
    problem.items[3].allowed = 0;
    problem.items[2].pinned = true;
    assert_eq!(problem.well_formed().unwrap_err().to_string(), "item 2 is pinned and nowhere");
    problem.items[2].pinned = false;
    problem.bins[1].capacity.pop();
    assert_eq!(problem.well_formed().unwrap_err().to_string(), "bin 1: its amounts do not fit");
}
