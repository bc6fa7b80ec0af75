//! What a task's memory was, in a few hundred bytes however long it runs.
//!
//! Buckets grow with what they hold: four to a doubling, from 4 MiB to some 190 GiB, so that a quantile is
//! never off by more than a fourth. The peak is kept as it was measured.

use model::{Bytes, task::MemorySeen};

/// Buckets, the first for all that is below [`LEAST_OCTAVE`], the last for all above the others.
const BUCKETS: usize = 64;
/// 2 to this are 4 MiB.
const LEAST_OCTAVE: u32 = 22;
/// Measurements nearer to each other than this, in milliseconds, count as one: the engine is looked at more
/// often while something happens, and that is not what is usual.
const APART_MS: u64 = 5_000;
/// A pause longer than this, in milliseconds, was not observed: the engine did not answer, or the machine
/// slept.
const PAUSE_MS: u64 = 30_000;
/// In so many of a hundred measurements it used no more than what is called usual.
const USUAL_PERCENT: u64 = 95;
/// What was observed is told again after this time, in milliseconds,
const TELL_MS: u64 = 300_000;
/// and at once when the peak has grown by more than this part of it.
const TELL_PART: u64 = 16;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: [u32; BUCKETS],
    peak: Bytes,
    observed_ms: u64,
    /// When it was measured last.
    last: Option<u64>,
    /// What was told last in this session.
    told: Option<MemorySeen>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], peak: Bytes::ZERO, observed_ms: 0, last: None, told: None }
    }
}

impl Histogram {
    /// A measurement; `now` counts milliseconds from anywhere.
    pub fn record(&mut self, used: Bytes, now: u64) {
        self.peak = self.peak.max(used);
        let since = self.last.map(|last| now.saturating_sub(last));
        if since.is_some_and(|since| since < APART_MS) {
            return;
        }
        self.last = Some(now);
        self.observed_ms += since.filter(|since| *since <= PAUSE_MS).unwrap_or_default();
        if let Some(count) = self.counts.get_mut(bucket(used)) {
            *count = count.saturating_add(1);
        }
    }

    /// What it comes to.
    pub fn seen(&self) -> MemorySeen {
        MemorySeen {
            peak: self.peak,
            usual: self.quantile(USUAL_PERCENT),
            observed_ms: self.observed_ms,
            samples: self.samples(),
        }
    }

    fn samples(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The least bound of a bucket that so many of a hundred measurements are at or under; never more than
    /// the peak.
    fn quantile(&self, percent: u64) -> Bytes {
        let wanted = self.samples().saturating_mul(percent).div_ceil(100).max(1);
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += u64::from(*count);
            if below >= wanted {
                return upper(index).min(self.peak);
            }
        }
        self.peak
    }

    /// A new session: its scheduler knows nothing.
    pub fn begin(&mut self) {
        self.told = None;
    }

    /// What is to be told, when that is worth a message.
    pub fn tell(&mut self) -> Option<MemorySeen> {
        let now = self.seen();
        let due = self.told.is_none_or(|told| {
            let grown = now.peak.saturating_sub(told.peak);
            now.observed_ms.saturating_sub(told.observed_ms) >= TELL_MS
                || grown.0.saturating_mul(TELL_PART) > told.peak.0
        });
        due.then(|| *self.told.insert(now))
    }
}

/// The bucket of an amount.
fn bucket(used: Bytes) -> usize {
    let octave = used.0.checked_ilog2().unwrap_or_default();
    let Some(above) = octave.checked_sub(LEAST_OCTAVE) else { return 0 };
    let quarter = (used.0 >> (octave - 2)) & 3;
    let index = 1 + u64::from(above) * 4 + quarter;
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The most that a bucket holds.
fn upper(index: usize) -> Bytes {
    let Some(above) = index.checked_sub(1) else { return Bytes((1 << LEAST_OCTAVE) - 1) };
    if index == BUCKETS - 1 {
        return Bytes(u64::MAX);
    }
    let (octaves, quarter) = (above / 4, above as u64 % 4);
    let width = 1_u64 << (LEAST_OCTAVE - 2) << octaves;
    Bytes((5 + quarter) * width - 1)
}

#[cfg(test)]
mod tests;
