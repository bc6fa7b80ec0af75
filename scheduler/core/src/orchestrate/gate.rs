//! `depends_on`: what must be true before a task starts.

use model::{
    Health, ServiceName, ServiceSpec, Task, TaskState,
    spec::{Condition, HealthTest},
};

use crate::{
    cluster::{Cluster, Service},
    orchestrate::is_current,
};

/// What a task waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// The service it depends on.
    pub on: ServiceName,
    /// What must be true of it.
    pub condition: Condition,
    /// Why that will not become true by itself, when it will not.
    pub hopeless: Option<String>,
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let on = &self.on;
        match (&self.hopeless, self.condition) {
            (Some(why), _) => write!(f, "waits for {on}, which failed: {why}"),
            (None, Condition::Started) => write!(f, "waits for {on} to start"),
            (None, Condition::Healthy) => write!(f, "waits for {on} to be healthy"),
            (None, Condition::Completed) => write!(f, "waits for {on} to complete"),
        }
    }
}

/// Whether everything the task's service depends on is as it must be.
pub fn may_start(cluster: &Cluster, task: &Task) -> bool {
    waits_for(cluster, task).is_none()
}

/// The first thing the task's service depends on that is not as it must be.
pub fn waits_for(cluster: &Cluster, task: &Task) -> Option<Waits> {
    let spec = cluster.service(&task.stack, &task.service).map_or(&task.spec, |held| &held.spec);
    spec.depends_on.iter().find_map(|(on, dependency)| {
        let service = cluster.service(&task.stack, on).filter(|service| service.wanted)?;
        // As Compose has it: nobody waits for what is scaled to nothing.
        if service.spec.replicas == 0 {
            return None;
        }
        let tasks: Vec<&Task> = cluster
            .tasks_of_service(&task.stack, on)
            .filter(|held| counts(cluster, service, held))
            .collect();
        let met = match dependency.condition {
            Condition::Started => tasks.iter().any(|held| has_started(held)),
            Condition::Healthy => tasks.iter().any(|held| is_healthy(held, &service.spec)),
            Condition::Completed => (1..=service.spec.replicas)
                .all(|slot| tasks.iter().any(|held| held.slot == slot && has_completed(held))),
        };
        let condition = dependency.condition;
        (!met).then(|| Waits { on: on.clone(), condition, hopeless: hopeless(&tasks, condition) })
    })
}

/// Only tasks of the current specification count, so that what is replaced is replaced in start
/// order; when that replacement was given up, those that still serve do.
fn counts(cluster: &Cluster, service: &Service, task: &Task) -> bool {
    !task.desired.is_leaving() && (service.failed.is_some() || is_current(cluster, service, task))
}

fn has_started(task: &Task) -> bool {
    matches!(task.status.state, TaskState::Running | TaskState::Stopped)
}

fn is_healthy(task: &Task, spec: &ServiceSpec) -> bool {
    let checked = spec
        .healthcheck
        .as_ref()
        .is_some_and(|check| matches!(check.test, HealthTest::Exec(_) | HealthTest::Shell(_)));
    // With a check of its own, no verdict yet is not the same as no check.
    task.is_ready() && (!checked || task.status.health == Health::Healthy)
}

pub(super) fn has_completed(task: &Task) -> bool {
    task.status.state == TaskState::Stopped && task.status.exit_code == Some(0)
}

/// Why waiting has no end: every task there is has ended for good the wrong way.
fn hopeless(tasks: &[&Task], condition: Condition) -> Option<String> {
    let ended = |task: &&Task| match task.status.state {
        TaskState::Failed => true,
        TaskState::Stopped => match condition {
            Condition::Started => false,
            Condition::Healthy => true,
            Condition::Completed => !has_completed(task),
        },
        TaskState::Pending
        | TaskState::Assigned
        | TaskState::Preparing
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Stopping
        | TaskState::Lost => false,
    };
    let last = tasks.last()?;
    let told = || match (&last.status.failure, last.status.exit_code) {
        (Some(failure), _) => failure.message.clone(),
        (None, Some(code)) => format!("it ended with exit code {code}"),
        (None, None) => "it ended".to_owned(),
    };
    tasks.iter().all(ended).then(told)
}
