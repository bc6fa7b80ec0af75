//! The services on the one port. Handlers are thin: they turn messages into model values, ask the
//! log or `scheduler_core`, and turn the answer into messages.
//!
//! **Invariant:** a read sees every write that was answered before it began; a write is answered
//! after it is durable, and asked again with the same request id it is done once.

mod agents;
mod callers;
mod control;
mod count;
mod enrol;
mod forward;
mod garbled;
pub(crate) mod status;

use std::sync::Arc;

use model::token::Role;
use proto::{
    transport::{ANSWER_BYTES_MAX, SET_BYTES_MAX},
    v1::{agent_server::AgentServer, control_server::ControlServer, enrol_server::EnrolServer},
};
use tokio::sync::{Mutex, Semaphore};
use tonic::{
    Status,
    service::{Routes, interceptor::InterceptedService},
};

pub(crate) use callers::scheduler;
pub(crate) use count::CountLayer;
pub(crate) use forward::{Forward, ForwardLayer};

use self::{agents::Agent, callers::Gate, control::Control, enrol::Enrol};
use crate::{
    dispatch::Dispatch,
    log::{Door, ReplicatedLog},
    pki::{Authority, Keys, View},
    places::Places,
    refusals::Refusals,
};

/// The largest message, but for answers to people and the set of a node: see [`ANSWER_BYTES_MAX`] and
/// [`SET_BYTES_MAX`].
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Watches, followed events, logs, execs and forwarded connections at one time, of all callers together.
pub(crate) const STREAMS_MAX: usize = 256;

/// Forwarded connections of all callers together: half of the places that people's connections have, and each takes one.
pub(crate) const FORWARDS_MAX: usize = 64;

/// What every handler needs.
pub(crate) struct Office {
    pub(crate) log: Arc<dyn ReplicatedLog>,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) keys: Arc<Keys>,
    /// One authority is made at a time.
    pub(crate) rotating: Mutex<()>,
    /// The cluster's id.
    pub(crate) cluster: String,
    /// What certificates call the cluster.
    pub(crate) origin: String,
    /// The cluster's name.
    pub(crate) name: String,
    /// The other schedulers.
    pub(crate) door: Door,
    /// Places for streams.
    pub(crate) streams: Streams,
    /// Places for connections.
    pub(crate) places: Arc<Places>,
    /// What is said of those who were turned away.
    pub(crate) refusals: Refusals,
}

/// Places for streams, whoever asks for them.
pub(crate) struct Streams {
    /// For all: [`STREAMS_MAX`].
    pub(crate) all: Arc<Semaphore>,
    /// For forwarded connections among them: [`FORWARDS_MAX`].
    pub(crate) forwards: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { all: places(STREAMS_MAX), forwards: places(FORWARDS_MAX) }
    }
}

impl Office {
    /// The keys, once what the log says of authorities is in force: whoever is answered now must not be
    /// given what was so a moment ago.
    pub(crate) fn keys_of_now(&self) -> Result<&Keys, Status> {
        let (own, _) = self.keys.stand();
        let newer = {
            let cluster = self.log.cluster();
            cluster.authorities().filter(|held| held.step > own).map(View::from)
        };
        if let Some(newer) = newer {
            self.keys.take(newer).map_err(|error| status::pki_error(&error))?;
        }
        Ok(&self.keys)
    }

    /// The authority that signs; it is fetched from another scheduler when its key is not here.
    pub(crate) fn issuing(&self) -> Result<Arc<Authority>, Status> {
        self.keys_of_now()?.issuing().ok_or_else(status::no_key)
    }

    /// The authority whose certificates are shown, which join tokens name.
    pub(crate) fn presented(&self) -> Result<Arc<Authority>, Status> {
        self.keys_of_now()?.presented().ok_or_else(status::no_key)
    }
}

/// All services, each behind its gate.
pub(crate) fn routes(office: &Arc<Office>) -> Routes {
    let control = ControlServer::new(Control(Arc::clone(office)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let agent = AgentServer::new(Agent(Arc::clone(office)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(SET_BYTES_MAX);
    let enrol =
        EnrolServer::new(Enrol(Arc::clone(office))).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let gate = |role, expired_too| {
        let (log, refusals) = (Arc::clone(&office.log), office.refusals.clone());
        Gate { role, log, expired_too, refusals }
    };
    let people = gate(Role::Admin, false);
    let nodes = gate(Role::Node, true);
    let schedulers = gate(Role::Scheduler, false);
    Routes::default()
        .add_service(InterceptedService::new(office.door.clone().service(), schedulers))
        .add_service(InterceptedService::new(control, people))
        .add_service(InterceptedService::new(agent, nodes))
        .add_service(enrol)
}
