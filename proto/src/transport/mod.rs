//! Connections to a scheduler: TLS 1.3 by our own dial, with the caller's certificate.
//!
//! **Invariant:** no byte of a request leaves before the scheduler has proven that the cluster's
//! authority vouches for it: the authority on file ([`channel`]) or, while there is none, the one a
//! join token names by its hash ([`enrol_channel`]).

mod channel;
mod dial;
mod error;
mod identity;
mod pinned;
mod socket;
mod stream;

#[cfg(test)]
mod tests;

pub use channel::{channel, channel_telling, enrol_channel, watched_channel};
pub use dial::Tell;
pub use error::TransportError;
pub use identity::{Identity, Peer, fingerprints, identity_uri, issuer_of, peer_of};
pub use socket::tune;
pub use stream::{LastWords, reason};

/// The largest answer to a person, in bytes: 20,000 tasks with their states take about 8 MB.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;
/// The largest set of a node: with the bounds of a service and of tasks on a node, none is longer.
pub const SET_BYTES_MAX: usize = 24 << 20;

/// The header in which schedulers tell people where all of them are: `HOST:PORT`, with commas between.
pub const SCHEDULERS_HEADER: &str = "siso-schedulers";

/// The header in which schedulers tell people the SHA-256 of the authorities' certificates, in hexadecimal
/// with commas between, the one that signs first. Missing while the first was never replaced.
pub const AUTHORITIES_HEADER: &str = "siso-authorities";

/// The DNS name in every scheduler's certificate. Clients check for it whatever the address they
/// dial, so that an address may change without a new certificate.
pub const SERVER_NAME: &str = "scheduler.siso.internal";
