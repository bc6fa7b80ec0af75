//! The one long stream to a scheduler: news up, assignments down. When it breaks, another begins;
//! containers do not notice.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use model::{AssignmentSet, Inventory, story};
use proto::{
    transport::{self, SET_BYTES_MAX},
    v1::{
        self, AgentMessage, Heartbeat, Hello, Holds, Reports, SchedulerMessage, VolumesRemoved,
        agent_client::AgentClient, agent_message::Message, scheduler_message,
    },
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    authorities::Told,
    backoff::Backoff,
    board::{Board, Link},
    enrol::now,
    identity::Member,
    lease::{Awake, Granted},
    outbox::{Disposal, Outbox},
    relay::{Relays, Way},
    runtime::{Runtime, clock},
    schedulers::Schedulers,
};

/// From the first packet to a finished handshake, per scheduler.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a scheduler may take to accept a session, or a message in it.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// Heartbeats are judged by schedulers after three of these.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Heartbeats after which reports without an acknowledgement are sent again.
const RESEND_BEATS: u32 = 3;
/// Messages on their way out: a heartbeat and some reports.
const OUTBOUND: usize = 16;
/// Reports in one message, which stays far below the limit of its size.
const REPORTS: usize = 200;
/// Heartbeats whose answer may still come: more than are sent while a lease is good.
const BEATS: usize = 64;
/// How long the first session waits to know what the machine offers.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// What a session needs.
pub(crate) struct Session<R> {
    pub(crate) schedulers: Arc<Schedulers>,
    /// Which of them is asked first.
    pub(crate) turn: usize,
    pub(crate) address: String,
    pub(crate) member: watch::Receiver<Member>,
    /// Whom to trust and who signs, once a scheduler has told.
    pub(crate) told: watch::Sender<Option<Told>>,
    pub(crate) board: Arc<Board>,
    pub(crate) relays: Relays<R>,
}

