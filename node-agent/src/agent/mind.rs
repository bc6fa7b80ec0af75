//! What the agent knows, and what follows from it. No engine, no file, no clock: the time is an
//! argument, and what is to be done is answered.
//!
//! **Invariant:** at most one step per task is under way, and none begins before what it rests on was
//! offered to the ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use model::{
    Assignment, AssignmentSet, Bytes, Desired, NodeId, TaskId, TaskState, TaskStatus, Timestamp,
    planted::{Bug, is_planted},
};

use super::learn;
use crate::{
    attempt::{Attempt, Moment},
    board::{Board, Link},
    lease::{Awake, Granted, LOOK_EVERY, Leases},
    ledger::{self, Held},
    outbox::Disposal,
    perform::{Subject, assignment_of, beside},
    ports::of_no_other_task,
    reconcile::{Image, Key, Observed, Scene, Seen, Step, Wanted, reconcile, wanted},
    runtime::{Container, ContainerId},
    status::status,
};

/// Before the ledger is written again after that failed, in milliseconds.
const SAVE_AGAIN: u64 = 10_000;

/// What survives a restart, to notice its changes.
type Lasting = (u32, bool, Option<String>, u32, u32, Option<Timestamp>);

/// A container to be looked at, and the agent's own changes before that look.
pub type Inspection = (u64, ContainerId);

/// See the module.
#[derive(Debug)]
pub struct Mind {
    pub(super) board: Arc<Board>,
    cluster: String,
    node: NodeId,
    /// Counts our own changes; see [`Wake::Looked`](super::Wake::Looked).
    pub(super) stamp: Arc<AtomicU64>,
    /// The set that is held; `None` before the first.
    pub(super) set: Option<AssignmentSet>,
    /// Whether the set came through the connection that is open now.
    fresh: bool,
    leases: Leases,
    /// What the file of leases holds.
    leases_saved: BTreeMap<TaskId, Awake>,
    pub(super) observed: Observed,
    pub(super) attempts: BTreeMap<TaskId, Attempt>,
    pub(super) images: BTreeMap<String, Image>,
    pub(super) removed: BTreeMap<String, Disposal>,
    pub(super) busy: BTreeSet<Key>,
    /// What failed for a reason that may pass: how often, and when it is tried again.
    pub(super) retry: BTreeMap<Key, (u32, Moment)>,
    /// When we last changed something about a task, in stamps.
    pub(super) touched: BTreeMap<TaskId, u64>,
    /// Containers that something happened to since they were last looked at.
    pub(super) dirty: BTreeSet<ContainerId>,
    pub(super) inspecting: BTreeSet<ContainerId>,
    /// Whether everything is to be looked at soon.
    pub(super) look_wanted: bool,
    /// What the ledger holds of each task.
    saved: BTreeMap<TaskId, Lasting>,
    /// Whether the ledger holds the set.
    set_saved: bool,
    save_at: Moment,
    /// Statuses that wait until the ledger holds what they tell.
    waiting: BTreeMap<TaskId, TaskStatus>,
}

impl Mind {
    /// A mind that knows what the ledger held. `stamp` is shared with whoever looks.
    pub fn new(
        (cluster, node): (String, NodeId),
        board: Arc<Board>,
        stamp: Arc<AtomicU64>,
        held: Option<Held>,
    ) -> Self {
        let mut mind = Self {
            board,
            cluster,
            node,
            stamp,
            set: None,
            fresh: false,
            leases: Leases::default(),
            leases_saved: BTreeMap::new(),
            observed: Observed::default(),
            attempts: BTreeMap::new(),
            images: BTreeMap::new(),
            removed: BTreeMap::new(),
            busy: BTreeSet::new(),
            retry: BTreeMap::new(),
            touched: BTreeMap::new(),
            dirty: BTreeSet::new(),
            inspecting: BTreeSet::new(),
            look_wanted: false,
            saved: BTreeMap::new(),
            set_saved: false,
            save_at: Moment::default(),
            waiting: BTreeMap::new(),
        };
        if let Some(held) = held {
            mind.board.accepted(&held.set);
            mind.attempts = held.attempts;
            (mind.saved, mind.set_saved) = (mind.lasting(), true);
            mind.set = Some(held.set);
            mind.publish_all();
        }
        mind
    }

