//! Moves on request: one task, to a node that is named.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    Liveness, NodeId, Revision, Task, TaskId, Timestamp, VolumeName, task::Decision, view::Verdict,
};

use super::{
    Answered, Happened,
    plan::{Checked, unknown},
};
use crate::{
    cluster::{Change, Cluster, Outcome, Rejection, task_volumes},
    orchestrate::{self, Tie},
    placement::{Ask, Fleet},
};

impl Cluster {
    /// The successor gets its place here and now: nobody else can take the room meanwhile, and a plan that
    /// was made before does not count on it.
    pub(super) fn move_task(&mut self, at: Timestamp, id: TaskId, to: NodeId) -> Answered {
        self.begin_move(at, (id, to), None)
    }

    /// The same for a reason of the cluster's own, when there is one.
    pub(super) fn begin_move(
        &mut self,
        at: Timestamp,
        (id, to): (TaskId, NodeId),
        reason: Option<&str>,
    ) -> Answered {
        let old = self.tasks.get(id).ok_or(Rejection::UnknownTask(id))?;
        let node = self.node(to).ok_or(Rejection::UnknownNode(to))?;
        let (name, to_name) = (replica_name(old), node.name.clone());
        let refused =
            |why: String| Rejection::NotMoved { task: name.clone(), to: to_name.clone(), why };
        if self.is_or_will_be_on(old, to) {
            return Ok(Outcome::Unchanged);
        }
        let from = self.why_not_movable(old).map_or_else(
            || old.node.ok_or_else(|| refused("it has no node".to_owned())),
            |why| Err(refused(why)),
        )?;
        let (old, new) = (old.clone(), self.next_task);
        let left = self.room_left_by(&old, new, to).map_err(&refused)?;
        let held = self.service(&old.stack, &old.service);
        let held = held.ok_or_else(|| refused("it is not wanted any more".to_owned()))?;
        let last = held.slots.get(&old.slot).map_or(old.epoch, |slot| slot.last);
        let create = Change::CreateTask {
            task: new,
            stack: old.stack.clone(),
            service: old.service.clone(),
            slot: old.slot,
            epoch: last.next(),
            spec_revision: held.spec_revision,
        };
        self.create_task(at, &create).map_err(&refused)?;
        let decision = decision(at, self.revision, to_name.as_str(), (&left, reason));
        self.place_task(at, new, to, &Arc::new(decision)).map_err(&refused)?;
        if let Some(task) = self.tasks.get_mut(new) {
            task.moves_from = Some(from);
        }
        self.planned = self.revision;
        let why = reason.map(|reason| format!(", by itself, {reason}")).unwrap_or_default();
        let message = format!("{name} is moved from {} to {to_name}{why}", self.node_name(from));
        self.note(Happened::new(at, "moving", message).task(&old));
        Ok(Outcome::Done)
    }

    /// Whether the task is there already, or one that takes over from it.
    fn is_or_will_be_on(&self, task: &Task, node: NodeId) -> bool {
        self.tasks_of_replica(task).any(|other| {
            other.epoch >= task.epoch
                && other.node == Some(node)
                && !other.desired.is_leaving()
                && !other.status.state.is_over()
        })
    }

