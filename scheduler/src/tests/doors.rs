//! Who gets through which door.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, SystemTime},
};

use model::token::Role;
use proto::{
    transport::{self, Identity},
    v1::{
        ListTasksRequest, RelayFrame, RenewRequest, agent_client::AgentClient,
        control_client::ControlClient,
    },
};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use tonic::{Code, Status, transport::Channel};

use super::{
    agent::{Agent, csr},
    world::{CONNECT, World, admin_identity, channel, config},
};
use crate::{StartError, start};

async fn list(channel: Channel) -> Result<(), Status> {
    ControlClient::new(channel).list_tasks(ListTasksRequest::default()).await.map(drop)
}

async fn relay(channel: Channel) -> Result<(), Status> {
    AgentClient::new(channel).relay(tokio_stream::empty::<RelayFrame>()).await.map(drop)
}

async fn renew(channel: Channel) -> Result<(), Status> {
    let csr = csr(&KeyPair::generate().unwrap());
    AgentClient::new(channel).renew(RenewRequest { csr }).await.map(drop)
}

fn code(result: Result<(), Status>) -> Code {
    result.map_or_else(|status| status.code(), |()| Code::Ok)
}

/// In TLS 1.3 a client learns after its handshake that it was refused: its connection breaks, before
/// or while it sends its first call.
fn never_in(result: Result<(), Status>) -> bool {
    matches!(code(result), Code::Unavailable | Code::Cancelled | Code::Unknown)
}

