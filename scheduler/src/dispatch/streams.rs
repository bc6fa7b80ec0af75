//! One session: an agent's stream from its hello to its end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{
    Generation, Inventory, Liveness, NodeId, TaskId, TaskReport,
    task::{MemorySeen, Telemetry},
};
use prost::Message as _;
use proto::{
    transport::SET_BYTES_MAX,
    v1::{
        Acknowledge, AgentMessage, AssignmentSet, Authorities, Authority, Heartbeat, Hello, Lease,
        SchedulerMessage, Schedulers, VolumesRemoved, agent_message, scheduler_message,
    },
};
use scheduler_core::{Command, Rejection, lease};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tonic::{Status, Streaming};

use super::{Dispatch, sessions::Outbox};
use crate::{
    api::status,
    clock,
    log::{form_of_inventory, inventory_in, reports_in},
    pki,
    refusals::Refused,
};

pub(crate) type Inbound = Streaming<AgentMessage>;
pub(crate) type Outbound = mpsc::Receiver<Result<SchedulerMessage, Status>>;

/// From the stream's begin to the agent's hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages on their way to the agent. Sets are most of them by size: the next waits until all before it are gone.
const OUTBOX: usize = 16;
/// Between two looks whether they are.
const LOOK_AT_OUTBOX: Duration = Duration::from_millis(5);
/// Messages of the agent that wait for the log; when full, the stream is read no further.
const WAITING_MAX: usize = 64;
/// Reports in one message, and in one entry of the log: an agent with more tasks sends several.
const REPORTS_MAX: usize = 1000;
/// Tasks with telemetry in one heartbeat.
const TELEMETRY_MAX: usize = 10_000;
/// A clock this far from ours makes times hard to read and TLS fail when it grows.
const SKEW_WARNING_MS: u64 = 10_000;
/// Between two warnings of the same clock.
const SKEW_EVERY: Duration = Duration::from_mins(10);

/// What an agent says that has to be in the log.
enum Lasting {
    Reports(Vec<TaskReport>),
    Inventory(Box<Inventory>),
    VolumesRemoved(VolumesRemoved),
    /// The number of the authority of its certificate; it trusts all it was told of.
    Holds(u64),
}

struct Waiting {
    sequence: u64,
    what: Lasting,
}

/// Serves the session of `node` in a task of its own; its messages come out of the receiver.
pub(crate) fn serve(dispatch: Arc<Dispatch>, node: NodeId, inbound: Inbound) -> Outbound {
    let (outbox, outbound) = mpsc::channel(OUTBOX);
    tokio::spawn(async move {
        let ended = Box::pin(session(&dispatch, node, inbound, &outbox)).await;
        tracing::info!(%node, reason = ended.message(), "session ended");
        // The agent may be gone already.
        drop(outbox.try_send(Err(ended)));
    });
    outbound
}

/// Runs the session; answers why it ended.
async fn session(
    dispatch: &Dispatch,
    node: NodeId,
    mut inbound: Inbound,
    outbox: &Outbox,
) -> Status {
    let (hello, offered) = match greet(dispatch, node, &mut inbound).await {
        Ok(greeted) => greeted,
        Err(refused) => return refused,
    };
    let ticket = dispatch.sessions.enter(node, hello.life, outbox.clone());
    dispatch.sessions.heard(node);
    dispatch.sessions.heard_again.notify_one();
    tracing::info!(%node, version = hello.version, generation = hello.generation, "session began");
    let (waiting, queue) = mpsc::channel(WAITING_MAX);
    let (beats, renewals) = watch::channel(0);
    let ended = tokio::select! {
        ended = receive(dispatch, node, &mut inbound, (waiting, beats)) => ended,
        ended = renew(dispatch, node, renewals, outbox) => ended,
        ended = record((dispatch, node), offered, queue, outbox) => ended,
        ended = push(dispatch, node, outbox) => ended,
        ended = point(dispatch, outbox) => ended,
        ended = vouch(dispatch, outbox) => ended,
        () = deposed(dispatch) => Status::unavailable("this scheduler does not lead any more"),
        () = ticket.replaced.cancelled() => {
            Status::aborted("the same node opened a newer session")
        }
        () = dispatch.stop.cancelled() => Status::unavailable("the scheduler stops"),
    };
    dispatch.sessions.leave(&ticket);
    ended
}

