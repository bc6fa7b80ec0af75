//! Looking at the engine: its events as they come, everything every few seconds.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use model::Bytes;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    agent::Wake,
    board::Board,
    inventory::{self, Bounds},
    runtime::{ContainerState, EngineEvent, Look, Runtime, RuntimeError},
};

/// Between two looks at everything: what no event tells is found within this time.
const LOOK: Duration = Duration::from_secs(10);
/// Between two looks while the engine does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The engine is asked about its machine at every so many looks.
const FACTS_EVERY: u32 = 3;

/// What watching needs.
pub(crate) struct Watch<R> {
    pub(crate) runtime: Arc<R>,
    pub(crate) cluster: String,
    pub(crate) board: Arc<Board>,
    pub(crate) bounds: Bounds,
    /// Counts the agent's own changes: a look that began before one of them proves nothing about
    /// what was changed.
    pub(crate) stamp: Arc<AtomicU64>,
    pub(crate) wakes: mpsc::Sender<Wake>,
    /// The agent asks for a look by changing this.
    pub(crate) asked: watch::Receiver<u64>,
}

/// The agent is gone.
struct Over;

impl<R: Runtime> Watch<R> {
    /// Watches for as long as the agent is there.
    pub(crate) async fn run(self) {
        let mut asked = self.asked.clone();
        while self.listen(&mut asked).await.is_ok() {}
    }

    /// One event stream, from its begin to its end. Events and looks go on side by side: an end that
    /// is told of only after a slow look would be taken for one that nobody witnessed.
    async fn listen(&self, asked: &mut watch::Receiver<u64>) -> Result<(), Over> {
        let begun = Notify::new();
        tokio::select! {
            ended = self.hear(&begun) => ended?,
            over = self.look_on(&begun, asked) => return over,
        }
        // The engine may be gone altogether, or only have closed the stream.
        self.look(1).await?;
        sleep_until(Instant::now() + LOOK_AGAIN).await;
        Ok(())
    }

    /// Passes events on until the stream ends.
    async fn hear(&self, begun: &Notify) -> Result<(), Over> {
        let mut events = self.runtime.events(&self.cluster);
        while let Some(Ok(event)) = events.next().await {
            match event {
                EngineEvent::Listening => begun.notify_one(),
                EngineEvent::Container { id, task, what, at } => {
                    self.wake(Wake::Happened { id, task, what, at }).await?;
                }
            }
        }
        Ok(())
    }

    /// Looks once the events are listened to, when the agent asks, and every few seconds.
    async fn look_on(&self, begun: &Notify, asked: &mut watch::Receiver<u64>) -> Result<(), Over> {
        let mut looks = 0_u32;
        let mut next = Instant::now() + LOOK_AGAIN;
        loop {
            tokio::select! {
                () = begun.notified() => {}
                () = sleep_until(next) => {}
                changed = asked.changed() => changed.map_err(|_| Over)?,
            }
            looks = looks.wrapping_add(1);
            next = Instant::now() + self.look(looks).await?;
        }
    }

    /// Looks at everything; answers when to look next.
    async fn look(&self, count: u32) -> Result<Duration, Over> {
        let asked = self.stamp.load(Ordering::SeqCst);
        let look = self.runtime.look(&self.cluster).await;
        let answered = look.is_ok();
        let running = look.as_ref().map(running).unwrap_or_default();
        self.wake(Wake::Looked { asked, look }).await?;
        let was_ready = self.board.inventory.borrow().engine_ready;
        if !answered {
            self.offer(|offered| offered.engine_ready = false);
            return Ok(LOOK_AGAIN);
        }
        if !was_ready || count % FACTS_EVERY == 1 {
            match self.runtime.facts().await {
                Ok(facts) => self.offer(|offered| {
                    let ledger_error = offered.ledger_error.take();
                    *offered =
                        model::Inventory { ledger_error, ..inventory::of(&facts, &self.bounds) };
                }),
                Err(_) => return Ok(LOOK_AGAIN),
            }
        }
        self.measure(running).await;
        Ok(LOOK)
    }

    async fn measure(&self, running: Vec<(model::TaskId, crate::runtime::ContainerId)>) {
        let mut memory: BTreeMap<model::TaskId, Bytes> = BTreeMap::new();
        for (task, container) in running {
            match self.runtime.memory_used(&container).await {
                Ok(Some(used)) => drop(memory.insert(task, used)),
                Ok(None) => {}
                Err(RuntimeError::Unreachable { .. }) => return,
                Err(error) => tracing::debug!(%container, %error, "its memory is not measured"),
            }
        }
        self.board.set_memory(memory);
    }

    fn offer(&self, change: impl FnOnce(&mut model::Inventory)) {
        self.board.inventory.send_if_modified(|held| {
            let mut news = held.clone();
            change(&mut news);
            let changed = news != *held;
            *held = news;
            changed
        });
    }

    async fn wake(&self, wake: Wake) -> Result<(), Over> {
        self.wakes.send(wake).await.map_err(|_| Over)
    }
}

fn running(look: &Look) -> Vec<(model::TaskId, crate::runtime::ContainerId)> {
    let running = look.containers.iter().filter(|found| found.state == ContainerState::Running);
    running.map(|found| (found.task, found.id.clone())).collect()
}
