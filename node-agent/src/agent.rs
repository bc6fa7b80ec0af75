//! The agent's loop: everything that can wake it, one at a time, and what it does then.
//!
//! **Invariant:** whatever happened, the same way follows: what is known is brought up to date, what
//! must survive is written to the ledger, what is new is reported, and only then are the steps of
//! [`reconcile`](mod@crate::reconcile) begun. What is known and what follows from it is [`Mind`]; here
//! it is done.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use model::{NodeId, TaskId, Timestamp, story};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    attempt::Moment,
    board::Board,
    enrol::now,
    lease_record::LeaseRecord,
    ledger::{Held, Ledger},
    perform::{Outcome, Tools},
    reconcile::Step,
    runtime::{Container, ContainerId, Happening, Look, Runtime, RuntimeError, clock},
};

mod learn;
mod mind;

pub use mind::{Inspection, Mind};

/// Wake-ups that wait: events of a busy engine; who sends one more waits.
pub(crate) const WAKES: usize = 256;

/// Everything that wakes the agent, besides a new [`Link`](crate::board::Link) and the passing of
/// time.
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
    pub(crate) record: LeaseRecord,
    pub(crate) stamp: Arc<AtomicU64>,
    pub(crate) wakes: mpsc::Sender<Wake>,
    pub(crate) ask: watch::Sender<u64>,
}

/// See the module.
pub(crate) struct Agent<R> {
    tools: Arc<Tools<R>>,
    board: Arc<Board>,
    ledger: Ledger,
    wakes: mpsc::Sender<Wake>,
    ask: watch::Sender<u64>,
    began: Instant,
    mind: Mind,
    /// Whether the ledger could not be written the last time.
    unwritten: bool,
    record: LeaseRecord,
    leases_unwritten: bool,
    running: JoinSet<()>,
}

impl<R: Runtime> Agent<R> {
    pub(crate) fn new(parts: Parts<R>) -> Self {
        let Parts { tools, node, ledger, held, record, stamp, wakes, ask } = parts;
        let board = Arc::clone(&tools.board);
        let mut mind = Mind::new((tools.cluster.clone(), node), Arc::clone(&board), stamp, held);
        // What is not known is no lease: it is asked for anew.
        mind.restore_leases(record.read().unwrap_or_default());
        Self {
            tools: Arc::new(tools),
            board,
            ledger,
            wakes,
            ask,
            began: Instant::now(),
            mind,
            unwritten: false,
            record,
            leases_unwritten: false,
            running: JoinSet::new(),
        }
    }

    /// Runs until `stop`. Containers stay as they are.
    pub(crate) async fn run(mut self, mut wakes: mpsc::Receiver<Wake>, stop: CancellationToken) {
        let mut granted = self.board.granted.subscribe();
        let mut link = self.board.link.subscribe();
        link.mark_changed();
        loop {
            let due = self.began + Duration::from_millis(self.mind.due(self.now()).0);
            let sleep = tokio::time::sleep_until(due);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = link.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let link = link.borrow_and_update().clone();
                    self.mind.hear_link(link);
                }
                changed = granted.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.mind.hear_leases(&granted.borrow_and_update());
                }
                wake = wakes.recv() => match wake {
                    Some(wake) => self.mind.learn(wake, self.now()),
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

    /// Brings memory, ledger, reports and steps in line with what is known.
    async fn settle(&mut self) {
        self.mind.look_at_leases(clock::awake());
        if self.mind.wants_a_look() {
            self.ask.send_modify(|asked| *asked = asked.wrapping_add(1));
        }
        let news = self.mind.notice(self.now(), now());
        self.save().await;
        self.save_leases().await;
        self.mind.report(news);
        self.begin_steps();
        self.begin_inspections();
    }

    /// Writes the ledger when something in it changed. A disk that is full stops nothing that runs.
    async fn save(&mut self) {
        let Some(bytes) = self.mind.unsaved(self.now()) else { return };
        let ledger = self.ledger.clone();
        let written = tokio::task::spawn_blocking(move || ledger.write(&bytes)).await;
        let written = written.map_err(|error| error.to_string());
        let written = written.and_then(|written| written.map_err(|error| story(&error)));
        match &written {
            Err(why) => {
                tracing::error!(why, "the ledger cannot be written; a restart would know less");
            }
            Ok(()) if self.unwritten => tracing::info!("the ledger is written again"),
            Ok(()) => {}
        }
        self.unwritten = written.is_err();
        self.board.ledger_written(written.as_ref().err().map(String::as_str));
        self.mind.saved(written.is_ok(), self.now());
    }

    /// Writes the leases where the guard and the next agent find them, before anything is started that
    /// they allow.
    async fn save_leases(&mut self) {
        if self.mind.wants_lease() {
            self.board.want_lease();
        }
        let Some(sent) = self.mind.unsaved_leases() else { return };
        let record = self.record.clone();
        let written = tokio::task::spawn_blocking(move || record.write(&sent)).await;
        match written.map_err(std::io::Error::other).flatten() {
            Err(error) if !self.leases_unwritten => {
                tracing::error!(%error, "leases cannot be written; a restart ends strict singletons");
                self.leases_unwritten = true;
            }
            Err(_) => {}
            Ok(()) => self.leases_unwritten = false,
        }
    }

    fn begin_steps(&mut self) {
        while self.running.try_join_next().is_some() {}
        for (step, subject) in self.mind.steps(self.now()) {
            tracing::debug!(?step, "begins");
            let (tools, wakes) = (Arc::clone(&self.tools), self.wakes.clone());
            self.running.spawn(async move {
                let outcome = tools.perform(&step, subject).await;
                // The loop may have ended.
                let _ = wakes.send(Wake::Done { step, outcome }).await;
            });
        }
    }

    /// Looks at what something happened to.
    fn begin_inspections(&mut self) {
        for (asked, id) in self.mind.inspections() {
            let (tools, wakes) = (Arc::clone(&self.tools), self.wakes.clone());
            self.running.spawn(async move {
                let shown = tools.runtime.inspect(&tools.cluster, &id).await;
                let _ = wakes.send(Wake::Inspected { asked, id, shown }).await;
            });
        }
    }
}
