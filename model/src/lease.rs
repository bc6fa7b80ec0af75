//! Leases of strict singletons: how long one is good for, and how long is waited after the last one.
//!
//! The agent counts a lease from the moment it *sent* the renewal; the leader counts its wait from the
//! moment it *answered* one, or from the moment it began to lead. Each uses its own clock, which counts
//! sleep; only lengths of time are compared, never the time of day.

/// How long a lease is good for, in milliseconds. Longer than a leader's failover (≤ 5 s) and the
/// discovery of a silent connection (≤ 10 s) with the dial that follows, so that neither stops anything.
pub const LEASE_MS: u64 = 20_000;
/// Added to every wait for the end of a lease, in milliseconds: what the agent and its engine take to
/// act (a look each second, a request), and clocks that do not run equally fast.
pub const LEASE_MARGIN_MS: u64 = 5_000;

/// How long after the last answered renewal a task whose container gets `stop_grace_ms` to stop has
/// surely ended, in milliseconds.
pub const fn fence_ms(stop_grace_ms: u64) -> u64 {
    LEASE_MS.saturating_add(stop_grace_ms).saturating_add(LEASE_MARGIN_MS)
}

/// Milliseconds by a clock of one machine that counts its sleep, since some moment that never changes
/// while the process that reads it lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(pub u64);

impl Uptime {
    /// How long it is since `earlier`; 0 when that is later.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