    /// The leases an earlier life of the agent held in this boot of the machine, with the time of
    /// their renewals.
    pub fn restore_leases(&mut self, sent: BTreeMap<TaskId, Awake>) {
        self.leases = Leases::restored(sent.clone());
        self.leases_saved = sent;
    }

    /// A renewal was answered.
    pub fn hear_leases(&mut self, granted: &Granted) {
        self.leases.take(granted);
    }

    /// It is later now. Comes before anything else at every wake-up: the machine may have slept.
    pub fn look_at_leases(&mut self, now: Awake) {
        self.leases.pass(now);
        if let Some(set) = &self.set {
            self.leases.retain(|task| assignment_of(set, task).is_some());
        }
        self.board.set_leases(self.leases.clone());
    }

    /// Whether some task waits for nothing but its lease.
    pub fn wants_lease(&self) -> bool {
        let waits = |assignment: &Assignment| {
            let attempt = self.attempts.get(&assignment.task);
            wanted(assignment, attempt, &self.leases) == Wanted::Fence
        };
        self.fresh && self.set.as_ref().is_some_and(|set| set.tasks.iter().any(waits))
    }

    /// The renewals that the file of leases is to hold, when they have changed.
    pub fn unsaved_leases(&mut self) -> Option<BTreeMap<TaskId, Awake>> {
        let all = self.leases.all();
        (all != self.leases_saved).then(|| {
            self.leases_saved.clone_from(&all);
            all
        })
    }

    /// What was assigned; `None` before the first set.
    pub const fn set(&self) -> Option<&AssignmentSet> {
        self.set.as_ref()
    }

    /// What is remembered of each task.
    pub const fn attempts(&self) -> &BTreeMap<TaskId, Attempt> {
        &self.attempts
    }

    /// When time alone changes something; far away when nothing waits.
    pub fn due(&self, now: Moment) -> Moment {
        const FAR: u64 = 3_600_000;
        let attempts = self.attempts.values().filter(|attempt| !attempt.is_over());
        let attempts = attempts.filter_map(|attempt| attempt.due(now));
        let images = self.images.values().filter_map(|image| match image {
            Image::Failed { not_before, .. } => Some(*not_before),
            Image::Present => None,
        });
        let retries = self.retry.values().map(|(_, moment)| *moment);
        let waiting = attempts.chain(images).chain(retries).chain([self.save_at]);
        let due = waiting.filter(|moment| *moment > now).min().unwrap_or(now.plus(FAR));
        let look = self.leases.first_end().map(|left| now.plus(left.clamp(1, LOOK_EVERY)));
        look.map_or(due, |look| look.min(due))
    }

    /// Whether everything should be looked at soon; asked once, it is forgotten.
    pub fn wants_a_look(&mut self) -> bool {
        std::mem::take(&mut self.look_wanted)
    }

