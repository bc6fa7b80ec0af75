//! What happened, for a person and as one number.

use std::fmt::{self, Debug, Write};

/// Lines for a person, kept only on request; and a number that every event went into, always.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    keep: bool,
    lines: Vec<String>,
    hash: u64,
}

impl Trace {
    /// A trace that keeps its lines, or only their number.
    pub(crate) fn new(keep: bool) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Notes a line; it is made only if lines are kept.
    pub(crate) fn line(&mut self, now: u64, text: impl FnOnce() -> String) {
        if self.keep {
            self.lines.push(format!("{:>4}.{:03} {}", now / 1_000, now % 1_000, text()));
        }
    }

    /// Lets a number go into the hash (FNV-1a by words).
    pub(crate) const fn mix(&mut self, number: u64) {
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x0100_0000_01b3);
    }

    /// The same for a text.
    pub(crate) fn mix_text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.mix(u64::from(byte)));
    }

    /// The same for what an event says of itself.
    pub(crate) fn mix_event(&mut self, event: &impl Debug) {
        // Writing into a number never fails.
        let _ = write!(self, "{event:?}");
    }

    /// The number of everything so far.
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.mix_text(text);
        Ok(())
    }
}
