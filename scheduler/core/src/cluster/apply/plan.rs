//! The leader's decisions, each checked again: the plan is optimistic, the log is the truth.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    Desired, Liveness, NodeId, Revision, StackName, Task, TaskId, TaskState, TaskStatus, Timestamp,
    VolumeName,
    event::Severity,
    planted::{Bug, is_planted},
    task::{Decision, TaskVolume},
};

use super::{Answered, Happened, check};
use crate::{
    cluster::{
        Change, Cluster, FailedRollout, Outcome, Rejection, RolloutOutcome, Volume, limits,
        task_volumes,
    },
    orchestrate, placement,
};

/// Why a change no longer holds.
pub(super) type Checked = Result<(), String>;

impl Cluster {
    pub(super) fn take_plan(
        &mut self,
        at: Timestamp,
        basis: Revision,
        changes: &[Change],
    ) -> Answered {
        if basis < self.planned && !is_planted(Bug::StalePlanAccepted) {
            return Err(Rejection::StalePlan { basis, planned: self.planned });
        }
        check::at_most("changes in a plan", changes.len(), limits::MAX_CHANGES)?;
        let refused = self.take_changes(at, changes);
        if refused.len() == changes.len() {
            return Ok(if changes.is_empty() {
                Outcome::Unchanged
            } else {
                Outcome::Planned { refused }
            });
        }
        self.planned = self.revision;
        Ok(Outcome::Planned { refused })
    }

    /// Takes every change that still holds; answers why the others do not.
    pub(crate) fn take_changes(&mut self, at: Timestamp, changes: &[Change]) -> Vec<String> {
        changes.iter().filter_map(|change| self.take_change(at, change).err()).collect()
    }

    fn take_change(&mut self, at: Timestamp, change: &Change) -> Checked {
        match change {
            Change::CreateTask { .. } => self.create_task(at, change),
            Change::Place { task, node, decision } => self.place_task(at, *task, *node, decision),
            Change::SetDesired { task, desired } => self.set_desired(at, *task, *desired),
            Change::MarkLost { task, down_since } => self.mark_lost(at, *task, *down_since),
            Change::Forget { task } => {
                let held = self.tasks.get(*task).ok_or_else(|| unknown(*task))?;
                let done = held.status.state.is_over() || held.node.is_none();
                if !done {
                    return Err(format!("{task} is not over: {}", held.status.state));
                }
                self.forget_task(*task);
                Ok(())
            }
            Change::RecordRollout { stack, service, outcome } => {
                let RolloutOutcome::Failed { revision, reason } = outcome;
                let held = self.stacks.get_mut(stack).and_then(|s| s.services.get_mut(service));
                let held = held.filter(|held| held.spec_revision == *revision && held.wanted);
                let held = held.ok_or_else(|| format!("{stack}/{service} has moved on"))?;
                let failed = FailedRollout { revision: *revision, at, reason: reason.clone() };
                held.failed = Some(failed);
                let message =
                    format!("the replacement of {stack}/{service} was given up: {reason}");
                let happened = Happened::new(at, "rollout", message).warning();
                self.note(happened.stack(stack).service(service));
                Ok(())
            }
            Change::MarkReady { stack, revision } => {
                let held = self.stacks.get_mut(stack).and_then(|held| held.history.back_mut());
                let held = held.filter(|held| held.revision == *revision && !held.ready);
                let held = held.ok_or_else(|| format!("{stack} has moved on"))?;
                held.ready = true;
                Ok(())
            }
            Change::EndDrain { node } => self.end_drain(at, *node),
            Change::EndToken { token } => self.end_token(at, *token),
            Change::ForgetStack { stack } => {
                let removing = self.stacks.get(stack).is_some_and(|held| held.removal.is_some());
                if !removing || self.tasks_of(stack).any(Task::holds_resources) {
                    return Err(format!("stack {stack} is not ready to be forgotten"));
                }
                self.forget_stack(at, stack);
                Ok(())
            }
            Change::MoveTask { task, to, reason } => self.move_by_itself(at, (*task, *to), reason),
            Change::EndMove { task, failed } => self.end_move(at, *task, failed.as_deref()),
            Change::Note { severity, kind, task, message } => {
                let held = self.tasks.get(*task).ok_or_else(|| unknown(*task))?.clone();
                let happened = Happened::new(at, kind, message.clone()).task(&held);
                let warns = *severity == Severity::Warning;
                self.note(if warns { happened.warning() } else { happened });
                Ok(())
            }
        }
    }

