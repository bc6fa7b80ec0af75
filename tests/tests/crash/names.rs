//! Files that cannot be opened, made, renamed or removed.

use siso_tests::crash::{Fault, Load, Victim};

use crate::{LOADER, faults};

/// Opens of a start, and a few of what comes then.
const OPENS: u32 = 34;
/// Of each writer: a segment is full after half of them.
const WRITES_MAX: usize = 60;

/// What came of a fault.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// It ended, and said why.
    Ended,
    /// It went on, and what was asked was acknowledged or refused.
    WentOn,
}

/// How the error is called.
pub(crate) fn named(error: &str) -> &'static str {
    if error == "EIO" { "Input/output error" } else { "No space left on device" }
}

/// Lets it suffer; whatever it does, it says so, and starts again with everything.
#[track_caller]
fn suffer(victim: &mut Victim, load: Option<&Load>, error: &str, fault: &Fault) -> Came {
    victim.start_with(fault);
    let ended = victim.scheduler.ready_or_ended().err();
    let ended = ended.or_else(|| load.and_then(|load| load.write(victim, WRITES_MAX).1));
    let said = victim.scheduler.output("stderr");
    assert!(!said.contains("panicked"), "{fault}: {said}");
    let came = if let Some(status) = ended {
        assert_eq!(status.code(), Some(1), "{fault}: {status}\n{said}");
        assert!(said.contains(named(error)), "{fault} is not named: {said}");
        Came::Ended
    } else {
        victim.scheduler.kill9();
        Came::WentOn
    };
    victim.start();
    if let Some(load) = load {
        load.check(&victim.replicas().expect("an answer"));
    }
    victim.scheduler.kill9();
    came
}

#[test]
fn a_file_that_cannot_be_opened_renamed_or_removed_ends_it_with_the_cause_or_costs_nothing() {
    if !faults("files that cannot be opened") {
        return;
    }
    let mut victim = Victim::new();
    let load = Load::left_on(&mut victim);
    let mut ended = 0;
    for error in ["EIO", "ENOSPC"] {
        let opens = (LOADER + 1..=OPENS).step_by(3).map(|nth| ("openat", nth));
        let others = [("mkdir", 1), ("mkdir", 2), ("mkdir", 3), ("rename,ftruncate", 1)];
        let later = [("rename,ftruncate", 2), ("unlink", 1), ("unlink", 2), ("unlink", 5)];
        for (calls, nth) in opens.chain(others).chain(later) {
            let fault = Fault::error(calls, error, nth);
            ended += usize::from(suffer(&mut victim, Some(&load), error, &fault) == Came::Ended);
        }
    }
    assert!(ended >= 10, "only {ended} of these faults ended it");
}

/// It never answers a write that has no segment to stand in.
#[test]
fn a_segment_that_cannot_be_begun_ends_it_and_the_next_start_has_everything() {
    if !faults("segments that cannot be begun") {
        return;
    }
    let mut victim = Victim::new();
    let load = Load::left_on(&mut victim);
    let segments = victim.data().join("log/segments");
    for error in ["EIO", "ENOSPC"] {
        // Not those that are there: they are opened to be read.
        let all = victim.numbered("segments", "segment");
        let begun = all.into_iter().filter(|path| !path.exists());
        let made = Fault::error("openat", error, 1).about(begun);
        assert_eq!(suffer(&mut victim, Some(&load), error, &made), Came::Ended, "{made}");
        // The first is the look at a start.
        let named = Fault::error("openat", error, 2).about([segments.clone()]);
        assert_eq!(suffer(&mut victim, Some(&load), error, &named), Came::Ended, "{named}");
        let all = victim.numbered("segments", "segment");
        let removed = Fault::error("unlink", error, 1).about(all);
        assert_eq!(suffer(&mut victim, Some(&load), error, &removed), Came::WentOn, "{removed}");
    }
}

#[test]
fn a_cluster_whose_founding_fails_at_any_file_is_founded_the_next_time() {
    if !faults("foundings that fail") {
        return;
    }
    let (mut ended, mut tried) = (0, 0);
    for (calls, numbers) in [
        ("openat", LOADER + 1..46),
        ("mkdir", 1..6),
        ("rename,ftruncate", 1..12),
        ("unlink", 1..11),
    ] {
        for (nth, error) in numbers.step_by(2).zip(["EIO", "ENOSPC"].into_iter().cycle()) {
            let mut victim = Victim::new();
            let fault = Fault::error(calls, error, nth);
            tried += 1;
            ended += usize::from(suffer(&mut victim, None, error, &fault) == Came::Ended);
            victim.start();
            victim.apply("first").expect(0);
        }
    }
    assert!(ended * 2 > tried, "only {ended} of {tried} faults ended it");
}
