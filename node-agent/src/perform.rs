//! Doing a step: the only place, besides the watch, where the engine is asked for something.

use std::{collections::BTreeMap, io, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use model::{
    Assignment, AssignmentSet, NodeId, TaskId,
    spec::{MountSource, Port},
};
use tokio::{
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use crate::{
    attempt::Attempt,
    board::Board,
    guard,
    images::Fetched,
    lease::Leases,
    lease_record::LeaseRecord,
    policy::{Neighbour, Permit, Policy, Refusal},
    reconcile::{Observed, Step, Wanted, wanted},
    runtime::{Container, ContainerId, Order, PullError, Runtime, RuntimeError, clock},
};

/// Containers made or started at once: the engine is no faster with more.
const STARTS: usize = 4;
/// Containers stopped or removed at once; most of them only wait for their grace period.
const STOPS: usize = 32;
/// Images fetched at once; the engine fetches the layers of each in parallel.
const PULLS: usize = 2;
/// One of which nothing is heard for so long gives its turn to the next and goes on beside it: a registry
/// that is silent holds up no image of another.
const QUIET: Duration = Duration::from_secs(10);

/// Looks for a guard before a start waits for its next turn, and the time between two: one starts within
/// some 20 ms.
const GUARD_LOOKS: u32 = 50;
const GUARD_LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a step came to.
#[derive(Debug)]
pub enum Outcome {
    /// The policy's answer.
    Permitted(Result<(), Refusal>),
    /// Another program has a host port that the task needs.
    PortTaken(u16),
    /// An image is on the machine, or not.
    Fetched(Result<(), PullError>),
    /// A container was worked on.
    Container {
        /// What the engine answered.
        done: Result<(), RuntimeError>,
        /// The container afterwards, `None` when there is none; an error when that is not known.
        shown: Result<Option<Box<Container>>, RuntimeError>,
    },
    /// A container was not made or started because the policy changed its mind.
    Refused(Refusal),
    /// A network or volume is gone, or not.
    Removed(Result<(), RuntimeError>),
    /// A volume that is not ours to remove.
    Left,
}

/// The task a step is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What was assigned.
    pub assignment: Arc<Assignment>,
    /// What others mount of this machine's paths.
    pub beside: Vec<Neighbour>,
    /// Host ports that have to be free before what runs makes room for it.
    pub ports: Vec<Port>,
}

/// What steps are done with.
#[derive(Debug)]
pub struct Tools<R> {
    /// The engine.
    pub runtime: Arc<R>,
    /// What may run here.
    pub policy: Policy,
    /// The cluster.
    pub cluster: String,
    /// This node.
    pub node: NodeId,
    /// Where progress is shown.
    pub board: Arc<Board>,
    starts: Semaphore,
    stops: Semaphore,
    pulls: Semaphore,
    quiet: Duration,
    fetched: Option<Arc<Fetched>>,
}

impl<R: Runtime> Tools<R> {
    /// Tools for this cluster.
    pub fn new(
        runtime: Arc<R>,
        policy: Policy,
        (cluster, node): (String, NodeId),
        board: Arc<Board>,
    ) -> Self {
        Self {
            runtime,
            policy,
            cluster,
            node,
            board,
            starts: Semaphore::new(STARTS),
            stops: Semaphore::new(STOPS),
            pulls: Semaphore::new(PULLS),
            quiet: QUIET,
            fetched: None,
        }
    }

    /// What is fetched is remembered there.
    #[must_use]
    pub fn remembering(self, fetched: Arc<Fetched>) -> Self {
        Self { fetched: Some(fetched), ..self }
    }

    /// Does a step. `subject` is what it is about, where it is about a task that is assigned.
    pub async fn perform(&self, step: &Step, subject: Option<Subject>) -> Outcome {
        match step {
            Step::Permit { .. } => self.permit(subject).await,
            Step::Fetch { image } => Outcome::Fetched(self.fetch(image).await),
            Step::Create { .. } => self.create(subject).await,
            Step::Start { container, .. } => self.start(container, subject).await,
            Step::Stop { container, .. } => {
                let _turn = self.stops.acquire().await;
                let done = self.runtime.stop(container).await;
                self.after(container, done).await
            }
            Step::Fence { container, grace_ms, .. } => {
                // It waits for no turn: the other stops may take as long as they like.
                let grace = Duration::from_millis(*grace_ms);
                let done = self.runtime.stop_within(container, grace).await;
                self.after(container, done).await
            }
            Step::Remove { container, .. } => {
                let _turn = self.stops.acquire().await;
                let done = self.runtime.remove(container).await;
                self.after(container, done).await
            }
            Step::RemoveNetwork { network } => {
                Outcome::Removed(self.runtime.remove_network(network).await)
            }
            Step::RemoveVolume { volume } => {
                match self.runtime.remove_volume(&self.cluster, volume).await {
                    Ok(false) => Outcome::Left,
                    other => Outcome::Removed(other.map(|_| ())),
                }
            }
        }
    }

    /// Whether the task may run here at all. What it would run beside is asked when its time comes:
    /// most of what runs now is there to be replaced.
    async fn permit(&self, subject: Option<Subject>) -> Outcome {
        let Some(Subject { assignment, ports, .. }) = subject else {
            return Outcome::Permitted(Ok(()));
        };
        if let Err(refusal) = self.ask(move |policy| policy.check(&assignment.spec)).await {
            return Outcome::Permitted(Err(refusal));
        }
        let taken = ports.iter().find(|port| self.runtime.is_port_taken(port));
        match taken.and_then(|port| port.published) {
            Some(port) => Outcome::PortTaken(port),
            None => Outcome::Permitted(Ok(())),
        }
    }

    async fn permit_now(&self, subject: Subject) -> Result<Permit, Refusal> {
        let Subject { assignment, beside, .. } = subject;
        self.ask(move |policy| policy.check_beside(&assignment.spec, &beside)).await
    }

    /// The policy looks at the file system, which may be slow.
    async fn ask(
        &self,
        question: impl FnOnce(&Policy) -> Result<Permit, Refusal> + Send + 'static,
    ) -> Result<Permit, Refusal> {
        let policy = self.policy.clone();
        let answer = tokio::task::spawn_blocking(move || question(&policy)).await;
        answer.unwrap_or_else(|error| {
            Err(Refusal::BindAbsent { path: String::new(), why: error.to_string() })
        })
    }

    async fn fetch(&self, image: &str) -> Result<(), PullError> {
        if self.runtime.image_id(image).await.map_err(PullError::Engine)?.is_some() {
            return Ok(());
        }
        let turn = self.pulls.acquire().await;
        tracing::info!(image, "fetching");
        let (board, name) = (Arc::clone(&self.board), image.to_owned());
        let (word, mut words) = watch::channel(());
        let progress = move |done, total| {
            word.send_replace(());
            board.set_pull(&name, Some((done, total)));
        };
        let mut pulling = pin!(self.runtime.pull(image, Box::new(progress)));
        let quiet = async {
            while timeout(self.quiet, words.changed()).await.is_ok_and(|it| it.is_ok()) {}
        };
        let pulled = tokio::select! {
            biased;
            pulled = &mut pulling => pulled,
            () = quiet => {
                tracing::info!(image, "nothing is heard of it; other images are fetched beside it");
                drop(turn);
                pulling.await
            }
        };
        self.board.set_pull(image, None);
        if pulled.is_ok() {
            self.remember(image).await;
        }
        pulled
    }

    /// What is not remembered never goes when the disk fills, which is no reason to do without it.
    async fn remember(&self, image: &str) {
        let Some(fetched) = self.fetched.clone() else { return };
        let Ok(Some(id)) = self.runtime.image_id(image).await else { return };
        let name = image.to_owned();
        let added = tokio::task::spawn_blocking(move || fetched.add(&id, &name)).await;
        if let Err(error) = added.map_err(io::Error::other).flatten() {
            tracing::warn!(image, %error, "that it was fetched cannot be written");
        }
    }

    async fn create(&self, subject: Option<Subject>) -> Outcome {
        let Some(subject) = subject else { return unassigned() };
        let _turn = self.starts.acquire().await;
        // Asked again: a link may have been swapped since the first time.
        let binds = match self.permit_now(subject.clone()).await {
            Ok(permit) => permit.binds,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        match self.runtime.create(&self.order(subject.assignment, binds)).await {
            Ok(id) => self.after(&id, Ok(())).await,
            Err(error) => Outcome::Container { done: Err(error), shown: Ok(None) },
        }
    }

    async fn start(&self, container: &ContainerId, subject: Option<Subject>) -> Outcome {
        let Some(subject) = subject else { return unassigned() };
        // Who made it may not have come to connect it to more than its first network.
        if subject.assignment.spec.networks.len() > 1 {
            match self.create(Some(subject.clone())).await {
                Outcome::Container { done: Ok(()), .. } => {}
                other => return other,
            }
        }
        let _turn = self.starts.acquire().await;
        let made = match self.runtime.inspect(&self.cluster, container).await {
            Ok(Some(found)) => found.binds,
            Ok(None) => {
                return Outcome::Container { done: Err(absent(container)), shown: Ok(None) };
            }
            Err(error) => return self.after(container, Err(error)).await,
        };
        // Asked before every start: the engine looks for the paths anew.
        let permit = self.permit_now(subject.clone()).await;
        if let Err(refusal) = permit.and_then(|permit| permit.still_holds(made.keys())) {
            return Outcome::Refused(refusal);
        }
        if subject.assignment.spec.strict_singleton {
            if !self.is_guarded().await {
                return self.after(container, Err(no_guard())).await;
            }
            if !self.has_written_lease(subject.assignment.task) {
                return self.after(container, Err(unwritten_lease())).await;
            }
        }
        // The machine may have slept since this step began.
        if !self.board.has_lease(&subject.assignment, clock::awake()) {
            return self.after(container, Err(no_lease())).await;
        }
        let done = self.runtime.start(container).await;
        self.after(container, done).await
    }

    /// Whether a guard watches, which would stop what is started now when this agent cannot. Where there is
    /// none it is waited for.
    async fn is_guarded(&self) -> bool {
        for _ in 0..GUARD_LOOKS {
            if guard::watches(&self.policy.data_dir).unwrap_or_default() {
                return true;
            }
            self.board.want_guard();
            sleep(GUARD_LOOK_EVERY).await;
        }
        false
    }

    /// Whether the guard finds its lease, without which it would end it at once.
    fn has_written_lease(&self, task: TaskId) -> bool {
        let record = LeaseRecord::new(&self.policy.data_dir, clock::boot_id());
        record.read().is_ok_and(|sent| sent.contains_key(&task))
    }

    fn order(&self, assignment: Arc<Assignment>, binds: BTreeMap<String, PathBuf>) -> Order {
        Order { cluster: self.cluster.clone(), node: self.node, assignment, binds }
    }

    async fn after(&self, container: &ContainerId, done: Result<(), RuntimeError>) -> Outcome {
        let shown = self.runtime.inspect(&self.cluster, container).await;
        Outcome::Container { done, shown: shown.map(|found| found.map(Box::new)) }
    }
}

/// The set changed while the step waited for its turn.
fn unassigned() -> Outcome {
    let message = "the task is not assigned any more".to_owned();
    Outcome::Container { done: Err(RuntimeError::Refused { message }), shown: Ok(None) }
}

/// Nothing that must never run twice is started where nobody would stop it.
fn no_guard() -> RuntimeError {
    RuntimeError::Unreachable { cause: "there is no guard that would stop it".into() }
}

/// What the guard cannot read it takes for no lease.
fn unwritten_lease() -> RuntimeError {
    RuntimeError::Unreachable {
        cause: "its lease is not in the agent's directory, where its guard looks for it".into(),
    }
}

/// The task's lease ended while the step waited for its turn.
fn no_lease() -> RuntimeError {
    RuntimeError::Unreachable { cause: "its lease ended before it was started".into() }
}

fn absent(container: &ContainerId) -> RuntimeError {
    RuntimeError::Absent { what: format!("container {container}") }
}

/// What other tasks mount of this machine's paths: those that have a container, and those that were
/// assigned before this one and are not over. Of two that are assigned at once the later one yields,
/// whichever is made first.
pub fn beside(
    task: TaskId,
    (set, leases): (&AssignmentSet, &Leases),
    observed: &Observed,
    attempts: &BTreeMap<TaskId, Attempt>,
) -> Vec<Neighbour> {
    let containers = observed.containers.values().filter(|found| found.task != task);
    let mounted = containers.flat_map(|found| {
        let task = found.task;
        let neighbour = move |(path, writes): (&PathBuf, &bool)| Neighbour {
            task,
            path: path.clone(),
            writes: *writes,
        };
        found.binds.iter().map(neighbour)
    });
    let earlier = set.tasks.iter().filter(|other| {
        other.task < task
            && matches!(
                wanted(other, attempts.get(&other.task), leases),
                Wanted::Prepare | Wanted::Run | Wanted::Fence
            )
    });
    let written = earlier.flat_map(|other| {
        other.spec.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Bind { path, .. } => {
                Some(Neighbour { task: other.task, path: path.into(), writes: !mount.read_only })
            }
            MountSource::Volume { .. } | MountSource::Anonymous | MountSource::Tmpfs { .. } => None,
        })
    });
    mounted.chain(written).collect()
}

/// The assignment of a step's task.
pub fn assignment_of(set: &AssignmentSet, task: TaskId) -> Option<Arc<Assignment>> {
    set.tasks.iter().find(|assignment| assignment.task == task).cloned().map(Arc::new)
}

#[cfg(test)]
mod tests;
