//! Nodes, and who sits on them.

use model::{
    Bytes, MilliCpu,
    view::{
        NodeCpus, NodeDisk, NodeGeneric, NodeMemory, NodeRow, PlacedTask, PlacementNode,
        PlacementView,
    },
};

use super::{Amounts, Rows, Shown};
use crate::{
    convert::{
        At as _, BadField, Field as _,
        field::mirror,
        kinds::{Map, Maybe, Message, Same, Total},
        words::SuccessionWord,
    },
    v1,
};

mirror!(v1::PlacementView => PlacementView {
    nodes: Rows<Message<v1::PlacementNode, PlacementNode>>,
    pending: Rows<Message<v1::PlacedTask, PlacedTask>>,
});

mirror!(v1::PlacementNode => PlacementNode {
    name: Shown,
    allocatable: Total,
    reserved: Total,
    free: Total,
    tasks: Rows<Message<v1::PlacedTask, PlacedTask>>,
    generic: OfNode,
});

mirror!(v1::NodeGeneric => NodeGeneric {
    capacity: Same<u64>,
    reserved: Same<u64>,
});

/// Generic resources of a node by kind.
type OfNode = Map<Shown, Message<v1::NodeGeneric, NodeGeneric>>;

mirror!(v1::PlacedTask => PlacedTask {
    task: Shown,
    stack: Shown,
    service: Shown,
    replica: Same<u32>,
    memory: Total,
    reason: Maybe<Shown>,
    succession: Maybe<SuccessionWord>,
    generic: Amounts,
});

/// Not a mirror: the JSON groups what is flat on the wire.
impl TryFrom<v1::NodeRow> for NodeRow {
    type Error = BadField;

    fn try_from(wire: v1::NodeRow) -> Result<Self, BadField> {
        Ok(Self {
            name: wire.name,
            id: wire.id,
            state: wire.state,
            schedulable: wire.schedulable,
            labels: wire.labels,
            address: wire.address,
            arch: wire.arch,
            engine: wire.engine,
            version: wire.version,
            memory: NodeMemory {
                capacity: Bytes(wire.memory_capacity),
                reserve: Bytes(wire.memory_reserve),
                allocatable: Bytes(wire.memory_allocatable),
                reserved: Bytes(wire.memory_reserved),
                limits: Bytes(wire.memory_limits),
                used: wire.memory_used.map(Bytes),
            },
            cpus: NodeCpus {
                capacity: MilliCpu(wire.cpus_capacity),
                reserved: MilliCpu(wire.cpus_reserved),
            },
            tasks: wire.tasks,
            disk: NodeDisk { capacity: Bytes(wire.disk_capacity), free: Bytes(wire.disk_free) },
            engine_ready: wire.engine_ready,
            drain_until: wire.drain_until,
            generic: OfNode::read(wire.generic).at("generic")?,
        })
    }
}

impl From<NodeRow> for v1::NodeRow {
    fn from(model: NodeRow) -> Self {
        let NodeMemory { capacity, reserve, allocatable, reserved, limits, used } = model.memory;
        Self {
            name: model.name,
            id: model.id,
            state: model.state,
            schedulable: model.schedulable,
            labels: model.labels,
            address: model.address,
            arch: model.arch,
            engine: model.engine,
            version: model.version,
            memory_capacity: capacity.0,
            memory_reserve: reserve.0,
            memory_allocatable: allocatable.0,
            memory_reserved: reserved.0,
            memory_limits: limits.0,
            memory_used: used.map(|Bytes(used)| used),
            cpus_capacity: model.cpus.capacity.0,
            cpus_reserved: model.cpus.reserved.0,
            tasks: model.tasks,
            disk_capacity: model.disk.capacity.0,
            disk_free: model.disk.free.0,
            engine_ready: model.engine_ready,
            drain_until: model.drain_until,
            generic: OfNode::write(&model.generic),
        }
    }
}

impl From<&NodeRow> for v1::NodeRow {
    fn from(model: &NodeRow) -> Self {
        Self::from(model.clone())
    }
}
