//! Logs, exec and forwarded ports: what a task says and is told, relayed by its agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use model::{Desired, NodeId, ServiceName, StackName, Task, TaskId, TaskState};
use proto::v1::{
    CloseStdin, ExecOptions, ExecRequest, ExecTarget, ForwardOptions, ForwardRequest, LogEntry,
    LogOptions, LogsRequest, RelayFrame, open_relay, relay_frame::Frame,
};
use scheduler_core::{Cluster, Rejection};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Duration, sleep},
};
use tonic::{Status, Streaming};

use super::{
    super::{FORWARDS_MAX, Office, status},
    Stream, live,
    writes::{service, stack},
};
use crate::dispatch::{RelayEnds, Relays};

/// Tasks whose logs one call reads; each is a stream of its own.
const TASKS_MAX: usize = 64;
/// Lines on their way to a slow reader; the container's own log keeps the rest.
const LINES_LAG: usize = 64;
/// Frames on their way to a slow terminal.
const FRAMES_LAG: usize = 16;
/// Before a log that ended is asked for again, when it is followed: the task may start once more.
const REOPEN: Duration = Duration::from_secs(1);
/// Words of a command, together with their bytes, that one exec may have.
const COMMAND_WORDS_MAX: usize = 1024;
const COMMAND_BYTES_MAX: usize = 128 << 10;

/// A replica, as people name it: `STACK[/SERVICE[.N]]`.
struct Selection {
    stack: StackName,
    service: Option<ServiceName>,
    slot: Option<u32>,
}

impl Selection {
    fn new(
        stack_name: &str,
        service_name: Option<&str>,
        slot: Option<u32>,
    ) -> Result<Self, Status> {
        let service = service_name.map(service).transpose()?;
        Ok(Self { stack: stack(stack_name)?, service, slot })
    }

    fn check(&self, cluster: &Cluster) -> Result<(), Rejection> {
        let stack = self.stack.clone();
        if cluster.stack(&stack).is_none() {
            return Err(Rejection::UnknownStack(stack));
        }
        let Some(service) = self.service.clone() else { return Ok(()) };
        let Some(known) = cluster.service(&stack, &service) else {
            return Err(Rejection::UnknownService { stack, service });
        };
        let replicas = known.spec.replicas;
        match self.slot {
            Some(slot) if slot > replicas && self.tasks(cluster).next().is_none() => {
                Err(Rejection::UnknownReplica { stack, service, slot, replicas })
            }
            _ => Ok(()),
        }
    }

    fn tasks<'a>(&'a self, cluster: &'a Cluster) -> impl Iterator<Item = &'a Task> {
        cluster.tasks_of(&self.stack).filter(|task| {
            self.service.as_ref().is_none_or(|service| task.service == *service)
                && self.slot.is_none_or(|slot| task.slot == slot)
        })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stack)?;
        if let Some(service) = &self.service {
            write!(f, "/{service}")?;
        }
        self.slot.map_or(Ok(()), |slot| write!(f, ".{slot}"))
    }
}

/// A task with a container whose log can be read.
#[derive(Clone)]
struct Source {
    task: TaskId,
    node: NodeId,
    /// What each of its lines says of where it comes from.
    label: LogEntry,
}

/// The tasks whose logs are meant: those that live and one that failed after them, else the last one
/// of each replica. What was told to stop has left no log.
fn sources(cluster: &Cluster, selection: &Selection) -> Vec<Source> {
    let mut replicas: BTreeMap<(&ServiceName, u32), Vec<&Task>> = BTreeMap::new();
    let remains = |task: &&Task| {
        let gone = task.desired == Desired::Stop && task.status.state.is_over();
        task.status.container.is_some() && !gone
    };
    for task in selection.tasks(cluster).filter(remains) {
        replicas.entry((&task.service, task.slot)).or_default().push(task);
    }
    for tasks in replicas.values_mut() {
        let newest = tasks.iter().map(|task| task.epoch).max();
        tasks.retain(|task| !task.status.state.is_over() || Some(task.epoch) == newest);
    }
    let chosen = replicas.into_values().flatten().filter_map(|task| {
        let node = task.node?;
        let label = LogEntry {
            service: task.service.to_string(),
            replica: task.slot,
            task: task.id.to_string(),
            node: cluster.node_name(node),
            line: None,
            error: None,
        };
        Some(Source { task: task.id, node, label })
    });
    chosen.collect()
}

type Lines = mpsc::Sender<Result<LogEntry, Status>>;

pub(super) async fn logs(
    office: &Arc<Office>,
    request: LogsRequest,
) -> Result<Stream<LogEntry>, Status> {
    let selection = Selection::new(&request.stack, request.service.as_deref(), request.replica)?;
    let options = request.options.unwrap_or_default();
    office.log.barrier().await.map_err(status::log_error)?;
    selection.check(&office.log.cluster()).map_err(|rejection| status::rejected(&rejection))?;
    live::spawn(office, LINES_LAG, move |office, lines| async move {
        if options.follow {
            follow(&office, &selection, options, &lines).await
        } else {
            once(&office, &selection, options, &lines).await
        }
    })
}

