//! The agent's loop: everything that can wake it, one at a time, and what it does then.
//!
//! **Invariant:** whatever happened, the same way follows: what is known is brought up to date, what
//! must survive is written to the ledger, what is new is reported, and only then are the steps of
//! [`reconcile`] begun. At most one step per task is under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::{AssignmentSet, NodeId, TaskId, TaskState, TaskStatus, Timestamp};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    attempt::{Attempt, Moment},
    board::{Board, Link},
    enrol::{now, story},
    ledger::{self, Held, Ledger},
    outbox::Disposal,
    perform::{Outcome, Subject, Tools, assignment_of, beside},
    reconcile::{Image, Key, Observed, Scene, Step, reconcile, wanted},
    runtime::{Container, ContainerId, Happening, Look, Runtime, RuntimeError},
    status::status,
};

mod learn;

/// Wake-ups that wait: events of a busy engine; who sends one more waits.
pub(crate) const WAKES: usize = 256;
/// Before the ledger is written again after that failed.
const SAVE_AGAIN: u64 = 10_000;

/// Everything that wakes the agent, besides a new [`Link`] and the passing of time.
#[derive(Debug)]
pub enum Wake {
    /// Something happened to a container.
    Happened {
        /// Which.
        id: ContainerId,
        /// Its task.
        task: TaskId,
        /// What.
        what: Happening,
        /// When, by the engine's clock.
        at: Timestamp,
    },
    /// Everything was looked at.
    Looked {
        /// The agent's own changes before the look began.
        asked: u64,
        /// What was seen.
        look: Result<Look, RuntimeError>,
    },
    /// One container was looked at.
    Inspected {
        /// The agent's own changes before the look began.
        asked: u64,
        /// Which.
        id: ContainerId,
        /// What was seen.
        shown: Result<Option<Container>, RuntimeError>,
    },
    /// A step is done.
    Done {
        /// The step.
        step: Step,
        /// What it came to.
        outcome: Outcome,
    },
}

/// What the loop is started with.
pub(crate) struct Parts<R> {
    pub(crate) tools: Tools<R>,
    pub(crate) node: NodeId,
    pub(crate) ledger: Ledger,
    pub(crate) held: Option<Held>,
    pub(crate) stamp: Arc<AtomicU64>,
    pub(crate) wakes: mpsc::Sender<Wake>,
    pub(crate) ask: watch::Sender<u64>,
}

/// What survives a restart, to notice its changes.
type Lasting = (u32, bool, Option<String>, u32, u32, Option<Timestamp>);

/// See the module.
pub(crate) struct Agent<R> {
    tools: Arc<Tools<R>>,
    board: Arc<Board>,
    node: NodeId,
    ledger: Ledger,
    wakes: mpsc::Sender<Wake>,
    ask: watch::Sender<u64>,
    began: Instant,
    /// Counts our own changes; see [`Wake::Looked`].
    stamp: Arc<AtomicU64>,
    /// The set that is held; `None` before the first.
    set: Option<AssignmentSet>,
    /// Whether the set came through the connection that is open now.
    fresh: bool,
    observed: Observed,
    attempts: BTreeMap<TaskId, Attempt>,
    images: BTreeMap<String, Image>,
    removed: BTreeMap<String, Disposal>,
    busy: BTreeSet<Key>,
    /// What failed for a reason that may pass: how often, and when it is tried again.
    retry: BTreeMap<Key, (u32, Moment)>,
    /// When we last changed something about a task, in stamps.
    touched: BTreeMap<TaskId, u64>,
    /// Containers that something happened to since they were last looked at.
    dirty: BTreeSet<ContainerId>,
    inspecting: BTreeSet<ContainerId>,
    saved: Option<BTreeMap<TaskId, Lasting>>,
    save_at: Moment,
    running: JoinSet<()>,
}

impl<R: Runtime> Agent<R> {
    pub(crate) fn new(parts: Parts<R>) -> Self {
        let Parts { tools, node, ledger, held, stamp, wakes, ask } = parts;
        let board = Arc::clone(&tools.board);
        let mut agent = Self {
            tools: Arc::new(tools),
            board,
            node,
            ledger,
            wakes,
            ask,
            began: Instant::now(),
            stamp,
            set: None,
            fresh: false,
            observed: Observed::default(),
            attempts: BTreeMap::new(),
            images: BTreeMap::new(),
            removed: BTreeMap::new(),
            busy: BTreeSet::new(),
            retry: BTreeMap::new(),
            touched: BTreeMap::new(),
            dirty: BTreeSet::new(),
            inspecting: BTreeSet::new(),
            saved: None,
            save_at: Moment::default(),
            running: JoinSet::new(),
        };
        if let Some(held) = held {
            agent.board.accepted(&held.set);
            agent.attempts = held.attempts;
            agent.saved = Some(agent.lasting());
            agent.set = Some(held.set);
            agent.publish_all();
        }
        agent
    }