    pub(super) fn create_task(&mut self, at: Timestamp, change: &Change) -> Checked {
        let Change::CreateTask { task: id, stack: name, service, slot, epoch, spec_revision } =
            change
        else {
            return Err("not a new task".to_owned());
        };
        if *id < self.next_task {
            return Err(format!("{id} was used before"));
        }
        if self.tasks().len() >= limits::MAX_TASKS.saturating_mul(2) {
            return Err("too many tasks are remembered".to_owned());
        }
        let left_behind = self.tasks_of_slot(name, service, *slot).find(|task| {
            let down = task.node.and_then(|node| self.node(node));
            task.holds_resources()
                && !task.desired.is_leaving()
                && down.is_some_and(|node| node.liveness == Liveness::Down)
        });
        let moves = left_behind.is_some();
        // Another leader may have moved it since this was planned: of that the basis of a plan tells too, and
        // unlike stamps it goes by no clock. What was moved in this very plan are its other replicas, which go
        // together.
        if let (Some(task), Some(held)) = (left_behind, self.service(name, service))
            && self.form < orchestrate::HELD_BY_LEADER_FORM
            && held.moved_at != Some(at)
            && orchestrate::is_current(self, held, task)
            && orchestrate::held_by_stamps(self, held, task, at)
            && !is_planted(Bug::HoldDownForgotten)
        {
            return Err(format!(
                "{name}/{service} moved a moment ago, and its node comes and goes"
            ));
        }
        let gone = || format!("{name}/{service} is no longer wanted");
        let stack = self.stacks.get_mut(name).filter(|held| held.removal.is_none());
        let stack = stack.ok_or_else(gone)?;
        let whole = stack.spec().cloned().ok_or_else(gone)?;
        let held = stack.services.get_mut(service).filter(|held| held.wanted).ok_or_else(gone)?;
        if held.spec_revision != *spec_revision {
            return Err(format!("{name}/{service} has another specification by now"));
        }
        if *slot == 0 || *slot > held.spec.replicas {
            return Err(format!("{name}/{service} has no replica {slot}"));
        }
        if moves {
            held.moved_at = Some(at);
        }
        let memory = held.slots.entry(*slot).or_default();
        if *epoch <= memory.last {
            return Err(format!("{name}/{service}.{slot} had epoch {epoch} already"));
        }
        memory.last = if is_planted(Bug::EpochForgotten) { memory.last } else { *epoch };
        let task = Task {
            id: *id,
            stack: name.clone(),
            service: service.clone(),
            slot: *slot,
            epoch: *epoch,
            spec: Arc::clone(&held.spec),
            spec_revision: *spec_revision,
            volumes: task_volumes(&whole, &held.spec),
            desired: Desired::Prepare,
            node: None,
            decision: None,
            status: TaskStatus::default(),
            created_at: at,
            since: at,
            moves_from: None,
        };
        self.next_task = id.next().unwrap_or(*id);
        self.tasks.insert(task);
        Ok(())
    }

    pub(super) fn place_task(
        &mut self,
        at: Timestamp,
        id: TaskId,
        node: NodeId,
        decision: &Arc<Decision>,
    ) -> Checked {
        let held = self.tasks.get(id).ok_or_else(|| unknown(id))?;
        if held.node.is_some() || held.status.state != TaskState::Pending {
            return Err(format!("{id} was placed already"));
        }
        if held.desired.is_leaving() {
            return Err(format!("{id} is to stop"));
        }
        if !self.is_draft {
            placement::fits(self, held, node).map_err(|why| format!("{id} on {node}: {why}"))?;
        }
        let Some(task) = self.tasks.place(id, node) else { return Err(unknown(id)) };
        task.status.state = TaskState::Assigned;
        task.since = at;
        let mut kept = Arc::clone(decision);
        if kept.verdicts.len() > limits::MAX_VERDICTS {
            Arc::make_mut(&mut kept).verdicts.truncate(limits::MAX_VERDICTS);
        }
        task.decision = Some(kept);
        if !task.volumes.is_empty() {
            let (stack, volumes) = (task.stack.clone(), task.volumes.clone());
            self.settle_volumes(at, node, (&stack, volumes));
        }
        self.touch(node);
        // Nor is it worth a sentence on a draft, which keeps no events.
        if !self.is_draft {
            self.note_placed(at, id, node);
        }
        Ok(())
    }

