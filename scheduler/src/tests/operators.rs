//! Operators with certificates of their own: added, removed, and shut out at once at every scheduler.

use model::token::Role;
use proto::{
    transport::Identity,
    v1::{
        AddOperatorRequest, EventsRequest, ListOperatorsRequest, ListSchedulersRequest,
        OperatorRow, RemoveOperatorRequest, RenewRequest, StatusRequest,
        control_client::ControlClient,
    },
};
use rcgen::KeyPair;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, transport::Channel};

use super::{
    agent::csr,
    replicas::{Replica, people, voters},
    world::{PATIENCE, World, admin_identity, channel, config, request_id},
};
use crate::{Config, start};

type People = ControlClient<Channel>;

/// Adds an operator; answers what they come with.
async fn add(people: &mut People, name: &str) -> Result<Identity, Status> {
    let key = KeyPair::generate().unwrap();
    let request =
        AddOperatorRequest { request_id: request_id(), name: name.to_owned(), csr: csr(&key) };
    let added = people.add_operator(request).await?.into_inner();
    let (certificate, authorities) = (added.certificate, added.authorities);
    Ok(Identity { authorities, certificate, key: key.serialize_pem() })
}

async fn remove(people: &mut People, name: &str) -> Result<bool, Status> {
    let request = RemoveOperatorRequest { request_id: request_id(), name: name.to_owned() };
    people.remove_operator(request).await.map(|done| done.into_inner().changed)
}

async fn list(people: &mut People) -> Vec<OperatorRow> {
    people.list_operators(ListOperatorsRequest {}).await.unwrap().into_inner().operators
}

