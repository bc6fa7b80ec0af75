//! What must be so once nothing goes wrong any more: everything that is wanted and fits runs, and
//! nothing else is there.

use model::{
    Bytes, Desired, NodeId, ServiceName, ServiceSpec, StackName, Task, TaskState,
    spec::{ConstraintKey, ConstraintOp, Port},
};
use scheduler_core::cluster::{Service, Stack};

use super::given_up::may_end;
use crate::{image::Behaviour, people::gpu, world::World};

impl World {
    /// What is not as it should be, in words.
    pub(crate) fn out_of_order(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, stack) in self.log.reference.stacks().iter() {
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
        let what = format!("{name}/{service}.{slot}");
        let Some(newest) = self.newest(name, service, slot) else {
            return Some(format!("{what} has no task"));
        };
        let given_up = held.failed.as_ref();
        if let Some(untrue) = given_up.and_then(|failed| self.untrue_reason(service, held, failed))
        {
            return Some(untrue);
        }
        if self.waits(stack, newest) {
            return None;
        }
        // Nothing is known of what never had room.
        if newest.node.is_some() && !Behaviour::of(&newest.spec.image).is_good() {
            return Self::fault_untold(&what, newest);
        }
        // One replica is replaced after the other, and one of them may have no room, wait for ever or
        // never work.
        let mut replicas = self.log.reference.tasks_of(name).filter(|t| t.service == *service);
        let hopeless = replicas.any(|task| task.node.is_none() || self.waits(stack, task));
        let old = hopeless || given_up.is_some() || !Behaviour::of(&held.spec.image).is_good();
        if !old && !same_program(&newest.spec, &held.spec) {
            return Some(format!("{what} is not what is wanted: {}", newest.id));
        }
        let Some(node) = newest.node else {
            let fits = self.machines.keys().find(|node| self.fits(**node, newest));
            return fits.map(|node| format!("{what} has no node, it fits on {node}"));
        };
        let (id, state) = (newest.id, newest.status.state);
        let engine = &self.machines.get(&node)?.engine;
        let runs = engine.running().any(|found| found.assignment.task == id);
        if state.is_over() {
            return self.ended_too_soon(&what, newest);
        }
        if state != TaskState::Running || !newest.is_ready() || !runs {
            return Some(format!("{what} ({id} on {node}) is {state}, really running: {runs}"));
        }
        None
    }

    /// Whether it waits for ever for something it depends on: for what cannot work, has no room, has ended
    /// as its policy lets it, or waits itself. What runs already waits for nothing.
    fn waits(&self, stack: &Stack, task: &Task) -> bool {
        let may_wait = task.desired == Desired::Prepare;
        let depends = stack.services().get(&task.service).map(|held| &held.spec.depends_on);
        let hopeless = |on: &ServiceName| {
            let Some(held) = stack.services().get(on) else { return true };
            let slots =
                (1..=held.spec.replicas).filter_map(|slot| self.newest(&task.stack, on, slot));
            !works(stack, on)
                || held.failed.is_some()
                || slots.into_iter().any(|other| {
                    other.node.is_none()
                        || other.status.state.is_over() && may_end(&other.spec)
                        || self.waits(stack, other)
                })
        };
        may_wait && depends.into_iter().flatten().any(|(on, _)| hopeless(on))
    }

    /// Whether a node has room for a task, by what the log says is on it.
    fn fits(&self, node: NodeId, task: &Task) -> bool {
        let cluster = &self.log.reference;
        let there: Vec<&Task> =
            cluster.tasks_on(node).filter(|other| other.holds_resources()).collect();
        let used: Bytes = there.iter().map(|other| other.spec.resources.reserved.memory).sum();
        let memory = self.machines.get(&node).map_or(Bytes::ZERO, |machine| machine.memory);
        let room = used.saturating_add(task.spec.resources.reserved.memory) <= memory;
        let gpus = |task: &Task| task.spec.resources.generic.get(&gpu());
        let offered = self.machines.get(&node).map_or(0, |machine| machine.generic().get(&gpu()));
        let gpus_used: u64 = there.iter().map(|other| gpus(other)).sum();
        let room = room && gpus_used + gpus(task) <= offered;
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
pub(super) fn works(stack: &Stack, service: &ServiceName) -> bool {
    let Some(held) = stack.services().get(service) else { return true };
    Behaviour::of(&held.spec.image).is_good()
        && held.spec.depends_on.keys().all(|on| works(stack, on))
}

/// Whether nothing of the task is to be left.
fn gone(task: &Task) -> bool {
    task.desired == Desired::Stop && task.status.state.is_over()
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
