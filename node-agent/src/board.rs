//! What the rooms tell each other while the agent runs. The agent's loop writes; the session, the
//! relays and the metrics read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use model::{
    AssignmentSet, Bytes, Generation, Inventory, TaskId, TaskState, TaskStatus,
    task::{MemorySeen, Telemetry},
};
use tokio::sync::{Notify, watch};

use crate::{
    histogram::Histogram,
    lease::{Awake, Granted, Leases},
    outbox::Outbox,
    runtime::{ContainerId, Place},
};

/// The connection to the scheduler, and what came through it.
#[derive(Debug, Clone, Default)]
pub struct Link {
    /// Whether there is one.
    pub connected: bool,
    /// The newest set received through *this* connection.
    pub set: Option<AssignmentSet>,
}

/// A task as the metrics show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which replica.
    pub place: Place,
    /// Its image.
    pub image: String,
}

/// Figures that only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Steps performed: by name, and whether they succeeded.
    pub steps: BTreeMap<(&'static str, bool), u64>,
    /// Starts after an end.
    pub restarts: u64,
    /// Ends for want of memory.
    pub oom_kills: u64,
    /// Sessions begun.
    pub sessions: u64,
}

#[derive(Debug, Default)]
struct Inner {
    outbox: Outbox,
    shown: BTreeMap<TaskId, Shown>,
    /// Whether any set was accepted.
    assigned: bool,
    memory: BTreeMap<TaskId, Bytes>,
    /// What tasks used since this process looks at them.
    histograms: BTreeMap<TaskId, Histogram>,
    pulls: BTreeMap<String, (Bytes, Bytes)>,
    counted: Counted,
    generation: Generation,
    leases: Leases,
}

/// See the module.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    /// There is something to report.
    news: Notify,
    /// What the machine offers.
    pub inventory: watch::Sender<Inventory>,
    /// The connection to the scheduler.
    pub link: watch::Sender<Link>,
    /// The newest answer to a renewal of leases.
    pub granted: watch::Sender<Granted>,
    /// A task waits for its first lease.
    lease_wanted: Notify,
    /// Whether a strict singleton is assigned.
    any_strict: watch::Sender<bool>,
    /// Something waits for its guard.
    guard_wanted: Notify,
    /// Drawn by chance, and not 0.
    life: u64,
    /// What measurements count from.
    began: Instant,
}