/// Why a session ended.
#[derive(Debug, Error)]
enum Ended {
    #[error("{}", .0.message())]
    Status(Status),
    #[error(transparent)]
    Transport(#[from] transport::TransportError),
    #[error("the scheduler closed it")]
    Closed,
    #[error("the scheduler takes nothing for {} s", SEND_LIMIT.as_secs())]
    Stuck,
    #[error("the certificate was renewed")]
    Renewed,
    #[error("the agent is stopping")]
    Stopping,
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// Holds one session after the other, for as long as the agent runs.
pub(crate) async fn run<R: Runtime>(mut session: Session<R>) {
    let ready = session.board.inventory.subscribe();
    // A scheduler that is told of a machine without memory has to place elsewhere.
    let _ = timeout(FIRST_LOOK, ready.clone().wait_for(|offered| offered.engine_ready)).await;
    let mut backoff = Backoff::default();
    let mut told = String::new();
    loop {
        let begun = session.board.counted().sessions;
        let ended = session.hold().await;
        session.board.link.send_replace(Link::default());
        if session.board.counted().sessions > begun {
            backoff = Backoff::default();
            told.clear();
        }
        let why = story(&ended);
        // A scheduler may be away for days.
        if why == told {
            tracing::debug!(why, "still no session");
        } else {
            tracing::warn!(why, "no session; what runs goes on, and it is tried again");
            told = why;
        }
        // The scheduler that was tried first may know less than another.
        session.turn = session.turn.wrapping_add(1);
        sleep(backoff.next()).await;
    }
}

/// The way to the scheduler within one session.
struct Outbound {
    messages: mpsc::Sender<AgentMessage>,
    sequence: u64,
    /// Up to here everything unacknowledged is sent again at the next occasion.
    resend_to: u64,
    /// What the clocks showed when heartbeats were sent, for the leases they renew.
    beats: VecDeque<(u64, Awake)>,
}

impl Outbound {
    /// Sends a heartbeat. The clocks are read before anything can hold it up.
    async fn beat(&mut self, heartbeat: Heartbeat) -> Result<(), Ended> {
        if self.beats.len() >= BEATS {
            self.beats.pop_front();
        }
        self.beats.push_back((self.sequence + 1, clock::awake()));
        self.say(Message::Heartbeat(heartbeat)).await
    }

    /// The leases an answer brings; nothing for a heartbeat of long ago.
    fn granted(&self, lease: v1::Lease) -> Option<Granted> {
        let (_, sent) = self.beats.iter().find(|(sequence, _)| *sequence == lease.sequence)?;
        let tasks = lease.tasks.into_iter().map(model::TaskId::new).collect();
        Some(Granted { sent: *sent, tasks })
    }

    async fn say(&mut self, message: Message) -> Result<(), Ended> {
        self.sequence += 1;
        let message = AgentMessage { sequence: self.sequence, message: Some(message) };
        match timeout(SEND_LIMIT, self.messages.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Closed),
            Err(_) => Err(Ended::Stuck),
        }
    }
}

impl<R: Runtime> Session<R> {
    async fn hold(&mut self) -> Ended {
        match self.converse().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, Ended> {
        let identity = self.member.borrow_and_update().identity.clone();
        let schedulers = self.schedulers.from(self.turn);
        let channel = transport::watched_channel(&schedulers, &identity, CONNECT_LIMIT)?;
        let mut way = Way { schedulers: schedulers.clone(), identity };
        let limit = CONNECT_LIMIT * u32::try_from(schedulers.len()).unwrap_or(1) + SEND_LIMIT;
        let (mut outbound, mut inbound) = self.begin(&channel, limit).await?;
        let mut inventory = self.board.inventory.subscribe();
        let mut told = inventory.borrow_and_update().clone();
        self.board.count(|counted| counted.sessions += 1);
        self.board.link.send_replace(Link { connected: true, set: None });
        self.board.outbox(Outbox::begin);
        self.board.begin_telling();
        tracing::info!(node = %self.member.borrow().node, "session with a scheduler began");
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beats = 0_u32;
        loop {
            tokio::select! {
                message = inbound.message() => match message? {
                    Some(message) => {
                        let vouched = matches!(
                            message.message,
                            Some(scheduler_message::Message::Authorities(_))
                        );
                        self.receive(message, &outbound, &way);
                        if vouched {
                            self.hold_out(&mut outbound).await?;
                        }
                    }
                    None => return Err(Ended::Closed),
                },
                () = self.board.news() => self.report(&mut outbound).await?,
                _ = beat.tick() => {
                    beats = beats.wrapping_add(1);
                    if beats.is_multiple_of(RESEND_BEATS) {
                        let overdue = std::mem::replace(&mut outbound.resend_to, outbound.sequence);
                        self.board.outbox(|outbox| outbox.resend(overdue));
                    }
                    outbound.beat(self.heartbeat()).await?;
                }
                () = self.board.lease_wanted() => outbound.beat(self.heartbeat()).await?,
                changed = inventory.changed() => {
                    changed.map_err(|_| Ended::Closed)?;
                    let news = inventory.borrow_and_update().clone();
                    if crate::inventory::differs(&told, &news) {
                        outbound.say(Message::Inventory((&news).into())).await?;
                        told = news;
                    }
                }
                changed = self.member.changed() => {
                    changed.map_err(|_| Ended::Stopping)?;
                    let now = self.member.borrow_and_update().identity.clone();
                    if now.certificate != way.identity.certificate {
                        return Err(Ended::Renewed);
                    }
                    way.identity = now;
                    self.hold_out(&mut outbound).await?;
                }
            }
        }
    }

    /// Opens the stream and says hello.
    async fn begin(
        &self,
        channel: &Channel,
        limit: Duration,
    ) -> Result<(Outbound, Streaming<SchedulerMessage>), Ended> {
        let (messages, outgoing) = mpsc::channel(OUTBOUND);
        let mut outbound = Outbound { messages, sequence: 0, resend_to: 0, beats: VecDeque::new() };
        let offered: Inventory = self.board.inventory.borrow().clone();
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            inventory: Some((&offered).into()),
            address: self.address.clone(),
            generation: self.board.generation().0,
            life: self.board.life(),
        };
        outbound.say(Message::Hello(hello)).await?;
        let mut client = AgentClient::new(channel.clone()).max_decoding_message_size(SET_BYTES_MAX);
        let opened = client.session(ReceiverStream::new(outgoing));
        let opened = timeout(limit, opened).await.map_err(|_| Ended::Stuck)?;
        Ok((outbound, opened?.into_inner()))
    }

