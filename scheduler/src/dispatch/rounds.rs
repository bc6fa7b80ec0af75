//! Rounds in which a majority of the schedulers is found to follow this one: what a lease rests on. Many
//! ask at once, and one round serves all who asked before it began.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};

use crate::log::ReplicatedLog;

/// From the first who asks until the round begins, so that it serves the others as well.
const GATHER: Duration = Duration::from_millis(20);

/// A round that is over: everybody who had asked by this number was served by it.
#[derive(Debug, Clone, Copy, Default)]
struct Over {
    served: u64,
    followed: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Rounds {
    asked: watch::Sender<u64>,
    over: watch::Sender<Over>,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { asked: watch::Sender::new(0), over: watch::Sender::new(Over::default()) }
    }
}

impl Rounds {
    /// Whether a majority followed this scheduler as the leader after this was called.
    pub(crate) async fn followed(&self) -> bool {
        let mut over = self.over.subscribe();
        let mut turn = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            turn = *asked;
        });
        // A later round is as good: it began after this call as well.
        let mine = over.wait_for(|over| over.served >= turn).await;
        mine.is_ok_and(|over| over.followed)
    }

    /// Holds one round after the other, whenever somebody asks for one.
    pub(crate) async fn run(&self, log: &dyn ReplicatedLog) {
        let mut asked = self.asked.subscribe();
        loop {
            let served = self.over.borrow().served;
            if asked.wait_for(|asked| *asked > served).await.is_err() {
                return;
            }
            sleep(GATHER).await;
            let served = *asked.borrow_and_update();
            let followed = log.barrier().await.is_ok() && log.standing().borrow().leads();
            self.over.send_replace(Over { served, followed });
        }
    }
}
