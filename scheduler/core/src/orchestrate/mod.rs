//! Services -> changes to tasks. Reads the cluster, never places, never writes.
//!
//! Every replica `1..=replicas` of a wanted service has one task that serves; while it is replaced,
//! two. Every other task stops.

mod drain;
mod fence;
mod gate;
mod replica;
mod tokens;
mod traits;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use model::{Desired, Epoch, Liveness, NodeId, ServiceName, StackName, Task, TaskId, Timestamp};

pub use drain::{Tie, tie};
pub use fence::{FlappingHold, HOLD_DOWN_MS, held_down};
pub(crate) use fence::{HELD_BY_LEADER_FORM, held_by_stamps};
pub use gate::{Waits, may_start, waits_for};
pub use traits::{in_the_way, is_current, is_movable, lacks_variant, starts_first};

use crate::{
    cluster::{Change, Cluster, Service, Stack},
    liveness::Heartbeats,
    waits::Wait,
};

/// How long a new task without a health check must have run before the old one stops, in
/// milliseconds: most programs that cannot start have ended by then.
pub const MIN_READY_MS: u64 = 2_000;
/// How long a new task may run without becoming healthy while the old one still serves: longer than
/// any start period seen in practice.
pub const READY_DEADLINE_MS: u64 = 600_000;
/// How long after its end a task that must always run is made anew when its agent did not.
pub const RECREATE_DELAY_MS: u64 = 10_000;

/// What orchestration wants changed.
#[derive(Debug, Default)]
pub struct Steps {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// When to look again though nothing was reported.
    pub wake_at: Option<Timestamp>,
    /// What is waited for.
    pub waits: BTreeSet<Wait>,
}

impl Steps {
    fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    fn set(&mut self, task: &Task, desired: Desired) {
        if task.desired < desired {
            self.push(Change::SetDesired { task: task.id, desired });
        }
    }

    /// Whether it was waited for so long, in milliseconds; looks again when it was.
    fn waited(&mut self, beats: &Heartbeats, now: Timestamp, (wait, millis): (Wait, u64)) -> bool {
        self.waits.insert(wait);
        let left = millis.saturating_sub(beats.waits.waited(wait, now));
        if left > 0 {
            self.wake(now.plus_millis(left));
        }
        left == 0
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |wake| wake.min(at)));
    }
}

/// The tasks of each replica, by epoch.
type Replicas<'a> = BTreeMap<u32, Vec<&'a Task>>;

/// A service being looked at.
#[derive(Clone, Copy)]
struct Scene<'a> {
    cluster: &'a Cluster,
    stack: &'a StackName,
    name: &'a ServiceName,
    service: &'a Service,
    beats: &'a Heartbeats,
    /// Nodes whose coming and going is not in the log yet.
    assumed: &'a BTreeSet<NodeId>,
    now: Timestamp,
}

/// Ids for new tasks, in order.
struct Ids(TaskId);

impl Ids {
    fn take(&mut self) -> TaskId {
        let id = self.0;
        self.0 = id.next().unwrap_or(id);
        id
    }
}

/// What should change of the tasks, given where they are and how they do. `assumed` are the nodes whose
/// coming or going is not in the log yet.
pub fn orchestrate(
    cluster: &Cluster,
    beats: &Heartbeats,
    assumed: &BTreeSet<NodeId>,
    now: Timestamp,
) -> Steps {
    orchestrate_among(cluster, beats, assumed, now, None)
}

/// The same of these stacks only, when it is known of the others that nothing should change. While a node is
/// drained that is not known: what may leave it depends on what else is there.
pub(crate) fn orchestrate_among(
    cluster: &Cluster,
    beats: &Heartbeats,
    assumed: &BTreeSet<NodeId>,
    now: Timestamp,
    only: Option<&BTreeSet<StackName>>,
) -> Steps {
    let mut steps = Steps::default();
    let mut ids = Ids(cluster.next_task());
    let drained = cluster.nodes().values().any(|node| node.drain.is_some());
    let only = only.filter(|_| !drained);
    let stacks = cluster.stacks().iter();
    for (name, stack) in stacks.filter(|(name, _)| only.is_none_or(|only| only.contains(*name))) {
        let mut by_service = cluster.tasks_by_service(name).peekable();
        for (service_name, service) in stack.services() {
            while by_service.next_if(|(other, _)| *other < service_name).is_some() {}
            let tasks = by_service.next_if(|(other, _)| *other == service_name);
            let replicas = tasks.map(|(_, tasks)| replicas(tasks)).unwrap_or_default();
            let scene =
                Scene { cluster, stack: name, name: service_name, service, beats, assumed, now };
            let wanted = service.wanted && stack.removal().is_none();
            scene.steps(wanted, &replicas, &mut ids, &mut steps);
        }
        if stack.removal().is_some() {
            forget(cluster, name, &mut steps);
        } else {
            mark_ready(cluster, (name, stack), &mut steps);
        }
    }
    drain::end(cluster, beats, now, &mut steps);
    tokens::end(cluster, beats, now, &mut steps);
    fence::measure(cluster, &mut steps);
    steps
}

