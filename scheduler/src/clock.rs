//! The wall clock. It stamps log entries and ages for people; no safety rests on it.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// What time it is.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
