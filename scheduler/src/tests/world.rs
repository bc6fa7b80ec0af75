//! A scheduler in this process, and the people who talk to it.

use std::{
    iter,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use model::{
    ServiceSpec, StackName, StackSpec,
    token::{JoinToken, Role},
};
use proto::{
    transport::{self, Identity},
    v1::{
        self, ApplyReply, ApplyRequest, CreateTokenRequest, ListTasksRequest, TaskRow,
        control_client::ControlClient,
    },
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::{Code, Response, Status, transport::Channel};

use crate::{Config, ElectionProfile, Handle, LogFormat, StartError, start};

pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// Conditions are waited for this long; nothing here should take more than a second.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// An address that stays a test's own. Its port is none that the system hands out to whoever asks for any: while
/// who has it is restarted, it would be given to a connection of another test.
pub(super) fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 40).unwrap() * 500;
    let mut ports = iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    let port = ports.find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok()).unwrap();
    (Ipv4Addr::LOCALHOST, port).into()
}

pub(super) fn config(directory: &Path) -> Config {
    Config {
        data_dir: directory.to_owned(),
        listen: own_address(),
        advertise: None,
        cluster_name: "home".to_owned(),
        join: None,
        token_file: None,
        metrics_listen: "127.0.0.1:0".parse().unwrap(),
        election: ElectionProfile::Lan,
        unreachable_after: Duration::from_secs(3),
        down_after: Duration::from_secs(8),
        snapshot_every: 2000,
        segment_bytes: crate::log::SEGMENT_BYTES,
        agent_connections: crate::places::AGENTS_MAX,
        needs_every: Duration::from_millis(50),
        form: crate::log::ENTRY_VERSION,
        recover: false,
        from_backup: false,
        log_format: LogFormat::Text,
        log_level: "info".to_owned(),
    }
}

pub(super) struct World {
    pub(super) directory: TempDir,
    pub(super) handle: Handle,
    pub(super) admin: ControlClient<Channel>,
}

pub(super) fn request_id() -> Vec<u8> {
    rand::random::<[u8; 16]>().to_vec()
}

impl World {
    pub(super) async fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await.unwrap()
    }

    pub(super) async fn on(directory: TempDir) -> Result<Self, StartError> {
        let handle = start(config(directory.path())).await?;
        let identity = admin_identity(directory.path());
        let admin = ControlClient::new(channel(&handle, &identity));
        Ok(Self { directory, handle, admin })
    }

    /// Stops the scheduler and starts it again on the same directory.
    pub(super) async fn restart(self) -> Self {
        self.handle.stop().await;
        Self::on(self.directory).await.unwrap()
    }

    pub(super) async fn token_text(&mut self, role: Role) -> String {
        let role = v1::Role::from(role).into();
        let request = CreateTokenRequest { request_id: request_id(), role, ttl_ms: 60_000 };
        answer(async || self.admin.create_token(request.clone()).await).await.token
    }

    pub(super) async fn token(&mut self) -> JoinToken {
        self.token_text(Role::Node).await.parse().unwrap()
    }

    pub(super) async fn apply(&mut self, spec: &StackSpec) -> Result<ApplyReply, Status> {
        let request =
            ApplyRequest { request_id: request_id(), spec: Some(spec.into()), basis: None };
        self.admin.apply(request).await.map(Response::into_inner)
    }

    pub(super) async fn tasks(&mut self) -> Vec<TaskRow> {
        let request = ListTasksRequest::default();
        self.admin.list_tasks(request).await.unwrap().into_inner().tasks
    }
}

/// What is answered to a question, or to the same change asked again. Where several decide there is no answer while one
/// of them is made the leader, which on a busy machine happens at any time.
pub(super) async fn answer<T>(mut ask: impl AsyncFnMut() -> Result<Response<T>, Status>) -> T {
    let mut last = None;
    let asked = async {
        loop {
            match ask().await {
                Ok(answer) => return answer.into_inner(),
                Err(status) if status.code() == Code::Unavailable => last = Some(status),
                Err(status) => panic!("{status}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let answered = timeout(PATIENCE, asked).await;
    answered.unwrap_or_else(|_| panic!("no answer: {last:?}"))
}

pub(super) fn admin_identity(directory: &Path) -> Identity {
    let read = |file: &str| std::fs::read_to_string(directory.join("pki").join(file)).unwrap();
    // Behind the certificate stands its checksum.
    let authorities = read("ca.crt").split("checksum").next().unwrap().to_owned();
    Identity { authorities, certificate: read("admin.crt"), key: read("admin.key") }
}

pub(super) fn channel(handle: &Handle, identity: &Identity) -> Channel {
    transport::channel(std::slice::from_ref(&handle.advertised), identity, CONNECT).unwrap()
}

pub(super) fn stack(name: &str, services: &[(&str, u32)]) -> StackSpec {
    let service = |(name, replicas): &(&str, u32)| {
        let spec = ServiceSpec { replicas: *replicas, ..ServiceSpec::new("busybox:1") };
        (name.parse().unwrap(), spec)
    };
    StackSpec {
        name: StackName::new(name).unwrap(),
        services: services.iter().map(service).collect(),
        volumes: std::collections::BTreeMap::new(),
        networks: std::collections::BTreeMap::new(),
    }
}
