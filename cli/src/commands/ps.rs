//! `ps`: tasks and how they are.

use std::borrow::Cow;

use jiff::Timestamp;
use model::view::{Succession, TaskRow};

use crate::{
    args::Ps,
    client::Client,
    error::Error,
    output::{
        Out, Tone,
        amount::age,
        json,
        succession::mark,
        table::{Cell, Table},
    },
};

/// Carries out `ps`.
pub async fn run(args: &Ps, client: &Client, out: &mut Out) -> Result<(), Error> {
    let stack = args.stack.as_ref().map(AsRef::as_ref);
    let asked =
        if args.all { client.remembered_tasks(stack).await } else { client.tasks(stack).await };
    let tasks = match asked {
        Ok(tasks) => tasks,
        Err(error) => {
            return Err(client.with_nearest(error, stack.unwrap_or_default(), None).await);
        }
    };
    if out.is_json() {
        return json::document(out, &tasks);
    }
    if out.look.quiet {
        return tasks.iter().try_for_each(|task| out.data_line(&task.task));
    }
    let empty = match stack {
        Some(stack) => format!("no tasks in stack {stack}"),
        None => "no tasks: `sisoctl apply FILE` makes some".to_owned(),
    };
    table(&tasks, Timestamp::now()).print(out, &empty)
}

/// What a narrow terminal does without, so that each task has a line that is still read.
const SPARE: &[&str] = &["TASK", "LIMIT", "RESTARTS", "RESERVED", "AGE", "USED", "HEALTH"];

/// Tasks as a table.
pub fn table(tasks: &[TaskRow], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "REPLICA", "TASK", "NODE", "STATE", "HEALTH", "RESERVED", "LIMIT", "USED", "AGE",
        "RESTARTS", "REMARK",
    ])
    .sparing(SPARE);
    for task in tasks {
        let replica = format!("{}/{}.{}", task.stack, task.service, task.replica);
        let age = task.started_at.as_deref().map(|since| age(since, now));
        table.row([
            Cell::new(replica.as_str()),
            Cell::new(task.task.as_str()).tone(Tone::Faint),
            Cell::new(task.node.as_deref()),
            Cell::new(state(task).as_str()).tone(state_tone(task)),
            Cell::new(task.health.as_deref()).tone(health_tone(task.health.as_deref())),
            Cell::amount(task.memory_reservation.to_string()),
            Cell::amount(task.memory_limit.to_string()),
            Cell::amount(task.memory_used.map(|used| used.to_string())),
            Cell::amount(age),
            Cell::amount(task.restarts.to_string()),
            Cell::remark(&remark(task)),
        ]);
    }
    table
}

/// A task that is told to stop says so before it begins to.
fn state(task: &TaskRow) -> String {
    let leaves = task.desired == "stop";
    match task.state.as_str() {
        // A job that has completed is not meant: that is still wanted.
        state @ ("stopped" | "failed") if leaves => format!("{state} (ended)"),
        state @ ("stopped" | "failed" | "stopping" | "lost") => {
            format!("{state}{}", mark(task.succession))
        }
        _ if leaves => format!("stopping{}", mark(task.succession)),
        state => format!("{state}{}", mark(task.succession)),
    }
}

fn state_tone(task: &TaskRow) -> Tone {
    match task.state.as_str() {
        "running" if task.ready => Tone::Good,
        "failed" | "lost" => Tone::Bad,
        "pending" => Tone::Careful,
        "stopped" => Tone::Faint,
        _ => Tone::Plain,
    }
}

