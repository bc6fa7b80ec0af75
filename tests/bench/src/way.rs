//! The way to a cluster, as its first admin goes it.

use std::time::Duration;

use proto::transport::{Identity, channel};
use serde::Deserialize;
use siso_tests::World;
use tonic::transport::Channel;

/// Generous for loopback.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The file `sisoctl` reads, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Context {
    endpoints: Vec<String>,
    authorities: String,
    certificate: String,
    key: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Way(Context);

impl Way {
    /// As the context file of this world tells it.
    pub(crate) fn of(world: &World) -> Self {
        let text = std::fs::read_to_string(&world.ctl.context).expect("the context file");
        Self(serde_saphyr::from_str(&text).expect("a context"))
    }

    /// Where the schedulers are.
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.0.endpoints
    }

    /// A connection of its own.
    pub(crate) fn channel(&self) -> Channel {
        let Context { endpoints, authorities, certificate, key } = &self.0;
        let identity = Identity {
            authorities: authorities.clone(),
            certificate: certificate.clone(),
            key: key.clone(),
        };
        channel(endpoints, &identity, CONNECT_TIMEOUT).expect("a channel")
    }
}

/// What identifies a write that may be asked again.
pub(crate) fn request_id() -> Vec<u8> {
    rand::random::<u128>().to_be_bytes().to_vec()
}
