//! Machines: joining, what they offer, whether they are there.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Bytes, Generic, Inventory, Liveness, Node, NodeId, NodeName, ServiceName, StackName, Task,
    TaskState, Timestamp,
};

use super::{Answered, Happened, check};
use crate::{
    cluster::{Cluster, Outcome, Rejection, Service, limits},
    orchestrate,
};

/// Since this form it is written down when a drain began.
const DRAIN_SINCE_FORM: u32 = 4;

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
            drain: None,
            drain_since: None,
            joined_at: at,
            returned_at: None,
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
            let ledger_error = inventory.ledger_error.clone();
            // These it was told, and not by the engine.
            let (allows, generic) = (inventory.allows.clone(), inventory.generic.clone());
            node.inventory =
                Inventory { engine_ready: false, ledger_error, allows, generic, ..before.clone() };
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
        if before.generic != inventory.generic {
            let said = |generic: &Generic| {
                if generic.is_empty() { "nothing".to_owned() } else { generic.to_string() }
            };
            let (new, old) = (said(&inventory.generic), said(&before.generic));
            let message =
                format!("{} offers {new} of generic resources (before: {old})", node.name);
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
        if node.liveness == Liveness::Down {
            node.returned_at = Some(at);
        }
        node.liveness = liveness;
        node.since = at.max(node.since.plus_millis(1));
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
        (node.drain, node.drain_since) = (None, None);
        let node = node.clone();
        if schedulable {
            self.forgive(id);
        }
        let (kind, what) =
            if schedulable { ("uncordoned", "takes") } else { ("cordoned", "takes no") };
        let message = format!("node {} {what} new tasks", node.name);
        self.note(Happened::new(at, kind, message).node(&node));
        Ok(Outcome::Done)
    }

    pub(super) fn drain(&mut self, at: Timestamp, id: NodeId, until: Timestamp) -> Answered {
        let known = self.form >= DRAIN_SINCE_FORM;
        let node = self.nodes.get_mut(&id).ok_or(Rejection::UnknownNode(id))?;
        if node.drain == Some(until) {
            return Ok(Outcome::Unchanged);
        }
        node.schedulable = false;
        (node.drain, node.drain_since) = (Some(until), known.then_some(at));
        let node = node.clone();
        // What failed elsewhere at the last drain is tried again.
        self.forgive(id);
        let until = until.to_rfc3339();
        let message = format!("node {} is drained: its tasks move until {until}", node.name);
        self.note(Happened::new(at, "draining", message).node(&node));
        Ok(Outcome::Done)
    }

    /// The leader found that nothing more will move.
    pub(super) fn end_drain(&mut self, at: Timestamp, id: NodeId) -> Result<(), String> {
        let node = self.nodes.get_mut(&id).filter(|node| node.drain.is_some());
        let node = node.ok_or_else(|| format!("{id} is not drained"))?;
        (node.drain, node.drain_since) = (None, None);
        let node = node.clone();
        let left = self.tasks_on(id).filter(|task| task.holds_resources()).count();
        let happened = if left == 0 {
            Happened::new(at, "drained", format!("node {} is drained", node.name))
        } else {
            let message =
                format!("the drain of node {} ended, {left} of its tasks stay", node.name);
            Happened::new(at, "drained", message).warning()
        };
        self.note(happened.node(&node));
        Ok(())
    }

    /// A move away from the node that was given up is no failure of a service whose every replica is
    /// what is wanted.
    fn forgive(&mut self, id: NodeId) {
        let whole = |name: &StackName, service: &ServiceName, held: &Service| {
            let serves = |slot: u32| {
                self.tasks_of(name).any(|task| {
                    (&task.service, task.slot) == (service, slot)
                        && !task.desired.is_leaving()
                        && !task.status.state.is_over()
                        && orchestrate::is_current(self, held, task)
                })
            };
            let there = self.tasks_on(id).any(|task| {
                (&task.stack, &task.service) == (name, service) && task.holds_resources()
            });
            there && (1..=held.spec.replicas).all(serves)
        };
        let services = self.stacks.iter().flat_map(|(name, stack)| {
            let failed = stack.wanted().filter(|(_, held)| held.failed.is_some());
            failed
                .filter(|(service, held)| whole(name, service, held))
                .map(move |held| (name, held.0))
        });
        let forgiven: Vec<_> =
            services.map(|(name, service)| (name.clone(), service.clone())).collect();
        for (name, service) in forgiven {
            let held =
                self.stacks.get_mut(&name).and_then(|stack| stack.services.get_mut(&service));
            if let Some(held) = held {
                held.failed = None;
            }
        }
    }

    pub(super) fn label(
        &mut self,
        at: Timestamp,
        id: NodeId,
        set: &BTreeMap<String, String>,
        remove: &BTreeSet<String>,
    ) -> Answered {
        let node = self.nodes.get(&id).ok_or(Rejection::UnknownNode(id))?;
        let mut labels = node.labels.clone();
        labels.retain(|key, _| !remove.contains(key));
        labels.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
        check::at_most("labels of a node", labels.len(), limits::MAX_LABELS)?;
        if node.labels == labels {
            return Ok(Outcome::Unchanged);
        }
        let node = Node { labels, ..node.clone() };
        let listed = node.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let listed = listed.collect::<Vec<_>>().join(", ");
        let message = if listed.is_empty() {
            format!("node {} has no labels", node.name)
        } else {
            format!("node {} has the labels {listed}", node.name)
        };
        self.note(Happened::new(at, "labelled", message).node(&node));
        self.nodes.insert(id, node);
        Ok(Outcome::Done)
    }

    /// Takes the node out of the cluster with everything that is remembered of it. What would be lost
    /// goes only where that was said, and tasks only where nobody can end them any more; one that must
    /// never run twice only when its lease is over.
    pub(super) fn remove_node(
        &mut self,
        at: Timestamp,
        id: NodeId,
        (give_up_tasks, give_up_volumes): (bool, bool),
        down_since: Option<Timestamp>,
    ) -> Answered {
        let node = self.nodes.get(&id).ok_or(Rejection::UnknownNode(id))?.clone();
        let down = node.liveness == Liveness::Down;
        let replaced =
            |task: &&Task| task.status.state == TaskState::Lost && orchestrate::is_movable(task);
        let held = self.tasks_on(id).filter(|task| task.holds_resources() && !replaced(task));
        let (mut tasks, mut leased) = (Vec::new(), Vec::new());
        for task in held {
            let name = format!("{}/{}.{}", task.stack, task.service, task.slot);
            if task.spec.strict_singleton && down_since != Some(node.since) {
                leased.push(name.clone());
            }
            tasks.push(name);
        }
        let lives_there = self.volumes.iter().filter(|(_, volume)| volume.home == id);
        let volumes: Vec<String> = lives_there.map(|(name, _)| name.clone()).collect();
        let refused = |held: &[String], may_go: bool| if may_go { vec![] } else { held.to_vec() };
        let kept = (refused(&tasks, down && give_up_tasks), refused(&volumes, give_up_volumes));
        if !kept.0.is_empty() || !kept.1.is_empty() {
            let (tasks, volumes) = kept;
            return Err(Rejection::NodeHolds { node: node.name, down, tasks, volumes });
        }
        if !leased.is_empty() {
            return Err(Rejection::LeaseNotOver { node: node.name, tasks: leased });
        }
        let gone: Vec<_> = self.tasks_on(id).map(|task| task.id).collect();
        for task in gone {
            self.forget_task(task);
        }
        self.volumes.retain(|_, volume| volume.home != id);
        self.nodes.remove(&id);
        self.generations.remove(&id);
        if let Some(held) = &mut self.authorities {
            held.nodes.remove(&id);
        }
        let name = &node.name;
        for (what, names) in [("task", tasks), ("volume", volumes)] {
            for lost in names {
                let message = format!("{what} {lost} was given up with node {name}");
                self.note(Happened::new(at, "given-up", message).node(&node).warning());
            }
        }
        let message = format!("node {name} ({id}) is no member any more");
        self.note(Happened::new(at, "left", message).node(&node));
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
