//! A container engine in memory, for tests: it keeps the port's contract and misbehaves on request.
//!
//! Its containers understand two commands: `sleep …` runs until it is ended, `sh -c 'exit N'` ends
//! at once with code N. Anything else runs.

mod controls;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use model::{
    Bytes, Health, MilliCpu, TaskId, Timestamp,
    spec::{MountSource, Port},
};
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;

use super::{
    Container, ContainerId, ContainerState, EngineEvent, EngineFacts, Exec, ExecId, ExecRequest,
    Happening, LogLine, LogQuery, Look, Network, OnProgress, Order, Output, Place, PullError,
    Runtime, RuntimeError,
};

/// Events kept for a listener that is behind: far more than a test makes.
const EVENTS_KEPT: usize = 1024;
/// SIGKILL and SIGTERM as exit codes.
const KILLED: i64 = 137;
const TERMINATED: i64 = 143;
/// What an image's id begins with; its name follows.
const ID_OF: &str = "sha256:";
/// What is free once an image is gone.
const IMAGE_SIZE: Bytes = Bytes::gib(10);

/// See the module. Clones share one engine.
#[derive(Debug, Clone)]
pub struct FakeEngine {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<(String, EngineEvent)>,
    /// Counts restarts of the engine: listeners of an earlier one are cut off.
    generation: watch::Sender<u64>,
    clock: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    made: u64,
    images: BTreeSet<String>,
    registry: BTreeMap<String, u32>,
    /// Images that are there for machines of another kind.
    foreign: BTreeSet<String>,
    /// Images whose registry never answers.
    silent: BTreeSet<String>,
    /// With the clusters they were made for; `None` for somebody else's.
    volumes: BTreeMap<String, Option<String>>,
    containers: BTreeMap<ContainerId, Held>,
    networks: BTreeMap<String, (String, Network)>,
    during_look: Hook,
    /// Its size, and what is free.
    disk: (Bytes, Bytes),
    lost_replies: u32,
    failing_starts: u32,
    taken_ports: BTreeSet<u16>,
    /// Containers that are never started any more.
    jammed: BTreeSet<ContainerId>,
    starts: Vec<TaskId>,
    pulls: Vec<String>,
    /// What happened since the engine started, by cluster.
    told: Vec<(String, EngineEvent)>,
}

/// What happens while the engine is asked what there is, once.
#[derive(Default)]
struct Hook(Option<Box<dyn FnOnce() + Send>>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook").field(&self.0.is_some()).finish()
    }
}

#[derive(Debug)]
struct Held {
    cluster: String,
    shown: Container,
    image: String,
    exits_with: Option<i64>,
    log: Vec<LogLine>,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeEngine {
    /// An empty engine that answers.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self {
            state: Arc::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            generation: watch::Sender::new(0),
            clock: Arc::new(AtomicU64::new(u64::try_from(now).unwrap_or_default())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A clock of its own: every look at it is later than the one before.
    fn now(&self) -> Timestamp {
        Timestamp(self.clock.fetch_add(1, Ordering::Relaxed))
    }

    fn answering(&self) -> Result<MutexGuard<'_, State>, RuntimeError> {
        let state = self.lock();
        if state.down {
            let cause = "the fake engine is down".into();
            return Err(RuntimeError::Unreachable { cause });
        }
        Ok(state)
    }

    fn end(&self, id: &ContainerId, code: i64, told: &[Happening]) {
        let ended = {
            let now = self.now();
            let mut state = self.lock();
            let running = |held: &&mut Held| held.shown.state == ContainerState::Running;
            state.containers.get_mut(id).filter(running).map(|held| held.end(code, now)).is_some()
        };
        if ended {
            for what in told {
                self.tell(id, *what);
            }
        }
    }

    fn tell(&self, id: &ContainerId, what: Happening) {
        let held =
            self.lock().containers.get(id).map(|held| (held.cluster.clone(), held.shown.clone()));
        if let Some((cluster, shown)) = held {
            self.say(cluster, &shown, what);
        }
    }

    fn say(&self, cluster: String, about: &Container, what: Happening) {
        let (id, task, at) = (about.id.clone(), about.task, self.now());
        let told = (cluster, EngineEvent::Container { id, task, what, at });
        self.lock().told.push(told.clone());
        // Nobody may be listening.
        let _ = self.events.send(told);
    }
}

impl Held {
    fn end(&mut self, code: i64, now: Timestamp) {
        self.shown.state = ContainerState::Exited;
        self.shown.exit_code = Some(code);
        self.shown.finished_at = Some(now);
    }
}

/// `N` of `sh -c 'exit N'`.
fn exits_with(order: &Order) -> Option<i64> {
    let command = order.assignment.spec.command.as_deref()?;
    command.last()?.strip_prefix("exit ")?.parse().ok()
}

impl Runtime for FakeEngine {
    async fn facts(&self) -> Result<EngineFacts, RuntimeError> {
        drop(self.answering()?);
        Ok(EngineFacts {
            memory: Bytes::gib(16),
            cpu: MilliCpu::cores(4),
            arch: "arm64".to_owned(),
            os: "linux".to_owned(),
            engine: "fake 1".to_owned(),
            root: "/".into(),
        })
    }

