//! Planning on imagined machines, without a cluster.

use std::collections::BTreeMap;

use model::{
    Inventory, Liveness, Node, NodeId, NodeName, Resources, StackSpec, Timestamp, view::PlanView,
};

use crate::{
    cluster::{Cluster, Rejection},
    view,
};

/// A machine that is only imagined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImaginedNode {
    /// Its name.
    pub name: NodeName,
    /// What can be reserved on it; no reserve is taken off.
    pub resources: Resources,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its architecture as Docker names it.
    pub arch: String,
}

/// What applying the stack would do on these machines, were they all there is.
pub fn plan_offline(spec: &StackSpec, nodes: &[ImaginedNode]) -> Result<PlanView, Rejection> {
    let mut cluster = Cluster::new();
    for (index, imagined) in nodes.iter().enumerate() {
        let number = u64::try_from(index).unwrap_or(u64::MAX).saturating_add(1);
        cluster.imagine(node(NodeId::new(number), imagined));
    }
    view::plan_view(&cluster, spec, Timestamp(0))
}

fn node(id: NodeId, imagined: &ImaginedNode) -> Node {
    Node {
        id,
        name: imagined.name.clone(),
        labels: imagined.labels.clone(),
        address: String::new(),
        inventory: Inventory {
            memory: imagined.resources.memory,
            cpu: imagined.resources.cpu,
            arch: imagined.arch.clone(),
            os: "linux".to_owned(),
            engine_ready: true,
            ..Inventory::default()
        },
        liveness: Liveness::Ready,
        schedulable: true,
        drain: None,
        drain_since: None,
        joined_at: Timestamp(0),
        returned_at: None,
        since: Timestamp(0),
    }
}
