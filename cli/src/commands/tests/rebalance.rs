//! `rebalance` against clusters that answer as they are told.

use model::view::EventRow;

use super::*;
use crate::testing::rebalancing;

/// `web` as it was on the first machine.
fn old(desired: &str) -> TaskRow {
    TaskRow { desired: desired.to_owned(), ..task("web", 1) }
}

fn rows(tasks: &[TaskRow]) -> pb::ListTasksReply {
    pb::ListTasksReply { tasks: tasks.iter().cloned().map(Into::into).collect() }
}

/// One move of `web`, which comes along in these steps.
fn moving(steps: &[&[TaskRow]]) -> Script {
    let mut plan = rebalancing();
    plan.moves.truncate(1);
    let steps = steps.iter().map(|rows| Ok(watch(4, false, rows))).collect();
    Script {
        rebalance: once(plan.into()),
        tasks: once(rows(&[old("run")])),
        moves: once(pb::WriteReply { revision: 9, changed: true }),
        watch: once(steps),
        ..Script::default()
    }
}

#[tokio::test]
async fn without_apply_nothing_is_changed() {
    let told = run(moving(&[]), "rebalance").await;
    assert_eq!((told.code(), told.cluster.asked()), (0, vec!["rebalance"]), "{}", told.stderr);
    assert!(told.stdout.starts_with("1 move; fewer do not do\n"), "{}", told.stdout);
    let told = run(moving(&[]), "rebalance --room 4GiB,cpus=2 --on mini-1 -o json").await;
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(said["moves"][0]["how"], "start-first");
    assert_eq!(said["moves"][0]["to"], "mini-2");
    assert_eq!(said["gains"][0], "mini-1 becomes empty");
}

#[tokio::test]
async fn moves_are_made_one_by_one_and_followed_until_the_old_task_is_gone() {
    let steps: [&[TaskRow]; 3] = [
        &[old("run"), moved("starting", false)],
        &[old("stop"), moved("running", true)],
        &[moved("running", true)],
    ];
    let told = run(moving(&steps), "rebalance --apply --yes").await;
    assert_eq!(told.code(), 0, "{}", told.stderr);
    assert_eq!(told.cluster.asked(), ["rebalance", "tasks", "move", "watch"]);
    assert!(told.stdout.ends_with("\n1 move made\n"), "{}", told.stdout);
    assert!(told.stderr.contains("web.1 on mini-2: running"), "{}", told.stderr);
}

#[tokio::test]
async fn the_first_failure_ends_it_and_what_was_done_is_told() {
    let steps: [&[TaskRow]; 2] = [&[old("run"), moved("starting", false)], &[old("run")]];
    let mut script = moving(&steps);
    let mut plan = rebalancing();
    plan.warnings.clear();
    script.rebalance = once(plan.into());
    let event = EventRow {
        revision: 9,
        at: "2026-03-01T12:00:00Z".to_owned(),
        severity: "warning".to_owned(),
        kind: "moved".to_owned(),
        stack: Some("shop".to_owned()),
        service: Some("web".to_owned()),
        task: None,
        node: None,
        message: "the move of shop/web.1 from mini-1 to mini-2 was given up: it is ill".to_owned(),
    };
    script.events = once(vec![Ok(event.into())]);
    let told = run(script, "rebalance --apply -y").await;
    assert_eq!(told.code(), 3);
    for words in [
        "the move of shop/web.1 from mini-1 to mini-2 was given up: it is ill",
        "not made: shop/web.1 from mini-1 to mini-2",
        "not made: shop/proxy.1 from mini-1 to mini-2",
        "what has moved stays there",
    ] {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
    assert_eq!(told.cluster.asked(), ["rebalance", "tasks", "move", "watch", "events"]);
}

#[tokio::test]
async fn what_is_somewhere_else_by_now_is_not_moved() {
    let mut script = moving(&[]);
    let elsewhere = TaskRow { node: Some("mini-9".to_owned()), ..old("run") };
    script.tasks = once(rows(&[elsewhere]));
    let told = run(script, "rebalance --apply --yes -o json").await;
    assert_eq!(told.code(), 3);
    assert_eq!(told.cluster.asked(), ["rebalance", "tasks"]);
    assert!(told.stderr.contains("is on mini-9 by now, not on mini-1"), "{}", told.stderr);
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(said["made"], serde_json::json!([]));
    assert_eq!(said["not_made"][0]["service"], "web");
    assert!(said["failed"].as_str().unwrap().contains("mini-9"));
}

#[tokio::test]
async fn where_nothing_is_to_gain_nothing_is_asked_and_nothing_is_moved() {
    let mut script = moving(&[]);
    let plan = model::view::RebalanceView {
        moves: vec![],
        left: vec![],
        gains: vec![],
        warnings: vec![],
        ..rebalancing()
    };
    script.rebalance = once(plan.into());
    let told = run(script, "rebalance --apply").await;
    assert_eq!((told.code(), told.stdout.as_str()), (0, "nothing to gain\n"));
    assert_eq!(told.cluster.asked(), ["rebalance"]);
}
