//! The cluster as plain values, to be written down and read back.
//!
//! Specifications are the bulk of it and most tasks share one, so each stands once in
//! [`ClusterImage::specs`] and is referred to by its position.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    Desired, Epoch, Event, Generation, Node, NodeId, OperatorName, RequestId, Revision,
    ServiceName, ServiceSpec, StackName, StackSpec, Task, TaskId, TaskStatus, Timestamp, TokenId,
    VolumeName,
    planted::{Bug, is_planted},
    task::{Decision, TaskVolume},
    token::Token,
};
use thiserror::Error;

use crate::cluster::{
    Authorities, Automatic, Cluster, FailedRollout, Kills, Memory, Need, PastRevision, Remembered,
    Removal, Service, Slot, Stack, Volume, invariants, limits,
};

/// The highest form this version writes and reads; a higher one is refused. What is written has the
/// form that every scheduler of the cluster reads ([`Cluster::form`]).
pub const IMAGE_VERSION: u32 = 6;

/// A whole [`Cluster`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterImage {
    /// [`Cluster::form`]: at most [`IMAGE_VERSION`] of whoever wrote it.
    pub version: u32,
    /// The cluster's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: Revision,
    /// The revision after the last plan that was applied.
    pub planned: Revision,
    /// The id of the next task.
    pub next_task: TaskId,
    /// The id of the next node.
    pub next_node: NodeId,
    /// The id of the next token.
    pub next_token: TokenId,
    /// Every specification that a service or task refers to.
    pub specs: Vec<ServiceSpec>,
    /// The stacks.
    pub stacks: Vec<StackImage>,
    /// The tasks.
    pub tasks: Vec<TaskImage>,
    /// The nodes, each with its generation.
    pub nodes: Vec<(Node, Generation)>,
    /// The volumes, each with the engine's name.
    pub volumes: Vec<(String, Volume)>,
    /// The join tokens.
    pub tokens: Vec<Token>,
    /// The remembered answers.
    pub requests: Vec<RequestImage>,
    /// The events, the oldest first.
    pub events: Vec<Event>,
    /// What certificates and containers call the cluster; empty when that is its id.
    pub origin: String,
    /// Schedulers with a lower number are shut out.
    pub least_scheduler: u64,
    /// Those that were removed.
    pub removed_schedulers: BTreeSet<u64>,
    /// The authorities; `None` while the first was never replaced.
    pub authorities: Option<Authorities>,
    /// The operators that were added, by name, with when.
    pub operators: BTreeMap<OperatorName, Timestamp>,
    /// The names of those that were removed.
    pub removed_operators: BTreeSet<OperatorName>,
    /// The automatic mode of `rebalance`; `None` while it was never turned on.
    pub automatic: Option<Automatic>,
}

/// A [`Stack`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackImage {
    /// Its revision.
    pub revision: Revision,
    /// Its specifications, the current one last; never empty. The stack's name stands in them.
    pub history: Vec<RevisionImage>,
    /// Its services.
    pub services: Vec<ServiceImage>,
    /// Set while it is being removed.
    pub removal: Option<Removal>,
}

/// A [`PastRevision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionImage {
    /// Which.
    pub revision: Revision,
    /// When it was applied.
    pub at: Timestamp,
    /// What made it.
    pub cause: String,
    /// What it said.
    pub spec: StackSpec,
    /// Whether everything it wants has been ready at once.
    pub ready: bool,
}

/// A [`Service`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceImage {
    /// Its name.
    pub name: ServiceName,
    /// Position of its specification in [`ClusterImage::specs`].
    pub spec: u32,
    /// The stack revision that brought it.
    pub spec_revision: Revision,
    /// Whether the stack has it.
    pub wanted: bool,
    /// Why its last replacement was given up.
    pub failed: Option<FailedRollout>,
    /// Its replicas: number, last epoch, least epoch.
    pub slots: Vec<(u32, Epoch, Epoch)>,
    /// When a task of it was last replaced because its node was down.
    pub moved_at: Option<Timestamp>,
    /// What it was seen to need.
    pub need: Option<Need>,
    /// How often it was killed for want of memory.
    pub kills: Option<Kills>,
    /// Platforms its image has no variant for.
    pub lacks: BTreeSet<String>,
}

