//! The way to the cluster: the context, its certificate, an answer, clocks, health.

use jiff::Timestamp;
use model::view::StatusView;
use x509_parser::pem::parse_x509_pem;

use super::Finding;
use crate::{
    args::Global,
    client::Client,
    context::{self, Context},
    error::Error,
    output::amount::{count, span},
};

/// A certificate that ends sooner is to be renewed now.
const SOON: i64 = 7 * 86_400;
/// Clocks this far apart, in milliseconds, make ages wrong.
const APART: i64 = 1_000;
/// Clocks this far apart, in milliseconds, make certificates seem to have ended or not begun.
const FAR_APART: i64 = 60_000;

/// Asks the cluster; without a context there is none to ask.
pub(super) async fn examine(global: &Global) -> Vec<Finding> {
    let (file, context) = match context::load(global) {
        Ok(loaded) => loaded,
        Err(error) => {
            let chosen = global.context.is_some() || global.context_file.is_some();
            return vec![no_context(&error, chosen)];
        }
    };
    let mut findings = vec![judge_file(&file), judge_certificate(&context, Timestamp::now())];
    let client = match Client::with_context(file, context, global) {
        Ok(client) => client,
        Err(error) => {
            findings.push(failed("cluster", &error));
            return findings;
        }
    };
    let asked_at = Timestamp::now();
    match client.version().await {
        Ok(reply) => {
            let took = Timestamp::now().as_millisecond() - asked_at.as_millisecond();
            let theirs = i64::try_from(reply.now).unwrap_or(i64::MAX);
            findings.push(judge_clock(theirs - (asked_at.as_millisecond() + took / 2), took));
            findings.push(match client.status().await {
                Ok(status) => judge_status(&status),
                Err(error) => failed("cluster", &error),
            });
        }
        Err(error) => {
            findings.push(Finding::skip("clock", "the scheduler does not answer"));
            findings.push(failed("cluster", &error));
        }
    }
    findings
}

fn no_context(error: &Error, chosen: bool) -> Finding {
    let finding = if chosen {
        Finding::fail("cluster", error.to_string())
    } else {
        Finding::skip("cluster", "no context: no cluster to ask")
    };
    match error {
        Error::Told { hint: Some(hint), .. } => finding.fix(hint.replace('\n', " ")),
        _ => finding,
    }
}

fn failed(check: &'static str, error: &Error) -> Finding {
    let finding = Finding::fail(check, error.to_string());
    match error.exit_code() {
        4 => finding.fix("start the scheduler there, or mend the way to it; `sisoctl context ls` shows the endpoints"),
        _ => finding.fix("use a context file of this cluster: `sisoctl context add NAME --file F`"),
    }
}

fn judge_file(file: &std::path::Path) -> Finding {
    let shown = file.display();
    if context::is_exposed(file) {
        return Finding::warn("context", format!("others can read {shown}, which holds a key"))
            .fix(format!("chmod 600 {shown}"));
    }
    Finding::ok("context", shown.to_string())
}

fn judge_certificate(context: &Context, now: Timestamp) -> Finding {
    const CHECK: &str = "certificate";
    let ends = parse_x509_pem(context.certificate.as_bytes())
        .ok()
        .and_then(|(_, pem)| Some(pem.parse_x509().ok()?.validity().not_after.timestamp()));
    let Some(ends) = ends else {
        return Finding::fail(CHECK, "it cannot be read").fix(RENEW);
    };
    let left = ends - now.as_second();
    match u64::try_from(left) {
        Ok(seconds) if left < SOON => {
            Finding::warn(CHECK, format!("ends in {}", span(seconds))).fix(RENEW)
        }
        Ok(seconds) => Finding::ok(CHECK, format!("good for {}", span(seconds))),
        Err(_) => {
            Finding::fail(CHECK, format!("ended {} ago", span(left.unsigned_abs()))).fix(RENEW)
        }
    }
}

const RENEW: &str =
    "copy DATA_DIR/admin.yaml from the scheduler again: `sisoctl context add NAME --file F`";

