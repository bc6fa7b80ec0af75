//! `doctor`: is this machine, and the way to the cluster, as Siso needs it? Every finding comes with
//! its fix. Works without a cluster.

mod cluster;
mod engine;
mod machine;

use serde::Serialize;

use super::Outcome;
use crate::{
    args::{Doctor, Global},
    error::Error,
    output::{
        Out, Tone, json, safe,
        table::{Cell, Table},
    },
};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Works, but not well or not for long.
    Warn,
    /// Does not work.
    Fail,
    /// Could not be checked, which is no fault.
    Skip,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// How it went.
    pub result: Verdict,
    /// What was found, with amounts.
    pub detail: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Finding {
    fn new(check: &'static str, result: Verdict, detail: impl Into<String>) -> Self {
        Self { check, result, detail: detail.into(), fix: None }
    }

    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, detail)
    }

    fn warn(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warn, detail)
    }

    fn fail(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fail, detail)
    }

    fn skip(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skip, detail)
    }

    fn fix(self, text: impl Into<String>) -> Self {
        Self { fix: Some(text.into()), ..self }
    }
}

/// Carries out `doctor`; ends with 3 when a check fails.
pub async fn run(args: &Doctor, global: &Global, out: &mut Out) -> Result<Outcome, Error> {
    let (mut findings, engine) = engine::examine(args.docker_host.as_deref()).await;
    findings.extend(machine::examine(engine.as_ref(), args.data_dir.as_deref()).await);
    findings.extend(cluster::examine(global).await);
    if out.is_json() {
        json::document(out, &findings)?;
    } else {
        let text = render(&findings, out);
        out.data(&text)?;
    }
    let failed = findings.iter().any(|finding| finding.result == Verdict::Fail);
    Ok(if failed { Outcome::Found } else { Outcome::Done })
}

fn render(findings: &[Finding], out: &Out) -> String {
    let mut parts = Vec::new();
    let mut table = Table::new(&["CHECK", "RESULT", "FOUND"]);
    for finding in findings {
        let (word, tone) = match finding.result {
            Verdict::Ok => ("ok", Tone::Good),
            Verdict::Warn => ("warn", Tone::Careful),
            Verdict::Fail => ("fail", Tone::Bad),
            Verdict::Skip => ("-", Tone::Faint),
        };
        table.row([
            Cell::new(finding.check),
            Cell::new(word).tone(tone),
            Cell::remark(&finding.detail),
        ]);
    }
    parts.push(table.render(out));
    for finding in findings {
        if let Some(fix) = &finding.fix {
            parts.push(format!("\nfix {}: {}", finding.check, safe::line(fix)));
        }
    }
    if findings.iter().any(|finding| finding.fix.is_some()) {
        parts.push("\n".to_owned());
    }
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{output::Look, testing::streams};

    #[test]
    fn findings_stand_in_a_table_and_their_fixes_below() {
        let findings = [
            Finding::ok("engine", "docker 27.3.1 at unix:///var/run/docker.sock"),
            Finding::warn("clock", "2.5s apart from the scheduler").fix("timedatectl set-ntp true"),
            Finding::fail("certificate", "ended 2d ago").fix("copy DATA_DIR/admin.yaml again"),
            Finding::skip("cluster", "no context"),
        ];
        insta::assert_snapshot!(render(&findings, &streams(Look::plain()).0), @r"
        CHECK         RESULT   FOUND
        engine        ok       docker 27.3.1 at unix:///var/run/docker.sock
        clock         warn     2.5s apart from the scheduler
        certificate   fail     ended 2d ago
        cluster       -        no context

        fix clock: timedatectl set-ntp true
        fix certificate: copy DATA_DIR/admin.yaml again
        ");
    }
}
