//! The adapter on a real engine: the port's contract, and what only a real engine can show.
//!
//! Without an engine these are skipped, saying so, unless `SISO_REQUIRE_ENGINE` is set.

mod common;
mod contract;

use std::{collections::BTreeMap, io::Write as _, sync::Arc};

use bollard::{
    Docker,
    models::{ContainerConfig, ContainerCreateBody, VolumeCreateRequest},
    query_parameters::{
        CommitContainerOptions, CreateContainerOptions, InspectContainerOptions,
        KillContainerOptions, RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions,
        TagImageOptions,
    },
};
use common::{PATIENCE, assignment, spec, unique, until, with_volume};
use futures::StreamExt as _;
use model::{
    Assignment, Bytes, Health, MilliCpu, ServiceName,
    name::NetworkName,
    spec::{HealthTest, Healthcheck, Mount, MountSource},
};
use node_agent::runtime::{
    Container, ContainerId, ContainerState, Exec, ExecRequest, LogQuery, Order, Output,
    Runtime as _, RuntimeError, docker::DockerEngine,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const IMAGE: &str = "siso/test:1";
const SLEEP: &[&str] = &["sleep", "1000000"];
const SOCKET: &str = "unix:///var/run/docker.sock";

/// The engine of this machine, as the adapter sees it and past it.
struct Real {
    endpoint: String,
    engine: DockerEngine,
    docker: Docker,
}

impl contract::Bench for Real {
    type Engine = DockerEngine;

    fn engine(&self) -> &DockerEngine {
        &self.engine
    }

    fn image(&self) -> &'static str {
        IMAGE
    }

    async fn kill(&self, id: &ContainerId) {
        let kill = self.docker.kill_container(&id.0, None::<KillContainerOptions>);
        kill.await.expect("killed");
    }
}

impl Real {
    /// `None` when there is no engine and nobody demands one.
    async fn find() -> Option<Self> {
        let endpoint = std::env::var("DOCKER_HOST").unwrap_or_else(|_| SOCKET.to_owned());
        let found = match Docker::connect_with_host(&endpoint) {
            Ok(docker) => docker.ping().await.map(|_| docker),
            Err(error) => Err(error),
        };
        match found {
            Ok(docker) => {
                assert!(
                    has_image(&docker).await,
                    "{IMAGE} is missing: deploy/images/build.sh test"
                );
                let engine = DockerEngine::new(&endpoint, None).expect("an address");
                Some(Self { endpoint, engine, docker })
            }
            Err(error) if std::env::var_os("SISO_REQUIRE_ENGINE").is_none() => {
                let mut out = std::io::stderr();
                writeln!(out, "SKIPPED: no container engine at {endpoint}: {error}").expect("said");
                None
            }
            Err(error) => panic!("no container engine at {endpoint}: {error}"),
        }
    }

    async fn run(&self, cluster: &str, task: Assignment) -> ContainerId {
        let order = Order {
            cluster: cluster.to_owned(),
            node: model::NodeId::new(1),
            assignment: Arc::new(task),
            binds: BTreeMap::default(),
        };
        let id = self.engine.create(&order).await.expect("created");
        self.engine.start(&id).await.expect("started");
        id
    }

    async fn reaches(
        &self,
        cluster: &str,
        id: &ContainerId,
        wanted: impl Fn(&Container) -> bool,
    ) -> Container {
        until("in the state", || async {
            match self.engine.inspect(cluster, id).await.expect("inspected") {
                Some(found) if wanted(&found) => Ok(found),
                other => Err(other),
            }
        })
        .await
    }

    /// What a command in a container printed, and its exit code.
    async fn exec(&self, id: &ContainerId, command: &[&str]) -> (String, i64) {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let request = ExecRequest { command, tty: false, stdin: false };
        let exec = self.engine.exec(id, &request).await.expect("runs");
        let printed = exec.output.map(|piece| match piece.expect("a piece") {
            Output::Stdout(bytes) | Output::Stderr(bytes) => bytes,
        });
        let printed = printed.concat().await;
        let code = self.engine.exit_code(&exec.id).await.expect("an answer");
        (String::from_utf8_lossy(&printed).into_owned(), code.expect("it ended"))
    }