    async fn look(&self, cluster: &str) -> Result<Look, RuntimeError> {
        let happens = self.lock().during_look.0.take();
        if let Some(happens) = happens {
            happens();
        }
        let state = self.answering()?;
        let ours = state.containers.values().filter(|held| held.cluster == cluster);
        let networks = state.networks.values().filter(|(owner, _)| owner == cluster);
        Ok(Look {
            containers: ours.map(|held| held.shown.clone()).collect(),
            networks: networks.map(|(_, network)| network.clone()).collect(),
        })
    }

    async fn inspect(
        &self,
        cluster: &str,
        id: &ContainerId,
    ) -> Result<Option<Container>, RuntimeError> {
        let state = self.answering()?;
        let held = state.containers.get(id).filter(|held| held.cluster == cluster);
        Ok(held.map(|held| held.shown.clone()))
    }

    fn events(&self, cluster: &str) -> BoxStream<'static, Result<EngineEvent, RuntimeError>> {
        let events = BroadcastStream::new(self.events.subscribe());
        let before = match self.answering() {
            Ok(state) => state.told.clone(),
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let cluster = cluster.to_owned();
        let told = stream::iter(before.into_iter().map(Ok)).chain(events);
        let heard = told.filter_map(move |told| {
            let told = told.ok().filter(|(owner, _)| *owner == cluster);
            async move { told.map(|(_, event)| Ok(event)) }
        });
        let mut generation = self.generation.subscribe();
        let cut = async move {
            generation.mark_unchanged();
            // An error means that the engine itself is gone, which cuts the stream as well.
            let _ = generation.changed().await;
        };
        stream::once(async { Ok(EngineEvent::Listening) }).chain(heard).take_until(cut).boxed()
    }

    async fn image_id(&self, image: &str) -> Result<Option<String>, RuntimeError> {
        Ok(self.answering()?.images.contains(image).then(|| format!("{ID_OF}{image}")))
    }

    async fn remove_image(&self, id: &str) -> Result<bool, RuntimeError> {
        let mut state = self.answering()?;
        let image = id.strip_prefix(ID_OF).unwrap_or(id);
        if state.containers.values().any(|held| held.image == image) {
            return Ok(false);
        }
        if state.images.remove(image) {
            state.disk.1 = state.disk.1.saturating_add(IMAGE_SIZE);
        }
        Ok(true)
    }

    async fn disk(&self) -> Result<(Bytes, Bytes), RuntimeError> {
        Ok(self.answering()?.disk)
    }

