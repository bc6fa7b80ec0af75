use model::Resources;
use proptest::prelude::*;

use super::*;

const DAY: u64 = LONG_ENOUGH_MS;

fn ask(basis: MemoryBasis, reserved: Bytes, limit: Bytes) -> ResourceAsk {
    let reserved = Resources { memory: reserved, ..Resources::default() };
    ResourceAsk { reserved, basis, memory_limit: limit, ..ResourceAsk::default() }
}

fn observed(peak: Bytes, observed_ms: u64) -> Memory {
    let need = Need { at: Timestamp(1), peak, usual: peak, observed_ms };
    Memory { need: Some(need), kills: None }
}

fn killed(limit: Bytes) -> Memory {
    Memory { need: None, kills: Some(Kills { count: 1, at: Timestamp(1), limit }) }
}

/// What an undeclared service that has `held` MiB reserved and as limit gets: both in MiB.
#[track_caller]
fn check(memory: Memory, held: Option<(u64, u64)>, expected: (u64, u64)) {
    let held = held.map(|(reserved, limit)| {
        ask(MemoryBasis::Assumed, Bytes::mib(reserved), Bytes::mib(limit))
    });
    let given = memory.size(held.as_ref(), &ResourceAsk::default());
    let (reserved, limit) = expected;
    assert_eq!(
        (given.reserved.memory, given.memory_limit),
        (Bytes::mib(reserved), Bytes::mib(limit))
    );
}

#[test]
fn what_was_observed_for_a_day_is_reserved_with_a_fifth_more() {
    check(Memory::default(), Some((256, 256)), (256, 256));
    check(observed(Bytes::mib(100), DAY - 1), Some((256, 256)), (256, 256));
    check(observed(Bytes::mib(100), DAY), Some((256, 256)), (120, 256));
    check(observed(Bytes::mib(3), DAY), Some((256, 256)), (32, 256));
    check(observed(Bytes::gib(100), DAY), Some((256, 256)), (4096, 4096));
}

#[test]
fn a_small_difference_changes_nothing() {
    check(observed(Bytes::mib(180), DAY), Some((256, 256)), (256, 256));
    check(observed(Bytes::mib(250), DAY), Some((256, 256)), (256, 256));
    check(observed(Bytes::mib(45), DAY), Some((64, 256)), (64, 256));
    check(observed(Bytes::mib(110), DAY), Some((120, 256)), (120, 256));
    check(observed(Bytes::mib(121), DAY), Some((120, 256)), (152, 256));
}

#[test]
fn a_kill_raises_what_is_reserved_and_doubles_the_limit_at_once() {
    check(killed(Bytes::mib(256)), Some((256, 256)), (312, 512));
    let known = Memory { kills: killed(Bytes::mib(256)).kills, ..observed(Bytes::mib(100), 1) };
    check(known, Some((120, 256)), (312, 512));
    check(killed(Bytes::gib(3)), Some((256, 3 << 10)), (3688, 4096));
}

#[test]
fn a_limit_that_was_raised_stays() {
    check(observed(Bytes::mib(60), DAY), Some((312, 512)), (72, 512));
    check(Memory::default(), Some((312, 512)), (256, 512));
}

#[test]
fn the_source_of_a_figure_is_named() {
    let source =
        |memory: Memory, basis, mib| memory.source(&ask(basis, Bytes::mib(mib), Bytes::gib(1)));
    let known = observed(Bytes::mib(100), DAY);
    assert_eq!(source(known, MemoryBasis::Reservation, 256), MemorySource::Reservation);
    assert_eq!(source(known, MemoryBasis::Limit, 256), MemorySource::Limit);
    assert_eq!(source(Memory::default(), MemoryBasis::Assumed, 256), MemorySource::Assumed);
    assert_eq!(source(known, MemoryBasis::Assumed, 256), MemorySource::Assumed, "not applied yet");
    assert_eq!(source(known, MemoryBasis::Assumed, 120), MemorySource::Observed);
    let fits = observed(Bytes::mib(200), DAY);
    assert_eq!(source(fits, MemoryBasis::Assumed, 256), MemorySource::Observed);
}

fn bytes() -> impl Strategy<Value = Bytes> {
    (0..36_u32, any::<u64>()).prop_map(|(bits, any)| Bytes(any >> (63 - bits)))
}

fn memory() -> impl Strategy<Value = Memory> {
    let need = (bytes(), 0..DAY * 3)
        .prop_map(|(peak, observed_ms)| observed(peak, observed_ms).need.unwrap());
    let kills = bytes().prop_map(|limit| killed(limit).kills.unwrap());
    (prop::option::of(need), prop::option::of(kills))
        .prop_map(|(need, kills)| Memory { need, kills })
}

proptest! {
    /// Whatever was seen before and is seen now.
    #[test]
    fn the_second_time_changes_nothing_and_no_limit_ever_falls(before in memory(), after in memory()) {
        let asked = ResourceAsk::default();
        let first = before.size(None, &asked);
        let given = after.size(Some(&first), &asked);
        prop_assert_eq!(&after.size(Some(&given), &asked), &given);
        prop_assert!(given.memory_limit >= first.memory_limit.max(ASSUMED_MEMORY));
        prop_assert!(given.reserved.memory <= given.memory_limit);
        prop_assert!(given.reserved.memory >= LEAST_RESERVED.min(first.reserved.memory));
    }

    #[test]
    fn a_service_that_says_something_gets_just_that(
        seen in memory(),
        (reserved, limit) in (bytes(), bytes()),
        by_limit in any::<bool>(),
    ) {
        let basis = if by_limit { MemoryBasis::Limit } else { MemoryBasis::Reservation };
        let asked = ask(basis, reserved, limit);
        let held = ask(MemoryBasis::Assumed, limit, reserved);
        prop_assert_eq!(&seen.size(Some(&held), &asked), &asked);
        prop_assert_eq!(&seen.size(None, &asked), &asked);
    }

    #[test]
    fn what_was_seen_fits_what_is_reserved_up_to_the_most(seen in bytes(), held in bytes()) {
        let held = ask(MemoryBasis::Assumed, held, held.max(ASSUMED_MEMORY));
        let given = observed(seen, DAY).size(Some(&held), &ResourceAsk::default());
        prop_assert!(given.reserved.memory >= seen.min(MOST_RESERVED));
    }
}
