//! `/healthz` and `/metrics`, over plain HTTP on an address of their own.

use std::sync::Arc;

use proto::probes::{self, Page};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{dispatch::Dispatch, log::Standing, metrics::Figures};

/// Answers until `stop`; `name` is where others reach this machine.
pub(crate) async fn serve(
    listener: TcpListener,
    name: String,
    (dispatch, figures): (Arc<Dispatch>, Arc<Figures>),
    stop: CancellationToken,
) {
    let page = move |path: &str| {
        let standing = dispatch.log.standing().borrow().clone();
        match path {
            "/healthz" => Some(health(&standing)),
            "/metrics" => {
                let sessions = dispatch.sessions.count();
                let text = figures.text(&dispatch.log.cluster(), &standing, sessions);
                Some(Page { well: true, text })
            }
            _ => None,
        }
    };
    probes::serve(listener, vec![name], page, stop.cancelled_owned()).await;
}

/// Healthy: someone leads, and this scheduler can still write its log.
fn health(standing: &Standing) -> Page {
    let page = |well, text: &str| Page { well, text: text.to_owned() };
    match (&standing.failed, standing.leader) {
        (Some(reason), _) => page(false, &format!("the log has stopped: {reason}\n")),
        (None, Some(_)) => page(true, "ok\n"),
        (None, None) => page(false, "no leader is known\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_healthy_with_a_leader_and_a_log() {
        let check = |leader, failed: Option<&str>, well: bool, says: &str| {
            let failed = failed.map(str::to_owned);
            let page = health(&Standing { leader, failed, ..Standing::default() });
            assert_eq!(page.well, well);
            assert!(page.text.contains(says), "{page:?}");
        };
        check(Some(1), None, true, "ok");
        check(None, None, false, "no leader");
        check(Some(1), Some("disk"), false, "disk");
    }
}
