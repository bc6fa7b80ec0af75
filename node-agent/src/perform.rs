//! Doing a step: the only place, besides the watch, where the engine is asked for something.

use std::{collections::BTreeMap, sync::Arc};

use model::{Assignment, AssignmentSet, TaskId};
use tokio::sync::Semaphore;

use crate::{
    board::Board,
    policy::{Permit, Policy, Refusal},
    reconcile::Step,
    runtime::{Container, ContainerId, Order, PullError, Runtime, RuntimeError},
};

/// Containers made or started at once: the engine is no faster with more.
const STARTS: usize = 4;
/// Containers stopped or removed at once; most of them only wait for their grace period.
const STOPS: usize = 32;
/// Images fetched at once; the engine fetches the layers of each in parallel.
const PULLS: usize = 2;

/// What a step came to.
#[derive(Debug)]
pub enum Outcome {
    /// The policy's answer.
    Permitted(Result<(), Refusal>),
    /// An image is on the machine, or not.
    Fetched(Result<(), PullError>),
    /// A container was worked on.
    Container {
        /// What the engine answered.
        done: Result<(), RuntimeError>,
        /// The container afterwards, `None` when there is none; an error when that is not known.
        shown: Result<Option<Container>, RuntimeError>,
    },
    /// A container was not made because the policy changed its mind.
    Refused(Refusal),
    /// A network or volume is gone, or not.
    Removed(Result<(), RuntimeError>),
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
    /// Where progress is shown.
    pub board: Arc<Board>,
    starts: Semaphore,
    stops: Semaphore,
    pulls: Semaphore,
}

impl<R: Runtime> Tools<R> {
    /// Tools for this cluster.
    pub fn new(runtime: Arc<R>, policy: Policy, cluster: String, board: Arc<Board>) -> Self {
        Self {
            runtime,
            policy,
            cluster,
            board,
            starts: Semaphore::new(STARTS),
            stops: Semaphore::new(STOPS),
            pulls: Semaphore::new(PULLS),
        }
    }

    /// Does a step. `assignment` is that of its task, where it has one.
    pub async fn perform(&self, step: &Step, assignment: Option<Arc<Assignment>>) -> Outcome {
        match step {
            Step::Permit { .. } => Outcome::Permitted(self.permit(assignment).await.map(|_| ())),
            Step::Fetch { image } => Outcome::Fetched(self.fetch(image).await),
            Step::Create { .. } => self.create(assignment).await,
            Step::Start { container, .. } => self.start(container, assignment).await,
            Step::Stop { container, .. } => {
                let _turn = self.stops.acquire().await;
                let done = self.runtime.stop(container).await;
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
                Outcome::Removed(self.runtime.remove_volume(&self.cluster, volume).await)
            }
        }
    }

    /// The policy looks at the file system, which may be slow.
    async fn permit(&self, assignment: Option<Arc<Assignment>>) -> Result<Permit, Refusal> {
        let Some(assignment) = assignment else { return Ok(Permit::default()) };
        let policy = self.policy.clone();
        let checked = tokio::task::spawn_blocking(move || policy.check(&assignment.spec)).await;
        checked.unwrap_or_else(|error| {
            Err(Refusal::BindAbsent { path: String::new(), why: error.to_string() })
        })
    }

    async fn fetch(&self, image: &str) -> Result<(), PullError> {
        if self.runtime.has_image(image).await.map_err(PullError::Engine)? {
            return Ok(());
        }
        let _turn = self.pulls.acquire().await;
        tracing::info!(image, "fetching");
        let (board, name) = (Arc::clone(&self.board), image.to_owned());
        let progress = move |done, total| board.set_pull(&name, Some((done, total)));
        let pulled = self.runtime.pull(image, Box::new(progress)).await;
        self.board.set_pull(image, None);
        pulled
    }

    async fn create(&self, assignment: Option<Arc<Assignment>>) -> Outcome {
        let Some(assignment) = assignment else { return unassigned() };
        // Asked again: a link may have been swapped since the first time.
        let binds = match self.permit(Some(Arc::clone(&assignment))).await {
            Ok(permit) => permit.binds,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let _turn = self.starts.acquire().await;
        match self.runtime.create(&self.order(assignment, binds)).await {
            Ok(id) => self.after(&id, Ok(())).await,
            Err(error) => Outcome::Container { done: Err(error), shown: Ok(None) },
        }
    }

    async fn start(&self, container: &ContainerId, assignment: Option<Arc<Assignment>>) -> Outcome {
        let Some(assignment) = assignment else { return unassigned() };
        // Who made it may not have come to connect it to more than its first network.
        if assignment.spec.networks.len() > 1 {
            match self.create(Some(assignment)).await {
                Outcome::Container { done: Ok(()), .. } => {}
                other => return other,
            }
        }
        let _turn = self.starts.acquire().await;
        let done = self.runtime.start(container).await;
        self.after(container, done).await
    }

    fn order(
        &self,
        assignment: Arc<Assignment>,
        binds: BTreeMap<String, std::path::PathBuf>,
    ) -> Order {
        Order { cluster: self.cluster.clone(), assignment, binds }
    }

    async fn after(&self, container: &ContainerId, done: Result<(), RuntimeError>) -> Outcome {
        let shown = self.runtime.inspect(&self.cluster, container).await;
        Outcome::Container { done, shown }
    }
}

/// The set changed while the step waited for its turn.
fn unassigned() -> Outcome {
    let message = "the task is not assigned any more".to_owned();
    Outcome::Container { done: Err(RuntimeError::Refused { message }), shown: Ok(None) }
}

/// The assignment of a step's task.
pub fn assignment_of(set: &AssignmentSet, task: TaskId) -> Option<Arc<Assignment>> {
    set.tasks.iter().find(|assignment| assignment.task == task).cloned().map(Arc::new)
}