    /// Runs until `stop`. Containers stay as they are.
    pub(crate) async fn run(mut self, mut wakes: mpsc::Receiver<Wake>, stop: CancellationToken) {
        let mut link = self.board.link.subscribe();
        link.mark_changed();
        loop {
            let due = self.due();
            let sleep = tokio::time::sleep_until(due);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = link.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let link = link.borrow_and_update().clone();
                    self.hear_link(link);
                }
                wake = wakes.recv() => match wake {
                    Some(wake) => self.learn(wake),
                    None => break,
                },
                () = sleep => {}
            }
            self.settle().await;
        }
        self.save().await;
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// When time alone changes something; far away when nothing waits.
    fn due(&self) -> Instant {
        const FAR: u64 = 3_600_000;
        let now = self.now();
        let attempts = self.attempts.values().filter(|attempt| !attempt.is_over());
        let attempts = attempts.filter_map(|attempt| attempt.due(now));
        let images = self.images.values().filter_map(|image| match image {
            Image::Failed { not_before, .. } => Some(*not_before),
            Image::Present => None,
        });
        let retries = self.retry.values().map(|(_, moment)| *moment);
        let waiting = attempts.chain(images).chain(retries).chain([self.save_at]);
        let next = waiting.filter(|moment| *moment > now).min().unwrap_or(now.plus(FAR));
        self.began + Duration::from_millis(next.0)
    }

    fn hear_link(&mut self, link: Link) {
        self.fresh = false;
        let Some(news) = link.set.filter(|_| link.connected) else { return };
        if self.set.as_ref() == Some(&news) {
            self.fresh = true;
            return;
        }
        let ours = (self.tools.cluster.as_str(), self.node);
        if let Err(refused) = ledger::check(ours, self.set.as_ref(), &news) {
            tracing::error!(%refused, "assignments are refused; what runs goes on");
            return;
        }
        tracing::info!(
            generation = news.generation.0,
            tasks = news.tasks.len(),
            "assignments accepted"
        );
        self.attempts.retain(|task, _| assignment_of(&news, *task).is_some());
        self.images.retain(|image, _| news.tasks.iter().any(|task| task.spec.image == *image));
        self.removed.retain(|volume, _| news.remove_volumes.contains(volume));
        self.board.accepted(&news);
        for (volume, disposal) in &self.removed {
            self.board.outbox(|outbox| outbox.put_disposed(volume, *disposal));
        }
        self.set = Some(news);
        self.fresh = true;
        self.saved = None;
        self.save_at = Moment::default();
    }

    /// Brings memory, ledger, reports and steps in line with what is known.
    async fn settle(&mut self) {
        self.remember();
        let news = self.news();
        self.save().await;
        for (task, status) in news {
            self.board.outbox(|outbox| outbox.put(task, status));
        }
        self.begin_steps();
        self.begin_inspections();
    }

    /// Notices ends. A task that is being worked on is left alone until that is done.
    fn remember(&mut self) {
        let (now, wall) = (self.now(), now());
        let Some(set) = &self.set else { return };
        for assignment in &set.tasks {
            if self.busy.contains(&Key::Task(assignment.task)) {
                continue;
            }
            let attempt = self.attempts.entry(assignment.task).or_default();
            let wanted = wanted(assignment.desired, Some(attempt));
            let seen = self.observed.of(assignment.task);
            let restarts = attempt.status.restarts;
            attempt.notice(&assignment.spec, (wanted, seen), now, wall);
            if attempt.status.restarts > restarts
                || attempt.is_over() && wanted == crate::reconcile::Wanted::Run
            {
                learn::tell_end(&self.board, assignment, attempt);
            }
        }
    }

    /// The statuses that differ from what was last reported.
    fn news(&mut self) -> Vec<(TaskId, TaskStatus)> {
        let Some(set) = &self.set else { return Vec::new() };
        let mut news = Vec::new();
        for assignment in &set.tasks {
            let Some(attempt) = self.attempts.get_mut(&assignment.task) else { continue };
            let seen = self.observed.of(assignment.task);
            let wanted = wanted(assignment.desired, Some(attempt));
            let image = self.images.get(&assignment.spec.image);
            let limit = assignment.spec.resources.memory_limit;
            let mut status = status(wanted, seen, attempt, image, limit);
            if status.state == TaskState::Pending || status == attempt.reported {
                attempt.status = status;
                continue;
            }
            // The wall clock keeps it growing across restarts of the agent.
            status.sequence = now().0.max(attempt.reported.sequence.saturating_add(1));
            attempt.status = status.clone();
            attempt.reported = status.clone();
            news.push((assignment.task, status));
        }
        news
    }

    /// Reports what the ledger held, before anything was seen.
    fn publish_all(&mut self) {
        for (task, attempt) in &mut self.attempts {
            attempt.reported = attempt.status.clone();
            let status = attempt.status.clone();
            self.board.outbox(|outbox| outbox.put(*task, status));
        }
    }

    fn lasting(&self) -> BTreeMap<TaskId, Lasting> {
        let lasting = |(task, attempt): (&TaskId, &Attempt)| {
            let Attempt { status, streak, failures, counted, .. } = attempt;
            let container = status.container.clone();
            let over = attempt.is_over();
            (*task, (status.restarts, over, container, *streak, *failures, *counted))
        };
        self.attempts.iter().map(lasting).collect()
    }

    /// Writes the ledger when something in it changed. A disk that is full stops nothing that runs.
    async fn save(&mut self) {
        let Some(set) = &self.set else { return };
        let lasting = self.lasting();
        if self.saved.as_ref() == Some(&lasting) || self.now() < self.save_at {
            return;
        }
        let inventory = self.board.inventory.borrow().clone();
        let known = inventory.engine_ready.then_some(&inventory);
        let bytes = ledger::encode(set, &self.attempts, known);
        let ledger = self.ledger.clone();
        let written = tokio::task::spawn_blocking(move || ledger.write(&bytes)).await;
        let written = written.map_err(|error| error.to_string());
        match written.and_then(|written| written.map_err(|error| story(&error))) {
            Ok(()) => self.saved = Some(lasting),
            Err(why) => {
                tracing::error!(why, "the ledger cannot be written; a restart would know less");
                self.save_at = self.now().plus(SAVE_AGAIN);
            }
        }
    }

    fn begin_steps(&mut self) {
        let Some(set) = &self.set else { return };
        let now = self.now();
        let scene = Scene {
            set,
            observed: &self.observed,
            attempts: &self.attempts,
            images: &self.images,
            removed: &self.removed,
            sweep: self.fresh,
            now,
        };
        while self.running.try_join_next().is_some() {}
        for step in reconcile(&scene) {
            let key = step.key();
            let waits = self.retry.get(&key).is_some_and(|(_, moment)| *moment > now);
            if waits || !self.busy.insert(key.clone()) {
                continue;
            }
            let subject = match key {
                Key::Task(task) => {
                    let stamp = self.stamp.fetch_add(1, Ordering::SeqCst) + 1;
                    self.touched.insert(task, stamp);
                    assignment_of(set, task).map(|assignment| Subject {
                        assignment,
                        beside: beside(task, set, &self.observed, &self.attempts),
                    })
                }
                Key::Image(_) | Key::Network(_) | Key::Volume(_) => None,
            };
            tracing::debug!(?step, "begins");
            let (tools, wakes) = (Arc::clone(&self.tools), self.wakes.clone());
            self.running.spawn(async move {
                let outcome = tools.perform(&step, subject).await;
                // The loop may have ended.
                let _ = wakes.send(Wake::Done { step, outcome }).await;
            });
        }
    }

    /// Looks at what something happened to, one look per container at a time.
    fn begin_inspections(&mut self) {
        if !self.observed.known {
            self.dirty.clear();
            return;
        }
        let (busy, known) = (&self.busy, &self.observed.containers);
        let worked_on = |id: &ContainerId| {
            known.get(id).is_some_and(|found| busy.contains(&Key::Task(found.task)))
        };
        let ready = self.dirty.iter().filter(|id| !self.inspecting.contains(*id) && !worked_on(id));
        let ready: Vec<ContainerId> = ready.cloned().collect();
        for id in ready {
            self.dirty.remove(&id);
            self.inspecting.insert(id.clone());
            let asked = self.stamp.load(Ordering::SeqCst);
            let (tools, wakes) = (Arc::clone(&self.tools), self.wakes.clone());
            self.running.spawn(async move {
                let shown = tools.runtime.inspect(&tools.cluster, &id).await;
                let _ = wakes.send(Wake::Inspected { asked, id, shown }).await;
            });
        }
    }
}
