//! What agents observed of their tasks.

use model::{
    Health, NodeId, Task, TaskId, TaskReport, TaskState, TaskStatus, Timestamp,
    planted::{Bug, is_planted},
    task::Cause,
};

use super::{Answered, Happened, bounded, check};
use crate::{
    assign,
    cluster::{Cluster, Outcome, Rejection, limits},
};

impl Cluster {
    pub(super) fn report(
        &mut self,
        at: Timestamp,
        node: NodeId,
        reports: &[TaskReport],
    ) -> Answered {
        if !self.nodes.contains_key(&node) {
            return Err(Rejection::UnknownNode(node));
        }
        check::at_most("reports at once", reports.len(), limits::MAX_REPORTS)?;
        let mut any = false;
        let mut foreign = None;
        for report in reports {
            // A task that was forgotten meanwhile is none of the agent's faults.
            let Some(task) = self.tasks.get(report.task) else { continue };
            if task.node == Some(node) {
                any |= self.observe(at, report);
            } else {
                foreign = foreign.or(Some(report.task));
            }
        }
        match foreign {
            Some(task) => Err(Rejection::NotItsTask { node, task }),
            None if any => Ok(Outcome::Done),
            None => Ok(Outcome::Unchanged),
        }
    }

    /// Merges one report; answers whether it was news.
    fn observe(&mut self, at: Timestamp, report: &TaskReport) -> bool {
        let Some(task) = self.tasks.get_mut(report.task) else { return false };
        // These two are not an agent's to say.
        if matches!(report.status.state, TaskState::Pending | TaskState::Lost) {
            return false;
        }
        let mut news = report.status.clone();
        if let Some(failure) = &mut news.failure {
            failure.message = bounded(&failure.message);
        }
        let before = task.status.clone();
        let lost = is_planted(Bug::StatusMovesBack);
        task.status = if lost { news } else { before.clone().merge(news) };
        if task.status == before {
            return false;
        }
        if task.status.state != before.state || task.status.restarts != before.restarts {
            task.since = at;
        }
        let task = task.clone();
        if let Some(node) = task.node.filter(|_| assign::is_settled(&task)) {
            self.touch(node);
        }
        // Said once: the last words of a task that stops are of what was, not of what a person mended since.
        let finds =
            |status: &TaskStatus| status.failure.as_ref().is_some_and(|failure| failure.no_variant);
        if finds(&task.status) && !finds(&before) && !task.desired.is_leaving() {
            self.learn_lack(&task);
        }
        if task.status.started_at.is_some() || task.status.state == TaskState::Running {
            self.mark_used(&task);
        }
        self.count_kill(at, &task, &before);
        if let Some(happened) = noteworthy(at, &task, &before) {
            self.note(happened.task(&task));
        }
        true
    }

    /// From now on the data of its volumes must be there.
    fn mark_used(&mut self, task: &Task) {
        let mut changed = false;
        for named in task.volumes.values() {
            if let Some(volume) = self.volumes.get_mut(&named.engine_name)
                && !volume.used
            {
                volume.used = true;
                changed = true;
            }
        }
        if let Some(node) = task.node.filter(|_| changed) {
            self.touch(node);
        }
    }

    /// Removes a task from the tables; nobody asks after it any more.
    pub(super) fn forget_task(&mut self, id: TaskId) {
        let Some(task) = self.tasks.remove(id) else { return };
        if let Some(node) = task.node.filter(|_| !assign::is_settled(&task)) {
            self.touch(node);
        }
        let more = self.tasks_of_service(&task.stack, &task.service).next().is_some();
        if let Some(stack) = self.stacks.get_mut(&task.stack)
            && !more
            && stack.services.get(&task.service).is_some_and(|service| !service.wanted)
        {
            stack.services.remove(&task.service);
        }
    }
}

/// What a person wants to read of a change of status.
fn noteworthy(at: Timestamp, task: &Task, before: &TaskStatus) -> Option<Happened> {
    let now = &task.status;
    let name = format!("{}/{}.{}", task.stack, task.service, task.slot);
    let why = now.failure.as_ref().map_or(String::new(), |held| format!(": {}", held.message));
    if now.restarts > before.restarts {
        let oom = now.failure.as_ref().is_some_and(|held| held.cause == Cause::OutOfMemory);
        let kind = if oom { "oom" } else { "restarted" };
        let message = format!("{name} is started again (time {}){why}", now.restarts);
        return Some(Happened::new(at, kind, message).warning());
    }
    if now.state != before.state {
        return match now.state {
            TaskState::Running => Some(Happened::new(at, "running", format!("{name} runs"))),
            TaskState::Stopped => Some(Happened::new(at, "stopped", format!("{name} stopped"))),
            TaskState::Failed => {
                Some(Happened::new(at, "failed", format!("{name} failed{why}")).warning())
            }
            TaskState::Pending
            | TaskState::Assigned
            | TaskState::Preparing
            | TaskState::Starting
            | TaskState::Stopping
            | TaskState::Lost => None,
        };
    }
    if now.health != before.health {
        return match now.health {
            Health::Healthy => Some(Happened::new(at, "healthy", format!("{name} is healthy"))),
            Health::Unhealthy => {
                Some(Happened::new(at, "unhealthy", format!("{name} is unhealthy{why}")).warning())
            }
            Health::None | Health::Starting => None,
        };
    }
    (now.failure.is_some() && now.failure != before.failure)
        .then(|| Happened::new(at, "problem", format!("{name}{why}")).warning())
}