async fn once(
    office: &Arc<Office>,
    selection: &Selection,
    options: LogOptions,
    lines: &Lines,
) -> Result<(), Status> {
    let sources = sources(&office.log.cluster(), selection);
    if sources.len() > TASKS_MAX {
        return Err(status::exhausted("logs", TASKS_MAX));
    }
    let mut reading = JoinSet::new();
    for source in sources {
        reading.spawn(read(Arc::clone(office), source, options, lines.clone()));
    }
    while reading.join_next().await.is_some() {}
    Ok(())
}

/// Reads until the reader goes: tasks that come later, and starts that come again, included.
async fn follow(
    office: &Arc<Office>,
    selection: &Selection,
    options: LogOptions,
    lines: &Lines,
) -> Result<(), Status> {
    let mut revision = office.log.revision();
    let mut reading = JoinSet::new();
    // Tasks that were read: since when they are to be read on, `None` while they are being read.
    let mut known: BTreeMap<TaskId, Option<u64>> = BTreeMap::new();
    let mut first = true;
    loop {
        revision.mark_unchanged();
        let (sources, over) = {
            let cluster = office.log.cluster();
            let over = |task: &Task| task.status.state.is_over();
            let over: BTreeSet<TaskId> =
                cluster.tasks().values().filter(|task| over(task)).map(|task| task.id).collect();
            (sources(&cluster, selection), over)
        };
        for source in sources {
            let mut options = options;
            match known.get(&source.task) {
                Some(None) => continue,
                // It writes no more.
                Some(Some(_)) if over.contains(&source.task) => continue,
                Some(Some(since)) => {
                    options = LogOptions { since: Some(*since), tail: None, ..options }
                }
                None if first => {}
                None => options = LogOptions { since: None, tail: None, ..options },
            }
            if reading.len() >= TASKS_MAX {
                return Err(status::exhausted("logs", TASKS_MAX));
            }
            known.insert(source.task, None);
            reading.spawn(read(Arc::clone(office), source, options, lines.clone()));
        }
        first = false;
        tokio::select! {
            Some(ended) = reading.join_next() => {
                if let Ok((task, last)) = ended {
                    known.insert(task, Some(last.saturating_add(1)));
                }
                sleep(REOPEN).await;
            }
            changed = revision.changed() => {
                changed.map_err(|_| Status::unavailable("the scheduler stops"))?;
            }
        }
    }
}

/// Reads the log of one task; answers the time of its last line.
async fn read(
    office: Arc<Office>,
    source: Source,
    options: LogOptions,
    lines: Lines,
) -> (TaskId, u64) {
    let mut last = options.since.map_or(0, |since| since.saturating_sub(1));
    if let Err(failed) = lines_of(&office, &source, options, &lines, &mut last).await {
        let error = Some(failed.message().to_owned());
        // The reader may be gone.
        drop(lines.send(Ok(LogEntry { error, ..source.label })).await);
    }
    (source.task, last)
}

async fn lines_of(
    office: &Office,
    source: &Source,
    options: LogOptions,
    lines: &Lines,
    last: &mut u64,
) -> Result<(), Status> {
    let what = open_relay::What::Logs(options);
    let mut relay = Relays::open(&office.dispatch, source.node, source.task, what).await?;
    while let Some(frame) = relay.next().await? {
        match frame {
            Frame::Log(line) => {
                *last = line.at.max(*last);
                let entry = LogEntry { line: Some(line), ..source.label.clone() };
                if lines.send(Ok(entry)).await.is_err() {
                    return Ok(());
                }
            }
            Frame::Error(text) => return Err(Status::unavailable(text)),
            _ => {}
        }
    }
    Ok(())
}

/// Why a stream whose first message names no task is refused.
const NO_TARGET: &str = "target: missing in the first message";

pub(super) async fn exec(
    office: &Arc<Office>,
    mut input: Streaming<ExecRequest>,
) -> Result<Stream<RelayFrame>, Status> {
    let target = input.message().await?.and_then(|first| first.target);
    let target = target.ok_or_else(|| status::bad_input(NO_TARGET))?;
    let selection = Selection::new(&target.stack, Some(&target.service), target.replica)?;
    let what = open_relay::What::Exec(command(target)?);
    let relay = open(office, &selection, what).await?;
    // A command goes on when there is no more to type.
    let at_end = Some(Frame::CloseStdin(CloseStdin {}));
    live::spawn(office, FRAMES_LAG, move |_, output| {
        pass_on(relay, (input, |message: ExecRequest| message.frame, at_end), output)
    })
}

