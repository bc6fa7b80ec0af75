//! Answers that go on: how a stack comes along, events, logs, commands inside tasks and connections to them.

use model::{
    StackName,
    view::{DrainStay, EventRow, TaskRow},
};
use proto::v1::{self as pb, relay_frame::Frame};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

use super::{Client, RESUME_PAUSE, believe, believe_all, is_passing, missing};
use crate::{
    args::{ServiceTarget, Target},
    error::Error,
};

/// Messages on their way to a remote command: enough that typing never waits, small enough that a
/// fast sender feels a slow receiver.
const INPUT_QUEUE: usize = 16;
/// For how long a stream that broke is asked for again before the cluster counts as unreachable.
const RESUME_FOR: Duration = Duration::from_secs(30);

/// A stack as it is now.
#[derive(Debug, Clone)]
pub struct WatchView {
    /// Its tasks.
    pub tasks: Vec<TaskRow>,
    /// How its way to what is wanted stands.
    pub rollout: Rollout,
}

/// How a stack's way to what is wanted stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Nothing more will happen by itself.
    pub settled: bool,
    /// The stack's revision it is about.
    pub revision: u64,
    /// Services that did not become ready.
    pub failed: Vec<ServiceNote>,
    /// Services that wait for something.
    pub waiting: Vec<ServiceNote>,
    /// False once the stack and all its tasks are gone.
    pub exists: bool,
}

/// A drain as it is now.
#[derive(Debug, Clone)]
pub struct DrainNow {
    /// All tasks of the cluster.
    pub tasks: Vec<TaskRow>,
    /// Nothing more will move.
    pub ended: bool,
    /// What is still on the node.
    pub stays: Vec<DrainStay>,
}

/// Something about a service.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ServiceNote {
    /// Which one.
    pub service: String,
    /// What, in one sentence.
    pub why: String,
}

impl From<pb::ServiceNote> for ServiceNote {
    fn from(note: pb::ServiceNote) -> Self {
        Self { service: note.service, why: note.why }
    }
}

impl From<pb::Rollout> for Rollout {
    fn from(rollout: pb::Rollout) -> Self {
        Self {
            settled: rollout.settled,
            revision: rollout.stack_revision,
            failed: rollout.failed.into_iter().map(Into::into).collect(),
            waiting: rollout.waiting.into_iter().map(Into::into).collect(),
            exists: rollout.exists,
        }
    }
}

/// A stack or a drain, watched; resumes by itself when the connection breaks.
#[derive(Debug)]
pub struct Watch<'a> {
    client: &'a Client,
    question: pb::WatchRequest,
    stream: Option<Streaming<pb::WatchReply>>,
    heard_at: Instant,
}

impl Client {
    /// Watches a stack: how it is now and after each change.
    pub fn watch(&self, stack: &StackName) -> Watch<'_> {
        let stack = Some(stack.to_string());
        let question = pb::WatchRequest { stack, ..pb::WatchRequest::default() };
        Watch { client: self, question, stream: None, heard_at: Instant::now() }
    }

    /// Watches the drain of a machine, and all tasks meanwhile.
    pub fn watch_drain(&self, node: &str) -> Watch<'_> {
        let question = pb::WatchRequest { stack: None, node: Some(node.to_owned()) };
        Watch { client: self, question, stream: None, heard_at: Instant::now() }
    }
}

impl Watch<'_> {
    /// How the stack is after the next change. Never ends by itself.
    pub async fn next(&mut self) -> Result<WatchView, Error> {
        let reply = self.reply().await?;
        let rollout = reply.rollout.ok_or_else(|| missing("the rollout"))?;
        Ok(WatchView { tasks: believe_all(reply.tasks)?, rollout: rollout.into() })
    }

    /// How the drain is after the next change. Never ends by itself.
    pub async fn next_drain(&mut self) -> Result<DrainNow, Error> {
        let reply = self.reply().await?;
        let pb::Drain { ended, stays } = reply.drain.ok_or_else(|| missing("the drain"))?;
        Ok(DrainNow { tasks: believe_all(reply.tasks)?, ended, stays: believe_all(stays)? })
    }

    async fn reply(&mut self) -> Result<pb::WatchReply, Error> {
        loop {
            match self.attempt().await {
                Ok(Some(reply)) => {
                    self.heard_at = Instant::now();
                    return Ok(reply);
                }
                // The scheduler ended the stream, as it does when it stops or steps down.
                Ok(None) => {}
                Err(status) if is_passing(&status) && self.heard_at.elapsed() < RESUME_FOR => {}
                Err(status) => return Err(self.client.failure(status)),
            }
            self.stream = None;
            self.client.try_another();
            sleep(RESUME_PAUSE).await;
        }
    }

    async fn attempt(&mut self) -> Result<Option<pb::WatchReply>, tonic::Status> {
        if self.stream.is_none() {
            let question = self.question.clone();
            self.stream = Some(self.client.control().watch(question).await?.into_inner());
        }
        match &mut self.stream {
            Some(stream) => stream.message().await,
            None => Ok(None),
        }
    }
}

/// Messages as they come, each believed.
#[derive(Debug)]
pub struct Answers<'a, W> {
    client: &'a Client,
    stream: Streaming<W>,
}

impl<W> Answers<'_, W> {
    /// The next message; `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<W>, Error> {
        self.stream.message().await.map_err(|status| self.client.failure(status))
    }
}

