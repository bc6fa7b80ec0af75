//! The transport against a scheduler on loopback whose certificates are made for each test.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use model::token::Role;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{DuplexStream, copy_bidirectional, duplex},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, transport::Server};

use super::*;
use crate::v1::{
    JoinReply, JoinRequest, JoinSchedulerReply, JoinSchedulerRequest,
    enrol_client::EnrolClient,
    enrol_server::{Enrol, EnrolServer},
};

const CLUSTER: &str = "c0ffee";
const LIMIT: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_hours(24);

/// When a certificate is valid, seen from now.
#[derive(Clone, Copy)]
enum Life {
    Current,
    Ended,
    NotBegun,
}

impl Life {
    fn apply(self, params: &mut CertificateParams) {
        let now = SystemTime::now();
        let (begin, end) = match self {
            Self::Current => (now - DAY, now + DAY),
            Self::Ended => (now - 2 * DAY, now - DAY),
            Self::NotBegun => (now + DAY, now + 2 * DAY),
        };
        params.not_before = begin.into();
        params.not_after = end.into();
    }
}

struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "siso test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { certificate: der, pem, issuer: Issuer::new(params, key) }
    }

    fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }

    fn issue(&self, role: Role, id: &str, life: Life) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let names = match role {
            Role::Scheduler => vec![SERVER_NAME.to_owned()],
            Role::Node | Role::Admin => Vec::new(),
        };
        let mut params = CertificateParams::new(names).unwrap();
        let uri = identity_uri(CLUSTER, role, id);
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        life.apply(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn identity(&self, role: Role, id: &str) -> Identity {
        let (certificate, key) = self.issue(role, id, Life::Current);
        Identity {
            authorities: self.pem.clone(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// Answers every join with the cluster `c0ffee`.
struct Joins;

#[tonic::async_trait]
impl Enrol for Joins {
    async fn join(&self, _request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        Ok(Response::new(JoinReply { cluster: CLUSTER.to_owned(), ..JoinReply::default() }))
    }

    async fn join_scheduler(
        &self,
        _request: Request<JoinSchedulerRequest>,
    ) -> Result<Response<JoinSchedulerReply>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}

/// Serves on loopback with `leaf`, presenting `chain` after it and asking for certificates of
/// `clients`. Lives as long as the test's runtime.
async fn serve(
    leaf: (rcgen::Certificate, KeyPair),
    chain: &Authority,
    clients: &Authority,
) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.certificate.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let key = PrivateKeyDer::try_from(leaf.1.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![leaf.0.der().clone(), chain.certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, incoming) = mpsc::channel::<std::io::Result<DuplexStream>>(8);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, connections) = (acceptor.clone(), connections.clone());
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let (mut near, far) = duplex(1 << 16);
                if connections.send(Ok(far)).await.is_ok() {
                    // An end of either side ends the connection; the test looks at the other one.
                    let _ended = copy_bidirectional(&mut tls, &mut near).await;
                }
            });
        }
    });
    tokio::spawn(
        Server::builder()
            .add_service(EnrolServer::new(Joins))
            .serve_with_incoming(ReceiverStream::new(incoming)),
    );
    address
}

/// A scheduler as it should be.
async fn scheduler(authority: &Authority) -> SocketAddr {
    serve(authority.issue(Role::Scheduler, "1", Life::Current), authority, authority).await
}

/// An address where nothing listens.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

/// Calls the scheduler behind `endpoints`; an error is its status code and message.
async fn call(endpoints: &[String], identity: &Identity) -> Result<String, (Code, String)> {
    let channel = channel(endpoints, identity, LIMIT).unwrap();
    let reply = EnrolClient::new(channel).join(JoinRequest::default()).await;
    reply.map(|reply| reply.into_inner().cluster).map_err(|status| (status.code(), reason(&status)))
}

#[tokio::test]
async fn a_member_calls_its_scheduler_and_passes_over_addresses_where_nobody_answers() {
    let authority = Authority::new();
    let address = scheduler(&authority).await;
    let identity = authority.identity(Role::Node, "n3");
    let endpoints = [nobody().await, address.to_string()];
    assert_eq!(call(&endpoints, &identity).await, Ok(CLUSTER.to_owned()));
}

