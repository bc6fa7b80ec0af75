//! Machines that are 20 s there and 20 s away for three hours.

use siso_sim::flapping::flap;

const HOURS_3: u64 = 3 * 3_600_000;
const FIVE_MINUTES: u64 = 300_000;

#[test]
fn one_node_that_comes_and_goes_moves_each_service_at_most_once_in_five_minutes() {
    let flapped = flap(1, 1, HOURS_3, false);
    assert_eq!(flapped.broken, None);
    assert!(flapped.moves.values().any(|moves| !moves.is_empty()), "{flapped:?}");
    for (service, moves) in &flapped.moves {
        let close = moves.windows(2).find(|pair| pair[1] - pair[0] < FIVE_MINUTES);
        assert_eq!(close, None, "{service}: {moves:?}");
    }
}

/// The first loss of each was no flapping yet: a service may have had to flee from one to the other.
#[test]
fn two_nodes_that_come_and_go_move_each_service_at_most_once_in_five_minutes_from_then_on() {
    let flapped = flap(2, 2, HOURS_3, false);
    assert_eq!(flapped.broken, None);
    for (service, moves) in &flapped.moves {
        let later = moves.iter().skip(2).collect::<Vec<_>>();
        let close = later.windows(2).find(|pair| pair[1] - pair[0] < FIVE_MINUTES);
        assert_eq!(close, None, "{service}: {moves:?}");
        // 36 pieces of five minutes; a strict singleton waits for its lease longer than a node is away.
        assert!(moves.len() <= 38, "{service}: {moves:?}");
    }
}

#[test]
fn a_clock_that_steps_lets_no_service_move_more_often() {
    for seed in 3..6 {
        let flapped = flap(seed, 2, HOURS_3, true);
        assert_eq!(flapped.broken, None, "seed {seed}");
        assert!(flapped.moves.values().any(|moves| moves.len() > 5), "seed {seed}: {flapped:?}");
    }
}
