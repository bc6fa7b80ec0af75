//! A write of ours: the machine is cordoned, or uncordoned again.

use proto::v1::{SetSchedulableRequest, control_client::ControlClient};
use tonic::transport::Channel;

use super::Writer;
use crate::way::{Way, request_id};

/// The name of the one machine of a [`World`](siso_tests::World).
const NODE: &str = "mini-1";

/// Clients, each with a connection of its own.
pub(super) fn writers(way: &Way, crowd: usize) -> Vec<Cordoner> {
    let client = |_| Cordoner { control: ControlClient::new(way.channel()), schedulable: true };
    (0..crowd).map(client).collect()
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
            request_id: request_id(),
            node: NODE.to_owned(),
            schedulable: self.schedulable,
        };
        self.control.set_schedulable(request).await.expect("the machine is cordoned");
    }
}