fn replicas<'a>(tasks: impl Iterator<Item = &'a Task>) -> Replicas<'a> {
    let mut replicas = Replicas::new();
    for task in tasks {
        replicas.entry(task.slot).or_default().push(task);
    }
    for tasks in replicas.values_mut() {
        tasks.sort_by_key(|task| (task.epoch, task.id));
    }
    replicas
}

/// A removed stack is forgotten once every node has confirmed that nothing of it runs, those that are
/// down included: until then its data may have a writer and its memory may be in use.
fn forget(cluster: &Cluster, name: &StackName, steps: &mut Steps) {
    if !cluster.tasks_of(name).any(Task::holds_resources) {
        steps.push(Change::ForgetStack { stack: name.clone() });
    }
}

/// Writes down that a specification works, the first time that all it wants is ready at once.
fn mark_ready(cluster: &Cluster, (name, stack): (&StackName, &Stack), steps: &mut Steps) {
    let serves = |service: &ServiceName, held: &Service, slot: u32| {
        cluster.tasks_of_slot(name, service, slot).any(|task| {
            !task.desired.is_leaving()
                && is_current(cluster, held, task)
                && (task.is_ready() || gate::has_completed(task))
        })
    };
    let works = |(service, held): (&ServiceName, &Service)| {
        held.failed.is_none() && (1..=held.spec.replicas).all(|slot| serves(service, held, slot))
    };
    if stack.history().back().is_some_and(|current| !current.ready) && stack.wanted().all(works) {
        let (stack, revision) = (name.clone(), stack.revision());
        steps.push(Change::MarkReady { stack, revision });
    }
}

impl<'a> Scene<'a> {
    fn steps(self, wanted: bool, replicas: &Replicas<'a>, ids: &mut Ids, steps: &mut Steps) {
        let count = if wanted { self.service.spec.replicas } else { 0 };
        for (_, tasks) in replicas.iter().filter(|(slot, _)| **slot > count) {
            for task in tasks {
                self.retire(task, steps);
            }
        }
        let mut busy = replicas.range(..=count).any(|(_, tasks)| self.is_in_motion(tasks));
        if self.give_up_after_failure(count, replicas, steps) {
            return;
        }
        for slot in 1..=count {
            let none = Vec::new();
            let tasks = replicas.get(&slot).unwrap_or(&none);
            self.tidy(tasks, steps);
            self.replica(slot, &holders(tasks), (&mut busy, &mut *ids), steps);
        }
    }

    /// A task nobody wants any more.
    fn retire(self, task: &Task, steps: &mut Steps) {
        if task.node.is_none() || task.status.state.is_over() {
            steps.push(Change::Forget { task: task.id });
        } else if self.is_down(task) {
            self.lose(task, steps);
        } else {
            steps.set(task, Desired::Stop);
        }
    }

    fn is_down(self, task: &Task) -> bool {
        let node = task.node.map(|node| self.cluster.node(node));
        node.is_some_and(|node| node.is_none_or(|node| node.liveness == Liveness::Down))
    }

    fn create(self, slot: u32, ids: &mut Ids, steps: &mut Steps) {
        let last = self.service.slots.get(&slot).map_or(Epoch(0), |held| held.last);
        steps.push(Change::CreateTask {
            task: ids.take(),
            stack: self.stack.clone(),
            service: self.name.clone(),
            slot,
            epoch: last.next(),
            spec_revision: self.service.spec_revision,
        });
    }
}

/// The tasks of a replica that are not to stop, by epoch.
fn holders<'a>(tasks: &[&'a Task]) -> Vec<&'a Task> {
    tasks.iter().copied().filter(|task| !task.desired.is_leaving()).collect()
}

/// Replicas whose new task waits for a node while the old one runs: the old one, then the new one.
pub fn waiting_pairs(cluster: &Cluster) -> Vec<(&Task, &Task)> {
    let mut pairs = Vec::new();
    // What takes over from something is not the first of its replica.
    if !cluster.pending().any(|task| task.epoch > Epoch(1)) {
        return pairs;
    }
    let stacks = cluster.stacks().iter();
    let services = stacks.flat_map(|(stack, held)| {
        let with_tasks = cluster.tasks_by_service(stack);
        with_tasks.filter_map(|(name, tasks)| Some((held.services().get(name)?, tasks)))
    });
    for (service, tasks) in services {
        for tasks in replicas(tasks).values() {
            let holders = holders(tasks);
            let [.., old, new] = holders.as_slice() else { continue };
            let there = old.node.and_then(|node| cluster.node(node));
            let serves = !old.status.state.is_over()
                && there.is_some_and(|node| node.liveness == Liveness::Ready)
                && !is_current(cluster, service, old);
            if serves && new.node.is_none() && is_current(cluster, service, new) {
                pairs.push((*old, *new));
            }
        }
    }
    pairs
}
