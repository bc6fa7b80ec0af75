//! Logs, commands and connections for people elsewhere: the scheduler asks for a stream, the agent opens it.
//!
//! **Invariant:** when a stream ends, so does the command or connection it was opened for. Each relay has a connection
//! of its own: what nobody reads fills that up, and nothing else.

mod forward;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use model::{TaskId, Timestamp, story};
use parking_lot::Mutex;
use proto::transport::{self, Identity, TransportError};
use proto::v1::{
    ExecOptions, LogLine as WireLine, LogOptions, OpenRelay, RelayFrame, Resize,
    agent_client::AgentClient, open_relay::What, relay_frame::Frame,
};
use tokio::{
    io::AsyncWriteExt as _,
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Streaming, transport::Channel};

use crate::{
    board::Board,
    runtime::{ContainerId, Exec, ExecId, ExecRequest, LogQuery, Output, Runtime, RuntimeError},
};

/// Streams at one time: people, and scripts that follow every log of a stack.
const MOST: usize = 128;
/// Frames on their way out: a slow reader holds the container's pipe back, not our memory.
const OUTBOUND: usize = 16;
/// The longest piece of a line in one frame.
const PIECE: usize = 64 << 10;
/// How long a scheduler may take to accept a stream.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// How long a scheduler may take to read the last frames and end the stream.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// How often, and how often at most, an exit code is asked for once the output has ended.
const EXIT_LOOK: Duration = Duration::from_millis(100);
const EXIT_LOOKS: u32 = 20;

/// Where a relay is asked for, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) schedulers: Vec<String>,
    pub(crate) identity: Identity,
}

impl Way {
    fn dial(&self) -> Result<Channel, TransportError> {
        transport::channel(&self.schedulers, &self.identity, OPEN_LIMIT)
    }
}

/// What closes the relays that are open, each by its number with what tells it from another that had
/// the same: a scheduler that was started again counts anew.
type Closers = BTreeMap<u64, (Arc<()>, CancellationToken)>;

/// The relays of an agent. They outlive the session they were asked for in until their own streams
/// end: only so a command that lost its listener is ended, too.
pub(crate) struct Relays<R> {
    runtime: Arc<R>,
    board: Arc<Board>,
    places: Arc<Semaphore>,
    /// When the agent stops, commands end with it.
    stop: CancellationToken,
    running: TaskTracker,
    closers: Arc<Mutex<Closers>>,
}

impl<R: Runtime> Relays<R> {
    pub(crate) fn new(
        runtime: Arc<R>,
        board: Arc<Board>,
        stop: CancellationToken,
        running: TaskTracker,
    ) -> Self {
        let (places, closers) = (Arc::new(Semaphore::new(MOST)), Arc::default());
        Self { runtime, board, places, stop, running, closers }
    }

    /// Opens what was asked for, beside everything else.
    pub(crate) fn open(&self, way: &Way, asked: OpenRelay) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            // The person is told by the scheduler, which waits for the stream in vain.
            tracing::warn!(relay = asked.relay, "a relay is refused: {MOST} are open");
            return;
        };
        let channel = match way.dial() {
            Ok(channel) => channel,
            Err(error) => {
                tracing::warn!(relay = asked.relay, %error, "a relay is refused");
                return;
            }
        };
        let relay = asked.relay;
        let (runtime, closed, mark) =
            (Arc::clone(&self.runtime), self.stop.child_token(), Arc::new(()));
        let closers = Arc::clone(&self.closers);
        closers.lock().insert(relay, (Arc::clone(&mark), closed.clone()));
        let container = self.board.container(TaskId::new(asked.task));
        self.running.spawn(async move {
            if let Err(error) = serve(channel, &*runtime, container, asked, &closed).await {
                tracing::debug!(relay, why = %error.message(), "a relay ended early");
            }
            let mut closers = closers.lock();
            if closers.get(&relay).is_some_and(|(held, _)| Arc::ptr_eq(held, &mark)) {
                closers.remove(&relay);
            }
            drop(place);
        });
    }

    /// Ends a relay that nobody needs any more; one that has ended stays so.
    pub(crate) fn close(&self, relay: u64) {
        if let Some((_, closed)) = self.closers.lock().get(&relay) {
            closed.cancel();
        }
    }
}

type Frames = mpsc::Sender<RelayFrame>;

async fn serve<R: Runtime>(
    channel: Channel,
    runtime: &R,
    container: Option<ContainerId>,
    asked: OpenRelay,
    stop: &CancellationToken,
) -> Result<(), tonic::Status> {
    let (frames, outgoing) = mpsc::channel(OUTBOUND);
    // The first frame says which relay this is; the queue is empty, so there is room.
    drop(frames.send(RelayFrame { relay: asked.relay, frame: None }).await);
    let mut client = AgentClient::new(channel);
    let opened = timeout(OPEN_LIMIT, client.relay(ReceiverStream::new(outgoing))).await;
    let opened = opened.map_err(|_| tonic::Status::deadline_exceeded("no answer"))?;
    let mut inbound = opened?.into_inner();
    let done = match (container, asked.what) {
        (None, _) => {
            say(&frames, Frame::Error("the task has no container on this node".to_owned())).await;
            Ok(())
        }
        (Some(container), Some(What::Logs(options))) => {
            tokio::select! {
                done = logs(runtime, &container, options, &frames) => done,
                () = gone(&mut inbound) => Ok(()),
                () = stop.cancelled() => return Ok(()),
            }
        }
        (Some(container), Some(What::Exec(options))) => {
            // Dropping what it waits for does not end a command, so this one sees to its end.
            exec(runtime, &container, options, (&frames, &mut inbound), stop).await
        }
        (Some(container), Some(What::Forward(options))) => {
            let ends = (&frames, &mut inbound);
            forward::forward(runtime, &container, options, ends, stop).await
        }
        (Some(_), None) => Err(RuntimeError::Refused {
            message: "this agent does not know what was asked for: it may be of an earlier version"
                .to_owned(),
        }),
    };
    if let Err(error) = done {
        say(&frames, Frame::Error(story(&error))).await;
    }
    // A stream that is dropped while its last frames are under way is reset, and they are lost.
    drop(frames);
    let closed = timeout(CLOSE_LIMIT, gone(&mut inbound));
    let _ = stop.run_until_cancelled(closed).await;
    Ok(())
}