/// A certificate of the cluster's authority, made with its key by the test.
fn forge(world: &World, role: Role, id: &str, ended_before: Duration) -> Identity {
    let read =
        |file| std::fs::read_to_string(world.directory.path().join("pki").join(file)).unwrap();
    let authority = read("ca.crt");
    let issuer =
        Issuer::from_ca_cert_pem(&authority, KeyPair::from_pem(&read("ca.key")).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let uri = transport::identity_uri(&world.handle.cluster, role, id);
    params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
    let end = SystemTime::now() - ended_before;
    params.not_before = (end - Duration::from_hours(30 * 24)).into();
    params.not_after = end.into();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    Identity { authorities: authority, certificate, key: key.serialize_pem() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_may_call_its_own_service_and_no_other() {
    let mut world = World::new().await;
    let agent = Agent::join(&mut world, "mini-1").await;
    let admin = admin_identity(world.directory.path());
    let read =
        |file| std::fs::read_to_string(world.directory.path().join("pki").join(file)).unwrap();
    let scheduler = Identity {
        authorities: admin.authorities.clone(),
        certificate: read("scheduler.crt"),
        key: read("scheduler.key"),
    };
    let denied = Code::PermissionDenied;
    for (who, identity, controls, serves) in [
        ("admin", &admin, Code::Ok, denied),
        ("node", &agent.identity, denied, Code::Ok),
        ("scheduler", &scheduler, denied, denied),
    ] {
        let channel = channel(&world.handle, identity);
        assert_eq!(code(list(channel.clone()).await), controls, "{who} lists tasks");
        assert_eq!(code(relay(channel.clone()).await), serves, "{who} relays");
        assert_eq!(code(renew(channel).await), serves, "{who} renews");
    }
    let fingerprint = world.token().await.authority;
    let nobody = transport::enrol_channel(&world.handle.advertised, fingerprint, CONNECT).await;
    let nobody = nobody.unwrap();
    for refused in [list(nobody.clone()).await, relay(nobody.clone()).await, renew(nobody).await] {
        assert_eq!(code(refused), Code::Unauthenticated);
    }
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_certificate_is_good_for_renewal_only_and_not_for_ever() {
    let mut world = World::new().await;
    let agent = Agent::join(&mut world, "mini-1").await;
    let node = format!("n{}", agent.node);
    let days = |days: u64| Duration::from_hours(days * 24);
    let ended = channel(&world.handle, &forge(&world, Role::Node, &node, days(90)));
    assert_eq!(code(renew(ended.clone()).await), Code::Ok);
    assert_eq!(code(relay(ended.clone()).await), Code::Unauthenticated);
    assert_eq!(code(list(ended).await), Code::PermissionDenied);
    let admin = channel(&world.handle, &forge(&world, Role::Admin, "admin", days(1)));
    assert_eq!(code(list(admin).await), Code::Unauthenticated);
    let ancient = channel(&world.handle, &forge(&world, Role::Node, &node, days(366)));
    assert!(never_in(renew(ancient).await));
    let stranger = channel(&world.handle, &forge(&world, Role::Node, "n99", days(1)));
    assert_eq!(code(renew(stranger).await), Code::PermissionDenied);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_cluster_is_refused() {
    let world = World::new().await;
    let other = World::new().await;
    let stranger = admin_identity(other.directory.path());
    let own = admin_identity(world.directory.path());
    let mixed = Identity { authorities: own.authorities, ..stranger };
    assert!(never_in(list(channel(&world.handle, &mixed)).await));
    let wrong = transport::enrol_channel(&world.handle.advertised, [7; 32], CONNECT).await;
    assert!(wrong.is_err(), "a wrong authority is found before anything is sent");
    world.handle.stop().await;
    other.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_and_nonsense_get_no_answer_and_harm_nobody() {
    let mut world = World::new().await;
    let address = world.handle.address;
    let answers = tokio::task::spawn_blocking(move || {
        let ask = |bytes: &[u8]| {
            let mut tcp = TcpStream::connect(address).unwrap();
            tcp.write_all(bytes).unwrap();
            let mut answer = Vec::new();
            // A reset is no answer either.
            drop(tcp.read_to_end(&mut answer));
            answer
        };
        [
            ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
            ask(&[0x16; 600]),
            ask(b"PRI * HTTP/2.0\r\n\r\n"),
        ]
    });
    for answer in answers.await.unwrap() {
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert!(world.tasks().await.is_empty());
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_file_is_private_and_follows_the_address() {
    let world = World::new().await;
    let path = world.handle.admin_file();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let identity = admin_identity(world.directory.path());
    let cluster = format!("cluster: \"{}\"\nendpoints:\n", world.handle.cluster);
    assert!(text.starts_with(&cluster), "{text}");
    assert!(text.contains(&format!("\"{}\"", world.handle.advertised)));
    for line in [identity.authorities, identity.certificate, identity.key].concat().lines() {
        assert!(text.contains(&format!("  {line}\n")), "{line}");
    }
    let World { directory, handle, .. } = world;
    handle.stop().await;
    let mut moved = config(directory.path());
    moved.advertise = Some("mini-1.tail.net:7400".to_owned());
    let handle = start(moved).await.unwrap();
    let voters = handle.standing().borrow().voters.clone();
    assert_eq!(voters, [(1, "mini-1.tail.net:7400".to_owned())]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("endpoints:\n  - \"mini-1.tail.net:7400\"\n"), "{text}");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_in_use_emptied_or_asked_for_too_much_is_refused() {
    let world = World::new().await;
    let in_use = start(config(world.directory.path())).await.unwrap_err();
    assert!(in_use.to_string().contains("is used by another"), "{in_use}");
    let World { directory, handle, .. } = world;
    handle.stop().await;
    std::fs::remove_dir_all(directory.path().join("log")).unwrap();
    let emptied = start(config(directory.path())).await.unwrap_err();
    assert!(emptied.to_string().starts_with("known id, empty log"), "{emptied}");
    let fresh = tempfile::tempdir().unwrap();
    let refused = |change: fn(&mut crate::Config)| {
        let mut config = config(fresh.path());
        change(&mut config);
        async move { start(config).await.unwrap_err() }
    };
    let nowhere = refused(|config| {
        config.join = Some("mini-1:7400".to_owned());
        config.token_file = Some("token".into());
        config.listen = "0.0.0.0:0".parse().unwrap();
    });
    let nowhere = nowhere.await;
    assert!(nowhere.to_string().contains("--advertise HOST:PORT"), "{nowhere}");
    for refused in [
        nowhere,
        refused(|config| config.join = Some("mini-1:7400".to_owned())).await,
        refused(|config| config.advertise = Some("mini-1".to_owned())).await,
        refused(|config| config.cluster_name = "Über".to_owned()).await,
    ] {
        assert!(matches!(refused, StartError::Config(_)), "{refused}");
    }
    assert!(!fresh.path().join("identity").exists());
}