    /// The connection changed, or a set came through it.
    pub fn hear_link(&mut self, link: Link) {
        self.fresh = false;
        let Some(news) = link.set.filter(|_| link.connected) else { return };
        if self.set.as_ref() == Some(&news) {
            self.fresh = true;
            return;
        }
        let ours = (self.cluster.as_str(), self.node);
        if let Err(refused) = ledger::check(ours, self.set.as_ref(), &news) {
            tracing::error!(%refused, "assignments are refused; what runs goes on");
            return;
        }
        tracing::info!(
            generation = news.generation.0,
            tasks = news.tasks.len(),
            "assignments accepted"
        );
        // What could not be fetched is fetched at once for a task that is new: whoever asked for it may have
        // mended what was wrong.
        let anew = |task: &Assignment| !self.attempts.contains_key(&task.task);
        self.images.retain(|image, known| {
            let failed = matches!(known, Image::Failed { .. });
            let mut users = news.tasks.iter().filter(|task| task.spec.image == *image).peekable();
            users.peek().is_some() && !(failed && users.any(anew))
        });
        self.attempts.retain(|task, _| assignment_of(&news, *task).is_some());
        self.removed.retain(|volume, _| news.remove_volumes.contains(volume));
        let desired = |set: Option<&AssignmentSet>, task| {
            set.and_then(|set| assignment_of(set, task)).map(|assignment| assignment.desired)
        };
        self.retry.retain(|key, _| match key {
            // What is wanted otherwise now is not what failed.
            Key::Task(task) => match desired(Some(&news), *task) {
                None => !matches!(self.observed.of(*task), Seen::Absent),
                now => now == desired(self.set.as_ref(), *task),
            },
            Key::Image(image) => news.tasks.iter().any(|task| task.spec.image == *image),
            Key::Network(network) => self.observed.networks.iter().any(|held| held.id == *network),
            Key::Volume(volume) => news.remove_volumes.contains(volume),
        });
        self.board.accepted(&news);
        for (volume, disposal) in &self.removed {
            self.board.outbox(|outbox| outbox.put_disposed(volume, *disposal));
        }
        self.set = Some(news);
        self.fresh = true;
        self.waiting.retain(|task, _| self.attempts.contains_key(task));
        self.set_saved = is_planted(Bug::LedgerNotWritten);
        self.save_at = Moment::default();
    }

    /// Brings what is remembered in line with what is seen; answers the statuses that differ from
    /// what was last reported. `wall` is the time by the machine's clock.
    pub fn notice(&mut self, now: Moment, wall: Timestamp) -> Vec<(TaskId, TaskStatus)> {
        self.remember(now, wall);
        self.news(wall)
    }

    /// Notices ends. A task that is being worked on is left alone until that is done.
    fn remember(&mut self, now: Moment, wall: Timestamp) {
        let Some(set) = &self.set else { return };
        for assignment in &set.tasks {
            if self.busy.contains(&Key::Task(assignment.task)) {
                continue;
            }
            let attempt = self.attempts.entry(assignment.task).or_default();
            let wanted = wanted(assignment, Some(attempt), &self.leases);
            let seen = self.observed.of_assigned(assignment);
            let restarts = attempt.status.restarts;
            attempt.notice(&assignment.spec, (wanted, seen), now, wall);
            if attempt.status.restarts > restarts || attempt.is_over() && wanted == Wanted::Run {
                learn::tell_end(&self.board, assignment, attempt);
            }
        }
    }

    fn news(&mut self, wall: Timestamp) -> Vec<(TaskId, TaskStatus)> {
        let Some(set) = &self.set else { return Vec::new() };
        let mut news = Vec::new();
        for assignment in &set.tasks {
            let Some(attempt) = self.attempts.get_mut(&assignment.task) else { continue };
            let seen = self.observed.of_assigned(assignment);
            let wanted = wanted(assignment, Some(attempt), &self.leases);
            let image = self.images.get(&assignment.spec.image);
            let limit = assignment.spec.resources.memory_limit;
            let mut status = status(wanted, seen, attempt, image, limit);
            if is_planted(Bug::FailureUntold) {
                status.failure = None;
            }
            // What was seen is from before the step under way, which may be its start.
            let worked_on = self.busy.contains(&Key::Task(assignment.task));
            if worked_on && status.state.is_over() && !attempt.is_over() {
                continue;
            }
            if status.state == TaskState::Pending || status == attempt.reported {
                attempt.status = status;
                continue;
            }
            // The wall clock keeps it growing across restarts of the agent.
            status.sequence = wall.0.max(attempt.reported.sequence.saturating_add(1));
            attempt.status = status.clone();
            attempt.reported = status.clone();
            if !(is_planted(Bug::StatusForgotten) && attempt.is_over()) {
                news.push((assignment.task, status));
            }
        }
        news
    }

