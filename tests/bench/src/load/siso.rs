//! A write of ours: the machine is cordoned, or uncordoned again.

use std::time::Duration;

use proto::{
    transport::{Identity, channel},
    v1::{SetSchedulableRequest, control_client::ControlClient},
};
use serde::Deserialize;
use siso_tests::World;
use tonic::transport::Channel;

use super::Writer;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The name of the one machine of a [`World`].
const NODE: &str = "mini-1";

/// The file `sisoctl` reads, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Context {
    endpoints: Vec<String>,
    authorities: String,
    certificate: String,
    key: String,
}

/// The way to a cluster.
#[derive(Debug)]
pub(super) struct Way(Context);

impl Way {
    /// As the cluster's first admin goes it.
    pub(super) fn of(world: &World) -> Self {
        let text = std::fs::read_to_string(&world.ctl.context).expect("the context file");
        Self(serde_saphyr::from_str(&text).expect("a context"))
    }

    /// Clients, each with a connection of its own.
    pub(super) fn writers(&self, crowd: usize) -> Vec<Cordoner> {
        let Context { endpoints, authorities, certificate, key } = &self.0;
        let identity = Identity {
            authorities: authorities.clone(),
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let connect = |_| {
            let channel = channel(endpoints, &identity, CONNECT_TIMEOUT).expect("a channel");
            Cordoner { control: ControlClient::new(channel), schedulable: true }
        };
        (0..crowd).map(connect).collect()
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Cordoner {
    control: ControlClient<Channel>,
    schedulable: bool,
}

impl Writer for Cordoner {
    async fn write(&mut self) {
        self.schedulable = !self.schedulable;
        let request = SetSchedulableRequest {
            request_id: rand::random::<u128>().to_be_bytes().to_vec(),
            node: NODE.to_owned(),
            schedulable: self.schedulable,
        };
        self.control.set_schedulable(request).await.expect("the machine is cordoned");
    }
}
