//! Voters come and go: under load, with the leader among them, with some away, of several versions.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proto::v1::{
    CreateTokenRequest, EventsRequest, ListSchedulersRequest, ListTokensRequest,
    RemoveSchedulerRequest, VoterRow, control_client::ControlClient,
};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, transport::Channel};

use super::{
    replicas::{Replica, apply, people, stacks, status, voters},
    world::{PATIENCE, World, admin_identity, answer, config, request_id},
};
use crate::{StartError, start};

async fn rows(people: &mut ControlClient<Channel>) -> Vec<VoterRow> {
    answer(async || people.list_schedulers(ListSchedulersRequest {}).await).await.schedulers
}

/// Removes a scheduler, as `sisoctl` does: asked again while the leadership is handed over.
async fn remove(people: &mut ControlClient<Channel>, scheduler: u64) -> Result<bool, Status> {
    let request = RemoveSchedulerRequest { request_id: request_id(), scheduler };
    let mut last = None;
    let asked = async {
        loop {
            match people.remove_scheduler(request.clone()).await {
                Ok(removed) => return Ok(removed.into_inner().changed),
                Err(status) if status.code() == Code::Unavailable => {
                    last = Some(status);
                    sleep(Duration::from_millis(50)).await;
                }
                Err(status) => return Err(status),
            }
        }
    };
    let answered = timeout(PATIENCE, asked).await;
    answered.unwrap_or_else(|_| panic!("scheduler {scheduler} stays: {last:?}"))
}