    /// Volumes that live nowhere yet live there from now on.
    fn settle_volumes(
        &mut self,
        at: Timestamp,
        home: NodeId,
        (stack, volumes): (&StackName, BTreeMap<VolumeName, TaskVolume>),
    ) {
        for (name, volume) in volumes {
            if is_planted(Bug::HomeForgotten) {
                continue;
            }
            self.volumes.entry(volume.engine_name).or_insert_with(|| Volume {
                stack: stack.clone(),
                name,
                external: volume.external,
                home,
                used: false,
                removing: false,
                created_at: at,
            });
        }
    }

    fn note_placed(&mut self, at: Timestamp, id: TaskId, node: NodeId) {
        let Some(task) = self.tasks.get(id) else { return };
        let message = format!(
            "{}/{}.{} goes to {} (reserves {})",
            task.stack,
            task.service,
            task.slot,
            self.node_name(node),
            task.spec.resources.reserved.memory
        );
        let happened = Happened::new(at, "placed", message).task(task);
        self.note(happened);
    }

    fn set_desired(&mut self, at: Timestamp, id: TaskId, desired: Desired) -> Checked {
        let held = self.tasks.get(id).ok_or_else(|| unknown(id))?;
        if desired <= held.desired {
            return Err(format!("{id} is already to {}", held.desired.as_str()));
        }
        // What was to end first may have been refused as the plan was taken.
        if let Some(other) = orchestrate::in_the_way(self, held).filter(|_| !desired.is_leaving()) {
            return Err(format!("{id} may not run beside {}", other.id));
        }
        let task = self.tasks.get_mut(id).ok_or_else(|| unknown(id))?;
        let never_ran = task.desired == Desired::Prepare && desired.is_leaving();
        task.desired = desired;
        // There is no end to wait for, not even of one whose node is down.
        if never_ran && task.node.is_some() {
            task.status.state = TaskState::Stopped;
            task.since = at;
        }
        if let Some(node) = task.node {
            self.touch(node);
        }
        Ok(())
    }

    /// Of a task that must never run twice this says that it has ended, by its lease. The leader knows
    /// that of a node that was down when it planned; had the node come back since, it may have had
    /// another lease.
    fn mark_lost(&mut self, at: Timestamp, id: TaskId, down_since: Option<Timestamp>) -> Checked {
        let task = self.tasks.get_mut(id).ok_or_else(|| unknown(id))?;
        let node = task.node.filter(|_| !task.status.state.is_over());
        let node = node.ok_or_else(|| format!("{id} has nothing to lose"))?;
        let down = self.nodes.get(&node).is_none_or(|n| n.liveness == Liveness::Down);
        if !down {
            return Err(format!("{id} is on {node}, which is there"));
        }
        if task.status.state == TaskState::Lost {
            return Err(format!("{id} is lost already"));
        }
        let since = self.nodes.get(&node).map(|node| node.since);
        if task.spec.strict_singleton && down_since != since {
            return Err(format!("{id} may have had a lease since {node} was down before"));
        }
        if task.desired == Desired::Prepare {
            return self.set_desired(at, id, Desired::Stop);
        }
        task.status.state = TaskState::Lost;
        task.desired = Desired::Stop;
        task.since = at;
        let task = task.clone();
        self.touch(node);
        let message =
            format!("{}/{}.{} was lost with its node", task.stack, task.service, task.slot);
        self.note(Happened::new(at, "lost", message).warning().task(&task));
        Ok(())
    }
}

pub(super) fn unknown(task: TaskId) -> String {
    format!("there is no task {task}")
}
