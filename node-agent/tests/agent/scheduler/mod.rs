//! A scheduler in a hundred lines: it lets agents join over TLS, hands out one set, remembers what
//! it is told, and breaks connections on request.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use model::{
    AssignmentSet, Generation, Inventory, NodeId, TaskId, TaskReport, TaskState, TaskStatus,
    Timestamp, TokenId,
    token::{JoinToken, Role},
};
use proto::{
    transport::{SERVER_NAME, identity_uri},
    v1::{
        self, Acknowledge, AgentMessage, JoinReply, JoinRequest, JoinSchedulerReply,
        JoinSchedulerRequest, OpenRelay, RelayFrame, RenewReply, RenewRequest, SchedulerMessage,
        agent_message, agent_server, enrol_server, open_relay, relay_frame::Frame,
        scheduler_message,
    },
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa,
    KeyPair, SanType,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::server::Connected};

use crate::common::until;

pub(crate) const CLUSTER: &str = "c1";
const DAY: Duration = Duration::from_hours(24);

type Issuer = CertifiedIssuer<'static, KeyPair>;

#[derive(Default)]
struct Told {
    statuses: BTreeMap<TaskId, TaskStatus>,
    inventory: Inventory,
    removed: Vec<String>,
    joins: u32,
    sessions: u32,
    heartbeats: u64,
    /// Whenever something was seen of a task's memory: of which, and its peak.
    memory: Vec<(u64, u64)>,
    reports: u32,
    relayed: BTreeMap<u64, Vec<Frame>>,
}

#[derive(Clone)]
struct Shared {
    authority: Arc<Issuer>,
    token: JoinToken,
    told: Arc<Mutex<Told>>,
    set: watch::Sender<AssignmentSet>,
    asked: watch::Sender<Option<OpenRelay>>,
    /// Counts the times everybody was thrown out.
    cut: watch::Sender<u32>,
    acknowledges: watch::Sender<bool>,
}

pub(crate) struct Scheduler {
    shared: Shared,
    pub(crate) address: SocketAddr,
}

/// The set of this generation.
pub(crate) fn set(generation: u64, tasks: Vec<model::Assignment>) -> AssignmentSet {
    AssignmentSet {
        cluster: CLUSTER.to_owned(),
        node: NodeId::new(1),
        generation: Generation(generation),
        stacks: tasks.iter().map(|task| task.stack.clone()).collect(),
        tasks,
        remove_volumes: Vec::new(),
    }
}

