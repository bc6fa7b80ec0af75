//! Streams of what changes: rows of a stack, events.

use std::{sync::Arc, time::Duration};

use model::{NodeId, Revision, ServiceName, StackName};
use proto::v1::{Drain, EventRow, EventsRequest, Rollout, ServiceNote, WatchReply, WatchRequest};
use scheduler_core::{
    Cluster, Rejection,
    view::{self, RolloutView},
};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    super::{Office, STREAMS_MAX, status},
    Stream, nodes, reads,
    writes::stack,
};

/// Between two messages: what changes faster is shown together.
const COALESCE: Duration = Duration::from_millis(50);
/// Telemetry (bytes fetched, memory used) is outside the log and does not announce itself.
const REFRESH: Duration = Duration::from_secs(1);
/// Messages a slow reader may lag behind; then it waits, and gets the newest afterwards.
const LAG: usize = 4;
/// Events on their way to a slow reader.
const EVENTS_LAG: usize = 64;

/// Runs `work`, which feeds the stream, until it is done, the reader is gone or the scheduler stops.
pub(super) fn spawn<T, F>(
    office: &Arc<Office>,
    lag: usize,
    work: impl FnOnce(Arc<Office>, mpsc::Sender<Result<T, Status>>) -> F,
) -> Result<Stream<T>, Status>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let place = Arc::clone(&office.streams.all)
        .try_acquire_owned()
        .map_err(|_| status::exhausted("streams", STREAMS_MAX))?;
    let (sender, receiver) = mpsc::channel(lag);
    let work = work(Arc::clone(office), sender.clone());
    let stop = office.dispatch.stop.clone();
    let mut standing = office.log.standing();
    tokio::spawn(async move {
        let deposed = async {
            drop(standing.wait_for(|standing| !standing.leads()).await);
        };
        let ended = tokio::select! {
            ended = work => ended,
            () = sender.closed() => Ok(()),
            () = stop.cancelled() => Err(Status::unavailable("the scheduler stops")),
            // What it knew would be shown for ever, and nothing new.
            () = deposed => Err(Status::unavailable("this scheduler does not lead any more")),
        };
        if let Err(reason) = ended {
            // The reader may be gone, or so slow that it learns of the end by the end.
            drop(sender.try_send(Err(reason)));
        }
        drop(place);
    });
    Ok(ReceiverStream::new(receiver))
}

fn gone<T>(_: mpsc::error::SendError<T>) -> Status {
    Status::cancelled("the reader is gone")
}

pub(super) async fn watch(
    office: &Arc<Office>,
    request: WatchRequest,
) -> Result<Stream<WatchReply>, Status> {
    let stack = request.stack.as_deref().map(stack).transpose()?;
    let node = match &request.node {
        Some(node) => Some(nodes::named(office, node).await?),
        None => None,
    };
    office.log.barrier().await.map_err(status::log_error)?;
    spawn(office, LAG, move |office, sender| async move {
        let mut revision = office.log.revision();
        let mut last: Option<WatchReply> = None;
        loop {
            revision.mark_unchanged();
            let reply = rows(&office, stack.as_ref(), node);
            let news = last.as_ref().is_none_or(|last| {
                last.tasks != reply.tasks
                    || last.rollout != reply.rollout
                    || last.drain != reply.drain
            });
            if news {
                sender.send(Ok(reply.clone())).await.map_err(gone)?;
                last = Some(reply);
                sleep(COALESCE).await;
            }
            tokio::select! {
                changed = revision.changed() => {
                    changed.map_err(|_| Status::unavailable("the scheduler stops"))?;
                }
                () = sleep(REFRESH) => {}
            }
        }
    })
}

fn rows(office: &Office, stack: Option<&StackName>, node: Option<NodeId>) -> WatchReply {
    let telemetry = office.dispatch.sessions.telemetry();
    let cluster = office.log.cluster();
    let tasks = view::tasks(&cluster, &reads::soft(&telemetry, &reads::led(office)), stack);
    WatchReply {
        revision: cluster.revision().0,
        tasks: tasks.into_iter().map(Into::into).collect(),
        rollout: stack.map(|stack| rollout(view::rollout(&cluster, stack))),
        drain: node.map(|node| drain(&cluster, node)),
    }
}

/// A node that was removed meanwhile has nothing any more.
fn drain(cluster: &Cluster, node: NodeId) -> Drain {
    let Some(node) = cluster.node(node) else { return Drain { ended: true, stays: Vec::new() } };
    let stays = view::drain_stays(cluster, node).into_iter().map(Into::into).collect();
    Drain { ended: node.drain.is_none(), stays }
}

fn rollout(view: RolloutView) -> Rollout {
    let notes = |notes: Vec<(ServiceName, String)>| {
        let note = |(service, why): (ServiceName, _)| ServiceNote { service: service.into(), why };
        notes.into_iter().map(note).collect()
    };
    Rollout {
        settled: view.settled,
        stack_revision: view.stack_revision.0,
        failed: notes(view.failed),
        waiting: notes(view.waiting),
        exists: view.exists,
    }
}

pub(super) async fn events(
    office: &Arc<Office>,
    request: EventsRequest,
) -> Result<Stream<EventRow>, Status> {
    let stack = request.stack.as_deref().map(stack).transpose()?;
    office.log.barrier().await.map_err(status::log_error)?;
    // Who follows may wait for a stack that is yet to come; one that is gone has left its events.
    if let Some(name) = stack.as_ref().filter(|_| !request.follow) {
        let cluster = office.log.cluster();
        let told = |event: &model::Event| event.stack.as_ref() == Some(name);
        if cluster.stack(name).is_none() && !cluster.events().iter().any(told) {
            return Err(status::rejected(&Rejection::UnknownStack(name.clone())));
        }
    }
    spawn(office, EVENTS_LAG, move |office, sender| async move {
        let mut revision = office.log.revision();
        let mut after = Revision(request.after);
        loop {
            revision.mark_unchanged();
            let (rows, seen) = {
                let cluster = office.log.cluster();
                (view::events(&cluster, after), cluster.revision())
            };
            after = after.max(seen);
            for row in rows {
                let wanted =
                    stack.as_ref().is_none_or(|stack| row.stack.as_deref() == Some(stack.as_str()));
                if wanted {
                    sender.send(Ok(row.into())).await.map_err(gone)?;
                }
            }
            if !request.follow {
                return Ok(());
            }
            sleep(COALESCE).await;
            revision.changed().await.map_err(|_| Status::unavailable("the scheduler stops"))?;
        }
    })
}
