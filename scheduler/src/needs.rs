//! Writes down what services were seen to need, while this scheduler leads. Whether there is something to
//! write is for [`scheduler_core::Needs`] to say: seldom.

use std::time::Duration;

use scheduler_core::{Command, Needs, cluster::NEEDS_FORM};
use tokio::time::sleep;

use crate::{clock, dispatch::Dispatch};

/// Between two looks at what was seen: agents tell of it every few minutes.
pub(crate) const NEEDS_EVERY: Duration = Duration::from_mins(1);

/// Looks again and again, for as long as it is asked to.
pub(crate) async fn run(dispatch: &Dispatch, every: Duration) {
    let mut needs = Needs::default();
    loop {
        sleep(every).await;
        let news = {
            let cluster = dispatch.log.cluster();
            if cluster.form() < NEEDS_FORM {
                continue;
            }
            let seen = dispatch.sessions.seen(|task| cluster.task(task).is_some());
            needs.pass(&cluster, &seen, clock::now())
        };
        if news.is_empty() {
            continue;
        }
        tracing::debug!(services = news.len(), "what services need is written down");
        let recorded = dispatch.log.propose(None, Command::RecordNeeds { needs: news }).await;
        // What was not written is found again the next time.
        if let Err(error) = recorded {
            tracing::warn!(%error, "what services need could not be written down");
        }
    }
}
