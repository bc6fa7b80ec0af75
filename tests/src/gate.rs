//! What a test may demand of the machine, and how many tests may load it at once.

use std::{
    env,
    io::{self, Write},
    sync::{Condvar, Mutex, PoisonError},
};

/// Clusters at once. Starting containers is the engine's bottleneck: more of them only make every
/// one slower, until bounds that are generous for one are not.
const WORLDS_AT_ONCE: usize = 3;

static FREE: Mutex<usize> = Mutex::new(WORLDS_AT_ONCE);
static FREED: Condvar = Condvar::new();

/// The right to run one cluster; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit(());

impl Permit {
    /// Waits for its turn.
    pub(crate) fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            FREED.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREED.notify_one();
    }
}

/// Returns `found`, or says that `test` is skipped because of what is missing; panics instead when
/// the environment variable `demand` is `1`.
#[track_caller]
pub fn required<T>(test: &str, demand: &str, found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(missing) if env::var(demand).is_ok_and(|value| value == "1") => {
            panic!("{missing}, and {demand}=1 demands it")
        }
        Err(missing) => {
            // Past libtest's capture: a skipped test must be seen without being asked for.
            let _ = writeln!(io::stderr(), "skipped: {test}: {missing} ({demand}=1 demands it)");
            None
        }
    }
}
