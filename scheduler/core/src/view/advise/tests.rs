use model::{ServiceSpec, Timestamp, spec::MemoryBasis};

use super::*;
use crate::{
    Command,
    cluster::{NEEDS_FORM, ServiceNeed},
    testing::{With, World, service, service_name, stack, stack_name},
};

const DAY: u64 = LONG_ENOUGH_MS;

/// A service that reserves and is limited to so many MiB, and what is known of it.
#[track_caller]
fn check(ask: (MemoryBasis, u64, u64), seen: (u64, u64), expected: &str) {
    check_killed(ask, seen, None, expected);
}

#[track_caller]
fn check_killed(
    (basis, reserved, limit): (MemoryBasis, u64, u64),
    (peak, observed_ms): (u64, u64),
    killed: Option<u64>,
    expected: &str,
) {
    let mut ask = ResourceAsk { basis, memory_limit: Bytes::mib(limit), ..ResourceAsk::default() };
    ask.reserved.memory = Bytes::mib(reserved);
    let (at, peak) = (Timestamp(1), Bytes::mib(peak));
    let memory = Memory {
        need: Some(Need { at, peak, usual: peak, observed_ms }),
        kills: killed.map(|limit| Kills { count: 2, at, limit: Bytes::mib(limit) }),
    };
    let told = advice(&memory, &ask).map_or_else(String::new, |advice| {
        let mib = |amount: Option<Bytes>| amount.map_or(0, |amount| amount.0 >> 20);
        format!("{} {}: {}", mib(advice.reservation), mib(advice.limit), advice.why)
    });
    assert_eq!(told, expected);
}

#[test]
fn what_is_undeclared_gets_both_lines_or_its_limit_would_fall() {
    check(
        (MemoryBasis::Assumed, 256, 256),
        (150, 3 * DAY),
        "184 256: says nothing about memory, 256.0 MiB are assumed; its peak over 3 days was 150.0 MiB, \
         with 20 % that is 184.0 MiB",
    );
    check((MemoryBasis::Assumed, 256, 256), (150, DAY - 1), "");
    check((MemoryBasis::Assumed, 184, 256), (150, 3 * DAY), "");
}

#[test]
fn a_declared_reservation_is_lowered_or_raised_and_its_limit_never_lowered() {
    check(
        (MemoryBasis::Reservation, 1024, 2048),
        (300, 2 * DAY),
        "360 0: reserves 1.0 GiB that others could use; its peak over 2 days was 300.0 MiB, with 20 % that \
         is 360.0 MiB",
    );
    check(
        (MemoryBasis::Reservation, 1024, 1024),
        (300, 2 * DAY),
        "360 1024: reserves 1.0 GiB that others could use; its peak over 2 days was 300.0 MiB, with 20 % \
         that is 360.0 MiB",
    );
    check(
        (MemoryBasis::Reservation, 256, 2048),
        (300, 2 * DAY),
        "360 0: uses more than the 256.0 MiB it reserves: what is beside it may come short; its peak over 2 \
         days was 300.0 MiB, with 20 % that is 360.0 MiB",
    );
    check(
        (MemoryBasis::Limit, 1024, 1024),
        (300, 2 * DAY),
        "360 0: reserves all of its limit of 1.0 GiB; its peak over 2 days was 300.0 MiB, with 20 % that is \
         360.0 MiB",
    );
    check((MemoryBasis::Reservation, 360, 1024), (300, 2 * DAY), "");
}

#[test]
fn a_limit_that_killed_is_doubled_and_one_that_is_near_is_raised() {
    check_killed(
        (MemoryBasis::Reservation, 800, 1024),
        (700, 60_000),
        Some(1024),
        "1232 2048: was killed 2 times for want of memory: its limit of 1.0 GiB is too low",
    );
    check_killed((MemoryBasis::Reservation, 1232, 2048), (1100, 2 * DAY), Some(1024), "");
    check(
        (MemoryBasis::Limit, 512, 512),
        (500, 2 * DAY),
        "600 720: its peak over 2 days was 500.0 MiB, next to its limit of 512.0 MiB",
    );
}

