//! What services were seen to need.

use model::{ServiceSpec, StackSpec, Task, TaskState, TaskStatus, Timestamp, task::Cause};

use super::{Answered, check};
use crate::cluster::{
    Cluster, Kills, Memory, NEEDS_FORM, Need, Outcome, Service, ServiceNeed, limits,
};

impl Cluster {
    /// Takes down what services need; of those that are gone nothing.
    pub(super) fn record_needs(&mut self, at: Timestamp, needs: &[ServiceNeed]) -> Answered {
        check::at_most("needs at once", needs.len(), limits::MAX_NEEDS)?;
        let mut any = false;
        for news in needs {
            let stack = self.stacks.get_mut(&news.stack);
            let service = stack.and_then(|stack| stack.services.get_mut(&news.service));
            if let Some(service) = service {
                let ServiceNeed { peak, usual, observed_ms, .. } = *news;
                service.memory.need = Some(Need { at, peak, usual, observed_ms });
                any = true;
            }
        }
        Ok(if any { Outcome::Done } else { Outcome::Unchanged })
    }

    /// Counts what an agent reports of a task, when that is a kill for want of memory.
    pub(super) fn count_kill(&mut self, at: Timestamp, task: &Task, before: &TaskStatus) {
        if self.form < NEEDS_FORM || !is_kill(before, &task.status) {
            return;
        }
        let stack = self.stacks.get_mut(&task.stack);
        let Some(service) = stack.and_then(|stack| stack.services.get_mut(&task.service)) else {
            return;
        };
        if service.spec.image != task.spec.image {
            return;
        }
        let limit = task.spec.resources.memory_limit;
        let held = service.memory.kills.unwrap_or(Kills { count: 0, at, limit });
        let count = held.count.saturating_add(1);
        service.memory.kills = Some(Kills { count, at, limit: held.limit.max(limit) });
    }

    /// The stack with the figures that its services get which say nothing about memory.
    pub(super) fn sized(&self, asked: &StackSpec) -> StackSpec {
        let mut given = asked.clone();
        if self.form < NEEDS_FORM {
            return given;
        }
        for (name, spec) in &mut given.services {
            let Some(held) = self.service(&asked.name, name) else { continue };
            spec.resources =
                held.memory_for(spec).size(Some(&held.spec.resources), &spec.resources);
        }
        given
    }
}

impl Service {
    /// What is known that still holds for this specification: another image may need less than what
    /// killed the one before.
    pub(super) fn memory_for(&self, spec: &ServiceSpec) -> Memory {
        let kills = self.memory.kills.filter(|_| self.spec.image == spec.image);
        Memory { kills, ..self.memory }
    }
}

/// Whether between two statuses of a task it was killed for want of memory.
fn is_kill(before: &TaskStatus, now: &TaskStatus) -> bool {
    let killed = |status: &TaskStatus| {
        status.failure.as_ref().is_some_and(|failure| failure.cause == Cause::OutOfMemory)
    };
    let again = now.restarts > before.restarts;
    let ended = now.state == TaskState::Failed && before.state == TaskState::Running;
    killed(now) && (again || ended || !killed(before))
}
