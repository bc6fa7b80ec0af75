//! A cluster from its first start on: apply, run, stop, start again.

use model::TaskState;
use proto::v1::{
    CloseStdin, EventsRequest, ExecOptions, ExecRequest, ExecTarget, ForwardOptions,
    ForwardRequest, ForwardTarget, Heartbeat, ListNodesRequest, LogsRequest, PlacementRequest,
    RelayFrame, RemoveStackRequest, ScaleRequest, SetSchedulableRequest, StackHistoryRequest,
    StatusRequest, WatchRequest, agent_message, open_relay, relay_frame::Frame,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    agent::Agent,
    world::{World, request_id, stack},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_is_applied_placed_run_and_shown() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut session = agent.session().await;
    let applied = world.apply(&stack("shop", &[("web", 2), ("db", 1)])).await.unwrap();
    assert!(applied.changed);
    assert_eq!(applied.plan.unwrap().placements.len(), 3);
    let running = session.run(3).await;
    session.beat(&[(running[0], 12_345)]).await;
    // A report behind the heartbeat: when it is acknowledged, the heartbeat was read.
    session.report(running[0], TaskState::Running).await;
    session.acknowledged().await;
    let tasks = world.tasks().await;
    assert_eq!(tasks.len(), 3);
    assert!(tasks.iter().all(|task| task.state == "running" && task.ready), "{tasks:?}");
    assert!(tasks.iter().all(|task| task.node.as_deref() == Some("mini-1")), "{tasks:?}");
    assert_eq!(tasks.iter().filter(|task| task.memory_used == Some(12_345)).count(), 1);

    let nodes = world.admin.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!((nodes[0].name.as_str(), nodes[0].state.as_str()), ("mini-1", "ready"));
    assert_eq!(nodes[0].labels["role"], "test");
    let placement = world.admin.placement(PlacementRequest {}).await.unwrap().into_inner();
    assert_eq!(placement.nodes[0].tasks.len(), 3);
    let status = world.admin.status(StatusRequest {}).await.unwrap().into_inner();
    assert!(status.healthy, "{status:?}");
    assert_eq!(status.schedulers.len(), 1);
    let again = world.apply(&stack("shop", &[("web", 2), ("db", 1)])).await.unwrap();
    assert!(!again.changed);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_is_given_reaches_it_however_large_its_services_are() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut session = agent.session().await;
    let of_bytes = |bytes: usize| {
        let mut spec = stack("wordy", &[("web", 100)]);
        let web = spec.services.values_mut().next().unwrap();
        web.resources.reserved.memory = model::Bytes::mib(16);
        web.environment.insert("LONG".to_owned(), "x".repeat(bytes));
        spec
    };
    let refused = world.apply(&of_bytes(64 << 10)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let told = refused.message();
    assert!(told.starts_with("services.web: it is 65"), "{told}");
    assert!(told.contains(", most of it LONG; at most 65536 are allowed"), "{told}");
    // The names its volumes have at an engine count as well.
    let mut many = stack(&"s".repeat(60), &[("web", 1)]);
    for number in 0..600 {
        let name: model::VolumeName = format!("v{number}").parse().unwrap();
        let source = model::spec::MountSource::Volume { name: name.clone(), no_copy: false };
        let target = format!("/{name}");
        let web = many.services.values_mut().next().unwrap();
        web.mounts.push(model::spec::Mount { source, target, read_only: false });
        many.volumes.insert(name, model::spec::VolumeSpec::default());
    }
    let refused = world.apply(&many).await.unwrap_err();
    assert!(refused.message().contains("at most 65536 are allowed"), "{refused}");
    assert!(world.tasks().await.is_empty());
    // Together they are longer than any other message may be.
    world.apply(&of_bytes(60_000)).await.unwrap();
    session.run(100).await;
    let remove =
        RemoveStackRequest { stack: "wordy".to_owned(), request_id: request_id(), volumes: false };
    world.admin.remove_stack(remove).await.unwrap();
    session.obey(|set| set.tasks.is_empty()).await;
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_every_answer_and_the_agent_goes_on() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut session = agent.session().await;
    world.apply(&stack("shop", &[("web", 2)])).await.unwrap();
    let running = session.run(2).await;
    let before = world.tasks().await;
    let cluster = world.handle.cluster.clone();
    drop(session);
    let mut world = world.restart().await;
    assert_eq!(world.handle.cluster, cluster);
    assert_eq!(world.tasks().await.len(), before.len());
    agent.redial(&world);
    let mut session = agent.session().await;
    let mut tasks: Vec<_> = session.assignments().await.tasks.iter().map(|t| t.task).collect();
    tasks.sort_unstable();
    assert_eq!(tasks, running);
    assert_eq!(world.tasks().await, before);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_is_done_once() {
    let mut world = World::new().await;
    let spec = stack("shop", &[("web", 1)]);
    let id = request_id();
    let request = |replicas| ScaleRequest {
        request_id: id.clone(),
        stack: "shop".to_owned(),
        service: "web".to_owned(),
        replicas,
    };
    world.apply(&spec).await.unwrap();
    let first = world.admin.scale(request(2)).await.unwrap().into_inner();
    let history = StackHistoryRequest { stack: "shop".to_owned() };
    let revisions =
        world.admin.stack_history(history.clone()).await.unwrap().into_inner().revisions;
    assert_eq!(world.admin.scale(request(2)).await.unwrap().into_inner(), first);
    let mut world = world.restart().await;
    assert_eq!(world.admin.scale(request(2)).await.unwrap().into_inner(), first);
    let after = world.admin.stack_history(history).await.unwrap().into_inner().revisions;
    assert_eq!(after, revisions);
    let missing = ScaleRequest { request_id: vec![1, 2, 3], ..request(3) };
    let refused = world.admin.scale(missing).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_shows_the_stack_until_it_has_settled() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut session = agent.session().await;
    world.apply(&stack("shop", &[("web", 1)])).await.unwrap();
    let request = WatchRequest { stack: Some("shop".to_owned()), node: None };
    let mut watch = world.admin.watch(request).await.unwrap().into_inner();
    session.run(1).await;
    loop {
        let news = watch.message().await.unwrap().unwrap();
        if news.rollout.is_some_and(|rollout| rollout.settled) {
            assert_eq!(news.tasks[0].state, "running");
            break;
        }
    }
    let request = EventsRequest { follow: false, stack: None, after: 0 };
    let mut events = world.admin.events(request).await.unwrap().into_inner();
    let mut kinds = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        kinds.push(event.kind);
    }
    assert!(!kinds.is_empty());
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_stack_stops_and_is_forgotten() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut session = agent.session().await;
    world.apply(&stack("shop", &[("web", 2)])).await.unwrap();
    session.run(2).await;
    let request =
        RemoveStackRequest { request_id: request_id(), stack: "shop".to_owned(), volumes: false };
    world.admin.remove_stack(request).await.unwrap();
    session.obey(|set| set.tasks.is_empty()).await;
    let request = WatchRequest { stack: Some("shop".to_owned()), node: None };
    let mut watch = world.admin.watch(request).await.unwrap().into_inner();
    while watch.message().await.unwrap().unwrap().rollout.is_some_and(|rollout| rollout.exists) {}
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_session_of_a_node_replaces_the_older() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut first = agent.session().await;
    first.assignments().await;
    let mut second = agent.session().await;
    second.assignments().await;
    let ended = first.end().await;
    assert_eq!(ended.code(), tonic::Code::Aborted, "{ended}");
    world.apply(&stack("shop", &[("web", 1)])).await.unwrap();
    second.run(1).await;
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_node_is_turned_away_while_the_node_is_heard_and_changes_nothing() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    agent.life = 1;
    let mut first = agent.session().await;
    first.assignments().await;
    first.say(agent_message::Message::Heartbeat(Heartbeat::default())).await;
    agent.life = 2;
    let refused = agent.session().await.end().await;
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("another process speaks as this node"), "{refused}");
    // The first one goes on, and dials again whenever it likes.
    world.apply(&stack("shop", &[("web", 1)])).await.unwrap();
    first.run(1).await;
    agent.life = 1;
    let mut again = agent.session().await;
    again.assignments().await;
    let ended = first.end().await;
    assert_eq!(ended.code(), tonic::Code::Aborted, "{ended}");
    // Once that one is gone another process may take its place.
    drop(again);
    agent.life = 2;
    let patience = std::time::Instant::now() + super::world::PATIENCE;
    while agent.session().await.next().await.is_err() {
        assert!(std::time::Instant::now() < patience, "it is still turned away");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cordoned_node_gets_nothing_and_says_why() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut session = agent.session().await;
    session.assignments().await;
    let cordon = |schedulable| SetSchedulableRequest {
        request_id: request_id(),
        node: "mini-1".to_owned(),
        schedulable,
    };
    world.admin.set_schedulable(cordon(false)).await.unwrap();
    let applied = world.apply(&stack("shop", &[("web", 1)])).await.unwrap();
    let plan = applied.plan.unwrap();
    assert_eq!(plan.unplaced, 1);
    assert!(!plan.placements[0].verdicts[0].fits, "{plan:?}");
    world.admin.set_schedulable(cordon(true)).await.unwrap();
    session.run(1).await;
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_come_through_the_agent_with_where_they_come_from() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut session = agent.session().await;
    world.apply(&stack("shop", &[("web", 1)])).await.unwrap();
    session.run(1).await;
    let request = LogsRequest { stack: "shop".to_owned(), ..LogsRequest::default() };
    let mut logs = world.admin.logs(request).await.unwrap().into_inner();
    let asked = session.relay().await;
    assert!(matches!(asked.what, Some(open_relay::What::Logs(_))));
    let (to_scheduler, frames) = mpsc::channel(8);
    let line = |text: &str| {
        let text = text.as_bytes().to_vec();
        Some(Frame::Log(proto::v1::LogLine { at: 1, stderr: false, text }))
    };
    for (relay, frame) in [(asked.relay, line("one")), (0, line("two"))] {
        to_scheduler.send(RelayFrame { relay, frame }).await.unwrap();
    }
    drop(to_scheduler);
    let _from_scheduler = agent.client.relay(ReceiverStream::new(frames)).await.unwrap();
    for expected in ["one", "two"] {
        let entry = logs.message().await.unwrap().unwrap();
        assert_eq!((entry.service.as_str(), entry.node.as_str()), ("web", "mini-1"));
        assert_eq!(&entry.line.unwrap().text[..], expected.as_bytes());
    }
    assert_eq!(logs.message().await.unwrap(), None);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_hears_its_input_and_answers_with_its_exit_code() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut session = agent.session().await;
    world.apply(&stack("shop", &[("web", 1)])).await.unwrap();
    let target = ExecTarget {
        stack: "shop".to_owned(),
        service: "web".to_owned(),
        replica: None,
        options: Some(ExecOptions { command: vec!["cat".to_owned()], ..ExecOptions::default() }),
    };
    let (say, input) = mpsc::channel(8);
    say.send(ExecRequest { target: Some(target.clone()), frame: None }).await.unwrap();
    let early = world.admin.exec(ReceiverStream::new(input)).await.unwrap_err();
    assert_eq!(early.code(), tonic::Code::FailedPrecondition, "nothing runs yet: {early}");

    session.run(1).await;
    let (say, input) = mpsc::channel(8);
    let frame = |frame| RelayFrame { relay: 0, frame: Some(frame) };
    say.send(ExecRequest { target: Some(target), frame: None }).await.unwrap();
    let stdin = Some(frame(Frame::Stdin(b"hello".to_vec())));
    say.send(ExecRequest { target: None, frame: stdin }).await.unwrap();
    drop(say);
    let (to_scheduler, frames) = mpsc::channel(8);
    let serve = async {
        let asked = session.relay().await;
        to_scheduler.send(RelayFrame { relay: asked.relay, frame: None }).await.unwrap();
        let from = agent.client.relay(ReceiverStream::new(frames)).await.unwrap();
        let mut from = from.into_inner();
        let heard = from.message().await.unwrap().unwrap().frame;
        assert_eq!(heard, Some(Frame::Stdin(b"hello".to_vec())));
        let heard = from.message().await.unwrap().unwrap().frame;
        assert!(matches!(heard, Some(Frame::CloseStdin(_))), "{heard:?}");
        to_scheduler.send(frame(Frame::Stdout(b"hello".to_vec()))).await.unwrap();
        to_scheduler.send(frame(Frame::ExitCode(3))).await.unwrap();
    };
    let ask = world.admin.exec(ReceiverStream::new(input));
    let (answer, ()) = tokio::join!(ask, serve);
    let mut answer = answer.unwrap().into_inner();
    let stdout = answer.message().await.unwrap().unwrap().frame;
    assert_eq!(stdout, Some(Frame::Stdout(b"hello".to_vec())));
    assert_eq!(answer.message().await.unwrap().unwrap().frame, Some(Frame::ExitCode(3)));
    assert_eq!(answer.message().await.unwrap(), None);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_opened_to_a_port_of_what_runs_and_to_nothing_else() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut session = agent.session().await;
    world.apply(&stack("shop", &[("web", 1)])).await.unwrap();
    let (stack, service) = ("shop".to_owned(), "web".to_owned());
    let to = |port| ForwardTarget {
        stack: stack.clone(),
        service: service.clone(),
        replica: Some(1),
        port,
    };
    let request = |target| tokio_stream::once(ForwardRequest { target, frame: None });
    for (target, code) in [
        (None, tonic::Code::InvalidArgument),
        (Some(to(0)), tonic::Code::InvalidArgument),
        (Some(to(65_536)), tonic::Code::InvalidArgument),
        (Some(to(80)), tonic::Code::FailedPrecondition),
    ] {
        let refused = world.admin.port_forward(request(target)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }

    session.run(1).await;
    let (to_scheduler, frames) = mpsc::channel(8);
    let frame = |frame| RelayFrame { relay: 0, frame: Some(frame) };
    let serve = async {
        let asked = session.relay().await;
        assert_eq!(asked.what, Some(open_relay::What::Forward(ForwardOptions { port: 80 })));
        to_scheduler.send(RelayFrame { relay: asked.relay, frame: None }).await.unwrap();
        let from = agent.client.relay(ReceiverStream::new(frames)).await.unwrap();
        let heard = from.into_inner().message().await.unwrap().unwrap().frame;
        assert!(matches!(heard, Some(Frame::CloseStdin(_))), "{heard:?}");
        to_scheduler.send(frame(Frame::Stdout(b"hello".to_vec()))).await.unwrap();
        to_scheduler.send(frame(Frame::ExitCode(0))).await.unwrap();
    };
    let (say, input) = mpsc::channel(8);
    say.send(ForwardRequest { target: Some(to(80)), frame: None }).await.unwrap();
    let no_more = Some(frame(Frame::CloseStdin(CloseStdin {})));
    say.send(ForwardRequest { target: None, frame: no_more }).await.unwrap();
    let ask = world.admin.port_forward(ReceiverStream::new(input));
    let (answer, ()) = tokio::join!(ask, serve);
    let mut answer = answer.unwrap().into_inner();
    let heard = answer.message().await.unwrap().unwrap().frame;
    assert_eq!(heard, Some(Frame::Stdout(b"hello".to_vec())));
    assert_eq!(answer.message().await.unwrap().unwrap().frame, Some(Frame::ExitCode(0)));
    assert_eq!(answer.message().await.unwrap(), None);

    // Whoever goes without a word has not said that this was all.
    let (say, input) = mpsc::channel(8);
    say.send(ForwardRequest { target: Some(to(80)), frame: None }).await.unwrap();
    let (to_scheduler, frames) = mpsc::channel(8);
    let serve = async {
        let asked = session.relay().await;
        to_scheduler.send(RelayFrame { relay: asked.relay, frame: None }).await.unwrap();
        let from = agent.client.relay(ReceiverStream::new(frames)).await.unwrap();
        drop(say);
        let heard = from.into_inner().message().await;
        assert!(!matches!(heard, Ok(Some(_))), "{heard:?}");
    };
    let ask = world.admin.port_forward(ReceiverStream::new(input));
    let (_answer, ()) = tokio::join!(ask, serve);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_about_another_nodes_task_changes_nothing_and_the_session_lives_on() {
    let mut world = World::new().await;
    let mut first = Agent::join(&mut world, "mini-1").await;
    let mut session = first.session().await;
    world.apply(&stack("shop", &[("web", 1)])).await.unwrap();
    let task = session.run(1).await[0];
    let mut second = Agent::join(&mut world, "mini-2").await;
    let mut other = second.session().await;
    other.report(task, TaskState::Failed).await;
    other.acknowledged().await;
    let tasks = world.tasks().await;
    assert_eq!(tasks[0].state, "running");
    other.report(task, TaskState::Failed).await;
    other.acknowledged().await;
    world.handle.stop().await;
}
