//! When to stop following a stack that fails in the same way again and again: its nodes go on trying,
//! with ever longer pauses, but nobody should have to watch that until a timeout ends it.

use std::time::Duration;

use model::{Bytes, view::TaskRow};
use tokio::time::Instant;

use super::is_done;

/// How long the same failures may stand: an image that could not be fetched is tried again twice in
/// this time.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// What stands in the way: which task, its error, and how much of its image has come meanwhile.
type Trouble = (String, Option<String>, Option<Bytes>);

/// How long the same has stood in the way.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    stands: Option<(Vec<Trouble>, Instant)>,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, stands: None }
    }

    /// Looks at the tasks of a stack on its way.
    pub(super) fn look(&mut self, tasks: &[TaskRow], now: Instant) {
        let trouble = trouble(tasks);
        let same = self.stands.as_ref().is_some_and(|(before, _)| Some(before) == trouble.as_ref());
        if !same {
            self.stands = trouble.map(|trouble| (trouble, now));
        }
    }

    /// When it ends, unless something changes.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.stands.as_ref().map(|(_, since)| *since + self.limit)
    }
}

/// What stands in the way when nothing comes along: every task that is not ready failed before and
/// does not run, or waits for another one. `None` while anything may still get ready.
fn trouble(tasks: &[TaskRow]) -> Option<Vec<Trouble>> {
    let unready: Vec<&TaskRow> =
        tasks.iter().filter(|task| task.desired != "stop" && !is_done(task)).collect();
    let fails = |task: &TaskRow| task.error.is_some() && task.state != "running";
    let hopeless = unready.iter().all(|task| fails(task) || task.waiting_for.is_some());
    if !hopeless || !unready.iter().any(|task| fails(task)) {
        return None;
    }
    let of =
        |task: &&TaskRow| (task.task.clone(), task.error.clone(), task.pull.map(|pull| pull.done));
    Some(unready.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use model::view::PullProgress;

    use super::*;
    use crate::testing::task;

    fn failing(service: &str) -> TaskRow {
        TaskRow {
            state: "preparing".to_owned(),
            health: None,
            ready: false,
            error: Some("no such image".to_owned()),
            ..task(service, 1)
        }
    }

    fn waiting(service: &str) -> TaskRow {
        TaskRow { error: None, waiting_for: Some("waits for db".to_owned()), ..failing(service) }
    }

    #[track_caller]
    fn check(tasks: &[TaskRow], expected: bool) {
        assert_eq!(trouble(tasks).is_some(), expected);
    }

    #[test]
    fn only_failures_with_nothing_on_its_way_beside_them_are_trouble() {
        let pulling = TaskRow { error: None, ..failing("cache") };
        let running = TaskRow { state: "running".to_owned(), ..failing("db") };
        let leaving = TaskRow { desired: "stop".to_owned(), ..failing("db") };
        check(&[failing("db")], true);
        check(&[failing("db"), waiting("web"), task("cache", 1)], true);
        check(&[failing("db"), pulling], false);
        check(&[running], false);
        check(&[waiting("web")], false);
        check(&[leaving, task("db", 2)], false);
    }

    #[test]
    fn patience_begins_anew_when_anything_changes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(LIMIT);
        patience.look(&[failing("db")], at(0));
        patience.look(&[failing("db")], at(10));
        assert_eq!(patience.ends_at(), Some(at(30)));
        let pull = Some(PullProgress { done: Bytes(7), total: Bytes(9) });
        patience.look(&[TaskRow { pull, ..failing("db") }], at(20));
        assert_eq!(patience.ends_at(), Some(at(50)));
        patience.look(&[task("db", 1)], at(25));
        assert_eq!(patience.ends_at(), None);
    }
}