fn names(rows: &[OperatorRow]) -> Vec<&str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_operator_is_shut_out_at_once_at_every_scheduler_and_the_others_are_not() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let mut second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    let ada = add(&mut founder.admin, "ada").await.unwrap();
    let bob = add(&mut founder.admin, "bob").await.unwrap();
    let addresses = [first.clone(), second.address()];
    let mut of = Vec::new();
    for address in &addresses {
        let mut there = people(std::slice::from_ref(address), &ada);
        assert_eq!(names(&list(&mut there).await), ["admin", "ada", "bob"]);
        // Something that stays open, and would tell of all that happens.
        let request = EventsRequest { follow: true, ..EventsRequest::default() };
        let events = there.events(request).await.unwrap().into_inner();
        of.push((there, events));
    }
    let rows = list(&mut people(std::slice::from_ref(&first), &bob)).await;
    let own: Vec<_> = rows.iter().filter(|row| row.own).map(|row| row.name.as_str()).collect();
    assert_eq!(own, ["bob"]);
    assert!(rows[0].added_at.is_none() && rows[1].added_at.is_some());
    assert!(rows[1].last_used_at.is_some(), "{rows:?}");

    assert!(remove(&mut founder.admin, "ada").await.unwrap());
    assert!(!remove(&mut founder.admin, "ada").await.unwrap(), "it is done already");
    for (mut there, mut events) in of {
        // What was open ends, and a new connection is told why.
        let ended = async { while let Ok(Some(_)) = events.message().await {} };
        timeout(PATIENCE, ended).await.expect("what was open ends");
        let refused = async {
            loop {
                let status = there.status(StatusRequest {}).await.unwrap_err();
                if status.code() == Code::PermissionDenied {
                    return status;
                }
                // The connection that ended.
                assert_eq!(status.code(), Code::Unavailable, "{status}");
            }
        };
        let status = timeout(PATIENCE, refused).await.expect("it is told");
        assert!(status.message().contains("operator ada was removed"), "{status}");
        for status in [
            there.list_schedulers(ListSchedulersRequest {}).await.unwrap_err(),
            there
                .renew_admin(RenewRequest { csr: csr(&KeyPair::generate().unwrap()) })
                .await
                .unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        }
    }
    for address in &addresses {
        for identity in [&bob, &admin_identity(founder.directory.path())] {
            let mut there = people(std::slice::from_ref(address), identity);
            assert_eq!(names(&list(&mut there).await), ["admin", "bob"]);
        }
    }
    let refused = add(&mut founder.admin, "ada").await.unwrap_err();
    assert!(refused.message().contains("was removed"), "{refused}");
    second.stop().await;
    founder.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_admin_file_is_worth_nothing_once_another_operator_removes_it() {
    let mut world = World::new().await;
    let stolen = admin_identity(world.directory.path());
    let refused = remove(&mut world.admin, "admin").await.unwrap_err();
    assert!(refused.message().contains("admin is the last operator"), "{refused}");
    let ada = add(&mut world.admin, "ada").await.unwrap();
    let mut by_ada = ControlClient::new(channel(&world.handle, &ada));
    assert!(remove(&mut by_ada, "admin").await.unwrap());
    let mut thief = ControlClient::new(channel(&world.handle, &stolen));
    let refused = thief.status(StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    // Whoever may read the scheduler's directory finds another one there.
    let written = async {
        while admin_identity(world.directory.path()).certificate == stolen.certificate {
            sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, written).await.expect("it is written anew");
    let fresh = loop {
        // Its files are written one after the other.
        let identity = admin_identity(world.directory.path());
        if identity.certificate.contains("END CERTIFICATE") {
            break identity;
        }
        sleep(std::time::Duration::from_millis(20)).await;
    };
    let mut owner = ControlClient::new(channel(&world.handle, &fresh));
    let rows = list(&mut owner).await;
    assert_eq!(names(&rows), ["admin-2", "ada"]);
    assert!(rows[0].own);
    assert!(remove(&mut owner, "ada").await.unwrap());
    let refused = remove(&mut owner, "admin-2").await.unwrap_err();
    assert!(refused.message().contains("admin-2 is the last operator"), "{refused}");
    // It stays so when the scheduler starts again.
    let world = world.restart().await;
    let mut owner =
        ControlClient::new(channel(&world.handle, &admin_identity(world.directory.path())));
    assert_eq!(names(&list(&mut owner).await), ["admin-2"]);
    let mut thief = ControlClient::new(channel(&world.handle, &stolen));
    assert_eq!(thief.status(StatusRequest {}).await.unwrap_err().code(), Code::PermissionDenied);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_is_added_once_every_scheduler_understands_it_and_with_a_name_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let older = Config { form: 3, ..config(directory.path()) };
    let handle = start(older).await.unwrap();
    let identity = admin_identity(directory.path());
    let mut admin = ControlClient::new(channel(&handle, &identity));
    let refused = add(&mut admin, "ada").await.unwrap_err();
    assert!(refused.message().contains("form 4"), "{refused}");
    handle.stop().await;
    let handle = start(config(directory.path())).await.unwrap();
    let mut admin = ControlClient::new(channel(&handle, &identity));
    for bad in ["", "Ada", "../x", "a b", "admin", "admin-2", &"x".repeat(64)] {
        let refused = add(&mut admin, bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad}: {refused}");
    }
    let nothing =
        AddOperatorRequest { request_id: request_id(), name: "ada".to_owned(), csr: vec![1, 2] };
    assert_eq!(admin.add_operator(nothing).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(names(&list(&mut admin).await), ["admin"], "nothing was changed");
    // Asked twice, it is done once.
    let key = KeyPair::generate().unwrap();
    let twice =
        AddOperatorRequest { request_id: request_id(), name: "ada".to_owned(), csr: csr(&key) };
    for _ in 0..2 {
        let added = admin.add_operator(twice.clone()).await.unwrap().into_inner();
        assert!(added.certificate.contains("BEGIN CERTIFICATE"));
    }
    let refused = add(&mut admin, "ada").await.unwrap_err();
    assert!(refused.message().contains("there is an operator ada"), "{refused}");
    let refused = remove(&mut admin, "bob").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_the_same_name_as_a_removed_operator_is_none_of_it() {
    let mut world = World::new().await;
    let _ = add(&mut world.admin, "n1").await.unwrap();
    assert!(remove(&mut world.admin, "n1").await.unwrap());
    let mut agent = super::agent::Agent::join(&mut world, "mini-1").await;
    let session = agent.session().await;
    drop(session);
    let _: String = world.token_text(Role::Node).await;
    world.handle.stop().await;
}