    async fn discard(&self, cluster: &str) {
        let look = self.engine.look(cluster).await.expect("a look");
        for found in look.containers {
            self.engine.stop(&found.id).await.expect("stopped");
            self.engine.remove(&found.id).await.expect("removed");
        }
        for network in look.networks {
            self.engine.remove_network(&network.id).await.expect("network removed");
        }
    }
}

async fn has_image(docker: &Docker) -> bool {
    docker.inspect_image(IMAGE).await.is_ok()
}

macro_rules! contract {
    ($($case:ident)*) => {
        $(#[tokio::test]
        async fn $case() {
            let Some(real) = Real::find().await else { return };
            contract::$case(&real).await;
        })*
    };
}

contract! {
    making_a_container_twice_makes_one
    an_end_is_told_with_its_code
    a_kill_from_outside_is_told_before_the_end
    stopping_and_removing_may_be_repeated
    a_cluster_sees_only_its_own
    a_volume_that_held_data_is_never_made_anew
    without_its_image_nothing_is_made
    only_a_running_container_runs_commands
    what_is_gone_is_told_as_absent
}

#[tokio::test]
async fn limits_arrive_at_the_engine() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("limits");
    let mut wanted = spec(IMAGE, &["sleep", "1000000"]);
    wanted.resources.cpu_limit = Some(MilliCpu(500));
    wanted.resources.pids_limit = 77;
    wanted.read_only = true;
    wanted.cap_drop = vec!["ALL".to_owned()];
    wanted.no_new_privileges = true;
    wanted.shm_size = Some(Bytes::mib(8));
    let source = MountSource::Tmpfs { size: Some(Bytes::mib(4)), mode: Some(0o1777) };
    wanted.mounts = vec![Mount { source, target: "/scratch".to_owned(), read_only: false }];
    let id = real.run(cluster, assignment(cluster, 1, wanted)).await;
    let shown = real.docker.inspect_container(&id.0, None::<InspectContainerOptions>).await;
    let host = shown.expect("inspected").host_config.expect("its limits");
    assert_eq!((host.memory, host.memory_swap), (Some(32 << 20), Some(32 << 20)));
    assert_eq!(host.memory_reservation, Some(16 << 20));
    assert_eq!((host.nano_cpus, host.pids_limit), (Some(500_000_000), Some(77)));
    assert_eq!(host.log_config.and_then(|log| log.typ).as_deref(), Some("local"));
    assert_eq!(host.init, Some(true));
    let (_, written) = real.exec(&id, &["sh", "-c", "echo x > /scratch/file"]).await;
    let (_, refused) = real.exec(&id, &["sh", "-c", "echo x > /file"]).await;
    assert_eq!((written, refused != 0), (0, true));
    real.discard(cluster).await;
}

#[tokio::test]
async fn exceeding_the_limit_is_seen_as_such() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("oom");
    let id = real.run(cluster, assignment(cluster, 1, spec(IMAGE, &["tail", "/dev/zero"]))).await;
    let ended = real.reaches(cluster, &id, |found| found.state == ContainerState::Exited).await;
    assert!(ended.oom_killed, "{ended:?}");
    real.discard(cluster).await;
}

#[tokio::test]
async fn a_health_check_is_told_with_its_last_words() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("health");
    let mut wanted = spec(IMAGE, &["sleep", "1000000"]);
    wanted.healthcheck = Some(Healthcheck {
        test: HealthTest::Shell("test -e /tmp/well || { echo not yet; exit 1; }".to_owned()),
        interval_ms: Some(100),
        timeout_ms: Some(5_000),
        retries: Some(1),
        start_period_ms: None,
    });
    let id = real.run(cluster, assignment(cluster, 1, wanted)).await;
    let ill = real.reaches(cluster, &id, |found| found.health == Health::Unhealthy).await;
    assert_eq!(ill.probe.as_deref(), Some("not yet"));
    real.exec(&id, &["touch", "/tmp/well"]).await;
    let well = real.reaches(cluster, &id, |found| found.health == Health::Healthy).await;
    assert_eq!(well.probe, None);
    real.discard(cluster).await;
}