/// Sends a frame; false when nobody reads any more.
async fn say(frames: &Frames, frame: Frame) -> bool {
    frames.send(RelayFrame { relay: 0, frame: Some(frame) }).await.is_ok()
}

/// Returns when the other side has ended the stream.
async fn gone(inbound: &mut Streaming<RelayFrame>) {
    while let Ok(Some(_)) = inbound.message().await {}
}

async fn logs<R: Runtime>(
    runtime: &R,
    container: &ContainerId,
    options: LogOptions,
    frames: &Frames,
) -> Result<(), RuntimeError> {
    let query = LogQuery {
        follow: options.follow,
        since: options.since.map(Timestamp),
        tail: options.tail,
    };
    let mut lines = runtime.logs(container, query);
    while let Some(line) = lines.next().await {
        let line = line?;
        // An empty line is a line too.
        let pieces =
            if line.text.is_empty() { vec![&[][..]] } else { line.text.chunks(PIECE).collect() };
        for piece in pieces {
            let sent = WireLine { at: line.at.0, stderr: line.stderr, text: piece.to_vec() };
            if !say(frames, Frame::Log(sent)).await {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn exec<R: Runtime>(
    runtime: &R,
    container: &ContainerId,
    options: ExecOptions,
    (frames, inbound): (&Frames, &mut Streaming<RelayFrame>),
    stop: &CancellationToken,
) -> Result<(), RuntimeError> {
    let ExecOptions { command, tty, stdin, width, height } = options;
    let Exec { id, mut output, input: stdin_pipe } =
        runtime.exec(container, &ExecRequest { command, tty, stdin }).await?;
    if tty {
        resize(runtime, &id, &Resize { width, height }).await;
    }
    let draining = async {
        while let Some(piece) = output.next().await {
            let frame = match piece? {
                Output::Stdout(bytes) => Frame::Stdout(bytes),
                Output::Stderr(bytes) => Frame::Stderr(bytes),
            };
            if !say(frames, frame).await {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let ended = tokio::select! {
        drained = draining => drained,
        () = feed(runtime, &id, stdin_pipe, inbound) => Ok(false),
        () = frames.closed() => Ok(false),
        () = stop.cancelled() => Ok(false),
    };
    if ended.as_ref().is_ok_and(|ended| *ended)
        && let Some(code) = exit_code(runtime, &id).await?
    {
        say(frames, Frame::ExitCode(code)).await;
        return Ok(());
    }
    // Nobody listens any more, or the output broke off: the command must not go on unseen.
    runtime.end_exec(&id).await?;
    ended.map(|_| ())
}

/// The exit code of a command whose output has ended; the engine may tell it a little later.
async fn exit_code<R: Runtime>(runtime: &R, id: &ExecId) -> Result<Option<i64>, RuntimeError> {
    for _ in 0..EXIT_LOOKS {
        if let Some(code) = runtime.exit_code(id).await? {
            return Ok(Some(code));
        }
        sleep(EXIT_LOOK).await;
    }
    Ok(None)
}

/// Passes on what the person types; returns when the stream ends.
async fn feed<R: Runtime>(
    runtime: &R,
    id: &ExecId,
    mut input: std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>>,
    inbound: &mut Streaming<RelayFrame>,
) {
    let (typed, mut queue) = mpsc::channel::<Option<Vec<u8>>>(OUTBOUND);
    let writing = async {
        while let Some(bytes) = queue.recv().await {
            let written = match &bytes {
                Some(bytes) => input.write_all(bytes).await,
                None => input.shutdown().await,
            };
            // A command that closed its input goes on without it.
            if written.is_err() {
                tracing::debug!("a command takes no more input");
            }
        }
    };
    let reading = async {
        while let Ok(Some(frame)) = inbound.message().await {
            match frame.frame {
                Some(Frame::Stdin(bytes)) => drop(typed.send(Some(bytes)).await),
                Some(Frame::CloseStdin(_)) => drop(typed.send(None).await),
                Some(Frame::Resize(size)) => resize(runtime, id, &size).await,
                // The rest goes the other way.
                _ => {}
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}

/// A terminal that cannot be resized keeps its size.
async fn resize<R: Runtime>(runtime: &R, id: &ExecId, size: &Resize) {
    let chars = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    if size.width == 0 || size.height == 0 {
        return;
    }
    if let Err(error) = runtime.resize(id, chars(size.width), chars(size.height)).await {
        tracing::debug!(%error, "a terminal keeps its size");
    }
}