    /// Hands statuses to whoever reports them: those at once that this agent would still tell after a
    /// restart, the others once it would. A scheduler that was told of an end counts on it; were it
    /// forgotten here, the container would be started again where its memory is given to another.
    pub fn report(&mut self, news: Vec<(TaskId, TaskStatus)>) {
        self.waiting.extend(news);
        let saved = &self.saved;
        let lasts = |task: &TaskId, status: &mut TaskStatus| {
            let held = saved.get(task);
            let (restarts, over) = held.map_or((0, false), |lasting| (lasting.0, lasting.1));
            status.restarts <= restarts && (over || !status.state.is_over())
        };
        for (task, status) in self.waiting.extract_if(.., lasts) {
            self.board.outbox(|outbox| outbox.put(task, status));
        }
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

    /// What the ledger is to hold, when that has changed and it is time to write it.
    pub fn unsaved(&self, now: Moment) -> Option<Vec<u8>> {
        let set = self.set.as_ref()?;
        let held = self.set_saved && self.saved == self.lasting();
        if held || now < self.save_at {
            return None;
        }
        let inventory = self.board.inventory.borrow().clone();
        let known = (inventory.memory > Bytes::ZERO).then_some(&inventory);
        Some(ledger::encode(set, &self.attempts, known))
    }

    /// What [`unsaved`](Self::unsaved) answered is in the ledger, or could not be written.
    pub fn saved(&mut self, written: bool, now: Moment) {
        if written {
            (self.saved, self.set_saved) = (self.lasting(), true);
        } else {
            self.save_at = now.plus(SAVE_AGAIN);
        }
    }

    /// The steps to begin now, each with what it is about; until they are done, nothing else is begun
    /// about the same.
    pub fn steps(&mut self, now: Moment) -> Vec<(Step, Option<Subject>)> {
        let Some(set) = &self.set else { return Vec::new() };
        let scene = Scene {
            set,
            leases: &self.leases,
            observed: &self.observed,
            attempts: &self.attempts,
            images: &self.images,
            removed: &self.removed,
            sweep: self.fresh || is_planted(Bug::SweptWhileDisconnected),
            now,
        };
        let mut begun = Vec::new();
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
                        ports: if assignment.desired == Desired::Prepare {
                            of_no_other_task(&assignment, set, &self.observed)
                        } else {
                            Vec::new()
                        },
                        assignment,
                        beside: beside(task, (set, &self.leases), &self.observed, &self.attempts),
                    })
                }
                Key::Image(_) | Key::Network(_) | Key::Volume(_) => None,
            };
            begun.push((step, subject));
        }
        begun
    }

    /// What to look at because something happened to it, one look per container at a time.
    pub fn inspections(&mut self) -> Vec<Inspection> {
        if !self.observed.known {
            self.dirty.clear();
            return Vec::new();
        }
        let (busy, known) = (&self.busy, &self.observed.containers);
        let worked_on = |id: &ContainerId| {
            known.get(id).is_some_and(|found| busy.contains(&Key::Task(found.task)))
        };
        let ready = self.dirty.iter().filter(|id| !self.inspecting.contains(*id) && !worked_on(id));
        let ready: Vec<ContainerId> = ready.cloned().collect();
        let asked = self.stamp.load(Ordering::SeqCst);
        for id in &ready {
            self.dirty.remove(id);
            self.inspecting.insert(id.clone());
        }
        ready.into_iter().map(|id| (asked, id)).collect()
    }

    /// Whether this node made it: another agent of the cluster may use the same engine.
    pub(super) fn is_ours(&self, found: &Container) -> bool {
        found.node.is_none_or(|node| node == self.node)
    }

    pub(super) fn know(&mut self, id: ContainerId, shown: Option<Container>) {
        match shown.filter(|found| self.is_ours(found)) {
            Some(found) => drop(self.observed.containers.insert(id, found)),
            None => drop(self.observed.containers.remove(&id)),
        }
    }
}

#[cfg(test)]
mod tests;
