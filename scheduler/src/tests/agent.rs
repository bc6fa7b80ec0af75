//! A machine that runs whatever it is given, at once and in its head only.

use std::collections::BTreeMap;

use model::{
    Bytes, Desired, Generation, Health, Inventory, MilliCpu, TaskId, TaskReport, TaskState,
    TaskStatus, token::JoinToken,
};
use proto::{
    transport::{self, Identity, SET_BYTES_MAX},
    v1::{
        AgentMessage, AssignmentSet, Heartbeat, Hello, JoinReply, JoinRequest, OpenRelay, Reports,
        SchedulerMessage, TaskMemory, TaskTelemetry, agent_client::AgentClient, agent_message,
        enrol_client::EnrolClient, scheduler_message,
    },
};
use rcgen::{CertificateParams, KeyPair};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::world::{CONNECT, PATIENCE, World, channel};
use crate::{Handle, clock};

/// Between two heartbeats.
const BEAT: std::time::Duration = std::time::Duration::from_millis(500);

/// Asks to join with `token` as `name`; answers the reply and the key.
pub(super) async fn join(
    handle: &Handle,
    token: &JoinToken,
    name: &str,
) -> Result<(JoinReply, KeyPair), Status> {
    let key = KeyPair::generate().unwrap();
    let reply = join_with(handle, token, name, &key).await?;
    Ok((reply, key))
}

pub(super) async fn join_with(
    handle: &Handle,
    token: &JoinToken,
    name: &str,
    key: &KeyPair,
) -> Result<JoinReply, Status> {
    let open = transport::enrol_channel(&handle.advertised, token.authority, CONNECT).await;
    let request = JoinRequest {
        token_secret: model::token::Hex(&token.secret).to_string(),
        token_id: token.id.raw(),
        csr: csr(key),
        name: name.to_owned(),
        labels: [("role".to_owned(), "test".to_owned())].into(),
        address: "127.0.0.1:7401".to_owned(),
    };
    EnrolClient::new(open.unwrap()).join(request).await.map(tonic::Response::into_inner)
}

pub(super) fn csr(key: &KeyPair) -> Vec<u8> {
    let params = CertificateParams::new(Vec::new()).unwrap();
    params.serialize_request(key).unwrap().der().to_vec()
}

pub(super) fn inventory() -> Inventory {
    Inventory {
        memory: Bytes::gib(4),
        cpu: MilliCpu::cores(4),
        arch: "amd64".to_owned(),
        os: "linux".to_owned(),
        engine: "docker 20.10".to_owned(),
        agent_version: "0.1.0".to_owned(),
        engine_ready: true,
        ..Inventory::default()
    }
}

/// A joined machine.
pub(super) struct Agent {
    pub(super) identity: Identity,
    pub(super) client: AgentClient<Channel>,
    pub(super) node: u64,
    /// Which run of the process it is.
    pub(super) life: u64,
}

impl Agent {
    pub(super) async fn join(world: &mut World, name: &str) -> Self {
        let token = world.token().await;
        let (reply, key) = join(&world.handle, &token, name).await.unwrap();
        let identity = Identity {
            authorities: reply.authorities,
            certificate: reply.certificate,
            key: key.serialize_pem(),
        };
        let client = AgentClient::new(channel(&world.handle, &identity));
        Self { identity, client, node: reply.node, life: 0 }
    }

    /// A machine that joined before.
    pub(super) fn of(world: &World, identity: Identity, node: u64) -> Self {
        let client = AgentClient::new(channel(&world.handle, &identity));
        Self { identity, client, node, life: 0 }
    }

    /// The same machine towards a scheduler that was started again.
    pub(super) fn redial(&mut self, world: &World) {
        self.client = AgentClient::new(channel(&world.handle, &self.identity));
    }

    pub(super) async fn session(&mut self) -> Session {
        self.try_session().await.unwrap()
    }

    pub(super) async fn try_session(&mut self) -> Result<Session, Status> {
        let (outbox, messages) = mpsc::channel(64);
        let hello = Hello {
            version: "0.1.0".to_owned(),
            inventory: Some((&inventory()).into()),
            address: "127.0.0.1:7401".to_owned(),
            generation: 0,
            life: self.life,
        };
        let mut session = Session { outbox, inbox: None, sequence: 0, ran: BTreeMap::new() };
        session.say(agent_message::Message::Hello(hello)).await;
        let mut client = self.client.clone().max_decoding_message_size(SET_BYTES_MAX);
        let inbox = client.session(ReceiverStream::new(messages)).await?;
        session.inbox = Some(inbox.into_inner());
        Ok(session)
    }
}

/// An agent's open session.
#[derive(Debug)]
pub(super) struct Session {
    outbox: mpsc::Sender<AgentMessage>,
    inbox: Option<Streaming<SchedulerMessage>>,
    pub(super) sequence: u64,
    ran: BTreeMap<u64, TaskState>,
}

