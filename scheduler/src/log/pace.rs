//! How long durable writes take, as far as people must know of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// A commit slower than this is worth a warning: writes and elections suffer.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// For how long a slow commit is told of: one that was an accident is forgotten by itself.
const TOLD: Duration = Duration::from_mins(5);

/// What is known of the disk's pace. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace(Arc<Mutex<Option<Slow>>>);

#[derive(Debug, Clone, Copy)]
struct Slow {
    /// The slowest of those that are told of.
    took: Duration,
    /// When the last of them was made.
    at: Instant,
}

impl Pace {
    /// A commit took this long.
    pub(super) fn note(&self, took: Duration, now: Instant) {
        if took > SLOW {
            let slowest = self.slow(now).unwrap_or_default().max(took);
            *self.0.lock() = Some(Slow { took: slowest, at: now });
        }
    }

    /// What the slowest commit of late took, when it was slow.
    pub(super) fn slow(&self, now: Instant) -> Option<Duration> {
        let held = *self.0.lock();
        let of_late = |held: &Slow| now.saturating_duration_since(held.at) < TOLD;
        held.filter(of_late).map(|held| held.took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_commit_is_told_of_for_a_while_and_the_slowest_of_several() {
        let (pace, began) = (Pace::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        pace.note(SLOW, at(0));
        assert_eq!(pace.slow(at(0)), None);
        pace.note(Duration::from_secs(4), at(1));
        pace.note(Duration::from_secs(2), at(200));
        pace.note(Duration::from_millis(2), at(201));
        assert_eq!(pace.slow(at(400)), Some(Duration::from_secs(4)));
        assert_eq!(pace.slow(at(501)), None, "five minutes after the last");
        pace.note(Duration::from_secs(2), at(502));
        assert_eq!(pace.slow(at(503)), Some(Duration::from_secs(2)), "what is forgotten stays so");
    }
}