/// Reads the hello and writes what it offers into the log.
async fn greet(
    dispatch: &Dispatch,
    node: NodeId,
    inbound: &mut Inbound,
) -> Result<(Hello, Offered), Status> {
    let first = timeout(HELLO_TIMEOUT, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the agent sent no hello"))??;
    let Some(AgentMessage { message: Some(agent_message::Message::Hello(hello)), .. }) = first
    else {
        return Err(status::bad_input("the first message of a session must be a hello"));
    };
    dispatch.sessions.check_single(node, hello.life)?;
    let inventory = hello.inventory.clone().ok_or_else(|| status::bad_input("hello.inventory"))?;
    let inventory = inventory.try_into().map_err(status::bad_input)?;
    let mut offered = Offered { address: hello.address.clone(), early: None };
    offered.update(dispatch, node, inventory).await?;
    Ok((hello, offered))
}

/// What the node offers, as it comes into the log.
struct Offered {
    address: String,
    /// Held until every scheduler reads all of it; until then the log has a part.
    early: Option<Inventory>,
}

impl Offered {
    async fn update(
        &mut self,
        dispatch: &Dispatch,
        node: NodeId,
        inventory: Inventory,
    ) -> Result<(), Status> {
        let form = dispatch.log.cluster().form();
        self.early = (form < form_of_inventory(&inventory)).then(|| inventory.clone());
        let inventory = inventory_in(form, inventory);
        let address = self.address.clone();
        let update = Command::UpdateNode { node, inventory, address };
        status::outcome(dispatch.log.propose(None, update).await)?;
        Ok(())
    }

    /// Returns once all of it can be written; never when all of it is.
    async fn is_read_by_all(&self, dispatch: &Dispatch) {
        let mut revision = dispatch.log.revision();
        let needed = self.early.as_ref().map(form_of_inventory);
        while needed.is_none_or(|needed| dispatch.log.cluster().form() < needed) {
            if revision.changed().await.is_err() {
                // Without a log the session ends elsewhere.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Reads the agent's messages: the present is noted at once, the rest waits for the log.
async fn receive(
    dispatch: &Dispatch,
    node: NodeId,
    inbound: &mut Inbound,
    (waiting, beats): (mpsc::Sender<Waiting>, watch::Sender<u64>),
) -> Status {
    let mut warned: Option<Instant> = None;
    loop {
        let message = match inbound.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Status::ok("the agent ended it"),
            Err(error) => return error,
        };
        let sequence = message.sequence;
        let what = match message.message {
            Some(agent_message::Message::Heartbeat(heartbeat)) => {
                if let Err(refused) = beat(dispatch, node, heartbeat, &mut warned) {
                    return refused;
                }
                beats.send_replace(sequence);
                continue;
            }
            Some(agent_message::Message::Hello(_)) => {
                return status::bad_input("a session has one hello");
            }
            Some(other) => match lasting(other) {
                Ok(what) => what,
                Err(refused) => return refused,
            },
            None => return status::bad_input("a message of unknown kind"),
        };
        if waiting.send(Waiting { sequence, what }).await.is_err() {
            return Status::unavailable("the session is ending");
        }
    }
}

fn lasting(message: agent_message::Message) -> Result<Lasting, Status> {
    match message {
        agent_message::Message::Reports(reports) => {
            if reports.reports.len() > REPORTS_MAX {
                let text = format!("a message has at most {REPORTS_MAX} reports");
                return Err(status::bad_input(text));
            }
            let reports = reports.reports.into_iter().map(TaskReport::try_from);
            reports.collect::<Result<_, _>>().map(Lasting::Reports).map_err(status::bad_input)
        }
        agent_message::Message::Inventory(inventory) => {
            inventory.try_into().map(Box::new).map(Lasting::Inventory).map_err(status::bad_input)
        }
        agent_message::Message::VolumesRemoved(removed) => Ok(Lasting::VolumesRemoved(removed)),
        agent_message::Message::Holds(holds) => Ok(Lasting::Holds(holds.authority)),
        agent_message::Message::Hello(_) | agent_message::Message::Heartbeat(_) => {
            Err(status::bad_input("not a message for the log"))
        }
    }
}

fn beat(
    dispatch: &Dispatch,
    node: NodeId,
    heartbeat: Heartbeat,
    warned: &mut Option<Instant>,
) -> Result<(), Status> {
    dispatch.sessions.heard(node);
    let skew = clock::now().0.abs_diff(heartbeat.at);
    if skew > SKEW_WARNING_MS && warned.is_none_or(|last| last.elapsed() > SKEW_EVERY) {
        tracing::warn!(%node, skew_ms = skew, "the node's clock and this scheduler's clock differ");
        *warned = Some(Instant::now());
    }
    if heartbeat.telemetry.len().max(heartbeat.memory.len()) > TELEMETRY_MAX {
        return Err(status::bad_input(format!("telemetry of more than {TELEMETRY_MAX} tasks")));
    }
    let mut telemetry = BTreeMap::new();
    let cluster = dispatch.log.cluster();
    for row in heartbeat.telemetry {
        let (task, measured): (TaskId, Telemetry) = row.try_into().map_err(status::bad_input)?;
        // A node speaks of its own tasks only.
        if cluster.task(task).is_some_and(|task| task.node == Some(node)) {
            telemetry.insert(task, measured);
        }
    }
    let mut seen = Vec::with_capacity(heartbeat.memory.len());
    for row in heartbeat.memory {
        let (task, memory): (TaskId, MemorySeen) = row.try_into().map_err(status::bad_input)?;
        if cluster.task(task).is_some_and(|task| task.node == Some(node)) {
            seen.push((task, memory));
        }
    }
    let ready = cluster.node(node).is_some_and(|node| node.liveness == Liveness::Ready);
    drop(cluster);
    dispatch.sessions.measured(node, telemetry);
    dispatch.sessions.saw(seen);
    if !ready {
        dispatch.sessions.heard_again.notify_one();
    }
    Ok(())
}

/// Writes what waits into the log, together what came together, and acknowledges it.
async fn record(
    (dispatch, node): (&Dispatch, NodeId),
    mut offered: Offered,
    mut queue: mpsc::Receiver<Waiting>,
    outbox: &Outbox,
) -> Status {
    let mut waiting = Vec::new();
    loop {
        let received = tokio::select! {
            received = queue.recv_many(&mut waiting, WAITING_MAX) => received,
            () = offered.is_read_by_all(dispatch) => {
                if let Some(inventory) = offered.early.take()
                    && let Err(failed) = offered.update(dispatch, node, inventory).await
                {
                    return failed;
                }
                continue;
            }
        };
        if received == 0 {
            return Status::ok("the agent ended it");
        }
        let last = waiting.last().map_or(0, |waiting| waiting.sequence);
        if let Err(failed) = write((dispatch, node), &mut offered, waiting.drain(..)).await {
            return failed;
        }
        let acknowledge = scheduler_message::Message::Acknowledge(Acknowledge { sequence: last });
        if outbox.send(Ok(SchedulerMessage { message: Some(acknowledge) })).await.is_err() {
            return Status::ok("the agent is gone");
        }
    }
}

async fn write(
    (dispatch, node): (&Dispatch, NodeId),
    offered: &mut Offered,
    waiting: impl Iterator<Item = Waiting>,
) -> Result<(), Status> {
    let mut reports = Vec::new();
    for waiting in waiting {
        match waiting.what {
            Lasting::Reports(more) => {
                if reports.len() + more.len() > REPORTS_MAX {
                    report(dispatch, node, std::mem::take(&mut reports)).await?;
                }
                reports.extend(more);
            }
            Lasting::Inventory(inventory) => offered.update(dispatch, node, *inventory).await?,
            Lasting::Holds(authority) => {
                let known = dispatch.log.cluster().authorities().map(|held| held.held_by(node));
                if known == Some(authority) {
                    continue;
                }
                let holds = Command::HoldAuthority { node, authority };
                status::outcome(dispatch.log.propose(None, holds).await)?;
            }
            Lasting::VolumesRemoved(VolumesRemoved { volumes, left }) => {
                let removed = Command::ConfirmVolumesRemoved { node, volumes, left };
                status::outcome(dispatch.log.propose(None, removed).await)?;
            }
        }
    }
    if reports.is_empty() { Ok(()) } else { report(dispatch, node, reports).await }
}

async fn report(dispatch: &Dispatch, node: NodeId, reports: Vec<TaskReport>) -> Result<(), Status> {
    let reports = reports_in(dispatch.log.cluster().form(), reports);
    let applied = dispatch
        .log
        .propose(None, Command::ReportTasks { node, reports })
        .await
        .map_err(status::log_error)?;
    match applied.result {
        Ok(_) => Ok(()),
        // The others were taken, and repeating this one would change nothing.
        Err(rejection @ Rejection::NotItsTask { .. }) => {
            if let Some(untold) = dispatch.refusals.note(Refused::Report) {
                tracing::warn!(%node, %rejection, untold, "a report was refused");
            }
            Ok(())
        }
        Err(rejection) => Err(status::rejected(&rejection)),
    }
}

/// Answers the newest heartbeat with leases for the strict singletons of the node, where it has any. What
/// makes them safe stands in [`scheduler_core::lease`].
async fn renew(
    dispatch: &Dispatch,
    node: NodeId,
    mut renewals: watch::Receiver<u64>,
    outbox: &Outbox,
) -> Status {
    loop {
        if renewals.changed().await.is_err() {
            return Status::ok("the agent ended it");
        }
        let sequence = *renewals.borrow_and_update();
        let any = !lease::grant(&dispatch.log.cluster(), node).is_empty();
        if !any || !dispatch.rounds.followed().await {
            continue;
        }
        dispatch.sessions.renews(node, clock::uptime());
        let tasks = lease::grant(&dispatch.log.cluster(), node);
        let tasks = tasks.into_iter().map(TaskId::raw).collect();
        let lease = scheduler_message::Message::Lease(Lease { sequence, tasks });
        if outbox.send(Ok(SchedulerMessage { message: Some(lease) })).await.is_err() {
            return Status::ok("the agent is gone");
        }
    }
}

/// Returns once this scheduler does not lead.
async fn deposed(dispatch: &Dispatch) {
    // When the log is gone altogether, nobody leads here either.
    drop(dispatch.log.standing().wait_for(|standing| !standing.leads()).await);
}

/// Tells the agent where the schedulers are, now and whenever that has changed.
async fn point(dispatch: &Dispatch, outbox: &Outbox) -> Status {
    let mut standing = dispatch.log.standing();
    let mut told = Vec::new();
    loop {
        let news = standing.wait_for(|standing| standing.voters != told).await;
        let Ok(voters) = news.map(|standing| standing.voters.clone()) else {
            return Status::unavailable("the log has ended");
        };
        let addresses = voters.iter().map(|(_, address)| address.clone()).collect();
        told = voters;
        let message = scheduler_message::Message::Schedulers(Schedulers { addresses });
        if outbox.send(Ok(SchedulerMessage { message: Some(message) })).await.is_err() {
            return Status::ok("the agent is gone");
        }
    }
}

/// Tells the agent whom to trust and who signs, now and whenever that has changed; nothing while the first
/// authority was never replaced.
async fn vouch(dispatch: &Dispatch, outbox: &Outbox) -> Status {
    let mut revision = dispatch.log.revision();
    let mut told = None;
    loop {
        revision.mark_unchanged();
        let news = {
            let cluster = dispatch.log.cluster();
            let held = cluster.authorities().filter(|held| told != Some(held.step));
            held.map(|held| Authorities {
                step: held.step,
                issuing: held.issuing(),
                presented: held.presented(),
                trusted: held.trusted.iter().map(public).collect(),
            })
        };
        if let Some(authorities) = news {
            told = Some(authorities.step);
            let message = scheduler_message::Message::Authorities(authorities);
            if outbox.send(Ok(SchedulerMessage { message: Some(message) })).await.is_err() {
                return Status::ok("the agent is gone");
            }
        }
        if revision.changed().await.is_err() {
            return Status::unavailable("the scheduler stops");
        }
    }
}

/// An authority without its key.
fn public(authority: &scheduler_core::cluster::Authority) -> Authority {
    let certificate = pki::pem(&authority.certificate.clone().into());
    Authority { number: authority.number, certificate, key: String::new() }
}

/// For a node whose set has become too long for a message.
fn without_remains(dispatch: &Dispatch, node: NodeId) -> AssignmentSet {
    tracing::warn!(%node, "its set is too long with what ended there, and is sent without");
    AssignmentSet::from(&scheduler_core::assignments_without_remains(&dispatch.log.cluster(), node))
}

/// Sends the node its complete set, now and whenever it has changed.
async fn push(dispatch: &Dispatch, node: NodeId, outbox: &Outbox) -> Status {
    let mut revision = dispatch.log.revision();
    let mut sent: Option<Generation> = None;
    loop {
        // While an agent does not read, only the newest of its sets is worth its memory.
        while outbox.capacity() < outbox.max_capacity() && !outbox.is_closed() {
            sleep(LOOK_AT_OUTBOX).await;
        }
        revision.mark_unchanged();
        let news = {
            let cluster = dispatch.log.cluster();
            if cluster.node(node).is_none() {
                return Status::permission_denied("the node is no member of the cluster any more");
            }
            let changed = sent != Some(cluster.generation(node));
            changed.then(|| scheduler_core::assignments(&cluster, node))
        };
        if let Some(set) = news {
            sent = Some(set.generation);
            let mut wire = AssignmentSet::from(&set);
            if wire.encoded_len() > SET_BYTES_MAX {
                wire = without_remains(dispatch, node);
            }
            if wire.encoded_len() > SET_BYTES_MAX {
                return status::exhausted("bytes in the node's assignments", SET_BYTES_MAX);
            }
            let wire = scheduler_message::Message::Assignments(wire);
            if outbox.send(Ok(SchedulerMessage { message: Some(wire) })).await.is_err() {
                return Status::ok("the agent is gone");
            }
        }
        if revision.changed().await.is_err() {
            return Status::unavailable("the scheduler stops");
        }
    }
}