fn health_tone(health: Option<&str>) -> Tone {
    match health {
        Some("healthy") => Tone::Good,
        Some("unhealthy") => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// The last error, which is a past one while it serves; for a task that waits, what it waits for, also when
/// it was ready when it was heard of last; for one that is replaced, how long it stays.
fn remark(task: &TaskRow) -> Cow<'_, str> {
    let leaves = task.desired == "stop";
    let waiting_for = task.waiting_for.as_deref().filter(|_| !leaves);
    let stays = match task.succession {
        Some(Succession::Old) if leaves => "gives way to its successor",
        Some(Succession::Old) => "stays until its successor takes over",
        Some(Succession::New) | None => "",
    };
    match (waiting_for, task.error.as_deref()) {
        // It would wait for its turn, were it ready for it.
        (Some(_), Some(error)) if task.state == "preparing" && task.desired == "prepare" => {
            error.into()
        }
        (Some(waits), _) => waits.into(),
        (None, Some(past)) if task.ready && !leaves => format!("earlier: {past}").into(),
        (None, error) => error.unwrap_or(stays).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::Look,
        testing::{streams, task},
    };

    #[test]
    fn a_row_tells_where_a_task_is_how_it_is_and_what_it_uses() {
        let mut pending = task("neo4j", 1);
        pending.node = None;
        pending.state = "pending".to_owned();
        pending.health = None;
        pending.memory_used = None;
        pending.started_at = None;
        pending.ready = false;
        pending.waiting_for = Some("mini-1: needs 2.0 GiB, 1.3 GiB free".to_owned());
        let mut failed = task("web", 2);
        failed.state = "failed".to_owned();
        failed.health = None;
        (failed.restarts, failed.ready) = (3, false);
        failed.error = Some("killed: exceeded its limit of 2.0 GiB\u{1b}[2J".to_owned());
        let mut leaving = task("web", 1);
        leaving.desired = "stop".to_owned();
        let mut old = task("api", 1);
        old.succession = Some(Succession::Old);
        let mut new = task("api", 1);
        (new.state, new.ready) = ("assigned".to_owned(), false);
        (new.health, new.memory_used, new.started_at) = (None, None, None);
        new.waiting_for = Some("waits for its predecessor to stop".to_owned());
        new.succession = Some(Succession::New);
        let mut ended = task("web", 3);
        (ended.desired, ended.state) = ("stop".to_owned(), "failed".to_owned());
        (ended.health, ended.memory_used, ended.ready) = (None, None, false);
        ended.error = Some("exited with code 1".to_owned());
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let tasks = [new, old, pending, task("postgres", 1), leaving, failed, ended];
        let render = |look| table(&tasks, now).render(&streams(look).0);
        insta::assert_snapshot!(render(Look::plain()));
        let narrow = [80, 60].map(|width| render(Look { width: Some(width), ..Look::plain() }));
        insta::assert_snapshot!("narrow", narrow.join("\n"));
    }

    #[test]
    fn a_task_that_was_ready_when_its_node_went_down_is_said_to_be_held() {
        let why = "held: its volume `data` lives on mini-1, which is down";
        let held = TaskRow { waiting_for: Some(why.to_owned()), ..task("postgres", 1) };
        assert!(held.ready && remark(&held) == why);
    }

    #[test]
    fn what_cannot_be_prepared_says_so_and_not_what_it_would_wait_for() {
        let why = |text: &str| Some(text.to_owned());
        let mut new = TaskRow {
            desired: "prepare".to_owned(),
            state: "preparing".to_owned(),
            ready: false,
            waiting_for: why("waits for its predecessor to stop"),
            error: why("image `x:9` could not be fetched"),
            ..task("web", 1)
        };
        assert_eq!(remark(&new), "image `x:9` could not be fetched");
        // Its turn has come, and its node is gone.
        (new.desired, new.waiting_for) = ("run".to_owned(), why("mini-1 is down"));
        assert_eq!(remark(&new), "mini-1 is down");
    }

    #[test]
    fn an_error_of_a_task_that_serves_again_is_told_as_a_past_one() {
        let error = Some("killed: exceeded its limit of 2.0 GiB".to_owned());
        let mut again = TaskRow { error, ..task("web", 1) };
        assert_eq!(remark(&again), "earlier: killed: exceeded its limit of 2.0 GiB");
        again.ready = false;
        assert_eq!(remark(&again), "killed: exceeded its limit of 2.0 GiB");
    }
}
