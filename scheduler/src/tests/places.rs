//! Crowds: of agents, and of those who never say who they are.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use proto::v1::{StatusRequest, control_client::ControlClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tonic::Code;

use super::{
    agent::Agent,
    world::{PATIENCE, World, admin_identity, channel, config},
};
use crate::{Config, Handle, start};

/// Connections of agents in the first story.
const AGENTS: usize = 2;
/// Connections of a crowd that says nothing: more than one address may have.
const SILENT: usize = 400;
/// One that comes from several addresses: more than all of them may have, twice over. When others are served
/// beside it, and not when its time is over, most of those who came first stand there yet.
const SILENT_AND_SPREAD: usize = 600;
const FIRST: usize = 128;
/// A machine that does nothing for five seconds lets the crowd's time be over; so often in a row it does not.
const ROUNDS: usize = 10;

async fn figures(handle: &Handle) -> String {
    let mut asked = TcpStream::connect(handle.metrics_address).await.unwrap();
    asked.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    asked.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn until_figures_say(handle: &Handle, line: &str) {
    let says = async {
        loop {
            let text = figures(handle).await;
            if text.lines().any(|held| held == line) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, says).await.unwrap_or_else(|_| panic!("the figures do not say {line}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_agents_takes_no_place_of_people_and_the_one_too_many_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let few = Config { agent_connections: AGENTS, ..config(directory.path()) };
    let handle = start(few).await.unwrap();
    let identity = admin_identity(directory.path());
    let admin = ControlClient::new(channel(&handle, &identity));
    let mut world = World { directory, handle, admin };
    let mut agents = Vec::new();
    for number in 1..=AGENTS {
        let mut agent = Agent::join(&mut world, &format!("mini-{number}")).await;
        let session = agent.session().await;
        agents.push((agent, session));
    }
    let mut late = Agent::join(&mut world, "mini-late").await;
    let Err(refused) = late.try_session().await else { panic!("there is a place") };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("all 2 places for connections of agents"), "{refused}");
    // People come in as ever, and are told.
    let mut other = ControlClient::new(channel(&world.handle, &identity));
    let status = other.status(StatusRequest {}).await.unwrap().into_inner();
    let what = "connections of agents are turned away";
    let problem = status.problems.iter().find(|problem| problem.what == what);
    let problem = problem.unwrap_or_else(|| panic!("nothing is told: {status:?}"));
    assert!(problem.since.is_some() && problem.cause.contains("all 2 places"), "{problem:?}");
    until_figures_say(&world.handle, "siso_connections{kind=\"agent\"} 2").await;
    until_figures_say(&world.handle, "siso_connections_max{kind=\"agent\"} 2").await;
    // One goes, and the late one gets its place.
    drop(agents.pop());
    let comes_in = async {
        loop {
            late.redial(&world);
            if let Ok(session) = late.try_session().await {
                return session;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let session = timeout(PATIENCE, comes_in).await.expect("a place");
    drop((session, agents));
    world.handle.stop().await;
}

/// A connection from another address of this machine, 127.0.0.`last`, which says nothing.
async fn silent(last: u8, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
    socket.connect(to).await.ok()
}

/// From the address of this machine that nobody else uses everybody comes in at once.
async fn everybody_comes_in(world: &mut World, name: &str) {
    let _ = Agent::join(world, name).await.session().await;
    let identity = admin_identity(world.directory.path());
    let mut people = ControlClient::new(channel(&world.handle, &identity));
    let status = people.status(StatusRequest {}).await.unwrap().into_inner();
    assert!(status.problems.iter().all(|problem| !problem.what.contains("turned away")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_says_who_it_is_holds_no_place_and_one_address_not_all_of_the_others() {
    let mut world = World::new().await;
    let mut crowd = Vec::new();
    for _ in 0..SILENT {
        crowd.extend(silent(2, world.handle.address).await);
    }
    // Those beyond what one address may have are turned away while the others still stand there.
    let turned_away = async {
        loop {
            let text = figures(&world.handle).await;
            let refusals = text.lines().find_map(|line| {
                let count = line.strip_prefix("siso_refusals_total{what=\"connection\"} ")?;
                count.parse::<usize>().ok()
            });
            if refusals.is_some_and(|count| count >= SILENT / 4) {
                return text;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let text = timeout(PATIENCE, turned_away).await.expect("they are turned away");
    assert!(text.contains("siso_connections{kind=\"stranger\"} 0"), "{text}");
    everybody_comes_in(&mut world, "mini-1").await;
    drop(crowd);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_several_addresses_that_says_nothing_keeps_nobody_out() {
    let mut world = World::new().await;
    for round in 1..=ROUNDS {
        let mut crowd = Vec::new();
        for last in (2..=4).cycle().take(SILENT_AND_SPREAD) {
            crowd.extend(silent(last, world.handle.address).await);
        }
        everybody_comes_in(&mut world, &format!("mini-{round}")).await;
        let waits = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let stands = |stream: &&TcpStream| stream.try_read(&mut [0]).is_err_and(|it| waits(&it));
        let stand = crowd.iter().take(FIRST).filter(stands).count();
        if stand > FIRST / 2 {
            return world.handle.stop().await;
        }
    }
    panic!("whoever comes is served when the crowd has gone");
}
