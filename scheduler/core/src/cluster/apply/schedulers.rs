//! Schedulers that may take part no longer, and what all of them understand.

use model::Timestamp;

use super::{Answered, Happened, check};
use crate::cluster::{Cluster, Outcome, limits};

impl Cluster {
    pub(super) fn raise_form(&mut self, form: u32) -> Outcome {
        if form <= self.form {
            return Outcome::Unchanged;
        }
        self.form = form;
        Outcome::Done
    }

    pub(super) fn remove_scheduler(&mut self, at: Timestamp, scheduler: u64) -> Answered {
        if self.shuts_out(scheduler) {
            return Ok(Outcome::Unchanged);
        }
        let count = self.removed_schedulers.len().saturating_add(1);
        check::at_most("removed schedulers", count, limits::MAX_REMOVED_SCHEDULERS)?;
        self.removed_schedulers.insert(scheduler);
        let message = format!("scheduler {scheduler} was removed");
        self.note(Happened::new(at, "scheduler", message));
        Ok(Outcome::Done)
    }
}
