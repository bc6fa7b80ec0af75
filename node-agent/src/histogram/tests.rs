use proptest::prelude::*;

use super::*;

/// Measured every ten seconds.
fn measured(amounts: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    for (turn, used) in (0_u64..).zip(amounts) {
        histogram.record(Bytes(*used), turn * 10_000);
    }
    histogram
}

/// Of every size, with many within one octave.
fn amounts() -> impl Strategy<Value = Vec<u64>> {
    let any_size = (0..48_u32, any::<u64>()).prop_map(|(bits, any)| any >> (63 - bits));
    prop::collection::vec(prop_oneof![any_size, (100_u64 << 20)..(200 << 20)], 1..300)
}

proptest! {
    #[test]
    fn a_quantile_is_at_least_the_true_one_and_at_most_a_quarter_more(
        amounts in amounts(),
        percent in 1..=100_u64,
    ) {
        let told = measured(&amounts).quantile(percent).0;
        let mut sorted = amounts;
        sorted.sort_unstable();
        let rank = (sorted.len() as u64 * percent).div_ceil(100).max(1);
        let truth = sorted[usize::try_from(rank - 1).unwrap()];
        let most = sorted[sorted.len() - 1];
        prop_assert!(truth <= told && told <= most, "{truth} {told} {most}");
        let (least, highest) = (1_u64 << LEAST_OCTAVE, upper(BUCKETS - 2).0);
        if truth <= highest {
            prop_assert!(told < (truth + truth / 4 + 1).max(least), "{truth} {told}");
        }
    }

    #[test]
    fn the_peak_is_the_most_that_was_measured_however_often(
        amounts in amounts(),
        pauses in prop::collection::vec(0..60_000_u64, 300),
    ) {
        let (mut histogram, mut now) = (Histogram::default(), 0);
        for (used, pause) in amounts.iter().zip(pauses) {
            now += pause;
            histogram.record(Bytes(*used), now);
        }
        let seen = histogram.seen();
        prop_assert_eq!(Some(seen.peak.0), amounts.iter().copied().max());
        prop_assert!(seen.usual <= seen.peak && seen.observed_ms <= now);
        prop_assert!(seen.samples <= amounts.len() as u64);
    }
}

#[test]
fn every_amount_is_in_the_bucket_whose_bounds_hold_it() {
    for index in 0..BUCKETS - 1 {
        let Bytes(most) = upper(index);
        assert_eq!((bucket(Bytes(most)), bucket(Bytes(most + 1))), (index, index + 1));
    }
    assert_eq!((bucket(Bytes(0)), bucket(Bytes(u64::MAX))), (0, BUCKETS - 1));
}

#[test]
fn looks_in_quick_succession_count_once_and_a_long_pause_is_not_observed() {
    let mut histogram = Histogram::default();
    for (used, at) in [(10, 0), (90, 1_000), (10, 10_000), (10, 70_000), (10, 80_000)] {
        histogram.record(Bytes::mib(used), at);
    }
    let seen = histogram.seen();
    assert_eq!((seen.samples, seen.observed_ms, seen.peak), (4, 20_000, Bytes::mib(90)));
    assert!(seen.usual < Bytes::mib(13), "{seen:?}");
}

#[test]
fn what_is_known_is_told_first_and_then_when_it_changed_or_after_a_while() {
    let mut histogram = measured(&[100 << 20]);
    assert!(histogram.tell().is_some() && histogram.tell().is_none());
    histogram.record(Bytes::mib(104), 10_000);
    assert_eq!(histogram.tell(), None, "no more than a sixteenth");
    histogram.record(Bytes::mib(110), 20_000);
    assert_eq!(histogram.tell().map(|seen| seen.peak), Some(Bytes::mib(110)));
    for turn in 3..=32_u64 {
        histogram.record(Bytes::mib(100), turn * 10_000);
        assert_eq!(histogram.tell().is_some(), turn == 32, "{turn}");
    }
    histogram.begin();
    assert!(histogram.tell().is_some());
}
