//! How long durable writes take, as far as people must know of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// A commit slower than this is worth a warning: writes and elections suffer.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// So are as many in a row as this, each slower than that: one alone is what any disk has at times.
const SLUGGISH: Duration = Duration::from_millis(250);
const IN_A_ROW: u32 = 5;
/// For how long a slow commit is told of: one that was an accident is forgotten by itself.
const TOLD: Duration = Duration::from_mins(5);

/// What is known of the disk's pace. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace(Arc<Mutex<Known>>);

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    slow: Option<Slow>,
    /// Sluggish commits in a row up to now, and the slowest of them.
    sluggish: u32,
    slowest: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Slow {
    /// The slowest of those that are told of.
    took: Duration,
    /// When the last of them was made.
    at: Instant,
}

impl Pace {
    /// A commit took this long. Answers whether it is the one with which a sluggish disk is told of.
    pub(super) fn note(&self, took: Duration, now: Instant) -> bool {
        let known = &mut *self.0.lock();
        if took > SLUGGISH {
            (known.sluggish, known.slowest) =
                (known.sluggish.saturating_add(1), known.slowest.max(took));
        } else {
            (known.sluggish, known.slowest) = (0, Duration::ZERO);
        }
        if took > SLOW || known.sluggish >= IN_A_ROW {
            let slowest = known.slow(now).unwrap_or_default().max(known.slowest);
            known.slow = Some(Slow { took: slowest, at: now });
        }
        known.sluggish == IN_A_ROW
    }

    /// What the slowest commit of late took, when it was slow or one of many.
    pub(super) fn slow(&self, now: Instant) -> Option<Duration> {
        self.0.lock().slow(now)
    }
}

impl Known {
    fn slow(&self, now: Instant) -> Option<Duration> {
        let of_late = |held: &Slow| now.saturating_duration_since(held.at) < TOLD;
        self.slow.filter(of_late).map(|held| held.took)
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
    #[test]
    fn a_sluggish_commit_is_told_of_once_there_are_many_in_a_row() {
        let (pace, now) = (Pace::default(), Instant::now());
        let sluggish = Duration::from_millis(300);
        for round in 0..3 {
            for _ in 1..IN_A_ROW {
                assert!(!pace.note(sluggish, now));
            }
            assert_eq!(pace.slow(now), None, "round {round}");
            assert!(!pace.note(SLUGGISH, now), "one that is not");
        }
        let slower = Duration::from_millis(900);
        let told: Vec<_> = [sluggish, slower, sluggish, sluggish, sluggish, sluggish]
            .map(|took| pace.note(took, now))
            .into();
        assert_eq!(told, [false, false, false, false, true, false], "once");
        assert_eq!(pace.slow(now), Some(slower));
        assert!(!pace.note(Duration::from_millis(1), now));
        assert_eq!(pace.slow(now + TOLD), None, "five minutes after the last");
    }
}
