//! The checks are checked: a bug is planted, and some seed must find it; without it the same seed
//! passes. `cargo test -p siso-sim --test planted -- --nocapture` prints the table of
//! docs/reliability.md.

#![cfg(debug_assertions)]
#![allow(clippy::print_stdout, reason = "the table is for a person, on request")]

use model::planted::{Bug, plant};
use siso_sim::World;

/// Seeds tried before a bug counts as one that the simulation does not see.
const SEEDS: u64 = 1_000;

/// Seeds known to find bugs that the first ones do not: tried first, so that the test is quick. Where
/// the world has changed they may find nothing; then all are tried.
const HINTS: [u64; 5] = [18, 20, 25, 26, 72];

/// The seed that finds the bug, after how many steps, and by which rule.
fn hunt(bug: Bug) -> Option<(u64, u64, String)> {
    let quick = 1..=8;
    for seed in quick.clone().chain(HINTS).chain(quick.end() + 1..=SEEDS) {
        plant(Some(bug));
        let ended = World::new(seed, false).run();
        plant(None);
        if let Some(rule) = ended.broken {
            let honest = World::new(seed, false).run();
            assert_eq!(honest.broken, None, "seed {seed} is broken without {bug:?}");
            return Some((seed, ended.steps, rule));
        }
    }
    None
}

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        match hunt(bug) {
            Some((seed, steps, rule)) => {
                println!("| {} | {seed} | {steps} | {rule} |", bug.words());
            }
            None => missed.push(bug),
        }
    }
    assert_eq!(missed, [], "these are found by none of the first {SEEDS} seeds");
}
