//! What to do next: a pure function of what was assigned, what is there, and what is remembered.
//!
//! **Invariant:** [`reconcile`] does nothing itself and asks nobody. For each task there is at most
//! one step. While the engine does not answer there is none: a failed look never means "absent".

#![warn(
    missing_docs,
    clippy::wildcard_enum_match_arm,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use model::{
    Assignment, AssignmentSet, Desired, TaskId,
    planted::{Bug, is_planted},
    spec::MountSource,
    task::Failure,
};

use crate::{
    attempt::{Attempt, Moment},
    lease::Leases,
    outbox::Disposal,
    runtime::{Container, ContainerId, ContainerState, Network, Place},
};

/// What is wanted of a task, with what is remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Its image, and nothing else yet.
    Prepare,
    /// Its container, running.
    Run,
    /// To run as soon as it has a lease again: its image, and nothing of it running until then.
    Fence,
    /// It has ended for good, or shall: nothing of it may run; its remains stay for their logs.
    Rest,
    /// Nothing of it.
    Stop,
}

/// What is there of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<'a> {
    /// The engine does not answer.
    Unknown,
    /// No container.
    Absent,
    /// A container that was never started.
    Created(&'a Container),
    /// A running container.
    Running(&'a Container),
    /// A container that has ended.
    Exited(&'a Container),
    /// A container that the engine is removing.
    Leaving(&'a Container),
    /// A container whose command runs without the engine's knowledge.
    Lost(&'a Container),
}

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// It is on the machine.
    Present,
    /// It could not be fetched.
    Failed {
        /// How often in a row.
        tries: u32,
        /// Not tried again before this.
        not_before: Moment,
        /// Why, for a person.
        failure: Failure,
    },
}

/// Everything of this cluster that the engine has, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the engine answers. While it does not, the rest is what was last seen and proves
    /// nothing.
    pub known: bool,
    /// The containers, by id.
    pub containers: BTreeMap<ContainerId, Container>,
    /// The networks.
    pub networks: Vec<Network>,
}

/// Everything the next steps depend on.
#[derive(Debug)]
pub struct Scene<'a> {
    /// What was assigned.
    pub set: &'a AssignmentSet,
    /// The leases of tasks that must never run twice.
    pub leases: &'a Leases,
    /// What is there.
    pub observed: &'a Observed,
    /// What is remembered.
    pub attempts: &'a BTreeMap<TaskId, Attempt>,
    /// What is known of images.
    pub images: &'a BTreeMap<String, Image>,
    /// Volumes of `set.remove_volumes` that are gone already, or not ours to remove.
    pub removed: &'a BTreeMap<String, Disposal>,
    /// Whether what the set leaves out may be removed: only while the scheduler that sent it is
    /// connected.
    pub sweep: bool,
    /// The time.
    pub now: Moment,
}

/// One thing to do. Steps with different keys may be done at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask the policy whether a task may run here.
    Permit {
        /// The task.
        task: TaskId,
    },
    /// Fetch an image.
    Fetch {
        /// Its reference.
        image: String,
    },
    /// Make a task's container.
    Create {
        /// The task.
        task: TaskId,
    },
    /// Start a task's container.
    Start {
        /// The task.
        task: TaskId,
        /// Its container.
        container: ContainerId,
    },
    /// Stop a container, gently first.
    Stop {
        /// The task it was made for.
        task: TaskId,
        /// The container.
        container: ContainerId,
    },
    /// Stop a container whose lease is over, with what is left of its grace period.
    Fence {
        /// The task.
        task: TaskId,
        /// Its container.
        container: ContainerId,
        /// How long it may take, in milliseconds: from the end of the lease on its grace period counts,
        /// also while the machine slept.
        grace_ms: u64,
    },
    /// Remove a container that does not run.
    Remove {
        /// The task it was made for.
        task: TaskId,
        /// The container.
        container: ContainerId,
    },
    /// Remove a network nobody uses.
    RemoveNetwork {
        /// The engine's id.
        network: String,
    },
    /// Remove a volume and its data, on a person's request.
    RemoveVolume {
        /// The engine's name.
        volume: String,
    },
}

/// What a step is about: never two at once about the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A task and its containers.
    Task(TaskId),
    /// An image.
    Image(String),
    /// A network.
    Network(String),
    /// A volume.
    Volume(String),
}