/// A [`Task`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of `Task`")]
pub struct TaskImage {
    pub id: TaskId,
    pub stack: StackName,
    pub service: ServiceName,
    pub slot: u32,
    pub epoch: Epoch,
    /// Position of its specification in [`ClusterImage::specs`].
    pub spec: u32,
    pub spec_revision: Revision,
    pub volumes: BTreeMap<VolumeName, TaskVolume>,
    pub desired: Desired,
    pub node: Option<NodeId>,
    pub decision: Option<Decision>,
    pub status: TaskStatus,
    pub created_at: Timestamp,
    pub since: Timestamp,
    pub moves_from: Option<NodeId>,
}

/// A remembered answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestImage {
    /// To which request.
    pub request: RequestId,
    /// What was answered.
    pub remembered: Remembered,
}

/// Why an image is not a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadImage {
    /// A newer program wrote it.
    #[error("the snapshot has version {found}, this program reads up to {IMAGE_VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// It refers to a specification it does not hold.
    #[error("{what} refers to specification {position}, the snapshot holds {held}")]
    NoSpec {
        /// What refers.
        what: String,
        /// To which.
        position: u32,
        /// How many there are.
        held: usize,
    },
    /// A stack without a specification, or one under two names.
    #[error("stack number {0} of the snapshot has no specification or several names")]
    NoHistory(usize),
    /// Two things have the same id or name.
    #[error("the snapshot holds {0} twice")]
    Twice(String),
    /// More of something than a cluster may hold.
    #[error("the snapshot holds {count} {what}, the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// It breaks a rule every cluster keeps.
    #[error("the snapshot is not a cluster that can be: {0}")]
    Invalid(invariants::Violation),
}

/// Collects specifications, each once.
#[derive(Default)]
struct SpecTable {
    positions: BTreeMap<usize, Vec<u32>>,
    specs: Vec<Arc<ServiceSpec>>,
}

impl SpecTable {
    fn position(&mut self, spec: &Arc<ServiceSpec>) -> u32 {
        // Equal specifications have equal length in this cheap measure; few share it.
        let measure = spec.image.len().saturating_add(spec.environment.len());
        let bucket = self.positions.entry(measure).or_default();
        let known = bucket.iter().copied().find(|&position| {
            let held = usize::try_from(position).ok().and_then(|at| self.specs.get(at));
            held.is_some_and(|held| Arc::ptr_eq(held, spec) || held == spec)
        });
        known.unwrap_or_else(|| {
            let position = u32::try_from(self.specs.len()).unwrap_or(u32::MAX);
            bucket.push(position);
            self.specs.push(Arc::clone(spec));
            position
        })
    }
}

impl From<&Cluster> for ClusterImage {
    fn from(cluster: &Cluster) -> Self {
        let mut table = SpecTable::default();
        let stacks = cluster.stacks.values().map(|stack| stack_image(stack, &mut table)).collect();
        let tasks = cluster.tasks().values().map(|task| task_image(task, &mut table)).collect();
        let nodes = cluster.nodes.values();
        let requests = cluster.requests.iter();
        Self {
            version: cluster.form,
            id: cluster.id.clone(),
            name: cluster.name.clone(),
            revision: cluster.revision,
            planned: if is_planted(Bug::SnapshotForgets) { Revision(0) } else { cluster.planned },
            next_task: cluster.next_task,
            next_node: cluster.next_node,
            next_token: cluster.next_token,
            specs: table.specs.iter().map(|spec| ServiceSpec::clone(spec)).collect(),
            stacks,
            tasks,
            nodes: nodes.map(|node| (node.clone(), cluster.generation(node.id))).collect(),
            volumes: cluster.volumes.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            tokens: cluster.tokens.values().cloned().collect(),
            requests: requests
                .map(|(request, remembered)| RequestImage {
                    request,
                    remembered: remembered.clone(),
                })
                .collect(),
            events: cluster.events.iter().cloned().collect(),
            origin: cluster.origin.clone(),
            least_scheduler: cluster.least_scheduler,
            removed_schedulers: if is_planted(Bug::RemovedReturns) {
                BTreeSet::new()
            } else {
                cluster.removed_schedulers.clone()
            },
            authorities: cluster.authorities.clone(),
            operators: cluster.operators.clone(),
            removed_operators: cluster.removed_operators.clone(),
            automatic: cluster.automatic.clone(),
        }
    }
}

