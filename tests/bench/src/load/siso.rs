//! A write of ours: a label of the machine gets another value.

use proto::v1::{LabelNodeRequest, control_client::ControlClient};
use tonic::transport::Channel;

use super::Writer;
use crate::way::{Way, request_id};

/// The name of the one machine of a [`World`](siso_tests::World).
const NODE: &str = "mini-1";

/// Clients, each with a connection of its own.
pub(super) fn writers(way: &Way, crowd: usize) -> Vec<Labeller> {
    let client = |number| Labeller {
        control: ControlClient::new(way.channel()),
        label: format!("bench-{}", number / 2),
        number,
        count: 0,
    };
    (0..crowd).map(client).collect()
}

/// One client.
#[derive(Debug)]
pub(super) struct Labeller {
    control: ControlClient<Channel>,
    /// Two have one: a machine has 64 at most.
    label: String,
    number: usize,
    count: u64,
}

impl Writer for Labeller {
    async fn write(&mut self) {
        self.count += 1;
        // Nobody else writes it, so that each write changes something.
        let value = format!("{}-{}", self.number, self.count);
        let request = LabelNodeRequest {
            request_id: request_id(),
            node: NODE.to_owned(),
            set: [(self.label.clone(), value)].into(),
            remove: Vec::new(),
        };
        self.control.label_node(request).await.expect("the label is changed");
    }
}