impl Scheduler {
    /// A scheduler that listens, with an empty set of generation 1.
    pub(crate) async fn start() -> Self {
        let authority = Arc::new(authority());
        let der: &CertificateDer<'_> = authority.der();
        let hash = <sha2::Sha256 as sha2::Digest>::digest(der);
        let shared = Shared {
            token: JoinToken {
                role: Role::Node,
                id: TokenId::new(1),
                expires_at: Timestamp(u64::MAX / 2),
                authority: hash.into(),
                secret: [7; 32],
            },
            authority,
            told: Arc::default(),
            set: watch::Sender::new(set(1, Vec::new())),
            asked: watch::Sender::new(None),
            cut: watch::Sender::new(0),
            acknowledges: watch::Sender::new(true),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (accepted, incoming) = mpsc::channel(16);
        tokio::spawn(accept(listener, shared.clone(), accepted));
        let server = tonic::transport::Server::builder()
            .add_service(enrol_server::EnrolServer::new(shared.clone()))
            .add_service(agent_server::AgentServer::new(shared.clone()));
        tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
        Self { shared, address }
    }

    pub(crate) fn token(&self) -> JoinToken {
        self.shared.token.clone()
    }

    /// Hands out a set.
    pub(crate) fn assign(&self, set: AssignmentSet) {
        self.shared.set.send_replace(set);
    }

    /// Breaks every connection.
    pub(crate) fn throw_out(&self) {
        self.shared.cut.send_modify(|cut| *cut += 1);
    }

    /// Whether reports are acknowledged.
    pub(crate) fn acknowledge(&self, acknowledges: bool) {
        self.shared.acknowledges.send_replace(acknowledges);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.shared.told()
    }

    pub(crate) fn joins(&self) -> u32 {
        self.told().joins
    }

    pub(crate) fn sessions(&self) -> u32 {
        self.told().sessions
    }

    pub(crate) fn heartbeats(&self) -> u64 {
        self.told().heartbeats
    }

    pub(crate) fn memory(&self) -> Vec<(u64, u64)> {
        self.told().memory.clone()
    }

    pub(crate) fn reports(&self) -> u32 {
        self.told().reports
    }

    pub(crate) fn removed(&self) -> Vec<String> {
        self.told().removed.clone()
    }

    pub(crate) fn inventory(&self) -> Inventory {
        self.told().inventory.clone()
    }

    pub(crate) fn status(&self, task: u64) -> Option<TaskStatus> {
        self.told().statuses.get(&TaskId::new(task)).cloned()
    }

    /// Waits until a task is told to be in this state.
    #[track_caller]
    pub(crate) fn wait_state(
        &self,
        task: u64,
        state: TaskState,
    ) -> impl Future<Output = TaskStatus> {
        self.wait_status(task, move |status| status.state == state)
    }

    /// Waits until a task is told to be so.
    #[track_caller]
    pub(crate) fn wait_status(
        &self,
        task: u64,
        wanted: impl Fn(&TaskStatus) -> bool,
    ) -> impl Future<Output = TaskStatus> {
        let look = move || {
            let found = self.status(task);
            let answer = match found {
                Some(status) if wanted(&status) => Ok(status),
                other => Err(other),
            };
            std::future::ready(answer)
        };
        until(format!("task {task} is told to be so"), look)
    }

    /// Asks the agent for a relay; answers the frames it sends, up to its end.
    pub(crate) async fn relay(&self, relay: u64, task: u64, what: open_relay::What) -> Vec<Frame> {
        self.shared.asked.send_replace(Some(OpenRelay { relay, task, what: Some(what) }));
        until("the relay has ended", || async {
            let told = self.told();
            let frames = told.relayed.get(&relay);
            frames
                .filter(|frames| frames.last() == Some(&Frame::Stdin(Vec::new())))
                .cloned()
                .ok_or("open")
        })
        .await
    }
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sign(&self, request: &[u8]) -> String {
        let der = CertificateSigningRequestDer::from(request);
        let mut request = CertificateSigningRequestParams::from_der(&der).expect("a request");
        let uri = identity_uri(CLUSTER, Role::Node, "n1");
        request.params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a URI"))];
        let now = SystemTime::now();
        request.params.not_before = (now - DAY).into();
        request.params.not_after = (now + 30 * DAY).into();
        request.signed_by(&self.authority).expect("signed").pem()
    }
}

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// Own certificate, the authority behind it as joining agents want it, and a look at the caller's.
fn acceptor(authority: &Issuer) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).expect("parameters");
    let mut params = params;
    let uri = identity_uri(CLUSTER, Role::Scheduler, "1");
    params.subject_alt_names.push(SanType::URI(uri.try_into().expect("a URI")));
    let own = params.signed_by(&key, authority).expect("signed");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("a root");
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let verifier = verifier.allow_unauthenticated().build().expect("a verifier");
    let chain = vec![own.der().clone(), authority.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .expect("a certificate");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, shared: Shared, accepted: mpsc::Sender<io::Result<Io>>) {
    let acceptor = acceptor(&shared.authority);
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, accepted, mut cut) =
            (acceptor.clone(), accepted.clone(), shared.cut.subscribe());
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            cut.mark_unchanged();
            let broken = Box::pin(async move { drop(cut.changed().await) });
            drop(accepted.send(Ok(Io { tls, broken })).await);
        });
    }
}

/// A connection that breaks when everybody is thrown out.
struct Io {
    tls: TlsStream<TcpStream>,
    broken: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Io {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.broken.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => {
                self.broken = Box::pin(std::future::ready(()));
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    }
}

impl Connected for Io {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(context)
    }
}