fn stack_image(stack: &Stack, table: &mut SpecTable) -> StackImage {
    let history = stack.history.iter().map(|past| RevisionImage {
        revision: past.revision,
        at: past.at,
        cause: past.cause.clone(),
        spec: StackSpec::clone(&past.spec),
        ready: past.ready,
    });
    let services = stack.services.iter().map(|(name, service)| ServiceImage {
        name: name.clone(),
        spec: table.position(&service.spec),
        spec_revision: service.spec_revision,
        wanted: service.wanted,
        failed: service.failed.clone(),
        slots: service.slots.iter().map(|(&slot, held)| (slot, held.last, held.least)).collect(),
        moved_at: service.moved_at,
        need: service.memory.need,
        kills: service.memory.kills,
        lacks: service.lacks.clone(),
    });
    StackImage {
        revision: stack.revision,
        history: history.collect(),
        services: services.collect(),
        removal: stack.removal,
    }
}

fn task_image(task: &Task, table: &mut SpecTable) -> TaskImage {
    TaskImage {
        id: task.id,
        stack: task.stack.clone(),
        service: task.service.clone(),
        slot: task.slot,
        epoch: task.epoch,
        spec: table.position(&task.spec),
        spec_revision: task.spec_revision,
        volumes: task.volumes.clone(),
        desired: task.desired,
        node: task.node,
        decision: task.decision.as_deref().cloned(),
        status: task.status.clone(),
        created_at: task.created_at,
        since: task.since,
        moves_from: task.moves_from,
    }
}

impl TryFrom<ClusterImage> for Cluster {
    type Error = BadImage;

    fn try_from(image: ClusterImage) -> Result<Self, BadImage> {
        if image.version > IMAGE_VERSION {
            return Err(BadImage::Version { found: image.version });
        }
        at_most("stacks", image.stacks.len(), limits::MAX_STACKS)?;
        at_most("nodes", image.nodes.len(), limits::MAX_NODES)?;
        at_most("volumes", image.volumes.len(), limits::MAX_VOLUMES)?;
        at_most("tokens", image.tokens.len(), limits::MAX_TOKENS)?;
        at_most("events", image.events.len(), limits::MAX_EVENTS)?;
        at_most(
            "removed schedulers",
            image.removed_schedulers.len(),
            limits::MAX_REMOVED_SCHEDULERS,
        )?;
        at_most("requests", image.requests.len(), limits::MAX_REQUESTS)?;
        let specs: Vec<Arc<ServiceSpec>> = image.specs.into_iter().map(Arc::new).collect();
        let mut cluster = Self {
            id: image.id,
            name: image.name,
            revision: image.revision,
            planned: image.planned,
            next_task: image.next_task,
            next_node: image.next_node,
            next_token: image.next_token,
            events: image.events.into(),
            form: image.version,
            origin: image.origin,
            least_scheduler: image.least_scheduler,
            removed_schedulers: image.removed_schedulers,
            authorities: image.authorities,
            operators: image.operators,
            removed_operators: image.removed_operators,
            automatic: image.automatic,
            ..Self::new()
        };
        for (index, stack) in image.stacks.into_iter().enumerate() {
            let (name, stack) = read_stack(index, stack, &specs)?;
            once(cluster.stacks.insert(name.clone(), stack).as_ref(), || {
                format!("stack `{name}`")
            })?;
        }
        for task in image.tasks {
            let task = read_task(task, &specs)?;
            let id = task.id;
            once(cluster.tasks.insert(task).as_ref(), || format!("task {id}"))?;
        }
        for (node, generation) in image.nodes {
            let id = node.id;
            cluster.generations.insert(id, generation);
            once(cluster.nodes.insert(id, node).as_ref(), || format!("node {id}"))?;
        }
        for (name, volume) in image.volumes {
            once(cluster.volumes.insert(name.clone(), volume).as_ref(), || {
                format!("volume `{name}`")
            })?;
        }
        for token in image.tokens {
            let id = token.id;
            once(cluster.tokens.insert(id, token).as_ref(), || format!("token {id}"))?;
        }
        for held in image.requests {
            once(cluster.requests.insert(held.request, held.remembered).as_ref(), || {
                "a request".into()
            })?;
        }
        match invariants::check(&cluster).into_iter().next() {
            Some(violation) => Err(BadImage::Invalid(violation)),
            None => Ok(cluster),
        }
    }
}

fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), BadImage> {
    if count > limit { Err(BadImage::TooMany { what, count, limit }) } else { Ok(()) }
}

fn once<T>(replaced: Option<&T>, what: impl FnOnce() -> String) -> Result<(), BadImage> {
    if replaced.is_some() { Err(BadImage::Twice(what())) } else { Ok(()) }
}

fn spec_at(
    specs: &[Arc<ServiceSpec>],
    position: u32,
    what: impl FnOnce() -> String,
) -> Result<Arc<ServiceSpec>, BadImage> {
    let found = usize::try_from(position).ok().and_then(|index| specs.get(index));
    found.cloned().ok_or_else(|| BadImage::NoSpec { what: what(), position, held: specs.len() })
}

fn read_stack(
    index: usize,
    image: StackImage,
    specs: &[Arc<ServiceSpec>],
) -> Result<(StackName, Stack), BadImage> {
    let name = image.history.last().map(|past| past.spec.name.clone());
    let name = name.ok_or(BadImage::NoHistory(index))?;
    if image.history.iter().any(|past| past.spec.name != name) {
        return Err(BadImage::NoHistory(index));
    }
    at_most("revisions of a stack", image.history.len(), limits::MAX_HISTORY)?;
    let history = image.history.into_iter().map(|past| PastRevision {
        revision: past.revision,
        at: past.at,
        cause: past.cause,
        spec: Arc::new(past.spec),
        ready: past.ready,
    });
    let history = history.collect();
    let mut services = BTreeMap::new();
    for service in image.services {
        at_most("platforms an image lacks", service.lacks.len(), limits::MAX_LACKS)?;
        let read = Service {
            spec: spec_at(specs, service.spec, || format!("service `{name}/{}`", service.name))?,
            spec_revision: service.spec_revision,
            wanted: service.wanted,
            failed: service.failed,
            slots: service
                .slots
                .into_iter()
                .map(|(slot, last, least)| (slot, Slot { last, least }))
                .collect(),
            moved_at: service.moved_at,
            memory: Memory { need: service.need, kills: service.kills },
            lacks: service.lacks,
        };
        let known = services.insert(service.name.clone(), read);
        once(known.as_ref(), || format!("service `{name}/{}`", service.name))?;
    }
    Ok((name, Stack { revision: image.revision, history, services, removal: image.removal }))
}

fn read_task(image: TaskImage, specs: &[Arc<ServiceSpec>]) -> Result<Task, BadImage> {
    Ok(Task {
        spec: spec_at(specs, image.spec, || format!("task {}", image.id))?,
        id: image.id,
        stack: image.stack,
        service: image.service,
        slot: image.slot,
        epoch: image.epoch,
        spec_revision: image.spec_revision,
        volumes: image.volumes,
        desired: image.desired,
        node: image.node,
        decision: image.decision.map(Arc::new),
        status: image.status,
        created_at: image.created_at,
        since: image.since,
        moves_from: image.moves_from,
    })
}
