//! Operators that were removed, for connections: one that is open ends as its operator is removed.
//!
//! What a call may do is decided by the log itself, where the call is answered.

use std::{collections::BTreeSet, sync::Arc};

use model::OperatorName;
use tokio::sync::watch;

use crate::log::ReplicatedLog;

/// Who was removed, as far as this scheduler has read the log.
#[derive(Debug, Clone)]
pub(crate) struct Removed(watch::Receiver<BTreeSet<OperatorName>>);

impl Removed {
    /// Whether whoever has a certificate of that name is nobody any more.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.borrow().contains(name)
    }

    /// Returns as soon as that is so; never when the scheduler stops before.
    pub(crate) async fn once(mut self, name: String) {
        if self.0.wait_for(|removed| removed.contains(name.as_str())).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Who was removed, and what keeps that up to date for as long as it runs.
pub(crate) fn follow(log: Arc<dyn ReplicatedLog>) -> (Removed, impl Future<Output = ()> + Send) {
    let mut revision = log.revision();
    let (sender, receiver) = watch::channel(log.cluster().removed_operators().clone());
    let following = async move {
        while revision.changed().await.is_ok() {
            let cluster = log.cluster();
            let removed = cluster.removed_operators();
            // A snapshot may bring many at once.
            sender.send_if_modified(|known| {
                let news = known != removed;
                if news {
                    known.clone_from(removed);
                }
                news
            });
        }
    };
    (Removed(receiver), following)
}
