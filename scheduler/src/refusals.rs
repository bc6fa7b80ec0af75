//! What is said of those who were turned away: to them nothing of why, here all of it, but not so often
//! that whoever knocks all day fills the disk.
//!
//! **Invariant:** every refusal is counted; at most [`TOLD_MAX`] of them are told in [`PERIOD`], and the
//! next one that is told says how many were not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::metrics::Figures;

/// Refusals told in one [`PERIOD`]: enough to see who and why, a hundred megabytes a month at most.
const TOLD_MAX: u64 = 60;
const PERIOD: Duration = Duration::from_mins(1);
/// Characters of a stranger's words in a line of the log.
const WORDS_MAX: usize = 200;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A connection, before or within its handshake.
    Connection,
    /// A call its caller may not make.
    Call,
    /// A join.
    Join,
    /// What a node said of another node's task.
    Report,
}

impl Refused {
    /// The word in the figures.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Call => "call",
            Self::Join => "join",
            Self::Report => "report",
        }
    }
}

/// Counts refusals and says which are told.
#[derive(Debug, Clone)]
pub(crate) struct Refusals {
    figures: Arc<Figures>,
    window: Arc<Mutex<Window>>,
}

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    told: u64,
    untold: u64,
}

impl Window {
    fn note(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.duration_since(began) >= PERIOD) {
            (self.began, self.told) = (Some(now), 0);
        }
        if self.told >= TOLD_MAX {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

impl Refusals {
    pub(crate) fn new(figures: Arc<Figures>) -> Self {
        Self { figures, window: Arc::default() }
    }

    /// Counts one; when it is to be told, how many before it were not.
    pub(crate) fn note(&self, what: Refused) -> Option<u64> {
        self.figures.refused(what.as_str());
        self.window.lock().note(Instant::now())
    }
}

/// The beginning of what a stranger said.
pub(crate) fn words(text: &str) -> &str {
    text.char_indices().nth(WORDS_MAX).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_told_and_the_next_says_how_many_were_not() {
        let mut window = Window::default();
        let now = Instant::now();
        assert!((0..TOLD_MAX).all(|_| window.note(now) == Some(0)));
        assert!((0..1000).all(|_| window.note(now).is_none()));
        assert_eq!(window.note(now + PERIOD), Some(1000));
        assert_eq!(window.note(now + PERIOD), Some(0));
    }

    #[test]
    fn of_a_strangers_words_the_beginning_is_told() {
        assert_eq!(words("short"), "short");
        assert_eq!(words(&"ü".repeat(1 << 20)), "ü".repeat(WORDS_MAX));
    }
}
