//! What is not tried any more until a person asks: why that is right, whether what is said of it is
//! true, and that it runs once somebody has asked.
//!
//! Two things are right to give up, and nothing else is:
//! - a replacement whose new container ended, was refused or stayed unhealthy: the old version serves on;
//! - a task that its own restart policy lets end (`no`, `on-failure:N`), after as many ends.

use model::{
    Health, NodeId, ServiceName, ServiceSpec, StackName, Task, TaskId, spec::RestartPolicy,
    task::Cause,
};
use scheduler_core::{
    Command,
    cluster::{FailedRollout, Service},
};

use super::order::works;
use crate::{image::Behaviour, world::World};

/// What the end of a container that works is called.
const ENDED: [&str; 4] =
    ["exited with code", "killed", "port is already allocated", "the runtime does not want to"];

/// What was interrupted has not failed: no replacement is given up for it, unless its policy lets it end
/// whatever ended it.
const INTERRUPTED: [&str; 3] =
    ["ended from outside", "ended while the engine or the agent was away", "removed from outside"];

impl World {
    /// Whether what is said of a replacement that was given up is true.
    pub(super) fn untrue_reason(
        &self,
        service: &ServiceName,
        held: &Service,
        failed: &FailedRollout,
    ) -> Option<String> {
        let FailedRollout { revision, reason, .. } = failed;
        let what = || format!("the replacement of {service} was given up for {reason:?}");
        if *revision != held.spec_revision {
            return Some(format!("{}, at {revision} and not {}", what(), held.spec_revision));
        }
        if !Behaviour::of(&held.spec.image).is_good() {
            return None;
        }
        let Some(task) = named_task(reason) else {
            return Some(format!("{}, which names no task", what()));
        };
        let interrupted = INTERRUPTED.iter().filter(|_| may_end(&held.spec));
        let told = ENDED.iter().chain(interrupted).any(|words| reason.contains(words));
        let ends = self.ends_of(task);
        (!told || ends == 0).then(|| format!("{}, {task} ended {ends} times", what()))
    }

    /// Whether a task has ended that its policy does not let end, or not so soon.
    pub(super) fn ended_too_soon(&self, what: &str, task: &Task) -> Option<String> {
        let (ends, state) = (self.ends_of(task.id), task.status.state);
        let needed = match task.spec.restart {
            RestartPolicy::Never => 1,
            RestartPolicy::OnFailure { max_attempts: Some(max) } => max.saturating_add(1),
            RestartPolicy::Always | RestartPolicy::OnFailure { max_attempts: None } => {
                return Some(format!("{what} ({}) is {state} and has to run always", task.id));
            }
        };
        let told = task.status.failure.is_some() || task.status.exit_code == Some(0);
        if ends < needed || !told {
            let (id, told) = (task.id, &task.status.failure);
            return Some(format!("{what} ({id}) is {state}: {told:?}, and ended {ends} times"));
        }
        None
    }

    /// Whether nothing is said of an image that does not work.
    pub(super) fn fault_untold(what: &str, task: &Task) -> Option<String> {
        let status = &task.status;
        let cause = status.failure.as_ref().map(|failure| failure.cause);
        let told = match Behaviour::of(&task.spec.image) {
            Behaviour::Absent => cause == Some(Cause::Image),
            Behaviour::Crashes | Behaviour::Hungry => cause.is_some(),
            Behaviour::Sick => status.health == Health::Unhealthy || cause.is_some(),
            Behaviour::Job => status.exit_code.is_some() || cause.is_some(),
            Behaviour::Serves | Behaviour::Slow | Behaviour::Flaky | Behaviour::Stubborn => true,
        };
        let (id, image) = (task.id, &task.spec.image);
        (!told).then(|| format!("{what} ({id}) of {image} is {} and says nothing", status.state))
    }

    /// How often the engines saw it end.
    fn ends_of(&self, task: TaskId) -> u32 {
        let here = self.machines.values().filter_map(|machine| machine.engine.ends.get(&task));
        here.chain(self.gone_ends.get(&task)).sum()
    }

    /// Remembers what a machine saw that is given up.
    pub(crate) fn keep_ends(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get(&node) else { return };
        for (task, ends) in &machine.engine.ends {
            *self.gone_ends.entry(*task).or_default() += ends;
        }
    }

    /// A person asks again for what could work and was given up; answers for how many services.
    pub(crate) fn ask_again(&mut self) -> usize {
        let mut asks = Vec::new();
        for (name, stack) in self.log.reference.stacks().iter() {
            for (service, held) in stack.wanted() {
                if !works(stack, service) {
                    continue;
                }
                if held.failed.is_some() {
                    let spec = stack.spec().map(|spec| (**spec).clone());
                    asks.extend(spec.map(|spec| Command::ApplyStack { spec, basis: None }));
                } else if self.has_ended(name, service, held) {
                    let (stack, service) = (name.clone(), Some(service.clone()));
                    asks.push(Command::Restart { stack, service, slot: None });
                }
            }
        }
        let count = asks.len();
        for command in asks {
            self.trace(|| format!("asked again: {command:?}"));
            self.ask(command);
        }
        count
    }

    fn has_ended(&self, name: &StackName, service: &ServiceName, held: &Service) -> bool {
        (1..=held.spec.replicas).any(|slot| {
            let newest = self.newest(name, service, slot);
            newest.is_some_and(|task| task.status.state.is_over() && may_end(&task.spec))
        })
    }

    /// The task a replica has.
    pub(super) fn newest(
        &self,
        stack: &StackName,
        service: &ServiceName,
        slot: u32,
    ) -> Option<&Task> {
        let tasks = self.log.reference.tasks().values().filter(|task| {
            task.stack == *stack
                && task.service == *service
                && task.slot == slot
                && !task.desired.is_leaving()
        });
        tasks.max_by_key(|task| task.epoch)
    }
}

/// The task that a reason names.
pub(super) fn named_task(reason: &str) -> Option<TaskId> {
    let number = reason.split("(task t").nth(1).and_then(|rest| rest.split(')').next());
    number.and_then(|number| number.parse().ok()).map(TaskId::new)
}

/// Whether its policy lets it end for good.
pub(super) fn may_end(spec: &ServiceSpec) -> bool {
    matches!(
        spec.restart,
        RestartPolicy::Never | RestartPolicy::OnFailure { max_attempts: Some(_) }
    )
}