#[tonic::async_trait]
impl enrol_server::Enrol for Shared {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        self.told().joins += 1;
        let request = request.into_inner();
        let expected = model::token::Hex(&self.token.secret).to_string();
        if request.token_secret != expected || request.token_id != self.token.id.raw() {
            return Err(Status::permission_denied("the join token is not valid in this cluster"));
        }
        Ok(Response::new(JoinReply {
            cluster: CLUSTER.to_owned(),
            node: 1,
            certificate: self.sign(&request.csr),
            authorities: self.authority.pem(),
        }))
    }

    async fn join_scheduler(
        &self,
        _request: Request<JoinSchedulerRequest>,
    ) -> Result<Response<JoinSchedulerReply>, Status> {
        Err(Status::unimplemented("no agent asks"))
    }
}

#[tonic::async_trait]
impl agent_server::Agent for Shared {
    type SessionStream = ReceiverStream<Result<SchedulerMessage, Status>>;
    type RelayStream = ReceiverStream<Result<RelayFrame, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (outbox, outgoing) = mpsc::channel(16);
        tokio::spawn(converse(self.clone(), request.into_inner(), outbox));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn relay(
        &self,
        request: Request<Streaming<RelayFrame>>,
    ) -> Result<Response<Self::RelayStream>, Status> {
        let (inbox, outgoing) = mpsc::channel(16);
        let shared = self.clone();
        tokio::spawn(async move {
            let mut frames = request.into_inner();
            let Ok(Some(first)) = frames.message().await else { return };
            let mut heard = Vec::new();
            while let Ok(Some(frame)) = frames.message().await {
                heard.extend(frame.frame);
            }
            // Nobody sends this one: it marks the end.
            heard.push(Frame::Stdin(Vec::new()));
            shared.told().relayed.insert(first.relay, heard);
            drop(inbox);
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let certificate = self.sign(&request.get_ref().csr);
        Ok(Response::new(RenewReply { certificate, authorities: self.authority.pem() }))
    }
}

async fn converse(
    shared: Shared,
    mut inbox: Streaming<AgentMessage>,
    outbox: mpsc::Sender<Result<SchedulerMessage, Status>>,
) {
    shared.told().sessions += 1;
    let (mut set, mut asked) = (shared.set.subscribe(), shared.asked.subscribe());
    set.mark_changed();
    loop {
        let answer = tokio::select! {
            message = inbox.message() => match message {
                Ok(Some(message)) => hear(&shared, message),
                _ => return,
            },
            changed = set.changed() => {
                let news = v1::AssignmentSet::from(&*set.borrow_and_update());
                changed.ok().map(|()| scheduler_message::Message::Assignments(news))
            }
            changed = asked.changed() => {
                changed.ok();
                asked.borrow_and_update().clone().map(scheduler_message::Message::OpenRelay)
            }
        };
        if let Some(message) = answer
            && outbox.send(Ok(SchedulerMessage { message: Some(message) })).await.is_err()
        {
            return;
        }
    }
}

fn hear(shared: &Shared, message: AgentMessage) -> Option<scheduler_message::Message> {
    let mut told = shared.told();
    match message.message? {
        agent_message::Message::Hello(hello) => {
            told.inventory = hello.inventory?.try_into().expect("an inventory");
        }
        agent_message::Message::Inventory(inventory) => {
            told.inventory = inventory.try_into().expect("an inventory");
        }
        agent_message::Message::Heartbeat(heartbeat) => {
            told.heartbeats += 1;
            told.memory.extend(heartbeat.memory.iter().map(|seen| (seen.task, seen.peak)));
            return None;
        }
        agent_message::Message::Reports(reports) => {
            told.reports += 1;
            for report in reports.reports {
                let TaskReport { task, status } = report.try_into().expect("a report");
                let held = told.statuses.remove(&task).unwrap_or_default();
                told.statuses.insert(task, held.merge(status));
            }
        }
        agent_message::Message::VolumesRemoved(removed) => told.removed.extend(removed.volumes),
        agent_message::Message::Holds(_) => {}
    }
    let sequence = message.sequence;
    let acknowledges = *shared.acknowledges.borrow();
    acknowledges.then_some(scheduler_message::Message::Acknowledge(Acknowledge { sequence }))
}