#[tokio::test]
async fn an_address_that_never_answers_holds_up_nobody() {
    let authority = Authority::new();
    let address = scheduler(&authority).await;
    let identity = authority.identity(Role::Node, "n3");
    // Connections to it stand in the system's queue; nobody takes them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoints = [silent.local_addr().unwrap().to_string(), address.to_string()];
    let day = Duration::from_hours(24);
    let channel = watched_channel(&endpoints, &identity, day).unwrap();
    let reply = EnrolClient::new(channel).join(JoinRequest::default()).await.unwrap();
    assert_eq!(reply.into_inner().cluster, CLUSTER);
}

/// The way to it loses what the first connection says.
#[tokio::test]
async fn a_connection_that_gets_nowhere_does_not_keep_another_from_being_tried() {
    let authority = Authority::new();
    let address = scheduler(&authority).await;
    let identity = authority.identity(Role::Node, "n3");
    let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoints = [way.local_addr().unwrap().to_string()];
    tokio::spawn(async move {
        let (_kept, _) = way.accept().await.unwrap();
        let (mut second, _) = way.accept().await.unwrap();
        let mut there = TcpStream::connect(address).await.unwrap();
        let _ended = copy_bidirectional(&mut second, &mut there).await;
    });
    let day = Duration::from_hours(24);
    let channel = watched_channel(&endpoints, &identity, day).unwrap();
    let reply = EnrolClient::new(channel).join(JoinRequest::default()).await.unwrap();
    assert_eq!(reply.into_inner().cluster, CLUSTER);
}

#[tokio::test]
async fn two_authorities_are_believed_while_one_replaces_the_other() {
    let (old, new) = (Authority::new(), Authority::new());
    let address = scheduler(&new).await;
    let mut identity = new.identity(Role::Node, "n3");
    identity.authorities = format!("{}{}", old.pem, new.pem);
    assert_eq!(call(&[address.to_string()], &identity).await, Ok(CLUSTER.to_owned()));
}