    fn heartbeat(&self) -> Heartbeat {
        let telemetry = self.board.telemetry();
        let telemetry =
            telemetry.iter().map(|(task, telemetry)| (*task, telemetry).into()).collect();
        let memory = self.board.tell_memory();
        let memory = memory.iter().map(|(task, seen)| (*task, seen).into()).collect();
        Heartbeat { at: now().0, telemetry, memory }
    }

    async fn report(&self, outbound: &mut Outbound) -> Result<(), Ended> {
        loop {
            let next = outbound.sequence + 1;
            let reports = self.board.outbox(|outbox| outbox.take_reports(next, REPORTS));
            if reports.is_empty() {
                break;
            }
            let reports = reports.iter().map(v1::TaskReport::from).collect();
            outbound.say(Message::Reports(Reports { reports })).await?;
        }
        let next = outbound.sequence + 1;
        let disposed = self.board.outbox(|outbox| outbox.take_disposed(next));
        if !disposed.is_empty() {
            let of = |which| {
                let chosen = disposed.iter().filter(move |(_, disposal)| *disposal == which);
                chosen.map(|(volume, _)| volume.clone()).collect()
            };
            let told = VolumesRemoved { volumes: of(Disposal::Removed), left: of(Disposal::Left) };
            outbound.say(Message::VolumesRemoved(told)).await?;
        }
        Ok(())
    }

    /// Says whose certificate this agent holds, once it trusts all it was told of.
    async fn hold_out(&self, outbound: &mut Outbound) -> Result<(), Ended> {
        let held = self.told.borrow().as_ref().and_then(|told| told.held_by(&self.member.borrow()));
        match held {
            Some(authority) => outbound.say(Message::Holds(Holds { authority })).await,
            None => Ok(()),
        }
    }

    fn receive(&self, message: SchedulerMessage, outbound: &Outbound, way: &Way) {
        match message.message {
            Some(scheduler_message::Message::Assignments(set)) => {
                match AssignmentSet::try_from(set) {
                    Ok(set) => {
                        self.board.link.send_modify(|link| link.set = Some(set));
                    }
                    Err(error) => {
                        tracing::error!(%error, "assignments that cannot be read are ignored");
                    }
                }
            }
            Some(scheduler_message::Message::Acknowledge(acknowledged)) => {
                self.board.outbox(|outbox| outbox.acknowledge(acknowledged.sequence));
            }
            Some(scheduler_message::Message::OpenRelay(relay)) => {
                self.relays.open(way, relay);
            }
            Some(scheduler_message::Message::CloseRelay(relay)) => {
                self.relays.close(relay.relay);
            }
            Some(scheduler_message::Message::Lease(lease)) => {
                if let Some(granted) = outbound.granted(lease) {
                    self.board.granted.send_replace(granted);
                }
            }
            Some(scheduler_message::Message::Schedulers(told)) => {
                self.schedulers.learn(told.addresses);
            }
            Some(scheduler_message::Message::Authorities(told)) => match Told::read(told) {
                Ok(told) => drop(self.told.send_replace(Some(told))),
                Err(why) => tracing::error!(why, "authorities that cannot be used are ignored"),
            },
            // A newer scheduler may say more than this agent knows.
            None => tracing::debug!("a message of an unknown kind is ignored"),
        }
    }
}