    /// Why the task cannot leave its node now, wherever to.
    pub(crate) fn why_not_movable(&self, task: &Task) -> Option<String> {
        let service = self.service(&task.stack, &task.service).filter(|held| held.wanted);
        let stays = self.stack(&task.stack).is_some_and(|stack| stack.removal().is_none());
        let Some(service) = service.filter(|_| stays) else {
            return Some("it is not wanted any more".to_owned());
        };
        if task.desired.is_leaving() {
            return Some("it is to stop".to_owned());
        }
        if !task.is_ready() {
            let health =
                if task.status.health.as_str().is_some() { " and not healthy" } else { "" };
            return Some(format!("it is {}{health}; only what is ready moves", task.status.state));
        }
        if let Some(tie) = orchestrate::tie(task) {
            let what = match tie {
                Tie::Volume(volume) => format!("its volume `{volume}` lives where it is"),
                Tie::Directory(path) => format!("it writes to {path} of its machine"),
            };
            return Some(format!("{what}: data does not move by itself"));
        }
        let mut others = self.tasks_of_replica(task).filter(|other| other.id != task.id);
        let under_way = |other: &&Task| {
            other.holds_resources() || !(other.desired.is_leaving() || other.status.state.is_over())
        };
        if let Some(other) = others.find(under_way) {
            return Some(match other.node.filter(|_| other.moves_from.is_some()) {
                Some(node) => format!("it is being moved to {}", self.node_name(node)),
                None => format!("its replica has another task, {}, that is not over", other.id),
            });
        }
        if !orchestrate::is_current(self, service, task) {
            return Some("it is about to be replaced".to_owned());
        }
        let node = task.node.and_then(|node| self.node(node));
        match node {
            Some(node) if node.drain.is_some() => {
                Some(format!("{} is being drained: it moves by itself", node.name))
            }
            Some(node) if node.liveness == Liveness::Ready => None,
            Some(node) => Some(format!("its node {} is {}", node.name, node.liveness.as_str())),
            None => Some("its node is no member".to_owned()),
        }
    }

    /// Whether the successor fits there; in words how much it leaves.
    fn room_left_by(&self, old: &Task, new: TaskId, to: NodeId) -> Result<String, String> {
        let gone = || "it is not wanted any more".to_owned();
        let held = self.service(&old.stack, &old.service).ok_or_else(gone)?;
        let stack = self.stack(&old.stack).and_then(|stack| stack.spec()).ok_or_else(gone)?;
        let volumes: BTreeMap<VolumeName, _> = task_volumes(stack, &held.spec);
        let ask = Ask { task: new, spec: &held.spec, volumes: &volumes, ..Ask::of(old) };
        let fleet = Fleet::single_in_motion(self, to);
        fleet.fits(&ask, to).map_err(|why| why.to_string())?;
        let free = fleet.rooms().get(&to).map(|room| room.free_for(new)).unwrap_or_default();
        Ok(free.minus(ask.reserved()).memory.to_string())
    }

    /// The leader found that the successor serves, or that it will not.
    pub(super) fn end_move(&mut self, at: Timestamp, id: TaskId, failed: Option<&str>) -> Checked {
        let task = self.tasks.get_mut(id).ok_or_else(|| unknown(id))?;
        let from = task.moves_from.take().ok_or_else(|| format!("{id} is not being moved"))?;
        let task = task.clone();
        let to = task.node.map(|node| self.node_name(node)).unwrap_or_default();
        let (name, from_name) = (replica_name(&task), self.node_name(from));
        let reason = self.end_automatic(at, id, failed);
        let happened = match failed {
            None => {
                let why = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
                Happened::new(at, "moved", format!("{name} moved from {from_name} to {to}{why}"))
            }
            Some(why) => {
                let pause = if reason.is_some() { PAUSES } else { "" };
                let message = format!(
                    "the move of {name} from {from_name} to {to} was given up: {why}{pause}"
                );
                Happened::new(at, "moved", message).warning()
            }
        };
        self.note(happened.task(&task));
        Ok(())
    }
}

fn replica_name(task: &Task) -> String {
    format!("{}/{}.{}", task.stack, task.service, task.slot)
}

/// Said of a move that nobody asked for.
const PAUSES: &str = "; no task is moved by itself for an hour";

fn decision(
    at: Timestamp,
    revision: Revision,
    node: &str,
    (left, reason): (&str, Option<&str>),
) -> Decision {
    let why = reason.map_or_else(
        || "it was asked to be here".to_owned(),
        |reason| format!("it was moved here by itself {reason}"),
    );
    let verdict = Verdict {
        node: node.to_owned(),
        fits: true,
        reason: format!("{why}; fits, leaves {left} free"),
        resource: None,
        needed: None,
        free: None,
        short: None,
        score: None,
    };
    Decision { at, revision, verdicts: vec![verdict] }
}
