//! What services reserve beside what they were seen to use.

use serde::{Deserialize, Serialize};

use crate::Bytes;

/// Where the memory that is reserved for a service came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemorySource {
    /// Its file reserves it.
    Reservation,
    /// Its file limits it, and reserves nothing.
    Limit,
    /// Its file says nothing, and nobody knows yet.
    Assumed,
    /// Its file says nothing; it is what the service was seen to need.
    Observed,
}

impl MemorySource {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reservation => "reservation",
            Self::Limit => "limit",
            Self::Assumed => "assumed",
            Self::Observed => "observed",
        }
    }

    /// Whether a person wrote it.
    pub const fn is_declared(self) -> bool {
        matches!(self, Self::Reservation | Self::Limit)
    }
}

/// A row of `advise`: what a service reserves and may use, beside what it was seen to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct AdviceRow {
    pub stack: String,
    pub service: String,
    pub replicas: u32,
    pub memory_reservation: Bytes,
    pub memory_basis: MemorySource,
    pub memory_limit: Bytes,
    /// The most a replica was seen to use; null when nothing was seen.
    pub observed_peak: Option<Bytes>,
    /// What a replica stays at or under 95 % of the time.
    pub observed_usual: Option<Bytes>,
    /// For how long it was observed, at least.
    pub observed_seconds: u64,
    /// How much longer it has to be observed before anything is said of it; 0 when it was long enough.
    pub needed_seconds: u64,
    /// How often the kernel killed it for want of memory.
    pub oom_kills: u32,
    /// What should change and why, in one sentence; null when nothing should.
    pub advice: Option<String>,
    /// The reservation to write; null when it should stay.
    pub advised_reservation: Option<Bytes>,
    /// The limit to write; null when it should stay.
    pub advised_limit: Option<Bytes>,
}
