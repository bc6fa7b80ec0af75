//! gRPC channels over our own TLS connections.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::{
    Identity, TransportError,
    dial::{self, Dialer, Tell},
    stream::LastWords,
};

/// The authority of every request. The connector does not look at it; `http`, because the connection
/// is encrypted already when tonic gets it.
const AUTHORITY: &str = "http://scheduler.siso.internal";
/// How a connection is probed: a stopped or unplugged peer never says goodbye.
#[derive(Debug, Clone, Copy)]
struct Probe {
    /// After so long without a word.
    after: Duration,
    /// How long the answer may take before the connection is given up.
    limit: Duration,
}

/// For people: a machine that stumbles does not end what they follow.
const PATIENT: Probe = Probe { after: Duration::from_secs(5), limit: Duration::from_secs(3) };
/// For what another scheduler has to take over: found out before a node that was heard a second ago
/// counts as unreachable.
const WATCHFUL: Probe = Probe { after: Duration::from_secs(1), limit: Duration::from_millis(1500) };

/// A channel to the first of `endpoints` (`HOST:PORT`) that answers as a scheduler of the cluster of
/// `identity`. It connects at the first call and again whenever the connection is lost, beginning
/// with the endpoint that worked last; `connect_timeout` is for each endpoint, up to a finished
/// handshake; the next one is dialled beside an endpoint that does not answer at once. Must be called within a Tokio runtime.
pub fn channel(
    endpoints: &[String],
    identity: &Identity,
    connect_timeout: Duration,
) -> Result<Channel, TransportError> {
    let dialer = Dialer::new(endpoints, dial::mutual(identity)?, connect_timeout)?;
    Ok(dialled(dialer, PATIENT))
}

/// The same; `tell` hears of endpoints that had to be passed over for one that answers, and `last_words`
/// holds what one said that refused this machine's certificate.
pub fn channel_telling(
    endpoints: &[String],
    identity: &Identity,
    connect_timeout: Duration,
    tell: Tell,
    last_words: LastWords,
) -> Result<Channel, TransportError> {
    let dialer = Dialer::new(endpoints, dial::mutual(identity)?, connect_timeout)?;
    let dialer = dialer.telling(tell, last_words);
    Ok(dialled(dialer, PATIENT))
}

/// The same as [`channel`], and a scheduler that falls silent is given up within 3 s: for those who
/// have to find another one then.
pub fn watched_channel(
    endpoints: &[String],
    identity: &Identity,
    connect_timeout: Duration,
) -> Result<Channel, TransportError> {
    let dialer = Dialer::new(endpoints, dial::mutual(identity)?, connect_timeout)?;
    Ok(dialled(dialer, WATCHFUL))
}

fn dialled(dialer: Dialer, probe: Probe) -> Channel {
    let dialer = Arc::new(dialer);
    endpoint(probe).connect_with_connector_lazy(service_fn(move |_| {
        let dialer = Arc::clone(&dialer);
        async move { dialer.dial().await.map(TokioIo::new).map_err(|error| in_one_line(&error)) }
    }))
}

/// A channel for whoever has a join token and no certificate yet: to a scheduler whose authority has
/// this SHA-256 (of the DER). It is connected when this returns, so a wrong authority is an error
/// before any request is sent.
pub async fn enrol_channel(
    endpoint: &str,
    authority_sha256: [u8; 32],
    connect_timeout: Duration,
) -> Result<Channel, TransportError> {
    let config = dial::pinned(authority_sha256)?;
    let dialer = Arc::new(Dialer::new(&[endpoint.to_owned()], config, connect_timeout)?);
    let first = Arc::new(Mutex::new(Some(dialer.dial().await?)));
    let base = self::endpoint(PATIENT);
    let connected = base.connect_with_connector(service_fn(move |_| {
        let dialer = Arc::clone(&dialer);
        let ready = first.lock().ok().and_then(|mut first| first.take());
        async move {
            match ready {
                Some(stream) => Ok(TokioIo::new(stream)),
                None => dialer.dial().await.map(TokioIo::new).map_err(|error| in_one_line(&error)),
            }
        }
    }));
    connected
        .await
        .map_err(|cause| TransportError::Unusable { endpoint: endpoint.to_owned(), cause })
}

fn endpoint(probe: Probe) -> Endpoint {
    Endpoint::from_static(AUTHORITY)
        .http2_keep_alive_interval(probe.after)
        .keep_alive_timeout(probe.limit)
        .keep_alive_while_idle(true)
}

/// tonic shows a connection error without its causes, so the text tells all.
fn in_one_line(error: &TransportError) -> io::Error {
    io::Error::other(model::story(&error))
}