/// One connection to a port of a task. Its end without a word is that of whoever was connected.
pub(super) async fn port_forward(
    office: &Arc<Office>,
    mut input: Streaming<ForwardRequest>,
) -> Result<Stream<RelayFrame>, Status> {
    let target = input.message().await?.and_then(|first| first.target);
    let target = target.ok_or_else(|| status::bad_input(NO_TARGET))?;
    if !(1..=u32::from(u16::MAX)).contains(&target.port) {
        return Err(status::bad_input(format!("port: {} is no port", target.port)));
    }
    let selection = Selection::new(&target.stack, Some(&target.service), target.replica)?;
    let what = open_relay::What::Forward(ForwardOptions { port: target.port });
    let place = Arc::clone(&office.streams.forwards).try_acquire_owned();
    let place = place.map_err(|_| status::exhausted("forwarded connections", FORWARDS_MAX))?;
    let relay = open(office, &selection, what).await?;
    live::spawn(office, FRAMES_LAG, move |_, output| async move {
        let input = (input, (|message: ForwardRequest| message.frame) as Frames<_>, None);
        let ended = pass_on(relay, input, output).await;
        drop(place);
        ended
    })
}

fn command(target: ExecTarget) -> Result<ExecOptions, Status> {
    let options = target.options.unwrap_or_default();
    let bytes: usize = options.command.iter().map(String::len).sum();
    if options.command.is_empty() {
        return Err(status::bad_input("command: missing"));
    }
    if options.command.len() > COMMAND_WORDS_MAX || bytes > COMMAND_BYTES_MAX {
        let text = format!("command: at most {COMMAND_WORDS_MAX} words, {COMMAND_BYTES_MAX} bytes");
        return Err(status::bad_input(text));
    }
    Ok(options)
}

/// A relay to the first replica that is meant and runs.
async fn open(
    office: &Office,
    selection: &Selection,
    what: open_relay::What,
) -> Result<RelayEnds, Status> {
    office.log.barrier().await.map_err(status::log_error)?;
    let (task, node) = {
        let cluster = office.log.cluster();
        selection.check(&cluster).map_err(|rejection| status::rejected(&rejection))?;
        let running = |task: &&Task| task.status.state == TaskState::Running;
        let newest = selection.tasks(&cluster).filter(running);
        let chosen = newest.min_by_key(|task| (task.slot, std::cmp::Reverse(task.epoch)));
        chosen
            .and_then(|task| Some((task.id, task.node?)))
            .ok_or_else(|| Status::failed_precondition(format!("nothing of `{selection}` runs")))?
    };
    Relays::open(&office.dispatch, node, task, what).await
}

/// What of a message goes to a task.
type Frames<M> = fn(M) -> Option<RelayFrame>;

/// Passes frames on both ways, until one side has ended: what is sent, and what its end means to the task, if it does not end
/// the relay.
async fn pass_on<M>(
    relay: RelayEnds,
    (mut input, frame, at_end): (Streaming<M>, Frames<M>, Option<Frame>),
    output: mpsc::Sender<Result<RelayFrame, Status>>,
) -> Result<(), Status> {
    let to_agent = relay.to_agent.clone();
    tokio::select! {
        ended = say(relay, &output) => ended,
        ended = hear(&mut input, frame, at_end, &to_agent) => ended,
    }
}

/// From the task to the person, until the command has ended.
async fn say(
    mut relay: RelayEnds,
    output: &mpsc::Sender<Result<RelayFrame, Status>>,
) -> Result<(), Status> {
    while let Some(frame) = relay.next().await? {
        let last = matches!(frame, Frame::ExitCode(_) | Frame::Error(_));
        let frame = RelayFrame { relay: 0, frame: Some(frame) };
        if output.send(Ok(frame)).await.is_err() || last {
            return Ok(());
        }
    }
    Err(Status::unavailable("the agent ended the relay before it was told how it ended"))
}

/// From the person to the task.
async fn hear<M>(
    input: &mut Streaming<M>,
    frame: Frames<M>,
    at_end: Option<Frame>,
    to_agent: &mpsc::Sender<Result<RelayFrame, Status>>,
) -> Result<(), Status> {
    while let Some(message) = input.message().await? {
        match frame(message).and_then(|frame| frame.frame) {
            Some(frame @ (Frame::Stdin(_) | Frame::Resize(_) | Frame::CloseStdin(_))) => {
                pass(to_agent, frame).await;
            }
            Some(_) => return Err(status::bad_input("frame: only input goes to a task")),
            None => {}
        }
    }
    let Some(frame) = at_end else { return Ok(()) };
    pass(to_agent, frame).await;
    std::future::pending().await
}

/// To an agent that has ended the relay nothing goes any more; how it ended is what it said last.
async fn pass(to_agent: &mpsc::Sender<Result<RelayFrame, Status>>, frame: Frame) {
    let frame = RelayFrame { relay: 0, frame: Some(frame) };
    if to_agent.send(Ok(frame)).await.is_err() {
        std::future::pending::<()>().await;
    }
}