#[test]
fn rows_are_of_what_is_asked_for_and_count_what_agents_tell_now() {
    let mut world = World::new(&[("a", 4_000)]);
    world.ok(Command::RaiseForm { form: NEEDS_FORM });
    world.apply(&stack("s", &[("db", service("db:1", 500)), ("web", ServiceSpec::new("web:1"))]));
    world.apply(&stack("t", &[("web", service("web:1", 100).with(|s| s.replicas = 2))]));
    world.settle();
    let needs = vec![ServiceNeed {
        stack: stack_name("s"),
        service: service_name("web"),
        peak: Bytes::mib(80),
        usual: Bytes::mib(70),
        observed_ms: 2 * DAY,
    }];
    world.ok(Command::RecordNeeds { needs });
    let (s, web) = (stack_name("s"), service_name("web"));
    let task = world.cluster.tasks_of_service(&s, &web).next().unwrap().id;
    let seen = MemorySeen {
        peak: Bytes::mib(100),
        usual: Bytes::mib(60),
        observed_ms: 600_000,
        samples: 60,
    };
    let seen = BTreeMap::from([(task, seen)]);
    let rows = |stack: Option<&StackName>, service: Option<&ServiceName>| {
        let rows = advise(&world.cluster, &seen, stack, service).unwrap();
        rows.iter().map(|row| format!("{}/{}", row.stack, row.service)).collect::<Vec<_>>()
    };
    assert_eq!(rows(None, None), ["s/db", "s/web", "t/web"]);
    assert_eq!(rows(Some(&s), None), ["s/db", "s/web"]);
    assert_eq!(rows(Some(&s), Some(&web)), ["s/web"]);
    let row = advise(&world.cluster, &seen, Some(&s), Some(&web)).unwrap().remove(0);
    assert_eq!(
        (row.observed_peak, row.observed_usual),
        (Some(Bytes::mib(100)), Some(Bytes::mib(70)))
    );
    assert_eq!((row.observed_seconds, row.needed_seconds), (2 * 86_400, 0));
    assert_eq!(
        (row.memory_basis, row.advised_reservation),
        (MemorySource::Assumed, Some(Bytes::mib(120)))
    );
    let db = advise(&world.cluster, &seen, Some(&s), Some(&service_name("db"))).unwrap().remove(0);
    assert_eq!((db.observed_peak, db.needed_seconds, db.advice), (None, 86_400, None));
    let none = service_name("none");
    assert!(advise(&world.cluster, &seen, Some(&s), Some(&none)).is_err());
    assert!(advise(&world.cluster, &seen, Some(&stack_name("u")), None).is_err());
}

/// Whoever writes what is advised is advised nothing more.
#[test]
fn advice_that_was_taken_is_not_given_again() {
    for (basis, reserved, limit) in [
        (MemoryBasis::Assumed, 256, 256),
        (MemoryBasis::Reservation, 1024, 1024),
        (MemoryBasis::Reservation, 100, 2048),
        (MemoryBasis::Limit, 300, 300),
    ] {
        for peak in [1, 50, 90, 250, 299, 1_000] {
            for killed in [None, Some(limit)] {
                let mut ask = ResourceAsk {
                    basis,
                    memory_limit: Bytes::mib(limit),
                    ..ResourceAsk::default()
                };
                ask.reserved.memory = Bytes::mib(reserved);
                let (at, peak) = (Timestamp(1), Bytes::mib(peak));
                let need = Need { at, peak, usual: peak, observed_ms: 2 * DAY };
                let kills = killed.map(|limit| Kills { count: 1, at, limit: Bytes::mib(limit) });
                let memory = Memory { need: Some(need), kills };
                let Some(first) = advice(&memory, &ask) else { continue };
                // As a stack file is read.
                if let Some(limit) = first.limit {
                    ask.memory_limit = limit;
                }
                if let Some(reserved) = first.reservation {
                    ask.reserved.memory = reserved;
                    ask.basis = MemoryBasis::Reservation;
                }
                assert!(ask.reserved.memory <= ask.memory_limit, "{peak} {killed:?} {ask:?}");
                let second = advice(&memory, &ask).map(|advice| advice.why);
                assert_eq!(second, None, "{peak} {killed:?} {ask:?}");
            }
        }
    }
}
