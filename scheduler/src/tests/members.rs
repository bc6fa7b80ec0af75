//! Machines that people label and remove.

use std::{collections::BTreeMap, time::Duration};

use model::spec::{Mount, MountSource, VolumeSpec};
use proto::v1::{
    DrainNodeRequest, LabelNodeRequest, ListNodesRequest, NodeRow, PlanDrainRequest, RelayFrame,
    RemoveNodeRequest, RemoveStackRequest, RenewRequest, WatchRequest,
};
use rcgen::KeyPair;
use tokio::time::timeout;
use tokio_stream::{StreamExt as _, once, pending};
use tonic::{Code, Status};

use super::{
    agent::{Agent, csr},
    world::{PATIENCE, World, request_id, stack},
};

async fn nodes(world: &mut World) -> Vec<NodeRow> {
    world.admin.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes
}

fn label(node: &str, set: &[(&str, &str)], remove: &[&str]) -> LabelNodeRequest {
    LabelNodeRequest {
        request_id: request_id(),
        node: node.to_owned(),
        set: set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        remove: remove.iter().map(|key| (*key).to_owned()).collect(),
    }
}

#[tokio::test]
async fn labels_are_what_people_said_last_whatever_an_agent_joined_with() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let written = world.admin.label_node(label("mini-1", &[("role", "database")], &[])).await;
    assert!(written.unwrap().into_inner().changed);
    // Joined with role=test; an agent that comes again says nothing of labels.
    drop(agent.session().await);
    let mut world = world.restart().await;
    agent.redial(&world);
    drop(agent.session().await);
    let expected = BTreeMap::from([("role".to_owned(), "database".to_owned())]);
    assert_eq!(nodes(&mut world).await[0].labels, expected);
    let long = "x".repeat(300);
    for (set, remove, told) in [
        (&[("role", "")][..], &[][..], "label `role` has no value"),
        (&[("ro le", "x")], &[], "`ro le` is no name for a label"),
        (&[("role", long.as_str())], &[], "label `role` is too long"),
        (&[("role", "x")], &["role"], "both to be set and to be removed"),
    ] {
        let refused = world.admin.label_node(label("mini-1", set, remove)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(told), "{}", refused.message());
    }
    let unknown = world.admin.label_node(label("mini-9", &[("role", "x")], &[])).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    assert_eq!(nodes(&mut world).await[0].labels, expected);
}

fn rm(node: &str, volumes: bool) -> RemoveNodeRequest {
    let request_id = request_id();
    RemoveNodeRequest { request_id, node: node.to_owned(), tasks: true, volumes }
}

async fn remove(world: &mut World, request: &RemoveNodeRequest) -> Result<bool, Status> {
    let written = world.admin.remove_node(request.clone()).await;
    written.map(|written| written.into_inner().changed)
}

#[tokio::test]
async fn a_removed_node_is_shut_out_at_once_and_may_join_anew() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut session = agent.session().await;
    let mut keeping = stack("keeping", &[("db", 1)]);
    let data = "data".parse().unwrap();
    keeping.volumes.insert(data, VolumeSpec::default());
    let source = MountSource::Volume { name: "data".parse().unwrap(), no_copy: false };
    let mount = Mount { source, target: "/data".to_owned(), read_only: false };
    keeping.services.values_mut().for_each(|service| service.mounts.push(mount.clone()));
    world.apply(&keeping).await.unwrap();
    session.run(1).await;
    let refused = remove(&mut world, &rm("mini-1", true)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for told in ["1 task (keeping/db.1)", "hint: ", "sisoctl node drain mini-1"] {
        assert!(refused.message().contains(told), "{}", refused.message());
    }
    let stack = "keeping".to_owned();
    let forget = RemoveStackRequest { request_id: request_id(), stack, volumes: false };
    world.admin.remove_stack(forget).await.unwrap();
    session.obey(|set| set.tasks.is_empty()).await;
    let refused = remove(&mut world, &rm("mini-1", false)).await.unwrap_err();
    for told in ["1 volume (keeping_data)", "--with-volumes"] {
        assert!(refused.message().contains(told), "{}", refused.message());
    }

    let request = rm("mini-1", true);
    assert!(remove(&mut world, &request).await.unwrap());
    assert!(remove(&mut world, &request).await.unwrap(), "asked again, it is the same answer");
    assert_eq!(remove(&mut world, &rm("mini-1", true)).await.unwrap_err().code(), Code::NotFound);
    assert!(nodes(&mut world).await.is_empty());
    let ended = session.end().await;
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended:?}");
    // Its certificate is good for weeks, and for nothing.
    let first = RelayFrame { relay: 1, frame: None };
    let relay = agent.client.relay(once(first).chain(pending())).await.unwrap_err();
    let renewal = RenewRequest { csr: csr(&KeyPair::generate().unwrap()) };
    let renewal = agent.client.renew(renewal).await.unwrap_err();
    for refused in [agent.try_session().await.unwrap_err(), relay, renewal] {
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        assert!(refused.message().contains("no member"), "{refused:?}");
    }
    let again = Agent::join(&mut world, "mini-1").await;
    assert!(again.node > agent.node, "an id is never used again");
}

#[tokio::test]
async fn a_drain_is_planned_followed_and_ends_by_itself() {
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
        while nodes(&mut world).await.iter().any(|node| node.state != "ready") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("both are ready");
    let plan = |node: &str| PlanDrainRequest { node: node.to_owned() };
    let planned = world.admin.plan_drain(plan("mini-1")).await.unwrap().into_inner();
    assert_eq!((planned.moves[0].to.as_str(), planned.stays.len()), ("mini-2", 0));
    assert!(nodes(&mut world).await.iter().all(|node| node.schedulable), "nothing is changed");

    let request = |node: &str, deadline_ms| DrainNodeRequest {
        request_id: request_id(),
        node: node.to_owned(),
        deadline_ms,
    };
    for deadline in [0, u64::MAX] {
        let refused = world.admin.drain_node(request("mini-1", deadline)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let unknown = world.admin.drain_node(request("mini-9", 1)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let node = Some("mini-1".to_owned());
    let watch = WatchRequest { stack: None, node };
    let mut watch = world.admin.watch(watch).await.unwrap().into_inner();
    assert!(world.admin.drain_node(request("mini-1", 60_000)).await.unwrap().into_inner().changed);
    let rows = nodes(&mut world).await;
    assert!(!rows[0].schedulable && rows[0].drain_until.is_some(), "{rows:?}");
    other.run(1).await;
    session.obey(|set| set.tasks.is_empty()).await;
    loop {
        let reply = timeout(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
        let drain = reply.drain.unwrap();
        let there = reply.tasks.iter().any(|task| task.node.as_deref() == Some("mini-1"));
        if drain.ended && drain.stays.is_empty() && !there && !reply.tasks.is_empty() {
            break;
        }
    }
    let rows = nodes(&mut world).await;
    assert!(!rows[0].schedulable && rows[0].drain_until.is_none(), "{rows:?}");
}
