//! A machine that runs whatever it is given, at once and in its head only, but speaks as a real one
//! does: its own connection, its own certificate, a heartbeat with telemetry every second.

use std::{collections::BTreeMap, time::Duration};

use proto::{
    transport::{Identity, channel, enrol_channel},
    v1::{
        AgentMessage, Assignment, CreateTokenRequest, Desired, Heartbeat, Hello, Inventory,
        JoinRequest, Reports, Role, SchedulerMessage, TaskReport, TaskState, TaskStatus,
        TaskTelemetry, agent_client::AgentClient, agent_message, control_client::ControlClient,
        enrol_client::EnrolClient, scheduler_message,
    },
};
use rcgen::{CertificateParams, KeyPair};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tonic::{Streaming, transport::Channel};

use crate::way::{CONNECT_TIMEOUT, Way, request_id};

/// Between two heartbeats, as of a real agent.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Reports in one message, as of a real agent.
const REPORTS: usize = 200;
/// What a task is said to use, in bytes.
const USED: u64 = 12 << 20;
/// Messages that wait for the wire.
const OUTBOUND: usize = 64;

/// A token's life, in milliseconds: longer than the joining takes.
const TOKEN_LIFE_MS: u64 = 3_600_000;

/// A machine that has joined.
pub(super) struct Joined {
    identity: Identity,
    endpoints: Vec<String>,
}

/// The SHA-256 of the authority, the secret and the id in `siso1.ROLE.ID.EXPIRES.CA.SECRET`.
fn parts(token: &str) -> ([u8; 32], String, u64) {
    let parts: Vec<&str> = token.trim().split('.').collect();
    let [_, _, id, _, authority, secret] = parts.as_slice() else { panic!("a join token") };
    let mut digest = [0; 32];
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&authority[at..at + 2], 16).expect("a digest");
    }
    let id = id.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().expect("an id");
    (digest, (*secret).to_owned(), id)
}

/// Joins as `name` with a token made for it.
pub(super) async fn join(way: &Way, control: &mut ControlClient<Channel>, name: &str) -> Joined {
    let asked = CreateTokenRequest {
        request_id: request_id(),
        role: Role::Node.into(),
        ttl_ms: TOKEN_LIFE_MS,
    };
    let token = control.create_token(asked).await.expect("a token").into_inner().token;
    let (authority, token_secret, token_id) = parts(&token);
    let key = KeyPair::generate().expect("a key");
    let csr = CertificateParams::new(Vec::new()).expect("parameters").serialize_request(&key);
    let request = JoinRequest {
        token_secret,
        token_id,
        csr: csr.expect("a request").der().to_vec(),
        name: name.to_owned(),
        labels: [("role".to_owned(), "test".to_owned())].into(),
        address: "127.0.0.1:7401".to_owned(),
    };
    let open = enrol_channel(&way.endpoints()[0], authority, CONNECT_TIMEOUT).await;
    let reply = EnrolClient::new(open.expect("a connection")).join(request).await;
    let reply = reply.expect("it may join").into_inner();
    let identity = Identity {
        authorities: reply.authorities,
        certificate: reply.certificate,
        key: key.serialize_pem(),
    };
    Joined { identity, endpoints: way.endpoints().to_vec() }
}

/// What the machine offers: room for 250 tasks of 32 MiB.
fn inventory() -> Inventory {
    Inventory {
        memory: 8 << 30,
        cpu: 8_000,
        arch: "amd64".to_owned(),
        os: "linux".to_owned(),
        engine: "simulated".to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        engine_ready: true,
        ..Inventory::default()
    }
}

struct Session {
    outbox: mpsc::Sender<AgentMessage>,
    sequence: u64,
    /// The last state reported of each task.
    told: BTreeMap<u64, TaskState>,
}

impl Joined {
    /// Holds a session until the scheduler ends it, and answers why it ended.
    pub(super) async fn serve(self) -> String {
        let channel = channel(&self.endpoints, &self.identity, CONNECT_TIMEOUT);
        let mut client = AgentClient::new(channel.expect("a channel"));
        let (outbox, messages) = mpsc::channel(OUTBOUND);
        let mut session = Session { outbox, sequence: 0, told: BTreeMap::new() };
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            inventory: Some(inventory()),
            address: "127.0.0.1:7401".to_owned(),
            generation: 0,
            life: 0,
        };
        session.say(agent_message::Message::Hello(hello)).await;
        let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
        match client.session(messages).await {
            Ok(inbox) => session.converse(inbox.into_inner()).await,
            Err(refused) => refused.to_string(),
        }
    }
}

impl Session {
    async fn converse(mut self, mut inbox: Streaming<SchedulerMessage>) -> String {
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = inbox.message() => match message {
                    Ok(Some(message)) => {
                        if let Some(scheduler_message::Message::Assignments(set)) = message.message {
                            self.obey(&set.tasks).await;
                        }
                    }
                    Ok(None) => return "the scheduler closed it".to_owned(),
                    Err(ended) => return ended.to_string(),
                },
                _ = beat.tick() => self.beat().await,
            }
        }
    }

    async fn say(&mut self, message: agent_message::Message) {
        self.sequence += 1;
        let message = AgentMessage { sequence: self.sequence, message: Some(message) };
        // The stream's end is noticed where it is read.
        let _ = self.outbox.send(message).await;
    }

    async fn beat(&mut self) {
        let running = self.told.iter().filter(|(_, state)| **state == TaskState::Running);
        let telemetry = running
            .map(|(&task, _)| TaskTelemetry { task, memory_used: Some(USED), pull: None })
            .collect();
        let at = now();
        self.say(agent_message::Message::Heartbeat(Heartbeat {
            at,
            telemetry,
            memory: Vec::new(),
        }))
        .await;
    }

    async fn obey(&mut self, tasks: &[Assignment]) {
        self.told.retain(|held, _| tasks.iter().any(|task| task.task == *held));
        let mut reports = Vec::new();
        for task in tasks {
            let state = match task.desired() {
                Desired::Run => TaskState::Running,
                Desired::Prepare => TaskState::Starting,
                Desired::Stop | Desired::Rest | Desired::Unspecified => TaskState::Stopped,
            };
            if self.told.insert(task.task, state) != Some(state) {
                reports.push(report(task.task, state, self.sequence + 1));
            }
        }
        for some in reports.chunks(REPORTS) {
            let reports = Reports { reports: some.to_vec() };
            self.say(agent_message::Message::Reports(reports)).await;
        }
    }
}

fn report(task: u64, state: TaskState, sequence: u64) -> TaskReport {
    let status = TaskStatus {
        state: state.into(),
        sequence,
        health: proto::v1::Health::None.into(),
        // As long as an engine's.
        container: Some(format!("{task:064x}")),
        started_at: Some(now()),
        ..TaskStatus::default()
    };
    TaskReport { task, status: Some(status) }
}

fn now() -> u64 {
    let passed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(passed.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
