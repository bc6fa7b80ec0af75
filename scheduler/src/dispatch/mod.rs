//! The agents' streams: assignments down, reports up, relays in between.
//!
//! **Invariant:** what an agent says of the present (heartbeats, telemetry) stays in memory; what it
//! says of its tasks is answered only after it is in the log.

mod relay;
mod rounds;
mod sessions;
mod streams;

use std::sync::Arc;

use scheduler_core::Thresholds;
use tokio_util::sync::CancellationToken;

pub(crate) use relay::{RelayEnds, Relays};
use rounds::Rounds;
pub(crate) use sessions::Sessions;
pub(crate) use streams::{Inbound, serve};

use crate::{log::ReplicatedLog, refusals::Refusals};

/// What every stream needs.
pub(crate) struct Dispatch {
    pub(crate) log: Arc<dyn ReplicatedLog>,
    pub(crate) sessions: Sessions,
    pub(crate) relays: Relays,
    /// What is said of nodes that speak of what is not theirs.
    pub(crate) refusals: Refusals,
    /// What answers to renewals of leases wait for.
    pub(crate) rounds: Rounds,
    /// Ends every stream when the scheduler stops.
    pub(crate) stop: CancellationToken,
}

impl Dispatch {
    pub(crate) fn new(
        log: Arc<dyn ReplicatedLog>,
        thresholds: Thresholds,
        refusals: Refusals,
        stop: CancellationToken,
    ) -> Self {
        Self {
            log,
            sessions: Sessions::new(thresholds),
            relays: Relays::default(),
            refusals,
            rounds: Rounds::default(),
            stop,
        }
    }
}