#[tokio::test]
async fn services_of_a_stack_find_each_other_by_name() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("names");
    let mut server = spec(IMAGE, &["sleep", "1000000"]);
    server.container_name = Some("legacy".to_owned());
    server.networks = ["front", "back"].map(|name| NetworkName::new(name).unwrap()).into();
    let mut server = assignment(cluster, 1, server);
    server.service = ServiceName::new("db").expect("a name");
    real.run(cluster, server.clone()).await;
    for network in ["front", "back"] {
        let mut client = spec(IMAGE, &["sleep", "1000000"]);
        client.networks = [NetworkName::new(network).unwrap()].into();
        let task = if network == "front" { 2 } else { 3 };
        let client = real.run(cluster, assignment(cluster, task, client)).await;
        for name in ["db", "db-1", "legacy"] {
            let (said, code) = real.exec(&client, &["ping", "-c", "1", "-W", "5", name]).await;
            assert_eq!(code, 0, "{name} on {network}: {said}");
        }
    }
    let networks = real.engine.look(cluster).await.expect("a look").networks;
    assert_eq!(networks.len(), 2, "{networks:?}");
    // Making it again finds it connected already.
    real.run(cluster, server).await;
    real.discard(cluster).await;
}

#[tokio::test]
async fn a_stop_waits_for_the_signal_to_be_handled_and_thaws_what_is_paused() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("grace");
    let polite = "trap 'echo bye; exit 0' USR1; echo ready; while :; do sleep 0.05; done";
    let mut wanted = spec(IMAGE, &["sh", "-c", polite]);
    wanted.stop_signal = Some("SIGUSR1".to_owned());
    wanted.stop_grace_ms = 60_000;
    let id = real.run(cluster, assignment(cluster, 1, wanted)).await;
    said(&real, &id, "ready").await;
    real.docker.pause_container(&id.0).await.expect("paused");
    real.engine.stop(&id).await.expect("stopped");
    let ended = real.reaches(cluster, &id, |found| found.state == ContainerState::Exited).await;
    assert_eq!(ended.exit_code, Some(0), "it was asked, not killed");
    real.discard(cluster).await;
}

async fn said(real: &Real, id: &ContainerId, text: &str) {
    until("said", || async {
        let lines = real.engine.logs(id, LogQuery::default()).collect::<Vec<_>>().await;
        let found = lines.iter().flatten().any(|line| line.text == text.as_bytes());
        if found { Ok(()) } else { Err(lines) }
    })
    .await;
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_left_to_him() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("taken");
    let name = format!("siso-{cluster}-web-1-e1");
    let options = CreateContainerOptions { name: Some(name), ..Default::default() };
    let theirs = ContainerCreateBody { image: Some(IMAGE.to_owned()), ..Default::default() };
    let theirs = real.docker.create_container(Some(options), theirs).await.expect("made").id;
    let ours = real.run(cluster, assignment(cluster, 1, spec(IMAGE, &["sleep", "1000000"]))).await;
    assert_ne!(ours.0, theirs);
    let found = real.engine.look(cluster).await.expect("a look").containers;
    assert_eq!(found.iter().map(|found| &found.id).collect::<Vec<_>>(), [&ours]);
    real.discard(cluster).await;
    let gone = real.docker.remove_container(&theirs, None::<RemoveContainerOptions>).await;
    gone.expect("it was still there");
}

#[tokio::test]
async fn data_survives_its_container() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("data");
    let volume = &format!("{cluster}_data");
    let task = |must_exist| {
        let task = assignment(cluster, 1, spec(IMAGE, &["sleep", "1000000"]));
        with_volume(task, volume, must_exist)
    };
    let first = real.run(cluster, task(false)).await;
    real.exec(&first, &["sh", "-c", "echo kept > /data/file"]).await;
    real.engine.stop(&first).await.expect("stopped");
    real.engine.remove(&first).await.expect("removed");
    let second = real.run(cluster, task(true)).await;
    assert_eq!(real.exec(&second, &["cat", "/data/file"]).await.0, "kept\n");
    real.discard(cluster).await;
    real.engine.remove_volume(cluster, volume).await.expect("removed");
}

