//! Relays: bytes between a person and one task, by way of its agent. The agent dials, because
//! schedulers cannot reach it; the scheduler asks it to and waits.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::{NodeId, TaskId};
use parking_lot::Mutex;
use proto::v1::{
    CloseRelay, OpenRelay, RelayFrame, SchedulerMessage, open_relay, relay_frame, scheduler_message,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tonic::{Status, Streaming};

use super::Dispatch;
use crate::api::status;

/// From asking the agent until its stream is there.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// From the agent's stream until its first frame.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(5);
/// Relays at one time: each holds two streams and their buffers.
pub(crate) const RELAYS_MAX: usize = 256;
/// Frames on their way to the agent; it reads them as fast as the task does.
const TO_AGENT: usize = 16;

/// The way to the agent.
pub(crate) type ToAgent = mpsc::Sender<Result<RelayFrame, Status>>;

/// A relay, seen from the scheduler.
pub(crate) struct RelayEnds {
    first: Option<relay_frame::Frame>,
    from_agent: Streaming<RelayFrame>,
    /// What the agent is sent; dropping it tells the agent to end.
    pub(crate) to_agent: ToAgent,
    /// Only while somebody has the relay.
    _closing: Option<Closing>,
}

/// Tells the agent that nobody needs a relay any more. The relay's own stream ends as well, but its end
/// stands behind all that was typed, and the command may read none of it.
struct Closing {
    dispatch: Arc<Dispatch>,
    node: NodeId,
    relay: u64,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let (dispatch, node, relay) = (Arc::clone(&self.dispatch), self.node, self.relay);
        let close = scheduler_message::Message::CloseRelay(CloseRelay { relay });
        let close = SchedulerMessage { message: Some(close) };
        // When the program ends, its agents learn that from their sessions.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            // An agent without a session has lost the streams of its relays, too, or will soon.
            drop(dispatch.sessions.send(node, close).await);
        });
    }
}

impl RelayEnds {
    /// What the agent sends next; `None` when it has ended the relay.
    pub(crate) async fn next(&mut self) -> Result<Option<relay_frame::Frame>, Status> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        loop {
            match self.from_agent.message().await? {
                Some(RelayFrame { frame: Some(frame), .. }) => return Ok(Some(frame)),
                Some(RelayFrame { frame: None, .. }) => {}
                None => return Ok(None),
            }
        }
    }
}

struct Awaited {
    node: NodeId,
    deliver: oneshot::Sender<RelayEnds>,
}

/// The relays that agents were asked for and have not opened yet.
#[derive(Default)]
pub(crate) struct Relays {
    awaited: Mutex<BTreeMap<u64, Awaited>>,
    last: AtomicU64,
}

/// Forgets a relay when nobody waits for it any more.
struct Forget<'a> {
    relays: &'a Relays,
    relay: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.relays.awaited.lock().remove(&self.relay);
    }
}

impl Relays {
    /// Asks the agent of `node` for a relay and waits until it is there.
    pub(crate) async fn open(
        dispatch: &Arc<Dispatch>,
        node: NodeId,
        task: TaskId,
        what: open_relay::What,
    ) -> Result<RelayEnds, Status> {
        let (relays, sessions) = (&dispatch.relays, &dispatch.sessions);
        let relay = relays.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (deliver, arrives) = oneshot::channel();
        {
            let mut awaited = relays.awaited.lock();
            if awaited.len() >= RELAYS_MAX {
                return Err(status::exhausted("relays", RELAYS_MAX));
            }
            awaited.insert(relay, Awaited { node, deliver });
        }
        let ask = OpenRelay { relay, task: task.raw(), what: Some(what) };
        let ask = SchedulerMessage { message: Some(scheduler_message::Message::OpenRelay(ask)) };
        let opened = async {
            sessions.send(node, ask).await?;
            arrives.await.map_err(|_| Status::unavailable("the agent did not open the relay"))
        };
        // Also when whoever asked goes away while it waits.
        let _forget = Forget { relays, relay };
        let opened = timeout(OPEN_TIMEOUT, opened).await.unwrap_or_else(|_| {
            let seconds = OPEN_TIMEOUT.as_secs();
            let text = format!("the agent of node {node} did not answer within {seconds} s");
            Err(Status::unavailable(text))
        });
        let closing = Some(Closing { dispatch: Arc::clone(dispatch), node, relay });
        Ok(RelayEnds { _closing: closing, ..opened? })
    }

    /// Takes the agent's stream and gives it to whoever waits for it. The first frame says who.
    pub(crate) async fn attach(
        &self,
        node: NodeId,
        mut from_agent: Streaming<RelayFrame>,
        to_agent: ToAgent,
    ) {
        let first = match timeout(FIRST_FRAME_TIMEOUT, from_agent.message()).await {
            Ok(Ok(Some(first))) => first,
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => return refuse(&to_agent, Status::deadline_exceeded("no first frame")),
        };
        let awaited = {
            let mut relays = self.awaited.lock();
            // Another node's relay stays with that node.
            let own = relays.get(&first.relay).is_some_and(|awaited| awaited.node == node);
            if own { relays.remove(&first.relay) } else { None }
        };
        match awaited {
            // Whoever asked may have gone; the streams end as they are dropped.
            Some(awaited) => {
                let first = first.frame;
                let ends = RelayEnds { first, from_agent, to_agent, _closing: None };
                drop(awaited.deliver.send(ends));
            }
            None => refuse(&to_agent, Status::not_found("nobody waits for this relay")),
        }
    }

    /// The channel towards the agent.
    pub(crate) fn channel() -> (ToAgent, mpsc::Receiver<Result<RelayFrame, Status>>) {
        mpsc::channel(TO_AGENT)
    }
}

/// The queue is empty so far, so there is room; if not, the agent has gone.
fn refuse(to_agent: &ToAgent, status: Status) {
    drop(to_agent.try_send(Err(status)));
}
