//! Waiting for conditions: the only way a test lets time pass.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Generous for what takes a second or two on an idle machine with two cores.
pub const PROMPT: Duration = Duration::from_secs(45);
/// Generous for what waits for something itself: a backoff, a stop grace, an engine's start.
pub const PATIENT: Duration = Duration::from_mins(2);

/// Short enough not to be felt in a test's time, long enough to leave the cores to what is awaited.
const INTERVAL: Duration = Duration::from_millis(100);
/// For what is awaited a thousand times, and costs next to nothing to look at.
const CLOSE_INTERVAL: Duration = Duration::from_millis(5);

/// Polls until `probe` answers `Ok` and returns that; panics with the last `Err` after `bound`.
#[track_caller]
pub fn wait_until<T>(what: &str, bound: Duration, probe: impl FnMut() -> Result<T, String>) -> T {
    found_or_panic(what, bound, poll(bound, probe))
}

/// The same, looking more often.
#[track_caller]
pub(crate) fn wait_closely<T>(
    what: &str,
    bound: Duration,
    probe: impl FnMut() -> Result<T, String>,
) -> T {
    found_or_panic(what, bound, poll_closely(bound, probe))
}

/// Polls often until `probe` answers `Ok`; the last `Err` after `bound`.
pub(crate) fn poll_closely<T>(
    bound: Duration,
    probe: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    poll_every(CLOSE_INTERVAL, bound, probe)
}

#[track_caller]
fn found_or_panic<T>(what: &str, bound: Duration, outcome: Result<T, String>) -> T {
    match outcome {
        Ok(found) => found,
        Err(seen) => panic!("waited {bound:?} until {what}; last seen: {seen}"),
    }
}

/// Polls until `probe` answers `Ok`; the last `Err` after `bound`.
pub(crate) fn poll<T>(
    bound: Duration,
    probe: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    poll_every(INTERVAL, bound, probe)
}

fn poll_every<T>(
    interval: Duration,
    bound: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let began = Instant::now();
    loop {
        match probe() {
            Err(_) if began.elapsed() < bound => thread::sleep(interval),
            outcome => return outcome,
        }
    }
}
