//! What every engine behind the port has to do, real or not.

use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt as _;
use model::{Assignment, TaskId};
use node_agent::runtime::{
    Container, ContainerId, ContainerState, EngineEvent, Happening, LogQuery, Order, Runtime,
    RuntimeError,
};

use crate::common::{assignment, spec, unique, until, with_volume};

/// An engine under test, and what is done to it past the port.
pub(crate) trait Bench {
    type Engine: Runtime;
    fn engine(&self) -> &Self::Engine;
    /// An image with a shell.
    fn image(&self) -> &str;
    /// Kills a container as somebody else would.
    fn kill(&self, id: &ContainerId) -> impl Future<Output = ()>;
}

const SLEEP: &[&str] = &["sleep", "1000000"];

fn order(cluster: &str, task: Assignment) -> Order {
    let node = model::NodeId::new(1);
    Order {
        cluster: cluster.to_owned(),
        node,
        assignment: Arc::new(task),
        binds: BTreeMap::default(),
    }
}

async fn made<B: Bench>(bench: &B, cluster: &str, command: &[&str]) -> (Order, ContainerId) {
    let order = order(cluster, assignment(cluster, 1, spec(bench.image(), command)));
    let id = bench.engine().create(&order).await.expect("created");
    (order, id)
}

async fn shown<B: Bench>(bench: &B, cluster: &str, id: &ContainerId) -> Option<Container> {
    bench.engine().inspect(cluster, id).await.expect("inspected")
}

async fn reaches<B: Bench>(
    bench: &B,
    cluster: &str,
    id: &ContainerId,
    state: ContainerState,
) -> Container {
    until(format!("{state:?}"), || async {
        match shown(bench, cluster, id).await {
            Some(found) if found.state == state => Ok(found),
            other => Err(other),
        }
    })
    .await
}

async fn discard<B: Bench>(bench: &B, cluster: &str) {
    let look = bench.engine().look(cluster).await.expect("a look");
    for found in look.containers {
        bench.engine().stop(&found.id).await.expect("stopped");
        bench.engine().remove(&found.id).await.expect("removed");
    }
    for network in look.networks {
        bench.engine().remove_network(&network.id).await.expect("network removed");
    }
    let left = bench.engine().look(cluster).await.expect("a look");
    assert!(left.containers.is_empty() && left.networks.is_empty(), "{left:?}");
}

pub(crate) async fn making_a_container_twice_makes_one(bench: &impl Bench) {
    let cluster = &unique("twice");
    let (order, id) = made(bench, cluster, SLEEP).await;
    assert_eq!(bench.engine().create(&order).await.expect("found"), id);
    let created = shown(bench, cluster, &id).await.expect("there");
    assert_eq!((created.state, created.task), (ContainerState::Created, TaskId::new(1)));
    assert_eq!(created.place.stack, *cluster);
    bench.engine().start(&id).await.expect("started");
    bench.engine().start(&id).await.expect("running already");
    let running = shown(bench, cluster, &id).await.expect("there");
    assert_eq!((running.state, running.exit_code), (ContainerState::Running, None));
    assert_eq!(bench.engine().create(&order).await.expect("found again"), id);
    let look = bench.engine().look(cluster).await.expect("a look");
    assert_eq!(look.containers, [running]);
    assert_eq!(look.networks.len(), 1);
    discard(bench, cluster).await;
}