impl Board {
    /// A board that shows what the machine offered last.
    pub fn new(inventory: Inventory) -> Self {
        Self {
            inner: Mutex::default(),
            news: Notify::new(),
            inventory: watch::Sender::new(inventory),
            link: watch::Sender::default(),
            granted: watch::Sender::default(),
            lease_wanted: Notify::new(),
            any_strict: watch::Sender::new(false),
            guard_wanted: Notify::new(),
            life: rand::random::<u64>().max(1),
            began: Instant::now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on what is to be reported, and wakes who reports it.
    pub fn outbox<T>(&self, work: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut inner = self.lock();
        let answer = work(&mut inner.outbox);
        let unsent = inner.outbox.has_unsent();
        drop(inner);
        if unsent {
            self.news.notify_one();
        }
        answer
    }

    /// Waits until there is something to report.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// A set was accepted: what is not in it is forgotten.
    pub fn accepted(&self, set: &AssignmentSet) {
        let strict = set.tasks.iter().any(|task| task.spec.strict_singleton);
        self.any_strict.send_if_modified(|any| std::mem::replace(any, strict) != strict);
        let mut inner = self.lock();
        (inner.generation, inner.assigned) = (set.generation, true);
        let shown = |task: &model::Assignment| {
            let shown = Shown { place: Place::of(task), image: task.spec.image.clone() };
            (task.task, shown)
        };
        inner.shown = set.tasks.iter().map(shown).collect();
        let Inner { outbox, shown, memory, histograms, .. } = &mut *inner;
        outbox.retain(
            |task| shown.contains_key(&task),
            |volume| set.remove_volumes.iter().any(|wanted| wanted == volume),
        );
        memory.retain(|task, _| shown.contains_key(task));
        histograms.retain(|task, _| shown.contains_key(task));
    }

    /// The images of what is assigned; `None` before anything was.
    pub fn images(&self) -> Option<BTreeSet<String>> {
        let inner = self.lock();
        inner.assigned.then(|| inner.shown.values().map(|shown| shown.image.clone()).collect())
    }

    /// Waits until there are strict singletons that a guard has to watch over.
    pub async fn guarded(&self) {
        let mut any = self.any_strict.subscribe();
        // The sender lives in here.
        let _ = any.wait_for(|any| *any).await;
    }

    /// Which run of the agent's process this is: a scheduler tells it from a copy by that.
    pub const fn life(&self) -> u64 {
        self.life
    }

    /// Asks for a guard, where there is none.
    pub fn want_guard(&self) {
        self.guard_wanted.notify_one();
    }

    /// Waits until a guard is asked for.
    pub async fn guard_wanted(&self) {
        self.guard_wanted.notified().await;
    }

    /// The leases that are held now.
    pub fn set_leases(&self, leases: Leases) {
        self.lock().leases = leases;
    }

    /// Whether the task may be started at this moment as far as leases go.
    pub fn has_lease(&self, assignment: &model::Assignment, now: Awake) -> bool {
        let mut leases = self.lock().leases.clone();
        leases.pass(now);
        leases.allow(assignment)
    }

    /// Asks for a renewal before its time.
    pub fn want_lease(&self) {
        self.lease_wanted.notify_one();
    }

    /// Waits until a renewal is asked for before its time.
    pub async fn lease_wanted(&self) {
        self.lease_wanted.notified().await;
    }

    /// The generation of the set that is held.
    pub fn generation(&self) -> Generation {
        self.lock().generation
    }

    /// What tasks use, as measured.
    pub fn set_memory(&self, memory: BTreeMap<TaskId, Bytes>) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut inner = self.lock();
        let Inner { shown, histograms, .. } = &mut *inner;
        for (task, used) in memory.iter().filter(|(task, _)| shown.contains_key(*task)) {
            histograms.entry(*task).or_default().record(*used, now);
        }
        inner.memory = memory;
    }

    /// A new session: its scheduler knows nothing of what was seen of memory.
    pub fn begin_telling(&self) {
        self.lock().histograms.values_mut().for_each(Histogram::begin);
    }

    /// What was seen of the memory of those tasks where that is worth a message; it is told with this.
    pub fn tell_memory(&self) -> Vec<(TaskId, MemorySeen)> {
        let mut inner = self.lock();
        let told = inner.histograms.iter_mut();
        told.filter_map(|(task, histogram)| Some((*task, histogram.tell()?))).collect()
    }

    /// How far an image is; `None` when nothing is fetched any more.
    pub fn set_pull(&self, image: &str, progress: Option<(Bytes, Bytes)>) {
        let mut inner = self.lock();
        match progress {
            Some(progress) => drop(inner.pulls.insert(image.to_owned(), progress)),
            None => drop(inner.pulls.remove(image)),
        }
    }

    /// What changes too often for reports, for the tasks where there is something to say.
    pub fn telemetry(&self) -> Vec<(TaskId, Telemetry)> {
        let inner = self.lock();
        let of = |(task, shown): (&TaskId, &Shown)| {
            let memory_used = inner.memory.get(task).copied();
            let pull = inner.pulls.get(&shown.image).copied();
            let telemetry = Telemetry { memory_used, pull };
            (telemetry != Telemetry::default()).then_some((*task, telemetry))
        };
        inner.shown.iter().filter_map(of).collect()
    }

    /// The container of a task, where it has one.
    pub fn container(&self, task: TaskId) -> Option<ContainerId> {
        let inner = self.lock();
        let mut statuses = inner.outbox.statuses();
        let (_, status) = statuses.find(|(id, _)| *id == task)?;
        status.container.clone().map(ContainerId)
    }

    /// The ledger was written, or could not be for this reason.
    pub fn ledger_written(&self, error: Option<&str>) {
        self.inventory.send_if_modified(|held| {
            let changed = held.ledger_error.as_deref() != error;
            held.ledger_error = error.map(str::to_owned);
            changed
        });
    }

    /// Counts something.
    pub fn count(&self, change: impl FnOnce(&mut Counted)) {
        change(&mut self.lock().counted);
    }

    /// Figures that only grow.
    pub fn counted(&self) -> Counted {
        self.lock().counted.clone()
    }

    /// Every task with its state and the memory it uses.
    pub fn tasks(&self) -> Vec<(Shown, TaskStatus, Option<Bytes>)> {
        let inner = self.lock();
        let statuses: BTreeMap<TaskId, &TaskStatus> = inner.outbox.statuses().collect();
        let row = |(task, shown): (&TaskId, &Shown)| {
            let status = statuses.get(task).map(|status| (*status).clone());
            let status = status
                .unwrap_or(TaskStatus { state: TaskState::Assigned, ..TaskStatus::default() });
            (shown.clone(), status, inner.memory.get(task).copied())
        };
        inner.shown.iter().map(row).collect()
    }
}