impl Session {
    pub(super) async fn say(&mut self, message: agent_message::Message) {
        self.sequence += 1;
        let message = AgentMessage { sequence: self.sequence, message: Some(message) };
        self.outbox.send(message).await.unwrap();
    }

    /// What was seen of a task's memory.
    pub(super) async fn tell_memory(&mut self, task: u64, peak: u64, observed_ms: u64) {
        let memory = TaskMemory { task, peak, usual: peak, observed_ms, samples: 1 };
        let at = clock::now().0;
        let heartbeat = Heartbeat { at, telemetry: Vec::new(), memory: vec![memory] };
        self.say(agent_message::Message::Heartbeat(heartbeat)).await;
    }

    pub(super) async fn beat(&mut self, used: &[(u64, u64)]) {
        let telemetry = used.iter().map(|&(task, bytes)| TaskTelemetry {
            task,
            memory_used: Some(bytes),
            pull: None,
        });
        let at = clock::now().0;
        let heartbeat = Heartbeat { at, telemetry: telemetry.collect(), memory: Vec::new() };
        self.say(agent_message::Message::Heartbeat(heartbeat)).await;
    }

    /// Goes on beating until the session ends, as an agent does.
    pub(super) fn keep_beating(&self) {
        let outbox = self.outbox.clone();
        tokio::spawn(async move {
            loop {
                let heartbeat =
                    Heartbeat { at: clock::now().0, telemetry: Vec::new(), memory: Vec::new() };
                let message = Some(agent_message::Message::Heartbeat(heartbeat));
                // Nothing acknowledges a heartbeat, so its number does not matter.
                if outbox.send(AgentMessage { sequence: 0, message }).await.is_err() {
                    return;
                }
                tokio::time::sleep(BEAT).await;
            }
        });
    }

    pub(super) async fn report(&mut self, task: u64, state: TaskState) {
        let status = TaskStatus {
            state,
            sequence: self.sequence + 1,
            health: Health::None,
            container: Some(format!("container-of-{task}")),
            ..TaskStatus::default()
        };
        let report = TaskReport { task: TaskId::new(task), status };
        let reports = Reports { reports: vec![(&report).into()] };
        self.say(agent_message::Message::Reports(reports)).await;
    }

    /// The next message; an error is how the session ended.
    pub(super) async fn next(&mut self) -> Result<scheduler_message::Message, Status> {
        let inbox = self.inbox.as_mut().unwrap();
        let message = timeout(PATIENCE, inbox.message()).await.expect("a message in time")?;
        let message = message.ok_or_else(|| Status::ok("ended"))?;
        Ok(message.message.unwrap())
    }

    /// How it ends.
    pub(super) async fn end(&mut self) -> Status {
        loop {
            if let Err(ended) = self.next().await {
                return ended;
            }
        }
    }

    /// The next set of assignments.
    pub(super) async fn assignments(&mut self) -> AssignmentSet {
        loop {
            if let scheduler_message::Message::Assignments(set) = self.next().await.unwrap() {
                return set;
            }
        }
    }

    /// The next request for a relay.
    pub(super) async fn relay(&mut self) -> OpenRelay {
        loop {
            if let scheduler_message::Message::OpenRelay(relay) = self.next().await.unwrap() {
                return relay;
            }
        }
    }

    /// Waits until everything said so far is durable.
    pub(super) async fn acknowledged(&mut self) {
        loop {
            if let scheduler_message::Message::Acknowledge(acknowledge) = self.next().await.unwrap()
                && acknowledge.sequence >= self.sequence
            {
                return;
            }
        }
    }

    /// Does what is wanted, at once, until `done` says of a set that it is enough.
    pub(super) async fn obey(&mut self, done: impl Fn(&AssignmentSet) -> bool) -> Generation {
        loop {
            let set = self.assignments().await;
            if done(&set) {
                return Generation(set.generation);
            }
            for task in &set.tasks {
                let wanted = if task.desired == i32::from(proto::v1::Desired::from(Desired::Stop)) {
                    TaskState::Stopped
                } else if task.desired == i32::from(proto::v1::Desired::from(Desired::Run)) {
                    TaskState::Running
                } else {
                    continue;
                };
                if self.ran.insert(task.task, wanted) != Some(wanted) {
                    self.report(task.task, wanted).await;
                }
            }
        }
    }

    /// Runs what it is given until `count` tasks have been reported running.
    pub(super) async fn run(&mut self, count: usize) -> Vec<u64> {
        while self.running().len() < count {
            let set = self.assignments().await;
            for task in &set.tasks {
                let run = task.desired == i32::from(proto::v1::Desired::from(Desired::Run));
                if run && self.ran.insert(task.task, TaskState::Running).is_none() {
                    self.report(task.task, TaskState::Running).await;
                }
            }
        }
        self.acknowledged().await;
        self.running()
    }

    fn running(&self) -> Vec<u64> {
        let running = self.ran.iter().filter(|(_, state)| **state == TaskState::Running);
        running.map(|(task, _)| *task).collect()
    }
}
