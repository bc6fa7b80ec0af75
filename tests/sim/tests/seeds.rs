//! Worlds by their seeds. Thousands run with `cargo run --release -p siso-sim -- --seeds 10000`; these
//! are the first of them.

use siso_sim::World;

/// As many as a debug build runs in some seconds.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=200;

#[test]
fn whatever_fails_the_rules_hold_and_then_everything_wanted_runs() {
    for seed in SEEDS {
        let ended = World::new(seed, false).run();
        assert_eq!(ended.broken, None, "cargo run -p siso-sim -- --seed {seed} --trace");
    }
}

#[test]
fn whatever_becomes_of_leases_no_strict_singleton_runs_twice() {
    for seed in 1..=60 {
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
