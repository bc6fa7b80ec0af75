//! The wall clock stamps log entries and ages for people; no safety rests on it. Leases are waited for
//! by another, which nobody can set and which goes on while the machine sleeps; deadlines go by a third,
//! which stands still then.

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use model::{Timestamp, lease::Uptime};
use scheduler_core::Ticks;

/// What time it is.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How long this process has been at work, the sleep of its machine left out.
pub(crate) fn ticks() -> Ticks {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    Ticks(u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// How long this machine has been up, its sleep included.
pub(crate) fn uptime() -> Uptime {
    let time = rustix::time::clock_gettime(COUNTS_SLEEP);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    Uptime(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000))
}

/// On a Mac the monotonic clock counts sleep by itself.
#[cfg(target_os = "linux")]
const COUNTS_SLEEP: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const COUNTS_SLEEP: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
