//! `/healthz` and `/metrics`, over plain HTTP on an address of their own.

use std::sync::Arc;

use proto::probes::{self, Page};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{dispatch::Dispatch, log::Standing, metrics::Figures, places::Places};

/// Answers until `stop`; `name` is where others reach this machine.
pub(crate) async fn serve(
    listener: TcpListener,
    name: String,
    (dispatch, figures, places): (Arc<Dispatch>, Arc<Figures>, Arc<Places>),
    stop: CancellationToken,
) {
    let page = move |path: &str| {
        let standing = dispatch.log.standing().borrow().clone();
        match path {
            "/healthz" => Some(health(&standing)),
            "/metrics" => {
                let sessions = dispatch.sessions.count();
                let shown = (sessions, &*places);
                let text = figures.text(&dispatch.log.cluster(), &standing, shown);
                Some(Page { well: true, text })
            }
            _ => None,
        }
    };
    probes::serve(listener, vec![name], page, stop.cancelled_owned()).await;
}

/// Healthy: this scheduler can still write its log, and leads or hears who does, so that what it is asked
/// is answered. For balancers and people: none of this is mended by starting it again.
fn health(standing: &Standing) -> Page {
    let page = |well, text: &str| Page { well, text: text.to_owned() };
    match (&standing.failed, standing.leader) {
        (Some(reason), _) => page(false, &format!("the log has stopped: {reason}\n")),
        (None, Some(_)) if standing.heard => page(true, "ok\n"),
        (None, Some(leader)) => page(
            false,
            &format!(
                "nothing is heard of scheduler {leader}, which led: no call can be answered\n"
            ),
        ),
        (None, None) => page(false, "no leader is known: no call can be answered\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_healthy_with_a_leader_that_is_heard_and_a_log() {
        let check = |(leader, heard), failed: Option<&str>, well: bool, says: &str| {
            let failed = failed.map(str::to_owned);
            let page = health(&Standing { leader, heard, failed, ..Standing::default() });
            assert_eq!(page.well, well);
            assert!(page.text.contains(says), "{page:?}");
        };
        check((Some(1), true), None, true, "ok");
        check((Some(2), false), None, false, "nothing is heard of scheduler 2");
        check((None, false), None, false, "no leader");
        check((Some(1), true), Some("disk"), false, "disk");
    }
}