impl Step {
    /// What it is about.
    pub fn key(&self) -> Key {
        match self {
            Self::Fetch { image } => Key::Image(image.clone()),
            Self::Permit { task }
            | Self::Create { task }
            | Self::Start { task, .. }
            | Self::Stop { task, .. }
            | Self::Fence { task, .. }
            | Self::Remove { task, .. } => Key::Task(*task),
            Self::RemoveNetwork { network } => Key::Network(network.clone()),
            Self::RemoveVolume { volume } => Key::Volume(volume.clone()),
        }
    }

    /// The word for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Permit { .. } => "permit",
            Self::Fetch { .. } => "fetch",
            Self::Create { .. } => "create",
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Fence { .. } => "fence",
            Self::Remove { .. } => "remove",
            Self::RemoveNetwork { .. } => "remove_network",
            Self::RemoveVolume { .. } => "remove_volume",
        }
    }
}

/// What is wanted of a task that was assigned.
pub fn wanted(assignment: &Assignment, attempt: Option<&Attempt>, leases: &Leases) -> Wanted {
    let over = attempt.is_some_and(Attempt::is_over);
    match assignment.desired {
        Desired::Stop => Wanted::Stop,
        Desired::Rest => Wanted::Rest,
        Desired::Prepare | Desired::Run if over => Wanted::Rest,
        Desired::Prepare => Wanted::Prepare,
        Desired::Run if !leases.allow(assignment) => Wanted::Fence,
        Desired::Run => Wanted::Run,
    }
}

impl Scene<'_> {
    /// What is wanted of a task. Of a strict singleton with two the one with the higher epoch runs; the
    /// other stops first.
    fn wanted(&self, assignment: &Assignment) -> Wanted {
        let attempt = self.attempts.get(&assignment.task);
        let newer = |other: &Assignment| {
            Place::of(other) == Place::of(assignment)
                && other.epoch > assignment.epoch
                && other.desired == Desired::Run
        };
        let lower = assignment.spec.strict_singleton && self.set.tasks.iter().any(newer);
        let wanted = wanted(assignment, attempt, self.leases);
        if wanted == Wanted::Run && lower { Wanted::Fence } else { wanted }
    }
}

impl Observed {
    /// What is there of a task. Of several containers the one that runs, else the first by id.
    pub fn of(&self, task: TaskId) -> Seen<'_> {
        if !self.known {
            return Seen::Unknown;
        }
        let mine = || self.containers.values().filter(|container| container.task == task);
        let alive = mine().find(|container| container.state.is_alive());
        match alive.or_else(|| mine().next()) {
            Some(container) => Seen::of(container),
            None => Seen::Absent,
        }
    }

    /// What is there of an assigned task: its own containers, and no other of its replica.
    pub fn of_assigned(&self, assignment: &Assignment) -> Seen<'_> {
        let seen = self.of(assignment.task);
        if is_planted(Bug::TakenForItsSuccessor) && matches!(seen, Seen::Absent) {
            let place = Place::of(assignment);
            let other = self.containers.values().find(|container| container.place == place);
            return other.map_or(seen, Seen::of);
        }
        seen
    }
}

impl<'a> Seen<'a> {
    fn of(container: &'a Container) -> Self {
        match container.state {
            ContainerState::Created => Self::Created(container),
            ContainerState::Running => Self::Running(container),
            ContainerState::Exited => Self::Exited(container),
            ContainerState::Leaving => Self::Leaving(container),
            ContainerState::Lost => Self::Lost(container),
        }
    }

    /// The container, where there is one.
    pub fn container(self) -> Option<&'a Container> {
        match self {
            Self::Unknown | Self::Absent => None,
            Self::Created(container)
            | Self::Running(container)
            | Self::Exited(container)
            | Self::Leaving(container)
            | Self::Lost(container) => Some(container),
        }
    }
}

/// The steps that bring this machine closer to its set, those that free something first.
pub fn reconcile(scene: &Scene<'_>) -> Vec<Step> {
    if !scene.observed.known {
        return Vec::new();
    }
    let mut steps = leftovers(scene);
    for assignment in &scene.set.tasks {
        steps.extend(for_task(scene, assignment));
    }
    if scene.sweep {
        steps.extend(unused_networks(scene));
    }
    steps.extend(unwanted_volumes(scene));
    steps
}

