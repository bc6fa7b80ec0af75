//! `status`: the cluster on one screen.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::view::StatusView;

use crate::{
    client::Client,
    error::Error,
    output::{
        Out, Tone,
        amount::age,
        json, safe,
        table::{Cell, Table},
    },
};

/// Carries out `status`.
pub async fn run(client: &Client, out: &mut Out) -> Result<(), Error> {
    let status = client.status().await?;
    if out.is_json() {
        return json::document(out, &status);
    }
    let text = render(&status, Timestamp::now(), out);
    out.data(&text)
}

/// The screen.
pub fn render(status: &StatusView, now: Timestamp, out: &Out) -> String {
    let (word, tone) =
        if status.healthy { ("healthy", Tone::Good) } else { ("not healthy", Tone::Bad) };
    let cluster = out.paint(Tone::Strong, &safe::line(&status.cluster));
    let mut parts = vec![format!("cluster      {cluster}: {}\n", out.paint(tone, word))];
    let leader = status.leader.as_deref().unwrap_or("none");
    parts.push(format!("leader       {}\n", safe::line(leader)));
    parts.push(format!("schedulers   {}\n", voters(status.schedulers.len())));
    parts.push(format!("nodes        {}\n", counts(&status.nodes)));
    parts.push(format!("tasks        {}\n", counts(&status.tasks)));
    if !status.schedulers.is_empty() {
        parts.push("\n".to_owned());
        parts.push(schedulers(status).render(out));
    }
    for problem in &status.problems {
        let since =
            problem.since.as_deref().map(|since| age(since, now)).filter(|age| !age.is_empty());
        let since = since.map(|age| format!(" (for {age})")).unwrap_or_default();
        let what = out.paint(Tone::Bad, &safe::line(&problem.what));
        parts.push(format!("\n{what}{since}\n  cause: {}\n", safe::line(&problem.cause)));
        parts.push(format!("  fix:   {}\n", safe::line(&problem.fix)));
    }
    parts.concat()
}

/// How many may be lost: a majority has to be left.
fn voters(count: usize) -> String {
    match count {
        0 => "none".to_owned(),
        1 => "1, which no other one replaces when it is down".to_owned(),
        2 => "2, both needed: no better than one; three survive the loss of one".to_owned(),
        count => format!("{count}, survive the loss of {}", (count - 1) / 2),
    }
}

fn counts(counts: &BTreeMap<String, u32>) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, count)| format!("{count} {}", safe::line(state)))
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn schedulers(status: &StatusView) -> Table {
    let mut table = Table::new(&["SCHEDULER", "ADDRESS", "ROLE", "VERSION", "APPLIED"]);
    for row in &status.schedulers {
        table.row([
            Cell::new(row.id.to_string().as_str()),
            Cell::new(row.address.as_str()),
            Cell::new(row.role.as_str()),
            Cell::new(row.version.as_str()),
            Cell::amount(row.applied.to_string()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use model::view::{Problem, SchedulerRow};

    use super::*;
    use crate::{output::Look, testing::streams};

    #[test]
    fn a_problem_comes_with_its_cause_and_its_fix() {
        let scheduler = SchedulerRow {
            id: 1,
            address: "10.0.0.1:7400".to_owned(),
            role: "leader".to_owned(),
            version: "0.1.0".to_owned(),
            applied: 1042,
        };
        let problem = Problem {
            what: "shop/neo4j.1 is pending".to_owned(),
            cause: "mini-1: needs 2.0 GiB, 1.3 GiB free, short 716.8 MiB".to_owned(),
            since: Some("2026-03-01T11:57:00Z".to_owned()),
            fix: "lower its reservation to 1.3 GiB".to_owned(),
        };
        let counts = |pairs: &[(&str, u32)]| {
            pairs.iter().map(|(state, count)| ((*state).to_owned(), *count)).collect()
        };
        let status = StatusView {
            cluster: "home".to_owned(),
            healthy: false,
            leader: Some("1".to_owned()),
            schedulers: vec![scheduler],
            nodes: counts(&[("ready", 2), ("down", 0)]),
            tasks: counts(&[("running", 5), ("pending", 1)]),
            problems: vec![problem],
        };
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        insta::assert_snapshot!(render(&status, now, &streams(Look::plain()).0));
    }

    #[test]
    fn the_number_of_schedulers_says_what_may_be_lost() {
        assert_eq!(voters(3), "3, survive the loss of 1");
        assert_eq!(voters(5), "5, survive the loss of 2");
        assert!(voters(2).contains("no better than one"));
    }
}