#[tokio::test]
async fn a_volume_of_somebody_else_is_used_alone_and_never_removed() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("adopted");
    let volume = &format!("{cluster}_data");
    let made = VolumeCreateRequest { name: Some(volume.clone()), ..Default::default() };
    real.docker.create_volume(made).await.expect("made past us");
    let task = || with_volume(assignment(cluster, 1, spec(IMAGE, SLEEP)), volume, false);
    let first = real.run(cluster, task()).await;
    real.exec(&first, &["sh", "-c", "echo kept > /data/file"]).await;

    let other = &format!("{cluster}2");
    let order = |cluster: &str| Order {
        cluster: cluster.to_owned(),
        node: model::NodeId::new(1),
        assignment: Arc::new(task()),
        binds: BTreeMap::default(),
    };
    let refused = real.engine.create(&order(other)).await.expect_err("two clusters would write");
    assert!(refused.to_string().contains(&format!("in use by cluster {cluster}")), "{refused}");

    // The first cluster is gone, but some other container writes.
    real.discard(cluster).await;
    let stranger = format!("{cluster}-stranger");
    let named = CreateContainerOptions { name: Some(stranger.clone()), ..Default::default() };
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(SLEEP.iter().map(|word| (*word).to_owned()).collect()),
        host_config: Some(bollard::models::HostConfig {
            binds: Some(vec![format!("{volume}:/data")]),
            ..Default::default()
        }),
        ..Default::default()
    };
    real.docker.create_container(Some(named), body).await.expect("made past us");
    real.docker.start_container(&stranger, None).await.expect("started past us");
    let refused = real.engine.create(&order(other)).await.expect_err("two would write");
    assert!(refused.to_string().contains(&format!("container {stranger}")), "{refused}");
    let force = RemoveContainerOptions { force: true, ..Default::default() };
    real.docker.remove_container(&stranger, Some(force)).await.expect("removed past us");

    // Nobody writes any more; who comes next finds the data.
    let second = real.run(other, task()).await;
    assert_eq!(real.exec(&second, &["cat", "/data/file"]).await.0, "kept\n");
    real.discard(other).await;
    let removed = real.engine.remove_volume(other, volume).await.expect("an answer");
    assert!(!removed, "left as it is");
    real.docker.inspect_volume(volume).await.expect("still there");
    let removed = real.docker.remove_volume(volume, None::<RemoveVolumeOptions>).await;
    removed.expect("removed past us");
}

#[tokio::test]
async fn logs_have_times_streams_an_end_and_a_tail() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("logs");
    let script =
        "for i in 1 2 3; do echo line-$i; done; echo complaint >&2; echo; exec sleep 1000000";
    let id = real.run(cluster, assignment(cluster, 1, spec(IMAGE, &["sh", "-c", script]))).await;
    let lines = |query: LogQuery| real.engine.logs(&id, query).map(|line| line.expect("a line"));
    said(&real, &id, "complaint").await;
    said(&real, &id, "").await;
    let all = lines(LogQuery::default()).collect::<Vec<_>>().await;
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(all.iter().filter(|line| line.stderr).count(), 1);
    assert!(all.iter().all(|line| line.at.0 > 0));
    let last_two = LogQuery { tail: Some(2), ..LogQuery::default() };
    assert_eq!(lines(last_two).count().await, 2);
    let last = all.iter().map(|line| line.at).max().expect("a line");
    let since = Some(last.plus_millis(1));
    let none = lines(LogQuery { since, ..LogQuery::default() }).collect::<Vec<_>>().await;
    assert!(none.is_empty(), "{none:?}");
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let mut following = real.engine.logs(&id, follow);
    for _ in 0..5 {
        following.next().await.expect("a line").expect("read");
    }
    real.engine.stop(&id).await.expect("stopped");
    assert!(following.next().await.is_none(), "it ends with its container");
    real.discard(cluster).await;
}

#[tokio::test]
async fn a_command_gets_its_input_to_the_end() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("stdin");
    let id = real.run(cluster, assignment(cluster, 1, spec(IMAGE, &["sleep", "1000000"]))).await;
    let command = vec!["wc".to_owned(), "-c".to_owned()];
    let request = ExecRequest { command, tty: false, stdin: true };
    let Exec { id: exec, output, mut input } = real.engine.exec(&id, &request).await.expect("runs");
    input.write_all(&vec![b'x'; 200_000]).await.expect("written");
    input.shutdown().await.expect("ended");
    let printed = output.map(|piece| match piece.expect("a piece") {
        Output::Stdout(bytes) | Output::Stderr(bytes) => bytes,
    });
    assert_eq!(String::from_utf8_lossy(&printed.concat().await).trim(), "200000");
    assert_eq!(real.engine.exit_code(&exec).await.expect("an answer"), Some(0));
    assert_eq!(real.exec(&id, &["sh", "-c", "exit 7"]).await.1, 7);
    real.discard(cluster).await;
}