/// Writes tokens until it is told to stop; answers the ids of those that were acknowledged.
pub(super) async fn write(
    mut people: ControlClient<Channel>,
    stop: Arc<AtomicBool>,
) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) && acknowledged.len() < 600 {
        let role = proto::v1::Role::Node.into();
        let request = CreateTokenRequest { request_id: request_id(), role, ttl_ms: 3_600_000 };
        let made = loop {
            match people.create_token(request.clone()).await {
                Ok(made) => break made.into_inner().id,
                // A leader went; the same is asked again.
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        assert!(acknowledged.insert(made), "a token was made twice");
        sleep(Duration::from_millis(10)).await;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_one_to_five_voters_and_back_to_three_under_load_nothing_is_lost() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let identity = admin_identity(founder.directory.path());
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let first = std::slice::from_ref(&first);
        tokio::spawn(write(people(first, &identity), Arc::clone(&stop)))
    };
    let mut others = Vec::new();
    for count in 2..=5 {
        others.push(Replica::join(&mut founder, &first).await);
        voters(&mut founder.admin, count).await;
    }
    let shown = rows(&mut founder.admin).await;
    assert_eq!(shown.iter().filter(|row| row.role == "leader").count(), 1, "{shown:?}");
    assert!(shown.iter().all(|row| row.reachable && row.error.is_none()), "{shown:?}");
    let own = |replica: &Replica| replica.handle.as_ref().unwrap().standing().borrow().id;
    let (gone, stays) = others.split_at_mut(2);
    for (number, replica) in gone.iter().enumerate() {
        assert!(remove(&mut founder.admin, own(replica)).await.unwrap());
        voters(&mut founder.admin, 4 - number).await;
        assert!(!remove(&mut founder.admin, own(replica)).await.unwrap(), "it is gone already");
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = load.await.unwrap();
    assert!(acknowledged.len() > 20, "{} writes", acknowledged.len());
    // Each that stays has everything, whoever is asked.
    let mut everyone = vec![first];
    everyone.extend(stays.iter().map(Replica::address));
    for address in everyone {
        let mut there = people(&[address], &identity);
        let tokens = answer(async || there.list_tokens(ListTokensRequest {}).await).await.tokens;
        let held: BTreeSet<_> = tokens.into_iter().map(|token| token.id).collect();
        assert!(held.is_superset(&acknowledged));
    }
    for replica in &mut others {
        replica.stop().await;
    }
    founder.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_scheduler_stops_by_itself_disturbs_nobody_and_does_not_come_back() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let mut second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    let mut third = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 3).await;
    let number = |replica: &Replica| replica.handle.as_ref().unwrap().standing().borrow().id;
    let (two, three) = (number(&second), number(&third));

    // One that runs is told.
    assert!(remove(&mut founder.admin, two).await.unwrap());
    let why = timeout(PATIENCE, second.handle.as_ref().unwrap().failed()).await.unwrap();
    assert!(why.starts_with(&format!("scheduler {two} was removed from cluster")), "{why}");
    assert!(why.contains("hint: to make a scheduler of this machine again"), "{why}");
    second.stop().await;
    let refused = start(second.config.clone()).await.unwrap_err().to_string();
    assert!(refused.starts_with(&why), "{refused}");

    // One that was away when it was removed learns it when it asks for votes, which nobody gives.
    let mut fourth = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 3).await;
    third.stop().await;
    assert!(remove(&mut founder.admin, three).await.unwrap());
    let term = founder.handle.standing().borrow().term;
    third.start().await;
    timeout(PATIENCE, third.handle.as_ref().unwrap().failed()).await.unwrap();
    apply(&mut founder.admin, "calm").await;
    assert_eq!(founder.handle.standing().borrow().term, term, "nobody was disturbed");
    third.stop().await;
    fourth.stop().await;
    founder.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_is_removed_only_where_the_rest_can_agree_and_a_leader_hands_over_first() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let refused = remove(&mut founder.admin, 1).await.unwrap_err();
    assert!(refused.message().contains("is the only one"), "{refused}");
    let refused = remove(&mut founder.admin, 9).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");

    let mut second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    let mut third = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 3).await;
    let two = second.handle.as_ref().unwrap().standing().borrow().id;
    third.stop().await;
    let refused = remove(&mut founder.admin, two).await.unwrap_err();
    for told in ["of the 2 that remain", "only 1 can be reached", "no majority", "hint: bring"] {
        assert!(refused.message().contains(told), "{refused}");
    }
    let shown = rows(&mut founder.admin).await;
    let away = shown.iter().find(|row| row.address == third.address()).unwrap();
    assert!(!away.reachable && away.error.is_some() && away.behind.is_none(), "{away:?}");
    let status = status(&mut founder.admin).await;
    let told = format!("at {} does not answer", third.address());
    assert!(status.problems.iter().any(|problem| problem.what.contains(&told)), "{status:?}");
    assert!(!status.healthy);
    let second_row = status.schedulers.iter().find(|row| row.id == two).unwrap();
    assert_eq!(second_row.version, env!("CARGO_PKG_VERSION"));
    assert!(second_row.applied > 0, "{status:?}");
    // Also one that follows says how the others are, and nobody leads who does not answer.
    let identity = admin_identity(&second.data());
    let mut there = people(&[second.address()], &identity);
    let seen = rows(&mut there).await;
    assert_eq!(seen.iter().map(|row| row.reachable).filter(|it| *it).count(), 2, "{seen:?}");
    third.start().await;
    apply(&mut founder.admin, "kept").await;

    // The founder leads.
    assert!(founder.handle.standing().borrow().leads());
    let mut left = people(&[second.address(), third.address()], &identity);
    assert!(remove(&mut left, 1).await.unwrap());
    voters(&mut left, 2).await;
    timeout(PATIENCE, founder.handle.failed()).await.unwrap();
    founder.handle.stop().await;
    assert!(stacks(&mut left).await.contains("kept"));
    // And down to one, which decides alone.
    let leads = |replica: &Replica| replica.handle.as_ref().unwrap().standing().borrow().leads();
    let (goes, stays) = if leads(&second) { (&third, &second) } else { (&second, &third) };
    let gone = goes.handle.as_ref().unwrap().standing().borrow().id;
    let mut last = people(&[stays.address()], &identity);
    assert!(remove(&mut last, gone).await.unwrap());
    apply(&mut last, "alone").await;
    assert_eq!(rows(&mut last).await.len(), 1);
    for replica in [&mut second, &mut third] {
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_a_new_form_wait_until_every_scheduler_reads_them() {
    // The founder is of the version before.
    let directory = tempfile::tempdir().unwrap();
    let older = crate::Config { form: 1, ..config(directory.path()) };
    let mut handle = start(older.clone()).await.unwrap();
    let listen = handle.address;
    let identity = admin_identity(directory.path());
    let first = handle.advertised.clone();
    let admin = people(std::slice::from_ref(&first), &identity);
    let mut founder = World { directory, handle, admin };
    let second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    let two = second.handle.as_ref().unwrap().standing().borrow().id;
    let refused = remove(&mut founder.admin, two).await.unwrap_err();
    for told in ["needs form 2", "agreed on form 1", "update it"] {
        assert!(refused.message().contains(told), "{refused}");
    }
    // What both understand goes on, whoever leads.
    apply(&mut founder.admin, "both").await;
    let World { directory, handle: stopped, mut admin } = founder;
    stopped.stop().await;
    handle = start(crate::Config { listen, ..older.clone() }).await.unwrap();
    apply(&mut admin, "again").await;

    // Updated, the new form is agreed on by itself.
    handle.stop().await;
    let newer = crate::Config { listen, form: 2, ..older.clone() };
    handle = start(newer.clone()).await.unwrap();
    let noted = async {
        let identity = directory.path().join("identity");
        while !std::fs::read_to_string(&identity).unwrap().contains("form: 2") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, noted).await.expect("the new form is agreed on");
    // Back to the version before is refused, with nothing touched.
    handle.stop().await;
    let names = || {
        let files = walk(directory.path());
        files
            .into_iter()
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect::<Vec<_>>()
    };
    let before = names();
    let refused = start(crate::Config { listen, ..older.clone() }).await.unwrap_err();
    assert!(matches!(refused, StartError::DataDir(_)), "{refused}");
    assert!(refused.to_string().contains("reads up to form 1; nothing was touched"), "{refused}");
    assert_eq!(names(), before);
    handle = start(newer).await.unwrap();
    // An older scheduler is not let in any more.
    let mut founder = World { directory, handle, admin };
    let text = founder.token_text(model::token::Role::Scheduler).await;
    let token = founder.directory.path().join("token");
    std::fs::write(&token, text).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let third = crate::Config {
        form: 1,
        join: Some(first),
        token_file: Some(token),
        ..config(elsewhere.path())
    };
    let refused = start(third).await.unwrap_err().to_string();
    assert!(refused.contains("of an earlier version"), "{refused}");
    founder.handle.stop().await;
    let mut second = second;
    second.stop().await;
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_passed_on_ends_at_once_with_the_scheduler_that_passes_it_on() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let mut second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    let identity = admin_identity(&second.data());
    let mut there = people(&[second.address()], &identity);
    let request = EventsRequest { follow: true, ..EventsRequest::default() };
    let mut events = there.events(request).await.unwrap().into_inner();
    events.message().await.unwrap().expect("an event");
    let (ended, ()) = tokio::join!(
        async {
            loop {
                match events.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("it ends as if all had been said"),
                    Err(status) => return status,
                }
            }
        },
        second.stop(),
    );
    // Cut off after the time for stopping, it would have ended without a word.
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "the scheduler stops"));
    founder.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_was_interrupted_for_too_long_says_that_it_needs_a_new_token() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let mut second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    // Another directory, which began to join with a token that is used by now.
    let elsewhere = tempfile::tempdir().unwrap();
    let began = elsewhere.path().join("joining");
    std::fs::write(began, "ab".repeat(32)).unwrap();
    let data_dir = elsewhere.path().to_owned();
    let config = crate::Config {
        data_dir,
        listen: config(elsewhere.path()).listen,
        ..second.config.clone()
    };
    let refused = start(config.clone()).await.unwrap_err().to_string();
    for told in ["began to join before", "within an hour only", "token create --role scheduler"] {
        assert!(refused.contains(told), "{refused}");
    }
    assert_eq!(refused.matches("hint: ").count(), 1, "{refused}");
    let text = founder.token_text(model::token::Role::Scheduler).await;
    std::fs::write(config.token_file.as_ref().unwrap(), text).unwrap();
    let third = start(config).await.unwrap();
    voters(&mut founder.admin, 3).await;
    third.stop().await;
    second.stop().await;
    founder.handle.stop().await;
}