#[track_caller]
fn assert_unavailable(answer: Result<String, (Code, String)>, expected: &[&str]) {
    let (code, message) = answer.unwrap_err();
    assert_eq!(code, Code::Unavailable, "{message}");
    for part in expected {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[tokio::test]
async fn a_scheduler_of_another_authority_is_not_believed() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let address = scheduler(&theirs).await;
    let answer = call(&[address.to_string()], &ours.identity(Role::Node, "n3")).await;
    assert_unavailable(answer, &["does not belong to the cluster"]);
}

#[tokio::test]
async fn a_wrong_clock_is_called_a_wrong_clock() {
    let authority = Authority::new();
    let identity = authority.identity(Role::Node, "n3");
    for (life, word) in [(Life::Ended, "ended at 20"), (Life::NotBegun, "not valid before 20")] {
        let leaf = authority.issue(Role::Scheduler, "1", life);
        let address = serve(leaf, &authority, &authority).await;
        let answer = call(&[address.to_string()], &identity).await;
        assert_unavailable(answer, &[word, "check the clocks"]);
        let error = enrol_channel(&address.to_string(), authority.sha256(), LIMIT).await;
        assert!(matches!(error, Err(TransportError::Clock { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn every_failed_address_is_told() {
    let authority = Authority::new();
    let (one, other) = (nobody().await, nobody().await);
    let answer = call(&[one.clone(), other.clone()], &authority.identity(Role::Admin, "ann")).await;
    assert_unavailable(answer, &[&one, &other, "refused"]);
}

#[tokio::test]
async fn a_node_cannot_pose_as_a_scheduler() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
    let uri = identity_uri(CLUSTER, Role::Node, "n7");
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let address = serve((certificate, key), &authority, &authority).await;
    let answer = call(&[address.to_string()], &authority.identity(Role::Node, "n3")).await;
    assert_unavailable(answer, &["that of the node n7"]);
}

#[tokio::test]
async fn who_joins_believes_the_authority_its_token_names() {
    let authority = Authority::new();
    let address = scheduler(&authority).await;
    let channel = enrol_channel(&address.to_string(), authority.sha256(), LIMIT).await.unwrap();
    let reply = EnrolClient::new(channel).join(JoinRequest::default()).await.unwrap();
    assert_eq!(reply.into_inner().cluster, CLUSTER);
}

#[tokio::test]
async fn who_joins_sends_nothing_to_another_authority() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let mut flipped = ours.sha256();
    flipped[31] ^= 1;
    let theirs_address = scheduler(&theirs).await;
    let ours_address = scheduler(&ours).await;
    // An impostor presents our authority but has no certificate from it.
    let impostor = serve(theirs.issue(Role::Scheduler, "1", Life::Current), &ours, &ours).await;
    for (address, hash, expected) in [
        (theirs_address, ours.sha256(), "named by the join token"),
        (ours_address, flipped, "named by the join token"),
        (impostor, ours.sha256(), "does not belong to the cluster"),
    ] {
        match enrol_channel(&address.to_string(), hash, LIMIT).await {
            Err(error @ TransportError::Untrusted { .. }) => {
                assert!(error.to_string().contains(expected), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_before_anything_is_dialled() {
    let authority = Authority::new();
    let good = authority.identity(Role::Admin, "ann");
    let refused = |endpoints: &[&str], identity: &Identity| {
        let endpoints: Vec<String> = endpoints.iter().map(|&text| text.to_owned()).collect();
        channel(&endpoints, identity, LIMIT).unwrap_err().to_string()
    };
    assert_eq!(refused(&[], &good), "no scheduler address is given");
    for bad in
        ["", "host", "host:", ":1", "host:0", "host:65536", "https://host:1", "::1:1", "[x]:1"]
    {
        assert_eq!(refused(&[bad], &good), format!("`{bad}` is not HOST:PORT"));
    }
    let empty = String::new();
    let at = &["[::1]:7700"];
    let no_roots = Identity { authorities: empty.clone(), ..good.clone() };
    assert!(refused(at, &no_roots).contains("cluster's authority"));
    let no_certificate = Identity { certificate: empty.clone(), ..good.clone() };
    assert!(refused(at, &no_certificate).contains("the certificate cannot be used"));
    let no_key = Identity { key: empty, ..good.clone() };
    assert!(refused(at, &no_key).contains("private key"));
    let other_key = Identity { key: authority.identity(Role::Admin, "bob").key, ..good };
    assert!(refused(at, &other_key).contains("certificate with its key"));
    assert!(!format!("{other_key:?}").contains("PRIVATE"));
}

#[test]
fn a_certificate_says_who_holds_it() {
    let authority = Authority::new();
    for (role, id) in [(Role::Node, "n3"), (Role::Scheduler, "1"), (Role::Admin, "ann")] {
        let (certificate, _) = authority.issue(role, id, Life::Current);
        let peer = Peer { cluster: CLUSTER.to_owned(), role, id: id.to_owned() };
        assert_eq!(peer_of(certificate.der()).unwrap(), peer);
    }
}

#[test]
fn a_certificate_that_does_not_say_clearly_who_holds_it_is_refused() {
    let check = |uris: &[&str]| {
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
        for &uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert!(peer_of(certificate.der()).is_err(), "{uris:?}");
    };
    check(&[]);
    check(&["https://c/node/n1"]);
    check(&["siso://c/node/n1", "siso://c/admin/ann"]);
    for bad in ["siso://", "siso://c", "siso://c/node", "siso://c/node/", "siso:///node/n1"] {
        check(&[bad]);
    }
    check(&["siso://c/root/n1"]);
    check(&["siso://c/node/n1/x"]);
    check(&[&format!("siso://c/node/{}", "n".repeat(600))]);
    assert!(peer_of(b"").is_err());
    assert!(peer_of(&[0x30, 0x82, 0xff, 0xff]).is_err());
}

#[tokio::test]
async fn a_scheduler_that_refuses_our_certificate_is_understood() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let address = scheduler(&ours).await;
    for (signer, life, expected) in [
        (&ours, Life::Ended, "check the clocks"),
        (&ours, Life::NotBegun, "check the clocks"),
        (&theirs, Life::Current, "does not accept this machine's certificate"),
    ] {
        let (certificate, key) = signer.issue(Role::Node, "n3", life);
        let identity = Identity {
            authorities: ours.pem.clone(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        };
        let last_words = LastWords::default();
        let tell: Tell = Arc::new(|_, _| ());
        let endpoints = [address.to_string()];
        let channel =
            channel_telling(&endpoints, &identity, LIMIT, tell, last_words.clone()).unwrap();
        // Its own error may say only that the connection is closed.
        drop(EnrolClient::new(channel).join(JoinRequest::default()).await.unwrap_err());
        let text = last_words.take().unwrap();
        assert!(text.contains(expected), "{text}");
        assert_eq!(last_words.take(), None);
    }
}
