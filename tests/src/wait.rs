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

/// Polls until `probe` answers `Ok` and returns that; panics with the last `Err` after `bound`.
#[track_caller]
pub fn wait_until<T>(what: &str, bound: Duration, probe: impl FnMut() -> Result<T, String>) -> T {
    match poll(bound, probe) {
        Ok(found) => found,
        Err(seen) => panic!("waited {bound:?} until {what}; last seen: {seen}"),
    }
}

/// Polls until `probe` answers `Ok`; the last `Err` after `bound`.
pub(crate) fn poll<T>(
    bound: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let began = Instant::now();
    loop {
        match probe() {
            Err(_) if began.elapsed() < bound => thread::sleep(INTERVAL),
            outcome => return outcome,
        }
    }
}
