//! `rebalance --auto` against clusters that answer as they are told.

use model::view::AutomaticView;

use super::*;
use crate::testing::automatic;

fn answering(changed: bool, view: Option<AutomaticView>) -> Script {
    let status = pb::StatusView { automatic_rebalance: view.map(Into::into), ..Default::default() };
    Script {
        set_automatic: once(pb::WriteReply { revision: 9, changed }),
        status: once(status),
        ..Script::default()
    }
}

#[tokio::test]
async fn it_is_turned_on_and_off_and_says_what_that_means() {
    for (line, changed, says) in [
        ("rebalance --auto on --yes", true, "automatic rebalance is on: when tasks are stuck, "),
        ("rebalance --auto on", false, "automatic rebalance is on already\n"),
        ("rebalance --auto off", true, "automatic rebalance is off: a move that has begun "),
        ("rebalance --auto off -o json", true, "{\n  \"changed\": true,\n  \"on\": false\n}\n"),
    ] {
        let told = run(answering(changed, None), line).await;
        assert_eq!((told.code(), told.cluster.asked()), (0, vec!["automatic"]), "{}", told.stderr);
        assert!(told.stdout.starts_with(says), "{line}: {}", told.stdout);
    }
}

#[tokio::test]
async fn how_it_stands_is_told_without_a_change() {
    let told = run(answering(true, Some(automatic())), "rebalance --auto status -o json").await;
    assert_eq!((told.code(), told.cluster.asked()), (0, vec!["status"]), "{}", told.stderr);
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&said["on"], &said["moves_last_hour"]), (&true.into(), &2.into()));
    assert_eq!(said["moves"][1]["state"], "moved");
    let told =
        run(answering(true, Some(AutomaticView::default())), "rebalance --auto status").await;
    assert_eq!(told.stdout, "automatic rebalance is off\n");
    let told = run(answering(true, None), "rebalance --auto status").await;
    assert_eq!(told.code(), 3);
    assert!(told.stderr.contains("earlier version"), "{}", told.stderr);
}
