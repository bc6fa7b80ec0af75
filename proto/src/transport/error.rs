//! What goes wrong on the way to a scheduler, in words that tell a clock from an impostor.

use std::{io, time::Duration};

use model::Timestamp;
use rustls::{CertificateError, Error as TlsError, pki_types::UnixTime};
use thiserror::Error;

use super::pinned::WrongAuthority;

/// What else may be the reason when one side does not know the other's authority.
pub(super) const REPLACED: &str = "if that scheduler's data directory was lost, restore it from a backup: what \
                                   answers there now is another cluster; if the cluster's authority was \
                                   replaced while this machine was away, it has to join anew with an empty \
                                   data directory (a person: take a new DIR/admin.yaml of a scheduler)";

/// Why a scheduler could not be reached, or a certificate not be read.
#[derive(Debug, Error)]
pub enum TransportError {
    /// No address was given.
    #[error("no scheduler address is given")]
    NoEndpoint,
    /// An address is not one.
    #[error("`{0}` is not HOST:PORT")]
    BadEndpoint(String),
    /// The caller's own certificate, key or authorities cannot be used.
    #[error("the {what} cannot be used: {why}")]
    Identity {
        /// Which of the three.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing accepts connections there.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// The address.
        endpoint: String,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// It did not answer in time.
    #[error("{endpoint} did not answer within {} ms", limit.as_millis())]
    TimedOut {
        /// The address.
        endpoint: String,
        /// How long was waited.
        limit: Duration,
    },
    /// Its certificate is not valid at this machine's time: as a rule one of the clocks is wrong.
    #[error(
        "the certificate of {endpoint} {fault}, and this machine's clock says {}: check the clocks \
         of both machines",
        clock.to_rfc3339()
    )]
    Clock {
        /// The address.
        endpoint: String,
        /// `is not valid before …` or `ended at …`.
        fault: String,
        /// What this machine takes for the time.
        clock: Timestamp,
    },
    /// It is not the cluster that was asked for.
    #[error("{endpoint} does not belong to the cluster: {why}")]
    Untrusted {
        /// The address.
        endpoint: String,
        /// What its certificate lacks.
        why: String,
    },
    /// TLS failed for another reason.
    #[error("{endpoint} does not speak TLS as a scheduler does")]
    Handshake {
        /// The address.
        endpoint: String,
        /// What was wrong.
        #[source]
        cause: io::Error,
    },
    /// A certificate does not say who its holder is.
    #[error("the certificate does not name a member of a cluster: {0}")]
    NoPeer(String),
    /// Every address failed.
    #[error("no scheduler can be reached: {}", lines(.0))]
    AllFailed(Vec<Self>),
    /// The connection broke before it could be used.
    #[error("the connection to {endpoint} cannot be used")]
    Unusable {
        /// The address.
        endpoint: String,
        /// What was wrong.
        #[source]
        cause: tonic::transport::Error,
    },
}

impl TransportError {
    /// The error of a handshake with `endpoint`, told apart by what it means for a person.
    pub(super) fn of_handshake(endpoint: &str, cause: io::Error) -> Self {
        let endpoint = endpoint.to_owned();
        let tls = cause.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        let Some(TlsError::InvalidCertificate(fault)) = tls else {
            return Self::Handshake { endpoint, cause };
        };
        match fault {
            CertificateError::ExpiredContext { time, not_after } => {
                let fault = format!("ended at {}", timestamp(*not_after).to_rfc3339());
                Self::Clock { endpoint, fault, clock: timestamp(*time) }
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let begin = timestamp(*not_before).to_rfc3339();
                let fault = format!("is not valid before {begin}");
                Self::Clock { endpoint, fault, clock: timestamp(*time) }
            }
            CertificateError::Expired => Self::Clock {
                endpoint,
                fault: "has ended".to_owned(),
                clock: timestamp(UnixTime::now()),
            },
            CertificateError::NotValidYet => Self::Clock {
                endpoint,
                fault: "is not valid yet".to_owned(),
                clock: timestamp(UnixTime::now()),
            },
            CertificateError::Other(other) => {
                let why = match other.0.downcast_ref::<WrongAuthority>() {
                    Some(wrong) => wrong.to_string(),
                    None => other.to_string(),
                };
                Self::Untrusted { endpoint, why }
            }
            CertificateError::UnknownIssuer => Self::Untrusted {
                endpoint,
                why: format!(
                    "its certificate is of an authority that is not trusted here; {REPLACED}"
                ),
            },
            other => Self::Untrusted { endpoint, why: other.to_string() },
        }
    }
}

fn lines(errors: &[TransportError]) -> String {
    errors.iter().map(|error| model::story(error)).collect::<Vec<_>>().join("; ")
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp(time.as_secs().saturating_mul(1000))
}