/// `apart` is how far the scheduler's clock is ahead, in milliseconds; it cannot be known better than
/// half of the time the answer took.
fn judge_clock(apart: i64, took: i64) -> Finding {
    const CHECK: &str = "clock";
    let apart = apart.abs().saturating_sub(took / 2).max(0);
    #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let detail = format!("{:.1}s apart from the scheduler", apart as f64 / 1000.0);
    let fix = if cfg!(target_os = "macos") {
        "`sudo sntp -sS time.apple.com`; a virtual machine that slept: `colima restart`"
    } else {
        "`sudo timedatectl set-ntp true` on the machine whose clock is wrong"
    };
    if apart > FAR_APART {
        Finding::fail(CHECK, detail).fix(fix)
    } else if apart > APART {
        Finding::warn(CHECK, detail).fix(fix)
    } else {
        Finding::ok(CHECK, detail)
    }
}

fn judge_status(status: &StatusView) -> Finding {
    const CHECK: &str = "cluster";
    if status.healthy {
        let nodes: u32 = status.nodes.values().sum();
        return Finding::ok(
            CHECK,
            format!("{} is healthy, {}", status.cluster, count(nodes, "node")),
        );
    }
    let what =
        status.problems.first().map_or_else(String::new, |problem| format!(": {}", problem.what));
    Finding::warn(CHECK, format!("{} is not healthy{what}", status.cluster))
        .fix("see `sisoctl status`: every problem has its cause and its fix there")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::view::Problem;

    use super::*;
    use crate::commands::doctor::Verdict;

    fn context(certificate: String) -> Context {
        Context {
            cluster: "5f2c".to_owned(),
            endpoints: vec!["127.0.0.1:1".to_owned()],
            authorities: String::new(),
            certificate,
            key: String::new(),
        }
    }

    #[test]
    fn a_certificate_that_ends_soon_is_worth_a_warning() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2026, 3, 1);
        let context = context(parameters.self_signed(&key).unwrap().pem());
        for (now, expected, detail) in [
            ("2026-02-01T00:00:00Z", Verdict::Ok, "good for 28d"),
            ("2026-02-26T00:00:00Z", Verdict::Warn, "ends in 3d"),
            ("2026-03-03T00:00:00Z", Verdict::Fail, "ended 2d ago"),
        ] {
            let finding = judge_certificate(&context, now.parse().unwrap());
            assert_eq!((finding.result, finding.detail.as_str()), (expected, detail));
        }
        let unreadable = Context { certificate: "no PEM".to_owned(), ..context };
        assert_eq!(judge_certificate(&unreadable, Timestamp::now()).result, Verdict::Fail);
    }

    #[test]
    fn clocks_apart_are_named_with_the_amount() {
        for (apart, took, expected) in [
            (200, 10, Verdict::Ok),
            (-900, 10, Verdict::Ok),
            (2_500, 10, Verdict::Warn),
            (2_500, 4_000, Verdict::Ok),
            (-3_600_000, 10, Verdict::Fail),
        ] {
            assert_eq!(judge_clock(apart, took).result, expected, "{apart}");
        }
        assert_eq!(judge_clock(2_500, 0).detail, "2.5s apart from the scheduler");
    }

    #[test]
    fn a_cluster_with_a_problem_names_it() {
        let mut status = StatusView {
            cluster: "home".to_owned(),
            healthy: true,
            leader: None,
            schedulers: Vec::new(),
            nodes: BTreeMap::from([("ready".to_owned(), 2)]),
            tasks: BTreeMap::new(),
            problems: Vec::new(),
            losses: Vec::new(),
            losses_unknown: 0,
            cordoned: Vec::new(),
            automatic_rebalance: None,
        };
        assert_eq!(judge_status(&status).detail, "home is healthy, 2 nodes");
        status.healthy = false;
        status.problems.push(Problem {
            what: "mini-2 is down".to_owned(),
            cause: String::new(),
            since: None,
            fix: String::new(),
        });
        assert_eq!(judge_status(&status).detail, "home is not healthy: mini-2 is down");
    }

    #[tokio::test]
    async fn a_scheduler_that_does_not_answer_is_a_failure_with_a_fix() {
        let global =
            Global { context_file: Some("/nonexistent/admin.yaml".into()), ..Global::default() };
        let findings = examine(&global).await;
        assert_eq!(findings[0].result, Verdict::Fail);
        assert!(findings[0].detail.contains("/nonexistent/admin.yaml"), "{findings:?}");
    }
}
