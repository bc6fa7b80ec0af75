//! Moves that nobody asked for: whether there are any, and what became of them.

use model::{NodeId, TaskId, Timestamp};

use super::{
    Happened, bounded,
    plan::{Checked, unknown},
};
use crate::{
    cluster::{Automatic, AutomaticMove, Cluster, Outcome},
    orchestrate,
};

impl Cluster {
    pub(super) fn set_automatic(&mut self, at: Timestamp, on: bool) -> Outcome {
        let same = match &self.automatic {
            None => !on,
            Some(held) => held.on == on && (!on || held.failed_at.is_none()),
        };
        if same {
            return Outcome::Unchanged;
        }
        let held = self.automatic.get_or_insert_with(|| Automatic::new(at));
        held.failed_at = held.failed_at.filter(|_| !on);
        held.on = on;
        held.since = at;
        let word = if on { "on" } else { "off" };
        self.note(Happened::new(at, "rebalance", format!("automatic rebalance is turned {word}")));
        Outcome::Done
    }

    /// What the leader decided counts only while it is still on, and of what can run beside its successor:
    /// nobody is interrupted who was not asked.
    pub(super) fn move_by_itself(
        &mut self,
        at: Timestamp,
        (id, to): (TaskId, NodeId),
        reason: &str,
    ) -> Checked {
        if self.automatic.as_ref().is_none_or(|held| !held.on) {
            return Err("automatic rebalance is off".to_owned());
        }
        let old = self.tasks.get(id).ok_or_else(|| unknown(id))?;
        if !orchestrate::starts_first(&old.spec) {
            return Err(format!("{id} would be down for a moment"));
        }
        let (from, task, reason) = (old.node, self.next_task, bounded(reason));
        let (stack, service, slot) = (old.stack.clone(), old.service.clone(), old.slot);
        match self.begin_move(at, (id, to), Some(&reason)) {
            Ok(Outcome::Done) => {}
            Ok(_) => return Err(format!("{id} is there, or on its way")),
            Err(why) => return Err(why.to_string()),
        }
        if let (Some(held), Some(from)) = (&mut self.automatic, from) {
            let (ended_at, failed) = (None, None);
            let begun = AutomaticMove {
                at,
                stack,
                service,
                slot,
                task,
                from,
                to,
                reason,
                ended_at,
                failed,
            };
            held.remember(begun);
        }
        Ok(())
    }

    /// Writes down how a move ended that nobody asked for; answers what it was for.
    pub(super) fn end_automatic(
        &mut self,
        at: Timestamp,
        task: TaskId,
        failed: Option<&str>,
    ) -> Option<String> {
        let held = self.automatic.as_mut()?;
        let ended = held.moves.iter_mut().find(|begun| begun.task == task)?;
        ended.ended_at = Some(at);
        ended.failed = failed.map(bounded);
        if failed.is_some() {
            held.failed_at = Some(at);
        }
        Some(ended.reason.clone())
    }
}
