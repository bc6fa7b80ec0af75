//! What a service was seen to need, and what that comes to where its file says nothing about memory.
//!
//! **Invariant:** a service that says something about memory gets just that; what is observed never lowers
//! a limit, and the same file applied again changes nothing the second time.

use model::{
    Bytes, ServiceName, StackName, Timestamp,
    spec::{ASSUMED_MEMORY, MemoryBasis, ResourceAsk},
    view::MemorySource,
};

/// From this form on needs are recorded and kills counted: every scheduler that applies the entries has to
/// do the same.
pub const NEEDS_FORM: u32 = 5;
/// For how long a service is observed before its figure replaces the assumed one, in milliseconds: a day,
/// which is the rhythm of most work.
pub const LONG_ENOUGH_MS: u64 = 24 * 3_600_000;
/// What is reserved above the peak, in percent: what is measured every ten seconds misses some.
pub const MARGIN_PERCENT: u64 = 20;
/// The least that is reserved for an undeclared service: what the engine needs for a container besides.
pub const LEAST_RESERVED: Bytes = Bytes::mib(32);
/// The most an undeclared service gets by itself: what leaks must not take a whole machine.
pub const MOST_RESERVED: Bytes = Bytes::gib(4);
/// Figures are rounded up to multiples of this.
const STEP: Bytes = Bytes::mib(8);
/// A reservation that would fall by less than this stays: it is not worth a restart.
const LEAST_FALL: Bytes = Bytes::mib(16);
/// Nor is a fall by less than a fourth.
const LEAST_FALL_PART: u64 = 4;

/// What a service was seen to need. Written by the leader, from what agents measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// When this was written down.
    pub at: Timestamp,
    /// The most a replica was seen to use.
    pub peak: Bytes,
    /// What a replica stays at or under 95 % of the time.
    pub usual: Bytes,
    /// For how long it was observed, at least, in milliseconds.
    pub observed_ms: u64,
}

/// Kills for want of memory, of tasks with the image the service has now. Counted as they are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kills {
    /// How many, at least.
    pub count: u32,
    /// The last one.
    pub at: Timestamp,
    /// The highest limit that was not enough.
    pub limit: Bytes,
}

/// What is known of a service's memory besides its file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Nothing before it was observed for a while.
    pub need: Option<Need>,
    /// Nothing while it was not killed.
    pub kills: Option<Kills>,
}

/// The need of one service, to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceNeed {
    /// Its stack.
    pub stack: StackName,
    /// Which service.
    pub service: ServiceName,
    /// The most a replica was seen to use.
    pub peak: Bytes,
    /// What a replica stays at or under 95 % of the time.
    pub usual: Bytes,
    /// For how long it was observed, at least, in milliseconds.
    pub observed_ms: u64,
}

/// A figure with the margin that is stated, rounded up, between the least and the most.
pub(crate) fn with_margin(seen: Bytes) -> Bytes {
    let margin = seen.0.saturating_mul(MARGIN_PERCENT) / 100;
    let whole = seen.0.saturating_add(margin).div_ceil(STEP.0).saturating_mul(STEP.0);
    Bytes(whole).max(LEAST_RESERVED)
}

/// Whether a reservation is worth changing: what was seen leaves nothing of it, or it could fall by a lot.
pub(crate) fn is_worth_changing(reserved: Bytes, seen: Bytes) -> bool {
    let fall = reserved.saturating_sub(with_margin(seen));
    let falls = fall >= LEAST_FALL && fall.0.saturating_mul(LEAST_FALL_PART) >= reserved.0;
    let grows = seen >= reserved && with_margin(seen) > reserved;
    falls || grows
}

impl Memory {
    /// What the service was seen to need, once that is known well enough to go by: the peak, and what it
    /// was killed at.
    pub fn seen(&self) -> Option<Bytes> {
        let killed = self.kills.map(|kills| kills.limit);
        let long_enough = |need: &Need| need.observed_ms >= LONG_ENOUGH_MS || killed.is_some();
        self.need.filter(long_enough).map(|need| need.peak).max(killed)
    }

    /// What a service is given that asks for `asked`, and has `held` now.
    pub(crate) fn size(&self, held: Option<&ResourceAsk>, asked: &ResourceAsk) -> ResourceAsk {
        let mut given = asked.clone();
        if asked.basis != MemoryBasis::Assumed {
            return given;
        }
        let held = held.filter(|held| held.basis == MemoryBasis::Assumed);
        if let Some(seen) = self.seen() {
            let stays = held.map(|held| held.reserved.memory);
            let stays = stays.filter(|reserved| !is_worth_changing(*reserved, seen));
            given.reserved.memory = stays.unwrap_or_else(|| with_margin(seen).min(MOST_RESERVED));
        }
        let twice = |kills: Kills| Bytes(kills.limit.0.saturating_mul(2)).min(MOST_RESERVED);
        let limits = [
            Some(asked.memory_limit),
            Some(given.reserved.memory),
            held.map(|held| held.memory_limit),
            self.kills.map(twice),
        ];
        given.memory_limit = limits.into_iter().flatten().max().unwrap_or(asked.memory_limit);
        given
    }

    /// Where the memory came from that is reserved for a task of the service.
    pub fn source(&self, ask: &ResourceAsk) -> MemorySource {
        match ask.basis {
            MemoryBasis::Reservation => MemorySource::Reservation,
            MemoryBasis::Limit => MemorySource::Limit,
            MemoryBasis::Assumed => {
                let reserved = ask.reserved.memory;
                let by_it = |seen| !is_worth_changing(reserved, seen);
                if reserved != ASSUMED_MEMORY || self.seen().is_some_and(by_it) {
                    MemorySource::Observed
                } else {
                    MemorySource::Assumed
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
