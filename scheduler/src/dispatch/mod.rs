//! The agents' streams: assignments down, reports up, relays in between.
//!
//! **Invariant:** what an agent says of the present (heartbeats, telemetry) stays in memory; what it
//! says of its tasks is answered only after it is in the log.

mod relay;
mod rounds;
mod sessions;
mod streams;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub(crate) use relay::{RelayEnds, Relays};
use rounds::Rounds;
pub(crate) use sessions::Sessions;
pub(crate) use streams::{Inbound, serve};

use crate::log::ReplicatedLog;

/// What every stream needs.
pub(crate) struct Dispatch {
    pub(crate) log: Arc<dyn ReplicatedLog>,
    pub(crate) sessions: Sessions,
    pub(crate) relays: Relays,
    /// What answers to renewals of leases wait for.
    pub(crate) rounds: Rounds,
    /// Ends every stream when the scheduler stops.
    pub(crate) stop: CancellationToken,
}

impl Dispatch {
    pub(crate) fn new(log: Arc<dyn ReplicatedLog>, stop: CancellationToken) -> Self {
        Self {
            log,
            sessions: Sessions::default(),
            relays: Relays::default(),
            rounds: Rounds::default(),
            stop,
        }
    }
}