fn for_task(scene: &Scene<'_>, assignment: &Assignment) -> Option<Step> {
    let task = assignment.task;
    let attempt = scene.attempts.get(&task);
    let due = attempt.is_none_or(|attempt| attempt.not_before <= scene.now);
    let permitted = attempt.is_some_and(|attempt| attempt.permitted);
    let counted = attempt.is_some_and(|attempt| attempt.end_seen.is_none());
    let rebuild = attempt.is_some_and(|attempt| attempt.rebuild);
    let free = !is_obstructed(scene, assignment);
    let start = |container: &Container| {
        let container = container.id.clone();
        if rebuild {
            return Some(Step::Remove { task, container });
        }
        (due && free).then_some(Step::Start { task, container })
    };
    match (scene.wanted(assignment), scene.observed.of(task)) {
        (Wanted::Prepare | Wanted::Run | Wanted::Fence, Seen::Absent) if !permitted => {
            Some(Step::Permit { task })
        }
        (Wanted::Prepare | Wanted::Fence, Seen::Absent) => fetch(scene, assignment),
        (Wanted::Fence, Seen::Running(container) | Seen::Lost(container)) => {
            let grace_ms = scene.leases.grace_left(assignment);
            Some(Step::Fence { task, container: container.id.clone(), grace_ms })
        }
        (Wanted::Run, Seen::Absent) => match scene.images.get(&assignment.spec.image) {
            Some(Image::Present) => (due && free).then_some(Step::Create { task }),
            Some(Image::Failed { .. }) | None => fetch(scene, assignment),
        },
        (Wanted::Run, Seen::Created(container)) => start(container),
        (Wanted::Run, Seen::Exited(container)) if counted => start(container),
        (Wanted::Rest | Wanted::Stop, Seen::Running(container))
        // Nobody can reach it; ended, it is started anew.
        | (
            Wanted::Prepare | Wanted::Run | Wanted::Rest | Wanted::Stop,
            Seen::Lost(container),
        ) => {
            Some(Step::Stop { task, container: container.id.clone() })
        }
        (Wanted::Stop, Seen::Created(container) | Seen::Exited(container)) => {
            Some(Step::Remove { task, container: container.id.clone() })
        }
        (
            Wanted::Prepare | Wanted::Run | Wanted::Fence | Wanted::Rest | Wanted::Stop,
            Seen::Unknown,
        )
        | (Wanted::Fence, Seen::Created(_) | Seen::Exited(_) | Seen::Leaving(_))
        | (
            Wanted::Prepare,
            Seen::Created(_) | Seen::Running(_) | Seen::Exited(_) | Seen::Leaving(_),
        )
        | (Wanted::Run, Seen::Running(_) | Seen::Exited(_) | Seen::Leaving(_))
        | (Wanted::Rest, Seen::Absent | Seen::Created(_) | Seen::Exited(_) | Seen::Leaving(_))
        | (Wanted::Stop, Seen::Absent | Seen::Leaving(_)) => None,
    }
}

fn fetch(scene: &Scene<'_>, assignment: &Assignment) -> Option<Step> {
    let image = &assignment.spec.image;
    let due = match scene.images.get(image) {
        Some(Image::Present) => false,
        Some(Image::Failed { not_before, .. }) => *not_before <= scene.now,
        None => true,
    };
    due.then(|| Step::Fetch { image: image.clone() })
}

/// Whether something has to go before a task may be made or started: a container that is not wanted
/// (any more) and holds the same replica, or data that either of the two writes. Epochs do not
/// matter: a stack that was removed and applied again begins anew. What is wanted is no obstacle: a
/// replacement starts beside it.
fn is_obstructed(scene: &Scene<'_>, assignment: &Assignment) -> bool {
    let place = Place::of(assignment);
    let alone = |other: &Container| {
        assignment.spec.strict_singleton && other.place == place && other.state.is_alive()
    };
    let others = scene.observed.containers.values();
    others.filter(|other| other.task != assignment.task).any(|other| {
        let goes = !is_wanted(scene, other);
        alone(other) || goes && (other.place == place || shares_data(other, assignment))
    })
}