pub(crate) async fn an_end_is_told_with_its_code(bench: &impl Bench) {
    let cluster = &unique("ends");
    let mut events = bench.engine().events(cluster);
    let first = events.next().await.expect("an item").expect("a stream");
    assert_eq!(first, EngineEvent::Listening);
    let (_, id) = made(bench, cluster, &["sh", "-c", "exit 3"]).await;
    bench.engine().start(&id).await.expect("started");
    let died = loop {
        match events.next().await.expect("an item").expect("a stream") {
            EngineEvent::Container { id: who, what: Happening::Died, at, task } if who == id => {
                assert_eq!(task, TaskId::new(1));
                break at;
            }
            EngineEvent::Container { what: Happening::Killed, .. } => panic!("nobody killed it"),
            _ => {}
        }
    };
    let ended = reaches(bench, cluster, &id, ContainerState::Exited).await;
    assert_eq!((ended.exit_code, ended.oom_killed), (Some(3), false));
    assert!(Some(died) >= ended.started_at, "{died:?} {ended:?}");
    // It may be started again, in place.
    bench.engine().start(&id).await.expect("started again");
    reaches(bench, cluster, &id, ContainerState::Exited).await;
    // Who begins to listen now is told of it all the same.
    let mut later = bench.engine().events(cluster);
    loop {
        match later.next().await.expect("an item").expect("a stream") {
            EngineEvent::Container { id: who, what: Happening::Died, at, .. } if who == id => {
                assert_eq!(at, died);
                break;
            }
            _ => {}
        }
    }
    discard(bench, cluster).await;
}

pub(crate) async fn a_kill_from_outside_is_told_before_the_end(bench: &impl Bench) {
    let cluster = &unique("killed");
    let mut events = bench.engine().events(cluster);
    let (_, id) = made(bench, cluster, SLEEP).await;
    assert_eq!(events.next().await.expect("an item").expect("a stream"), EngineEvent::Listening);
    bench.engine().start(&id).await.expect("started");
    bench.kill(&id).await;
    let mut heard = Vec::new();
    while heard.last() != Some(&Happening::Died) {
        if let EngineEvent::Container { what, .. } =
            events.next().await.expect("an item").expect("a stream")
        {
            heard.push(what);
        }
    }
    heard.retain(|what| *what != Happening::Changed);
    assert_eq!(heard, [Happening::Killed, Happening::Died]);
    let ended = reaches(bench, cluster, &id, ContainerState::Exited).await;
    assert_eq!(ended.exit_code, Some(137));
    discard(bench, cluster).await;
}

pub(crate) async fn stopping_and_removing_may_be_repeated(bench: &impl Bench) {
    let cluster = &unique("stops");
    let (_, id) = made(bench, cluster, SLEEP).await;
    bench.engine().start(&id).await.expect("started");
    assert!(bench.engine().remove(&id).await.is_err(), "a running container is not removed");
    assert!(bench.engine().memory_used(&id).await.expect("measured").is_some());
    bench.engine().stop(&id).await.expect("stopped");
    reaches(bench, cluster, &id, ContainerState::Exited).await;
    bench.engine().stop(&id).await.expect("stopped already");
    bench.engine().remove(&id).await.expect("removed");
    assert_eq!(shown(bench, cluster, &id).await, None);
    bench.engine().remove(&id).await.expect("gone already");
    bench.engine().stop(&id).await.expect("gone already");
    discard(bench, cluster).await;
}

pub(crate) async fn a_cluster_sees_only_its_own(bench: &impl Bench) {
    let (ours, theirs) = (&unique("ours"), &unique("theirs"));
    let stack = "shared";
    let task = || assignment(stack, 1, spec(bench.image(), SLEEP));
    let first = bench.engine().create(&order(ours, task())).await.expect("created");
    // The same stack, the same task: another cluster's.
    let second = bench.engine().create(&order(theirs, task())).await.expect("created beside");
    assert_ne!(first, second);
    bench.engine().start(&first).await.expect("started");
    bench.engine().start(&second).await.expect("started beside");
    assert_eq!(shown(bench, theirs, &first).await, None);
    let look = bench.engine().look(ours).await.expect("a look");
    assert_eq!(look.containers.len(), 1);
    assert_eq!(look.networks.len(), 1);
    assert_eq!(bench.engine().create(&order(theirs, task())).await.expect("found"), second);
    discard(bench, ours).await;
    assert!(shown(bench, theirs, &second).await.is_some());
    discard(bench, theirs).await;
}

