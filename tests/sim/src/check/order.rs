//! What must be so once nothing goes wrong any more: everything that is wanted and fits runs, and
//! nothing else is there.

use model::{
    Bytes, Desired, NodeId, ServiceName, ServiceSpec, StackName, Task, TaskState,
    spec::{ConstraintKey, ConstraintOp, Port, RestartPolicy},
};
use scheduler_core::cluster::{Service, Stack};

use crate::{image::Behaviour, world::World};

impl World {
    /// What is not as it should be, in words.
    pub(crate) fn out_of_order(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, stack) in self.log.reference.stacks() {
            if stack.removal().is_some() {
                wrong.push(format!("stack {name} is still there"));
                continue;
            }
            for (service, held) in stack.wanted() {
                for slot in 1..=held.spec.replicas {
                    wrong.extend(self.replica_out_of_order((name, stack), (service, held), slot));
                }
            }
        }
        for (node, machine) in &self.machines {
            if !machine.agent.as_ref().is_some_and(crate::agent::Process::has_session) {
                wrong.push(format!("{node} has no session"));
            }
            wrong.extend(self.leftovers(*node));
        }
        wrong
    }

    fn replica_out_of_order(
        &self,
        (name, stack): (&StackName, &Stack),
        (service, held): (&ServiceName, &Service),
        slot: u32,
    ) -> Option<String> {
        let tasks = self.log.reference.tasks_of(name).filter(|task| {
            task.service == *service && task.slot == slot && !task.desired.is_leaving()
        });
        let what = format!("{name}/{service}.{slot}");
        let Some(newest) = tasks.max_by_key(|task| task.epoch) else {
            return Some(format!("{what} has no task"));
        };
        // What cannot work may be in any state; so may what waits for it, or was given up for it.
        if !works(stack, service) || held.failed.is_some() {
            return None;
        }
        if self.waits(stack, newest) {
            return None;
        }
        // One replica is replaced after the other, and one of them may have no room.
        let mut replicas = self.log.reference.tasks_of(name);
        let unplaced = replicas.any(|task| task.service == *service && task.node.is_none());
        if !unplaced && !same_program(&newest.spec, &held.spec) {
            return Some(format!("{what} is not what is wanted: {}", newest.id));
        }
        let Some(node) = newest.node else {
            let fits = self.machines.keys().find(|node| self.fits(**node, newest));
            return fits.map(|node| format!("{what} has no node, it fits on {node}"));
        };
        let (id, state) = (newest.id, newest.status.state);
        let engine = &self.machines.get(&node)?.engine;
        let runs = engine.running().any(|found| found.assignment.task == id);
        if state.is_over() && may_end(&newest.spec) {
            return None;
        }
        if state != TaskState::Running || !newest.is_ready() || !runs {
            return Some(format!("{what} ({id} on {node}) is {state}, really running: {runs}"));
        }
        None
    }

    /// Whether something it depends on has no node or has ended, so that it waits for ever.
    fn waits(&self, stack: &Stack, task: &Task) -> bool {
        let depends = stack.services().get(&task.service).map(|held| &held.spec.depends_on);
        depends.into_iter().flatten().any(|(on, _)| {
            let failed = stack.services().get(on).is_some_and(|held| held.failed.is_some());
            let on_it = self.log.reference.tasks_of(&task.stack);
            failed
                || on_it.filter(|other| other.service == *on && !other.desired.is_leaving()).any(
                    |other| {
                        let over = other.status.state.is_over() && may_end(&other.spec);
                        other.node.is_none() || other.desired == Desired::Prepare || over
                    },
                )
        })
    }

    /// Whether a node has room for a task, by what the log says is on it.
    fn fits(&self, node: NodeId, task: &Task) -> bool {
        let cluster = &self.log.reference;
        let there: Vec<&Task> =
            cluster.tasks_on(node).filter(|other| other.holds_resources()).collect();
        let used: Bytes = there.iter().map(|other| other.spec.resources.reserved.memory).sum();
        let memory = self.machines.get(&node).map_or(Bytes::ZERO, |machine| machine.memory);
        let room = used.saturating_add(task.spec.resources.reserved.memory) <= memory;
        let home = task.volumes.values().all(|volume| {
            let known = cluster.volumes().get(&volume.engine_name);
            known.is_none_or(|known| known.home == node)
        });
        let published = |spec: &ServiceSpec, port: &Port| {
            spec.ports.iter().any(|other| other.published == port.published)
        };
        let ports = task.spec.ports.iter().all(|port| {
            port.published.is_none() || !there.iter().any(|other| published(&other.spec, port))
        });
        let same = there.iter().filter(|other| {
            (&other.stack, &other.service) == (&task.stack, &task.service)
                && other.slot != task.slot
        });
        let most = task.spec.placement.max_replicas_per_node;
        let spread = most.is_none_or(|most| same.count() < usize::try_from(most).unwrap_or(0));
        room && home && ports && spread && self.labels_suit(node, task)
    }

    /// Worlds know constraints on labels only.
    fn labels_suit(&self, node: NodeId, task: &Task) -> bool {
        let Some(node) = self.log.reference.node(node) else { return false };
        task.spec.placement.constraints.iter().all(|wanted| {
            let ConstraintKey::Label(key) = &wanted.key else { return false };
            let equal = node.labels.get(key) == Some(&wanted.value);
            equal == (wanted.op == ConstraintOp::Equal)
        })
    }

    /// What is on a machine and should not be.
    fn leftovers(&self, node: NodeId) -> Vec<String> {
        let Some(machine) = self.machines.get(&node) else { return Vec::new() };
        let cluster = &self.log.reference;
        let mut wrong = Vec::new();
        for held in machine.engine.containers.values() {
            let task = cluster.task(held.assignment.task).filter(|task| task.node == Some(node));
            let known = task.is_some_and(|task| !task.is_history() || !gone(task));
            let may_run = task
                .is_some_and(|task| task.desired == Desired::Run && !task.status.state.is_over());
            if !known || (held.is_running() && !may_run) {
                wrong.push(format!("{node} still has {}", held.name()));
            }
        }
        for volume in &machine.engine.volumes {
            let home = cluster.volumes().get(volume).map(|held| (held.home, held.removing));
            if home != Some((node, false)) {
                wrong.push(format!("{node} still has volume {volume}"));
            }
        }
        wrong
    }
}

/// Whether the service can work at all: its image does, and what it depends on.
fn works(stack: &Stack, service: &ServiceName) -> bool {
    let Some(held) = stack.services().get(service) else { return true };
    Behaviour::of(&held.spec.image).is_good()
        && held.spec.depends_on.keys().all(|on| works(stack, on))
}

/// Whether nothing of the task is to be left.
fn gone(task: &Task) -> bool {
    task.desired == Desired::Stop && task.status.state.is_over()
}

/// Whether it may have ended for good while faults ended its containers.
fn may_end(spec: &ServiceSpec) -> bool {
    matches!(
        spec.restart,
        RestartPolicy::Never | RestartPolicy::OnFailure { max_attempts: Some(_) }
    )
}

/// Whether both run the same, as far as people of the simulation change anything.
fn same_program(one: &ServiceSpec, other: &ServiceSpec) -> bool {
    one.image == other.image
        && one.mounts == other.mounts
        && one.ports == other.ports
        && one.healthcheck == other.healthcheck
        && one.strict_singleton == other.strict_singleton
        && one.resources == other.resources
}
