//! Worlds by their seeds. Thousands run with `cargo run --release -p siso-sim -- --seeds 10000`; these
//! are the first of them, and those that show the bugs which are planted to check the checks.

use std::{fs, path::Path};

use siso_sim::World;

/// As many as a debug build runs in some seconds.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=200;

/// As many worlds of leases.
const LEASE_SEEDS: std::ops::RangeInclusive<u64> = 1..=60;
/// The table of docs/reliability.md that says which seed finds which planted bug.
const TABLE_HEAD: &str = "| planted | seed | after steps | what was seen |\n|---|---|---|---|\n";
/// What stands before a seed there that is one of leases.
const LEASES: &str = "--leases ";

/// The seeds of that table: of worlds of leases, or of the others. A bug like one of these shows there.
fn telling(of_leases: bool) -> Vec<u64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md");
    let text = fs::read_to_string(path).expect("the document");
    let (_, table) = text.split_once(TABLE_HEAD).expect("the table of planted bugs");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let seeds = rows.map(|row| row.split('|').nth(2).expect("a seed").trim().trim_matches('`'));
    let mut seeds: Vec<u64> = seeds
        .filter(|seed| seed.starts_with(LEASES) == of_leases)
        .map(|seed| seed.trim_start_matches(LEASES).parse().expect("a number"))
        .collect();
    seeds.sort_unstable();
    seeds.dedup();
    assert!(seeds.len() >= 3, "{seeds:?}");
    seeds
}

#[test]
fn whatever_fails_the_rules_hold_and_then_everything_wanted_runs() {
    let beyond = telling(false).into_iter().filter(|seed| !SEEDS.contains(seed));
    for seed in SEEDS.chain(beyond) {
        let ended = World::new(seed, false).run();
        assert_eq!(ended.broken, None, "cargo run -p siso-sim -- --seed {seed} --trace");
    }
}

#[test]
fn whatever_becomes_of_leases_no_strict_singleton_runs_twice() {
    let beyond = telling(true).into_iter().filter(|seed| !LEASE_SEEDS.contains(seed));
    for seed in LEASE_SEEDS.chain(beyond) {
        let ended = World::of_leases(seed, false).run();
        assert_eq!(ended.broken, None, "cargo run -p siso-sim -- --leases --seed {seed} --trace");
    }
}

#[test]
fn a_seed_is_the_same_world_every_time() {
    for seed in [1, 7, 42] {
        let (mut one, mut other) = (World::new(seed, true), World::new(seed, true));
        assert_eq!(one.run(), other.run());
        assert_eq!(one.lines(), other.lines());
        let silent = World::new(seed, false).run();
        assert_eq!(silent, World::new(seed, true).run(), "a trace changes nothing");
    }
    assert_ne!(World::new(1, false).run().hash, World::new(2, false).run().hash);
}