#[tokio::test]
async fn a_command_nobody_listens_to_is_ended_with_its_children() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("orphaned");
    let id = real.run(cluster, assignment(cluster, 1, spec(IMAGE, &["sleep", "1000000"]))).await;
    let script = "trap '' HUP TERM; sleep 54321 & echo begun; wait; sleep 54322";
    for tty in [false, true] {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let request = ExecRequest { command, tty, stdin: true };
        let mut exec = real.engine.exec(&id, &request).await.expect("runs");
        exec.output.next().await.expect("it has begun").expect("a piece");
        if tty {
            real.engine.resize(&exec.id, 120, 40).await.expect("resized");
        }
        let name = exec.id.clone();
        drop(exec);
        real.engine.end_exec(&name).await.expect("ended");
        until("ended", || async {
            let processes = real.exec(&id, &["ps", "-o", "args"]).await.0;
            if processes.contains("sleep 5432") { Err(processes) } else { Ok(()) }
        })
        .await;
    }
    let kept = real.engine.inspect(cluster, &id).await.expect("inspected").expect("there");
    assert_eq!(kept.state, ContainerState::Running, "the container itself goes on");
    real.discard(cluster).await;
}

#[tokio::test]
async fn a_start_that_cannot_be_is_told_in_the_engines_words() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("wrong");
    let mut wanted = spec(IMAGE, &["/no/such/program"]);
    // The small init would start, and then fail by itself.
    wanted.init = Some(false);
    let order = Order {
        cluster: cluster.clone(),
        node: model::NodeId::new(1),
        assignment: Arc::new(assignment(cluster, 1, wanted)),
        binds: BTreeMap::default(),
    };
    let id = real.engine.create(&order).await.expect("created");
    let refused = real.engine.start(&id).await.expect_err("no such program");
    assert!(matches!(refused, RuntimeError::Refused { .. }), "{refused:?}");
    assert!(refused.to_string().contains("/no/such/program"), "{refused}");
    real.discard(cluster).await;
}

#[tokio::test]
async fn an_image_goes_when_nothing_was_made_from_it_and_nobody_else_named_it() {
    let Some(real) = Real::find().await else { return };
    let cluster = &unique("images");
    let from = real.run(cluster, assignment(cluster, 1, spec(IMAGE, SLEEP))).await;
    let name = |repository: &str| format!("siso/{cluster}-{repository}");
    let made = CommitContainerOptions {
        container: Some(from.to_string()),
        repo: Some(name("made")),
        tag: Some("1".to_owned()),
        ..Default::default()
    };
    real.docker.commit_container(made, ContainerConfig::default()).await.expect("committed");
    let image = format!("{}:1", name("made"));
    let id = real.engine.image_id(&image).await.expect("an answer").expect("an id");
    let tag = TagImageOptions { repo: Some(name("named")), tag: Some("1".to_owned()) };
    real.docker.tag_image(&image, Some(tag)).await.expect("tagged");
    assert!(!real.engine.remove_image(&id).await.expect("an answer"), "it has another name");
    let named = format!("{}:1", name("named"));
    real.docker.remove_image(&named, None::<RemoveImageOptions>, None).await.expect("untagged");
    let user = real.run(cluster, assignment(cluster, 2, spec(&image, SLEEP))).await;
    assert!(!real.engine.remove_image(&id).await.expect("an answer"), "a container runs from it");
    real.engine.stop(&user).await.expect("stopped");
    assert!(!real.engine.remove_image(&id).await.expect("an answer"), "one was made from it");
    real.discard(cluster).await;
    for _ in 0..2 {
        assert!(real.engine.remove_image(&id).await.expect("an answer"), "it is gone");
    }
    assert_eq!(real.engine.image_id(&image).await.expect("an answer"), None);
}