    async fn pull(&self, image: &str, progress: OnProgress) -> Result<(), PullError> {
        if self.answering().map_err(PullError::Engine)?.silent.contains(image) {
            return std::future::pending().await;
        }
        let mut state = self.answering().map_err(PullError::Engine)?;
        state.pulls.push(image.to_owned());
        if state.foreign.contains(image) {
            let platform = "linux/arm64/v8".to_owned();
            return Err(PullError::NoVariant { image: image.to_owned(), platform });
        }
        match state.registry.get_mut(image) {
            None => Err(PullError::NotFound { image: image.to_owned() }),
            Some(0) => {
                state.images.insert(image.to_owned());
                drop(state);
                progress(Bytes(1), Bytes(1));
                Ok(())
            }
            Some(failures) => {
                *failures -= 1;
                Err(PullError::Limited { image: image.to_owned() })
            }
        }
    }

    fn is_port_taken(&self, port: &Port) -> bool {
        port.published.is_some_and(|published| self.lock().taken_ports.contains(&published))
    }

    async fn create(&self, order: &Order) -> Result<ContainerId, RuntimeError> {
        let task = order.assignment.as_ref();
        let mut state = self.answering()?;
        if !state.images.contains(&task.spec.image) {
            return Err(RuntimeError::ImageAbsent { image: task.spec.image.clone() });
        }
        let mut volumes = BTreeMap::new();
        let mut binds = BTreeMap::new();
        for mount in &task.spec.mounts {
            if let MountSource::Bind { path, .. } = &mount.source {
                binds.extend(order.binds.get(path).map(|real| (real.clone(), !mount.read_only)));
            }
            let MountSource::Volume { name, .. } = &mount.source else { continue };
            let Some(volume) = task.volumes.get(name) else { continue };
            let name = volume.engine_name.clone();
            if !state.volumes.contains_key(&name) && (volume.must_exist || volume.external) {
                return Err(RuntimeError::VolumeAbsent { volume: name, why: "is gone" });
            }
            let maker = || Some(order.cluster.clone());
            state.volumes.entry(name.clone()).or_insert_with(maker);
            *volumes.entry(name).or_default() |= !mount.read_only;
        }
        let stack = task.stack.to_string();
        let id = format!("net-{}-{stack}", order.cluster);
        let network = Network { id: id.clone(), stack };
        state.networks.entry(id).or_insert((order.cluster.clone(), network));
        let found = state
            .containers
            .values()
            .find(|held| held.cluster == order.cluster && held.shown.task == task.task);
        if let Some(found) = found {
            return Ok(found.shown.id.clone());
        }
        state.made += 1;
        let id = ContainerId(format!("c{:04}", state.made));
        let shown = Container {
            id: id.clone(),
            task: task.task,
            node: Some(order.node),
            place: Place::of(task),
            epoch: task.epoch,
            state: ContainerState::Created,
            health: Health::None,
            probe: None,
            started_at: None,
            finished_at: None,
            exit_code: None,
            oom_killed: false,
            leased: task.spec.strict_singleton.then_some(task.spec.stop_grace_ms),
            volumes,
            binds,
        };
        let held = Held {
            cluster: order.cluster.clone(),
            shown,
            image: task.spec.image.clone(),
            exits_with: exits_with(order),
            log: Vec::new(),
        };
        state.containers.insert(id.clone(), held);
        if state.lost_replies > 0 {
            state.lost_replies -= 1;
            return Err(RuntimeError::Unreachable { cause: "the answer got lost".into() });
        }
        Ok(id)
    }

    async fn start(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let now = self.now();
        let exits_with = {
            let mut state = self.answering()?;
            if state.failing_starts > 0 {
                state.failing_starts -= 1;
                let message = "port is already allocated".to_owned();
                return Err(RuntimeError::Refused { message });
            }
            if state.jammed.contains(id) {
                return Err(RuntimeError::Jammed { message: format!("task {id}: already exists") });
            }
            let Some(held) = state.containers.get_mut(id) else {
                return Err(RuntimeError::Absent { what: format!("container {id}") });
            };
            if held.shown.state == ContainerState::Running {
                return Ok(());
            }
            held.shown.state = ContainerState::Running;
            held.shown.started_at = Some(now);
            held.shown.exit_code = None;
            held.shown.oom_killed = false;
            let line = LogLine { at: now, stderr: false, text: b"started".to_vec() };
            held.log.push(line);
            let (task, exits_with) = (held.shown.task, held.exits_with);
            state.starts.push(task);
            exits_with
        };
        self.tell(id, Happening::Changed);
        if let Some(code) = exits_with {
            self.exit(id, code);
        }
        Ok(())
    }

