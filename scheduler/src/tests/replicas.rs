//! Three schedulers in one process, over their real port: joining, following, leading, being away.

use std::collections::BTreeSet;

use model::token::Role;
use proto::{
    transport::{self, Identity},
    v1::{ListStacksRequest, StatusRequest, StatusView, control_client::ControlClient},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::transport::Channel;

use super::world::{
    CONNECT, PATIENCE, World, admin_identity, answer, config, own_address, request_id, stack,
};
use crate::{Config, Handle, JoinError, StartError, start};

/// A scheduler that is up, or away.
pub(super) struct Replica {
    pub(super) directory: TempDir,
    pub(super) config: Config,
    pub(super) handle: Option<Handle>,
}

impl Replica {
    /// One that joins through the scheduler at `through`.
    pub(super) async fn join(founder: &mut World, through: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        std::fs::write(&token, founder.token_text(Role::Scheduler).await).unwrap();
        let data = directory.path().join("data");
        let (join, token_file) = (Some(through.to_owned()), Some(token));
        let config = Config { join, token_file, ..config(&data) };
        let mut replica = Self { directory, config, handle: None };
        replica.start().await;
        replica
    }

    pub(super) fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    pub(super) async fn start(&mut self) {
        let handle = timeout(PATIENCE, start(self.config.clone())).await.unwrap().unwrap();
        self.config.listen = handle.address;
        self.handle = Some(handle);
    }

    pub(super) async fn stop(&mut self) {
        self.handle.take().unwrap().stop().await;
    }

    pub(super) fn address(&self) -> String {
        self.config.listen.to_string()
    }
}

pub(super) fn people(endpoints: &[String], identity: &Identity) -> ControlClient<Channel> {
    ControlClient::new(transport::channel(endpoints, identity, CONNECT).unwrap())
}

pub(super) async fn status(people: &mut ControlClient<Channel>) -> StatusView {
    answer(async || people.status(StatusRequest {}).await).await
}

/// Waits until so many vote.
pub(super) async fn voters(people: &mut ControlClient<Channel>, count: usize) {
    let all = async {
        while status(people).await.schedulers.len() != count {
            sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("they vote");
}

pub(super) async fn apply(people: &mut ControlClient<Channel>, name: &str) {
    let request_id = request_id();
    let spec = Some((&stack(name, &[("web", 1)])).into());
    let request = proto::v1::ApplyRequest { request_id, spec, basis: None };
    let asked = async {
        // Whoever led may have gone; asked again, it is the same change.
        while people.apply(request.clone()).await.is_err() {
            sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asked).await.expect("it is applied");
}

pub(super) async fn stacks(people: &mut ControlClient<Channel>) -> BTreeSet<String> {
    let rows = answer(async || people.list_stacks(ListStacksRequest {}).await).await.stacks;
    rows.into_iter().map(|row| row.stack).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_schedulers_outlive_each_of_them() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let mut second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    // The third asks one that does not lead.
    let mut third = Replica::join(&mut founder, &second.address()).await;
    voters(&mut founder.admin, 3).await;
    let identity = admin_identity(&second.data());
    let everyone = [first.clone(), second.address(), third.address()];
    apply(&mut founder.admin, "one").await;
    // A follower answers with what was just written.
    for address in [second.address(), third.address()] {
        let mut there = people(&[address], &identity);
        assert!(stacks(&mut there).await.contains("one"));
        apply(&mut there, "two").await;
    }

    let World { directory, handle, .. } = founder;
    let listen = handle.address;
    handle.stop().await;
    let mut left = people(&everyone[1..], &identity);
    apply(&mut left, "three").await;
    let names = ["one", "two", "three"].map(str::to_owned);
    assert_eq!(stacks(&mut left).await, BTreeSet::from(names));

    // The founder is back, and another goes; both times everything is there.
    let founder = start(Config { listen, ..config(directory.path()) }).await.unwrap();
    second.stop().await;
    let mut left = people(&[first.clone(), third.address()], &identity);
    apply(&mut left, "four").await;
    assert_eq!(stacks(&mut left).await.len(), 4);
    second.start().await;
    third.stop().await;
    let mut left = people(&[second.address()], &identity);
    apply(&mut left, "five").await;
    assert_eq!(stacks(&mut left).await.len(), 5);
    founder.stop().await;
    second.stop().await;
}

/// What `/healthz` answers.
async fn health(handle: &Handle) -> String {
    let mut asked = TcpStream::connect(handle.metrics_address).await.unwrap();
    asked.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    asked.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn until_health_says(handle: &Handle, words: &[&str]) {
    let says = async {
        loop {
            let answer = health(handle).await;
            if words.iter().all(|word| answer.contains(word)) {
                return;
            }
            sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, says).await.unwrap_or_else(|_| panic!("its health does not say {words:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_hears_of_no_leader_is_not_healthy_until_it_does() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let mut second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    let mut third = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 3).await;
    for handle in [&founder.handle, second.handle.as_ref().unwrap()] {
        until_health_says(handle, &[" 200 ", "ok"]).await;
    }
    let World { directory, handle, .. } = founder;
    let listen = handle.address;
    assert!(handle.standing().borrow().leads());
    // The second follows; one of the two others led, and both are gone.
    third.stop().await;
    handle.stop().await;
    let left = second.handle.as_ref().unwrap();
    until_health_says(left, &[" 503 ", "no call can be answered"]).await;
    // It goes on by itself, and so does its health.
    let founder = start(Config { listen, ..config(directory.path()) }).await.unwrap();
    until_health_says(left, &[" 200 ", "ok"]).await;
    // One that leads and is left by all others is as little use.
    let leads = left.standing().borrow().leads();
    let (leader, follower) = if leads {
        (second.handle.take().unwrap(), founder)
    } else {
        (founder, second.handle.take().unwrap())
    };
    follower.stop().await;
    until_health_says(&leader, &[" 503 ", "no call can be answered"]).await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_nobody_can_reach_takes_no_vote_and_stops_nobody() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, founder.token_text(Role::Scheduler).await).unwrap();
    let (join, token_file) = (Some(first.clone()), Some(token));
    let data = directory.path().join("data");
    let mut config = Config { join, token_file, ..config(&data) };
    for nowhere in ["127.0.0.1:1", "mini-9.tail.net:7400", "127.0.0.1/x:7400"] {
        config.advertise = Some(nowhere.to_owned());
        let joining = start(config.clone()).await.unwrap();
        // Long enough for it to have asked more than once.
        for name in ["one", "two", "three"] {
            apply(&mut founder.admin, name).await;
            sleep(std::time::Duration::from_millis(700)).await;
        }
        assert_eq!(status(&mut founder.admin).await.schedulers.len(), 1, "{nowhere}");
        joining.stop().await;
    }
    config.advertise = None;
    let second = start(config.clone()).await.unwrap();
    voters(&mut founder.admin, 2).await;
    second.stop().await;

    // A directory of its own cluster is not taken for one that is to join another.
    let other = Config { data_dir: founder.directory.path().to_owned(), ..config.clone() };
    founder.handle.stop().await;
    start(other).await.unwrap().stop().await;
    let stranger = World::new().await;
    let other = Config { data_dir: stranger.directory.path().to_owned(), ..config };
    stranger.handle.stop().await;
    let refused = start(other).await.unwrap_err();
    assert!(refused.to_string().contains("of another cluster"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_moves_is_reached_where_it_is_now() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let mut second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    let third = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 3).await;
    let before = second.address();
    second.stop().await;
    second.config.listen = own_address();
    second.start().await;
    assert_ne!(second.address(), before);
    let moved = async {
        let there =
            |view: &StatusView| view.schedulers.iter().any(|row| row.address == second.address());
        while !there(&status(&mut founder.admin).await) {
            sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, moved).await.expect("its address is known");
    // Without the third, no majority is there but with the one that moved.
    let mut third = third;
    third.stop().await;
    apply(&mut founder.admin, "moved").await;
    founder.handle.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_joins_with_a_token_for_schedulers_and_once() {
    let mut founder = World::new().await;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, founder.token_text(Role::Node).await).unwrap();
    let joining = |data: &str| Config {
        join: Some(founder.handle.advertised.clone()),
        token_file: Some(token.clone()),
        ..config(&directory.path().join(data))
    };
    let refused = start(joining("node")).await.unwrap_err();
    assert!(matches!(refused, StartError::Join(JoinError::WrongRole(Role::Node))), "{refused}");
    let text = World::token_text(&mut founder, Role::Scheduler).await;
    std::fs::write(&token, text).unwrap();
    let joining = |data: &str| Config {
        join: Some(founder.handle.advertised.clone()),
        token_file: Some(token.clone()),
        ..config(&directory.path().join(data))
    };
    let second = start(joining("second")).await.unwrap();
    let refused = start(joining("third")).await.unwrap_err();
    assert!(matches!(refused, StartError::Join(JoinError::Refused(_))), "{refused}");
    second.stop().await;
    founder.handle.stop().await;
}