#[tokio::test]
async fn an_image_nobody_has_is_no_mystery() {
    let Some(real) = Real::find().await else { return };
    let refused = real.engine.pull("localhost:1/none:1", Box::new(|_, _| {})).await;
    let said = refused.expect_err("no registry").to_string();
    assert!(said.contains("localhost:1/none:1"), "{said}");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unreachable() {
    let engine = DockerEngine::new("unix:///nonexistent/docker.sock", None).expect("an address");
    let failed = engine.look("c").await.expect_err("nobody answers");
    assert!(failed.is_transient(), "{failed:?}");
}

/// Serves one request for each connection: `answer` is given its text.
async fn serve<F: Future<Output = ()> + Send + 'static>(
    answer: impl Fn(tokio::net::TcpStream, String) -> F + Copy + Send + 'static,
) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 8 << 10];
                let read = stream.read(&mut request).await.unwrap_or_default();
                answer(stream, String::from_utf8_lossy(&request[..read]).into_owned()).await;
            });
        }
    });
    address
}

/// Passes everything on to the engine but what is to stop a container, which has no answer or is refused.
async fn no_stops(hangs: bool) -> String {
    let address = serve(move |mut stream, request| async move {
        let (first, rest) = request.split_once("\r\n").unwrap_or_default();
        if first.contains("/stop") {
            if hangs {
                std::future::pending::<()>().await;
            }
            let answer = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return drop(stream.write_all(answer).await);
        }
        let socket = SOCKET.trim_start_matches("unix://");
        let mut engine = tokio::net::UnixStream::connect(socket).await.expect("an engine");
        let request = format!("{first}\r\nConnection: close\r\n{rest}");
        engine.write_all(request.as_bytes()).await.expect("passed on");
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut engine).await;
    });
    format!("tcp://{}", address.await)
}

#[tokio::test]
async fn what_has_no_lease_ends_in_time_though_the_engine_refuses_to_stop_it_or_hangs() {
    let Some(real) = Real::find().await else { return };
    if real.endpoint != SOCKET {
        return;
    }
    let grace = std::time::Duration::from_secs(1);
    for (hangs, name) in [(false, "refused"), (true, "hanging")] {
        let cluster = &unique(name);
        let engine = DockerEngine::new(&no_stops(hangs).await, None).expect("an address");
        let id = real.run(cluster, assignment(cluster, 1, spec(IMAGE, SLEEP))).await;
        // An engine that hangs would hold it for ever.
        let ended = tokio::time::timeout(PATIENCE, engine.stop_within(&id, grace)).await;
        ended.expect("an end").expect("its processes are ended");
        real.reaches(cluster, &id, |found| found.state == ContainerState::Exited).await;
        real.discard(cluster).await;
    }
}

/// Answers every request of a registry: 401 unless it brings this login, else 404.
async fn registry(login: &'static str) -> std::net::SocketAddr {
    let answer = move |mut stream: tokio::net::TcpStream, request: String| async move {
        let (status, body) = if request.contains(&format!("Authorization: Basic {login}")) {
            ("404 Not Found", r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#)
        } else {
            ("401 Unauthorized", r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#)
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: {}\r\n\
             Content-Type: application/json\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    };
    serve(answer).await
}

#[tokio::test]
async fn an_image_is_fetched_with_the_login_for_its_registry() {
    let Some(real) = Real::find().await else { return };
    // In ordinary base64 this password has letters that the engine does not read.
    let address = registry("dXNlcjo/Pz8+Pj5+fn4=").await;
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("config.json");
    let image = format!("{address}/team/app:1");
    let engine = DockerEngine::new(&real.endpoint, Some(file.clone())).expect("an address");
    let pull = || async { engine.pull(&image, Box::new(|_, _| ())).await.expect_err("none there") };
    let told = pull().await.to_string();
    assert!(told.contains("docker login"), "{told}");
    let auths = format!(r#"{{"auths":{{"{address}":{{"auth":"dXNlcjo/Pz8+Pj5+fn4="}}}}}}"#);
    std::fs::write(file, auths).expect("written");
    let told = pull().await.to_string();
    assert!(told.contains("check its name and tag"), "it was let in: {told}");
}
