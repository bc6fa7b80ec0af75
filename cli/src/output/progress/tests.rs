use super::*;
use crate::{
    output::Look,
    testing::{streams, task},
};

#[track_caller]
fn check(change: impl FnOnce(&mut TaskRow), word: &str, resting: bool) {
    let mut row = task("web", 1);
    change(&mut row);
    let phase = phase(&row);
    assert_eq!((phase.word.as_str(), phase.resting), (word, resting));
}

#[test]
fn every_state_has_its_words() {
    let state = |state: &'static str| move |row: &mut TaskRow| row.state = state.to_owned();
    check(|_| {}, "healthy", true);
    check(|row| row.health = None, "running", true);
    check(
        |row| (row.health, row.ready) = (Some("starting".to_owned()), false),
        "running, not yet ready",
        false,
    );
    check(
        |row| {
            row.health = Some("unhealthy".to_owned());
            row.error = Some("exit code 1".to_owned());
        },
        "unhealthy: exit code 1",
        false,
    );
    check(|row| row.desired = "stop".to_owned(), "to be stopped", false);
    check(
        |row| {
            row.state = "preparing".to_owned();
            row.error = Some("no such image".to_owned());
        },
        "preparing again after: no such image",
        false,
    );
    check(state("pending"), "waiting", false);
    check(state("preparing"), "preparing", false);
    check(
        |row| {
            row.state = "preparing".to_owned();
            row.pull = Some(PullProgress { done: Bytes(1), total: Bytes(2) });
        },
        "pulling",
        false,
    );
    check(
        |row| {
            row.state = "starting".to_owned();
            row.waiting_for = Some("waits for db to be healthy".to_owned());
        },
        "waiting for db to be healthy",
        false,
    );
    check(
        |row| {
            row.state = "starting".to_owned();
            row.error = Some("exited with code 2".to_owned());
        },
        "starting again after: exited with code 2",
        false,
    );
    check(
        |row| {
            row.state = "failed".to_owned();
            row.error = Some("killed: exceeded its limit of 512.0 MiB".to_owned());
        },
        "failed: killed: exceeded its limit of 512.0 MiB",
        true,
    );
    check(state("stopped"), "stopped", true);
    check(state("stopping"), "stopping", false);
    check(state("lost"), "lost", true);
}

#[test]
fn what_a_task_waits_for_reads_as_a_sentence() {
    for (why, word) in [
        ("no node has room", "waiting: no node has room"),
        ("waits for db to be healthy", "waiting for db to be healthy"),
        ("is about to start", "about to start"),
    ] {
        let wait = |row: &mut TaskRow| {
            (row.state, row.waiting_for) = ("assigned".to_owned(), Some(why.to_owned()));
        };
        check(wait, word, false);
    }
}

#[test]
fn off_a_terminal_each_change_is_one_line_and_what_rests_is_not_told() {
    let (mut out, _, told) = streams(Look::plain());
    let mut progress = Progress::new(&out);
    let mut new = task("web", 1);
    new.task = "t2".to_owned();
    new.ready = false;
    for (state, node, done) in [
        ("pending", None, None),
        ("preparing", Some("mini-1"), Some(1)),
        ("preparing", Some("mini-1"), Some(2)),
        ("starting", Some("mini-1"), None),
        ("starting", Some("mini-1"), None),
        ("running", Some("mini-1"), None),
    ] {
        new.state = state.to_owned();
        new.node = node.map(str::to_owned);
        new.pull = done.map(|done| PullProgress { done: Bytes(done), total: Bytes(2) });
        new.health = None;
        progress.show(&mut out, &[task("postgres", 1), new.clone()]);
    }
    progress.finish();
    insta::assert_snapshot!(told.text(), @r"
    web.1: waiting
    web.1 on mini-1: pulling
    web.1 on mini-1: starting
    web.1 on mini-1: running
    ");
}

#[test]
fn templates_can_be_read() {
    for text in [WAITING, PULLING, RESTING] {
        assert!(ProgressStyle::with_template(text).is_ok(), "{text}");
    }
}
