//! Moves on request, from the question to the last container.

use std::time::Duration;

use proto::v1::{
    ListNodesRequest, ListTasksRequest, MoveTaskRequest, RebalanceRequest, RoomWanted,
    SetAutomaticRebalanceRequest, StatusRequest, TaskRow, rebalance_request::Goal,
};
use tokio::time::timeout;
use tonic::Code;

use super::{
    agent::Agent,
    world::{PATIENCE, World, request_id, stack},
};

async fn tasks(world: &mut World) -> Vec<TaskRow> {
    let request = ListTasksRequest::default();
    world.admin.list_tasks(request).await.unwrap().into_inner().tasks
}

fn to(task: &str, node: &str) -> MoveTaskRequest {
    MoveTaskRequest { request_id: request_id(), task: task.to_owned(), node: node.to_owned() }
}

#[tokio::test]
async fn a_move_that_is_planned_is_made_and_then_nothing_is_to_be_moved() {
    let mut world = World::new().await;
    let mut old = Agent::join(&mut world, "mini-1").await;
    let mut session = old.session().await;
    world.apply(&stack("shop", &[("web", 1)])).await.unwrap();
    session.run(1).await;
    let mut new = Agent::join(&mut world, "mini-2").await;
    let mut other = new.session().await;
    session.keep_beating();
    other.keep_beating();
    timeout(PATIENCE, async {
        loop {
            let nodes = world.admin.list_nodes(ListNodesRequest {}).await.unwrap().into_inner();
            if nodes.nodes.iter().all(|node| node.state == "ready") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("both are ready");

    let empty = |node: &str| RebalanceRequest { goal: Some(Goal::Empty(node.to_owned())) };
    let planned = world.admin.rebalance(empty("mini-1")).await.unwrap().into_inner();
    assert_eq!(planned.moves.len(), 1, "{planned:?}");
    let held = planned.moves[0].clone();
    assert_eq!((held.to.as_str(), held.how.as_str()), ("mini-2", "start-first"));
    assert_eq!(tasks(&mut world).await.len(), 1, "nothing is changed");
    let unknown = world.admin.rebalance(empty("mini-9")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let room = RoomWanted { memory: u64::MAX, cpu_millis: u64::MAX, on: None };
    let room = RebalanceRequest { goal: Some(Goal::Room(room)) };
    let answer = world.admin.rebalance(room).await.unwrap().into_inner();
    assert!(answer.moves.is_empty() && answer.warnings.len() == 1, "{answer:?}");

    for (request, code) in [
        (to("x", "mini-2"), Code::InvalidArgument),
        (to("t99", "mini-2"), Code::NotFound),
        (to(&held.task, "mini-9"), Code::NotFound),
        (
            MoveTaskRequest { request_id: vec![1], ..to(&held.task, "mini-2") },
            Code::InvalidArgument,
        ),
    ] {
        let refused = world.admin.move_task(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
    }
    let request = to(&held.task, &held.to);
    assert!(world.admin.move_task(request.clone()).await.unwrap().into_inner().changed);
    assert!(
        world.admin.move_task(request).await.unwrap().into_inner().changed,
        "as the first time"
    );
    let again = world.admin.move_task(to(&held.task, &held.to)).await.unwrap().into_inner();
    assert!(!again.changed, "it is one move");
    other.run(1).await;
    session.obey(|set| set.tasks.is_empty()).await;
    timeout(PATIENCE, async {
        loop {
            let rows = tasks(&mut world).await;
            if rows.len() == 1 && rows[0].node.as_deref() == Some("mini-2") && rows[0].ready {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it serves there");
    let planned = world.admin.rebalance(empty("mini-1")).await.unwrap().into_inner();
    assert!(planned.moves.is_empty(), "{planned:?}");
}

#[tokio::test]
async fn the_automatic_mode_is_off_until_somebody_turns_it_on_and_the_status_says_so() {
    let mut world = World::new().await;
    let ask = |on| SetAutomaticRebalanceRequest { request_id: request_id(), on };
    for (on, changed, is) in
        [(false, false, false), (true, true, true), (true, false, true), (false, true, false)]
    {
        let written = world.admin.set_automatic_rebalance(ask(on)).await.unwrap().into_inner();
        assert_eq!(written.changed, changed, "{on}");
        let status = world.admin.status(StatusRequest {}).await.unwrap().into_inner();
        let view = status.automatic_rebalance.unwrap();
        assert_eq!((view.on, view.most_per_hour, view.moves.len()), (is, 10, 0));
    }
    let anonymous = SetAutomaticRebalanceRequest { request_id: vec![1], on: true };
    let refused = world.admin.set_automatic_rebalance(anonymous).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}