fn is_wanted(scene: &Scene<'_>, container: &Container) -> bool {
    let Some(assignment) = find(scene.set, container.task) else { return false };
    match scene.wanted(assignment) {
        Wanted::Prepare | Wanted::Run => true,
        Wanted::Fence | Wanted::Rest => !container.state.is_alive(),
        Wanted::Stop => false,
    }
}

/// Whether both have the same volume, or paths one of which holds the other, and one may write.
fn shares_data(other: &Container, assignment: &Assignment) -> bool {
    assignment.spec.mounts.iter().any(|mount| {
        let writes = !mount.read_only;
        match &mount.source {
            MountSource::Volume { name, .. } => {
                let volume = assignment.volumes.get(name);
                let held = volume.and_then(|volume| other.volumes.get(&volume.engine_name));
                held.is_some_and(|other_writes| writes || *other_writes)
            }
            MountSource::Bind { path, .. } => other.binds.iter().any(|(held, other_writes)| {
                (held.starts_with(path) || Path::new(path).starts_with(held))
                    && (writes || *other_writes)
            }),
            MountSource::Anonymous | MountSource::Tmpfs { .. } => false,
        }
    })
}

/// Containers nobody assigned. Those an assigned attempt replaces go at once; the others only when
/// the scheduler that left them out is there to say so. So does a second container of one task.
fn leftovers(scene: &Scene<'_>) -> Vec<Step> {
    let mut newest: BTreeMap<Place, model::Epoch> = BTreeMap::new();
    for assignment in &scene.set.tasks {
        let epoch = newest.entry(Place::of(assignment)).or_default();
        *epoch = assignment.epoch.max(*epoch);
    }
    let mut steps = Vec::new();
    let mut tasks = BTreeSet::new();
    for container in scene.observed.containers.values() {
        let by_name = is_planted(Bug::AdoptedByName) && newest.contains_key(&container.place);
        let goes = if find(scene.set, container.task).is_some() || by_name {
            let kept = scene.observed.of(container.task).container();
            kept.is_some_and(|kept| kept.id != container.id)
        } else {
            let newest = newest.get(&container.place);
            scene.sweep || newest.is_some_and(|newest| container.epoch < *newest)
        };
        if goes && tasks.insert(container.task) {
            steps.extend(discard(container));
        }
    }
    steps
}

fn discard(container: &Container) -> Option<Step> {
    let (task, id) = (container.task, container.id.clone());
    match container.state {
        ContainerState::Running | ContainerState::Lost => Some(Step::Stop { task, container: id }),
        ContainerState::Created | ContainerState::Exited => {
            Some(Step::Remove { task, container: id })
        }
        ContainerState::Leaving => None,
    }
}

fn unused_networks(scene: &Scene<'_>) -> Vec<Step> {
    let wanted = |stack: &str| {
        scene.set.stacks.iter().any(|known| known.as_str() == stack)
            || scene.set.tasks.iter().any(|task| task.stack.as_str() == stack)
            || scene.observed.containers.values().any(|found| found.place.stack == stack)
    };
    scene
        .observed
        .networks
        .iter()
        .filter(|network| !wanted(&network.stack))
        .map(|network| Step::RemoveNetwork { network: network.id.clone() })
        .collect()
}

/// Volumes a person asked to remove, once no assigned task mounts them. The engine itself refuses
/// while a container does.
fn unwanted_volumes(scene: &Scene<'_>) -> Vec<Step> {
    let mounted = |volume: &str| {
        scene.set.tasks.iter().filter(|task| !task.desired.is_leaving()).any(|task| {
            task.spec.mounts.iter().any(|mount| match &mount.source {
                MountSource::Volume { name, .. } => {
                    task.volumes.get(name).is_some_and(|assigned| assigned.engine_name == volume)
                }
                MountSource::Anonymous | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => {
                    false
                }
            })
        })
    };
    scene
        .set
        .remove_volumes
        .iter()
        .filter(|volume| !scene.removed.contains_key(*volume) && !mounted(volume))
        .map(|volume| Step::RemoveVolume { volume: volume.clone() })
        .collect()
}

fn find(set: &AssignmentSet, task: TaskId) -> Option<&Assignment> {
    set.tasks.iter().find(|assignment| assignment.task == task)
}

#[cfg(test)]
mod tests;
