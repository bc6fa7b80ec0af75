//! What must be true after every step. The rules are written anew here, from what is really there:
//! asking the code under test whether it is right would prove little. What the core itself holds to be
//! impossible (`invariants::check`) is asked besides.

mod agents;
mod deadlines;
mod engines;
mod given_up;
mod moves;
mod order;
mod takeovers;
mod told;

use std::collections::BTreeMap;

pub(crate) use deadlines::Deadlines;
use model::{Desired, RequestId, Task, TaskState, TaskStatus};
pub(crate) use moves::Moves;
use scheduler_core::{Change, ClusterImage, Plan, cluster::invariants};

use crate::world::World;

/// How far a task has come: it never goes back.
pub(crate) type Progress = (Desired, (bool, bool, u32, TaskState, u64));

fn progress(task: &Task) -> Progress {
    let TaskStatus { state, restarts, sequence, .. } = task.status;
    let lost = state == TaskState::Lost;
    (task.desired, (state.is_over(), lost, restarts, state, sequence))
}

/// Whether `after` is not behind `before`.
fn goes_on(before: &Progress, after: &Progress) -> bool {
    before.0 <= after.0 && before.1 <= after.1
}

impl World {
    /// After every entry of the log.
    pub(crate) fn check_cluster(&mut self) {
        let cluster = &self.log.reference;
        let mut found = invariants::check(cluster);
        found.extend(invariants::overbooked(cluster));
        if let Some(violation) = found.first() {
            let text = violation.to_string();
            return self.broken(text);
        }
        let now: BTreeMap<_, _> =
            cluster.tasks().values().map(|task| (task.id, progress(task))).collect();
        let back = now.iter().find(|(task, after)| {
            self.progress.get(task).is_some_and(|before| !goes_on(before, after))
        });
        if let Some((task, after)) = back {
            let text = format!("{task} went back to {after:?} from {:?}", self.progress.get(task));
            self.broken(text);
        }
        self.progress = now;
    }

    /// Every decision tells of every node, and nobody is down who was heard.
    pub(crate) fn check_plan(&mut self, plan: &Plan) {
        self.check_downs(plan);
        self.check_drains(plan);
        let nodes = self.log.led().map_or(0, |cluster| cluster.nodes().len());
        let placed = plan.changes.iter().filter_map(|change| match change {
            Change::Place { task, decision, .. } => Some((*task, decision.verdicts.len())),
            _ => None,
        });
        let left_out = plan.report.left_out.iter().map(|held| (held.task, held.verdicts.len()));
        let mut told = placed.chain(left_out);
        if let Some((task, told)) = told.find(|(_, told)| *told != nodes) {
            let text = format!("{task} has {told} verdicts, there are {nodes} nodes");
            self.broken(text);
        }
    }

    /// Every answer that was given is remembered.
    pub(crate) fn check_acknowledged(&mut self) {
        let image = ClusterImage::from(&self.log.reference);
        let known: BTreeMap<RequestId, _> =
            image.requests.iter().map(|held| (held.request, held.remembered.revision)).collect();
        let lost = self.people.asks.iter().find(|ask| {
            let told = ask.answer.as_ref().map(|answer| answer.revision);
            told.is_some() && known.get(&ask.request).copied() != told
        });
        if let Some(ask) = lost {
            let text = format!("it was acknowledged and is lost: {:?}", ask.command);
            self.broken(text);
        }
        self.check_told();
    }
}