impl Answers<'_, pb::EventRow> {
    /// The next event; `None` when there are no more.
    pub async fn next_event(&mut self) -> Result<Option<EventRow>, Error> {
        self.next().await?.map(believe).transpose()
    }
}

impl Client {
    /// What happened after a revision, and with `follow` what happens from now on.
    pub async fn events(
        &self,
        stack: Option<&str>,
        follow: bool,
        after: u64,
    ) -> Result<Answers<'_, pb::EventRow>, Error> {
        let question = pb::EventsRequest { follow, stack: stack.map(str::to_owned), after };
        let stream = self.ask(question, async |mut control, q| control.events(q).await).await?;
        Ok(Answers { client: self, stream })
    }

    /// What tasks write, as it comes.
    pub async fn logs(
        &self,
        target: &Target,
        options: pb::LogOptions,
    ) -> Result<Answers<'_, pb::LogEntry>, Error> {
        let question = pb::LogsRequest {
            stack: target.stack.to_string(),
            service: target.service.as_ref().map(ToString::to_string),
            replica: target.replica,
            options: Some(options),
        };
        let stream = self.ask(question, async |mut control, q| control.logs(q).await).await?;
        Ok(Answers { client: self, stream })
    }

    /// Starts a command inside a task.
    pub async fn exec(
        &self,
        target: &ServiceTarget,
        options: pb::ExecOptions,
    ) -> Result<(ExecInput, RelayOutput<'_>), Error> {
        let (sender, receiver) = mpsc::channel(INPUT_QUEUE);
        let target = pb::ExecTarget {
            stack: target.stack.to_string(),
            service: target.service.to_string(),
            replica: target.replica,
            options: Some(options),
        };
        let first = pb::ExecRequest { target: Some(target), frame: None };
        // The queue is empty: there is room for the first message.
        let _ = sender.try_send(first);
        // A command is started once: the answer to a second attempt would be a second command.
        let call = self.control();
        let stream = { call }.exec(Request::new(ReceiverStream::new(receiver))).await;
        let stream = stream.map_err(|status| self.failure(status))?.into_inner();
        Ok((ExecInput(sender), RelayOutput(Answers { client: self, stream })))
    }

    /// Opens a connection to a port of a task: through whichever scheduler answers, for nothing was sent to the task yet.
    pub async fn port_forward(
        &self,
        target: &ServiceTarget,
        port: u16,
    ) -> Result<(ForwardInput, RelayOutput<'_>), Error> {
        let target = pb::ForwardTarget {
            stack: target.stack.to_string(),
            service: target.service.to_string(),
            replica: target.replica,
            port: port.into(),
        };
        let mut others = self.ways.len().saturating_sub(1);
        loop {
            let (sender, receiver) = mpsc::channel(INPUT_QUEUE);
            let first = pb::ForwardRequest { target: Some(target.clone()), frame: None };
            // The queue is empty: there is room for the first message.
            let _ = sender.try_send(first);
            let mut control = self.control();
            let stream = control.port_forward(Request::new(ReceiverStream::new(receiver)));
            match timeout(self.answer_timeout, stream).await {
                Ok(Ok(stream)) => {
                    let output = Answers { client: self, stream: stream.into_inner() };
                    return Ok((ForwardInput(sender), RelayOutput(output)));
                }
                Ok(Err(status)) if !is_passing(&status) || others == 0 => {
                    return Err(self.failure(status));
                }
                Err(_) if others == 0 => return Err(self.silent()),
                Ok(Err(_)) | Err(_) => {
                    others -= 1;
                    self.try_another();
                }
            }
        }
    }
}

/// What a person types to a remote command.
#[derive(Debug, Clone)]
pub struct ExecInput(mpsc::Sender<pb::ExecRequest>);

impl ExecInput {
    /// Sends a frame; false when the command has ended.
    pub async fn send(&self, frame: Frame) -> bool {
        self.0.send(request(frame)).await.is_ok()
    }

    /// The same from a thread.
    pub fn send_blocking(&self, frame: Frame) -> bool {
        self.0.blocking_send(request(frame)).is_ok()
    }
}

fn request(frame: Frame) -> pb::ExecRequest {
    pb::ExecRequest { target: None, frame: Some(pb::RelayFrame { relay: 0, frame: Some(frame) }) }
}

/// What is sent to a port of a task.
#[derive(Debug)]
pub struct ForwardInput(mpsc::Sender<pb::ForwardRequest>);

impl ForwardInput {
    /// Sends a frame; false when the connection has ended.
    pub async fn send(&self, frame: Frame) -> bool {
        let frame = Some(pb::RelayFrame { relay: 0, frame: Some(frame) });
        self.0.send(pb::ForwardRequest { target: None, frame }).await.is_ok()
    }
}

/// What a remote command, or a port of a task, answers.
#[derive(Debug)]
pub struct RelayOutput<'a>(Answers<'a, pb::RelayFrame>);

impl RelayOutput<'_> {
    /// The next frame; `None` when the connection ended.
    pub async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            match self.0.next().await? {
                Some(pb::RelayFrame { frame: Some(frame), .. }) => return Ok(Some(frame)),
                // A frame of a newer kind.
                Some(pb::RelayFrame { frame: None, .. }) => {}
                None => return Ok(None),
            }
        }
    }
}