pub(crate) async fn a_volume_that_held_data_is_never_made_anew(bench: &impl Bench) {
    let cluster = &unique("volume");
    let volume = &format!("{cluster}_data");
    let task = |must_exist| {
        let task = assignment(cluster, 1, spec(bench.image(), SLEEP));
        order(cluster, with_volume(task, volume, must_exist))
    };
    let refused = bench.engine().create(&task(true)).await.expect_err("it is missing");
    assert!(matches!(refused, RuntimeError::VolumeAbsent { .. }), "{refused:?}");
    let id = bench.engine().create(&task(false)).await.expect("created");
    assert!(bench.engine().remove_volume(cluster, volume).await.is_err(), "a container uses it");
    bench.engine().remove(&id).await.expect("removed");
    let id = bench.engine().create(&task(true)).await.expect("it is there now");
    bench.engine().remove(&id).await.expect("removed");
    bench.engine().remove_volume("another", volume).await.expect("left as it is");
    let id = bench.engine().create(&task(true)).await.expect("it is still there");
    bench.engine().remove(&id).await.expect("removed");
    bench.engine().remove_volume(cluster, volume).await.expect("removed");
    bench.engine().remove_volume(cluster, volume).await.expect("gone already");
    let refused = bench.engine().create(&task(true)).await.expect_err("it is gone");
    assert!(matches!(refused, RuntimeError::VolumeAbsent { .. }), "{refused:?}");
    discard(bench, cluster).await;
}

pub(crate) async fn without_its_image_nothing_is_made(bench: &impl Bench) {
    let cluster = &unique("image");
    let image = "siso/no-such-image:0";
    assert_eq!(bench.engine().image_id(image).await.expect("an answer"), None);
    let id = bench.engine().image_id(bench.image()).await.expect("an answer");
    assert!(id.is_some_and(|id| id.starts_with("sha256:")));
    let task = order(cluster, assignment(cluster, 1, spec(image, SLEEP)));
    let refused = bench.engine().create(&task).await.expect_err("no image");
    assert!(matches!(refused, RuntimeError::ImageAbsent { .. }), "{refused:?}");
    assert!(bench.engine().pull(image, Box::new(|_, _| {})).await.is_err());
    discard(bench, cluster).await;
}

pub(crate) async fn only_a_running_container_runs_commands(bench: &impl Bench) {
    let cluster = &unique("exec");
    let request = node_agent::runtime::ExecRequest {
        command: vec!["true".to_owned()],
        tty: false,
        stdin: false,
    };
    let (_, id) = made(bench, cluster, SLEEP).await;
    assert!(bench.engine().exec(&id, &request).await.is_err(), "it was never started");
    bench.engine().start(&id).await.expect("started");
    let exec = bench.engine().exec(&id, &request).await.expect("runs");
    exec.output.for_each(|piece| async { drop(piece.expect("a piece")) }).await;
    until("ended", || async {
        bench.engine().exit_code(&exec.id).await.expect("an answer").ok_or("it runs")
    })
    .await;
    let lines = bench.engine().logs(&id, LogQuery::default()).collect::<Vec<_>>().await;
    assert!(lines.iter().all(Result::is_ok), "{lines:?}");
    discard(bench, cluster).await;
}

pub(crate) async fn what_is_gone_is_told_as_absent(bench: &impl Bench) {
    let nothing = ContainerId("0".repeat(64));
    let started = bench.engine().start(&nothing).await.expect_err("nothing to start");
    assert!(matches!(started, RuntimeError::Absent { .. }), "{started:?}");
    assert_eq!(bench.engine().memory_used(&nothing).await.expect("an answer"), None);
    bench.engine().remove_network(&"0".repeat(64)).await.expect("gone already");
    let facts = bench.engine().facts().await.expect("facts");
    assert!(facts.memory.0 > 0 && facts.cpu.0 > 0, "{facts:?}");
}
