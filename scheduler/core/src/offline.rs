//! Planning on imagined machines, without a cluster.

use model::{
    ImaginedNode, Inventory, Liveness, Node, NodeId, StackSpec, Timestamp, view::PlanView,
};

use crate::{
    cluster::{Cluster, Rejection},
    view,
};

/// What applying the stack would do on these machines, were they all there is.
pub fn plan_offline(spec: &StackSpec, nodes: &[ImaginedNode]) -> Result<PlanView, Rejection> {
    let mut cluster = Cluster::new();
    for imagined in nodes {
        cluster.imagine(node(imagined));
    }
    view::plan_view(&cluster, spec, Timestamp(0))
}

/// As if it had joined; its id is for the cluster to give.
pub(crate) fn node(imagined: &ImaginedNode) -> Node {
    Node {
        id: NodeId::new(1),
        name: imagined.name.clone(),
        labels: imagined.labels.clone(),
        address: String::new(),
        inventory: Inventory {
            memory: imagined.memory,
            cpu: imagined.cpus,
            arch: imagined.arch.clone().unwrap_or_default(),
            os: "linux".to_owned(),
            engine_ready: true,
            ..Inventory::default()
        },
        liveness: Liveness::Ready,
        schedulable: true,
        drain: None,
        joined_at: Timestamp(0),
        returned_at: None,
        since: Timestamp(0),
    }
}