    async fn stop(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        drop(self.answering()?);
        self.end(id, TERMINATED, &[Happening::Killed, Happening::Died]);
        Ok(())
    }

    async fn stop_within(&self, id: &ContainerId, _: Duration) -> Result<(), RuntimeError> {
        self.stop(id).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let mut state = self.answering()?;
        if state.containers.get(id).is_some_and(|held| held.shown.state == ContainerState::Running)
        {
            return Err(RuntimeError::Refused { message: "it is running".to_owned() });
        }
        state.containers.remove(id);
        Ok(())
    }

    async fn remove_network(&self, id: &str) -> Result<(), RuntimeError> {
        self.answering()?.networks.remove(id);
        Ok(())
    }

    async fn remove_volume(&self, cluster: &str, name: &str) -> Result<bool, RuntimeError> {
        let mut state = self.answering()?;
        if state.containers.values().any(|held| held.shown.volumes.contains_key(name)) {
            return Err(RuntimeError::Refused { message: format!("volume {name} is in use") });
        }
        let ours = |owner: &Option<String>| owner.as_deref() == Some(cluster);
        let left = state.volumes.get(name).is_some_and(|owner| !ours(owner));
        if !left {
            state.volumes.remove(name);
        }
        Ok(!left)
    }

    async fn memory_used(&self, id: &ContainerId) -> Result<Option<Bytes>, RuntimeError> {
        let state = self.answering()?;
        let running = |held: &&Held| held.shown.state == ContainerState::Running;
        Ok(state.containers.get(id).filter(running).map(|_| Bytes::mib(1)))
    }

    fn logs(
        &self,
        id: &ContainerId,
        query: LogQuery,
    ) -> BoxStream<'static, Result<LogLine, RuntimeError>> {
        let lines = match self.answering() {
            Err(error) => vec![Err(error)],
            Ok(state) => {
                let since = query.since.unwrap_or_default();
                let held = state.containers.get(id);
                let log = held.map(|held| held.log.as_slice()).unwrap_or_default();
                let tail = query.tail.map_or(usize::MAX, |tail| tail as usize);
                let from = log.len().saturating_sub(tail);
                let wanted = log.iter().skip(from).filter(|line| line.at >= since);
                wanted.cloned().map(Ok).collect()
            }
        };
        stream::iter(lines).boxed()
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<Exec, RuntimeError> {
        let state = self.answering()?;
        let held = state.containers.get(id);
        if held.is_none_or(|held| held.shown.state != ContainerState::Running) {
            let message = format!("container {id} is not running");
            return Err(RuntimeError::Refused { message });
        }
        // Prints its command line and ends with the number of its arguments.
        let said = request.command.join(" ").into_bytes();
        let output = stream::iter([Ok(Output::Stdout(said))]).boxed();
        let id = ExecId(request.command.len().to_string());
        Ok(Exec { id, output, input: Box::pin(Nowhere) })
    }

    async fn resize(&self, _exec: &ExecId, _width: u16, _height: u16) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn exit_code(&self, exec: &ExecId) -> Result<Option<i64>, RuntimeError> {
        Ok(exec.0.parse().ok())
    }

    async fn address(&self, id: &ContainerId) -> Result<Option<IpAddr>, RuntimeError> {
        let state = self.answering()?;
        let held = state.containers.get(id);
        let runs = held.is_some_and(|held| held.shown.state == ContainerState::Running);
        Ok(runs.then_some(Ipv4Addr::LOCALHOST.into()))
    }

    async fn end_exec(&self, _exec: &ExecId) -> Result<(), RuntimeError> {
        Ok(())
    }
}

/// An input that takes everything.
struct Nowhere;

impl tokio::io::AsyncWrite for Nowhere {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
