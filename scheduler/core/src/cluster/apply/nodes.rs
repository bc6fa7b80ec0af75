//! Machines: joining, what they offer, whether they are there.

use std::collections::BTreeMap;

use model::{Bytes, Inventory, Liveness, Node, NodeId, NodeName, Timestamp};

use super::{Answered, Happened, check};
use crate::cluster::{Cluster, Outcome, Rejection, limits};

impl Cluster {
    pub(super) fn join(
        &mut self,
        at: Timestamp,
        name: &NodeName,
        labels: &BTreeMap<String, String>,
        address: &str,
    ) -> Answered {
        check::at_most("nodes", self.nodes.len().saturating_add(1), limits::MAX_NODES)?;
        check::at_most("labels of a node", labels.len(), limits::MAX_LABELS)?;
        let former = self.node_named(name).map(|node| node.id);
        if let Some(former) = former {
            // A machine that lost its disk may come again under its name, if nothing waits for it.
            let empty = self.tasks_on(former).next().is_none()
                && !self.volumes.values().any(|volume| volume.home == former);
            let down = self.node(former).is_some_and(|node| node.liveness == Liveness::Down);
            if !empty || !down {
                return Err(Rejection::NodeNameTaken(name.clone()));
            }
            self.nodes.remove(&former);
            self.generations.remove(&former);
        }
        let id = self.next_node;
        self.next_node = id.next().unwrap_or(id);
        let node = Node {
            id,
            name: name.clone(),
            labels: labels.clone(),
            address: address.to_owned(),
            inventory: Inventory::default(),
            // Until its first heartbeat.
            liveness: Liveness::Unreachable,
            schedulable: true,
            joined_at: at,
            since: at,
        };
        self.note(Happened::new(at, "joined", format!("node {name} joined as {id}")).node(&node));
        self.nodes.insert(id, node);
        self.touch(id);
        Ok(Outcome::Node(id))
    }

    pub(super) fn update_node(
        &mut self,
        at: Timestamp,
        id: NodeId,
        inventory: &Inventory,
        address: &str,
    ) -> Answered {
        let node = self.nodes.get_mut(&id).ok_or(Rejection::UnknownNode(id))?;
        if node.inventory == *inventory && node.address == address {
            return Ok(Outcome::Unchanged);
        }
        let before = std::mem::replace(&mut node.inventory, inventory.clone());
        // An agent whose engine never answered it does not know what the machine has; we do.
        if !inventory.engine_ready && inventory.memory == Bytes::ZERO {
            node.inventory = Inventory { engine_ready: false, ..before.clone() };
        }
        address.clone_into(&mut node.address);
        let node = node.clone();
        let inventory = &node.inventory;
        if before.engine_ready != inventory.engine_ready {
            let happened = if inventory.engine_ready {
                let message = format!("the container engine of {} answers", node.name);
                Happened::new(at, "engine", message)
            } else {
                let message = format!("the container engine of {} does not answer", node.name);
                Happened::new(at, "engine", message).warning()
            };
            self.note(happened.node(&node));
        }
        let (old, new) = (before.allocatable().memory, inventory.allocatable().memory);
        if old != new {
            let message = format!("{} offers {new} of memory (before: {old})", node.name);
            self.note(Happened::new(at, "inventory", message).node(&node));
        }
        Ok(Outcome::Done)
    }

    pub(super) fn set_liveness(
        &mut self,
        at: Timestamp,
        id: NodeId,
        liveness: Liveness,
    ) -> Answered {
        let node = self.nodes.get_mut(&id).ok_or(Rejection::UnknownNode(id))?;
        if node.liveness == liveness {
            return Ok(Outcome::Unchanged);
        }
        node.liveness = liveness;
        node.since = at;
        let node = node.clone();
        let message = format!("node {} is {}", node.name, liveness.as_str());
        let happened = Happened::new(at, liveness.as_str(), message).node(&node);
        let quiet = liveness == Liveness::Ready;
        self.note(if quiet { happened } else { happened.warning() });
        Ok(Outcome::Done)
    }

    pub(super) fn set_schedulable(
        &mut self,
        at: Timestamp,
        id: NodeId,
        schedulable: bool,
    ) -> Answered {
        let node = self.nodes.get_mut(&id).ok_or(Rejection::UnknownNode(id))?;
        if node.schedulable == schedulable {
            return Ok(Outcome::Unchanged);
        }
        node.schedulable = schedulable;
        let node = node.clone();
        let (kind, what) =
            if schedulable { ("uncordoned", "takes") } else { ("cordoned", "takes no") };
        let message = format!("node {} {what} new tasks", node.name);
        self.note(Happened::new(at, kind, message).node(&node));
        Ok(Outcome::Done)
    }

    pub(super) fn confirm_removed(
        &mut self,
        at: Timestamp,
        id: NodeId,
        (removed, left): (&[String], &[String]),
    ) -> Answered {
        let node = self.nodes.get(&id).ok_or(Rejection::UnknownNode(id))?.clone();
        let mut any = false;
        let gone = removed.iter().map(|name| (name, true));
        for (name, removed) in gone.chain(left.iter().map(|name| (name, false))) {
            let mine = |volume: &crate::cluster::Volume| volume.home == id && volume.removing;
            if !self.volumes.get(name).is_some_and(mine) {
                continue;
            }
            any = true;
            if let Some(volume) = self.volumes.remove(name) {
                let where_ = &node.name;
                let happened = if removed {
                    let message = format!("the data of volume {name} on {where_} is removed");
                    Happened::new(at, "removed", message)
                } else {
                    let message = format!(
                        "volume {name} on {where_} keeps its data: this cluster did not make it; \
                         `docker volume rm {name}` there removes it"
                    );
                    Happened::new(at, "left", message).warning()
                };
                self.note(happened.stack(&volume.stack).node(&node));
            }
        }
        if !any {
            return Ok(Outcome::Unchanged);
        }
        self.touch(id);
        Ok(Outcome::Done)
    }
}
