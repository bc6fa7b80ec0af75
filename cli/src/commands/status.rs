//! `status`: the cluster on one screen.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::view::StatusView;

use crate::{
    client::Client,
    commands::automatic::line,
    error::Error,
    output::{
        Out, Tone,
        amount::{age, count},
        json, safe,
        table::{Cell, Table},
    },
};

/// Machines whose loss is told; a screen holds no more.
const MAX_LOSSES: usize = 4;
/// Tasks named for each.
const MAX_NAMES: usize = 3;

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
    parts.extend(cordoned(status, out));
    parts.push(format!("tasks        {}\n", counts(&status.tasks)));
    parts.extend(losses(status, out));
    let rebalance = status.automatic_rebalance.as_ref().filter(|view| view.on);
    parts.extend(rebalance.map(|view| format!("rebalance    automatic, {}\n", line(view, now))));
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
        1 => "1, and nothing takes over when it is down".to_owned(),
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

/// The machines that take nothing new, and how they do again.
fn cordoned(status: &StatusView, out: &Out) -> Option<String> {
    let first = status.cordoned.first()?;
    let text = format!(
        "cordoned     {}: nothing new is placed there until `sisoctl node uncordon {first}`",
        some(&status.cordoned)
    );
    Some(format!("{}\n", out.paint(Tone::Careful, &safe::line(&text))))
}

/// What the loss of one machine would cost.
fn losses(status: &StatusView, out: &Out) -> Vec<String> {
    let losses = &status.losses;
    let ready = status.nodes.get("ready").filter(|count| **count > 0);
    let Some(ready) = ready else { return Vec::new() };
    if losses.is_empty() {
        let what = match (status.losses_unknown, ready) {
            (0, 1) => "nothing runs that would be missed".to_owned(),
            (0, _) => "any one machine may be lost".to_owned(),
            (unknown, _) => format!(
                "not looked at for {}, the cluster is large: see `sisoctl whatif lose NODE`",
                count(unknown, "machine")
            ),
        };
        return vec![format!("spare        {what}\n")];
    }
    let mut lines = Vec::new();
    for loss in losses.iter().take(MAX_LOSSES) {
        let mut costs = Vec::new();
        if !loss.homeless.is_empty() {
            let cure = match loss.cure {
                Some(memory) => format!("a further machine of {memory} would do"),
                None => "no further machine would do".to_owned(),
            };
            let (tasks, memory) = (count(loss.homeless.len() as u64, "task"), loss.memory);
            let which = some(&loss.homeless);
            costs.push(format!("{tasks} ({memory}) would be nowhere: {which}; {cure}"));
        }
        if !loss.bound.is_empty() {
            costs.push(format!("{} would wait for it, whose data is there", some(&loss.bound)));
        }
        let head = if lines.is_empty() { "spare        " } else { "             " };
        let costs = costs.join("\n             and ");
        let text = format!("{head}without {} {costs}", loss.node);
        let text: Vec<_> = text.lines().map(safe::line).collect();
        lines.push(format!("{}\n", text.join("\n")));
    }
    if let Some(more) = losses.len().checked_sub(MAX_LOSSES).filter(|more| *more > 0) {
        lines.push(format!("             and {more} more machines\n"));
    }
    let tone = Tone::Careful;
    lines.into_iter().map(|line| out.paint(tone, &line)).collect()
}

/// A few names, and how many more there are.
fn some(names: &[String]) -> String {
    let shown = names.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
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
    use model::{
        Bytes,
        view::{LossRow, Problem, SchedulerRow},
    };

    use super::*;
    use crate::{
        output::Look,
        testing::{automatic, streams},
    };

    fn status() -> StatusView {
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
        StatusView {
            cluster: "home".to_owned(),
            healthy: false,
            leader: Some("1".to_owned()),
            schedulers: vec![scheduler],
            nodes: counts(&[("ready", 2), ("down", 0)]),
            tasks: counts(&[("running", 5), ("pending", 1)]),
            problems: vec![problem],
            losses: vec![loss()],
            losses_unknown: 0,
            cordoned: Vec::new(),
            automatic_rebalance: Some(automatic()),
        }
    }

    fn loss() -> LossRow {
        LossRow {
            node: "mini-1".to_owned(),
            homeless: vec!["shop/api.1".to_owned(), "shop/web.1".to_owned()],
            memory: Bytes::mib(1_536),
            bound: vec!["shop/db.1".to_owned()],
            cure: Some(Bytes::gib(1)),
        }
    }

    #[test]
    fn what_a_loss_would_cost_is_told_with_its_cure() {
        let out = &streams(Look::plain()).0;
        let told = |rows: Vec<LossRow>, ready| {
            let nodes = BTreeMap::from([("ready".to_owned(), ready)]);
            let status = StatusView { losses: rows, nodes, ..status() };
            losses(&status, out).join("")
        };
        assert_eq!(told(Vec::new(), 0), "");
        assert_eq!(told(Vec::new(), 1), "spare        nothing runs that would be missed\n");
        assert_eq!(told(Vec::new(), 2), "spare        any one machine may be lost\n");
        let large = StatusView { losses: Vec::new(), losses_unknown: 990, ..status() };
        assert!(losses(&large, out).join("").contains("not looked at for 990 machines"));
        let without = "spare        without mini-1 ";
        let two = "2 tasks (1.5 GiB) would be nowhere: shop/api.1, shop/web.1; ";
        let cure = "a further machine of 1.0 GiB would do\n";
        let bound = "shop/db.1 would wait for it, whose data is there\n";
        let text = told(vec![loss()], 2);
        assert_eq!(text, format!("{without}{two}{cure}             and {bound}"));
        let alone = LossRow { homeless: Vec::new(), ..loss() };
        assert_eq!(told(vec![alone], 2), format!("{without}{bound}"));
        let hopeless = LossRow { cure: None, bound: Vec::new(), ..loss() };
        assert!(told(vec![hopeless], 2).ends_with("; no further machine would do\n"));
        let many = LossRow { homeless: vec!["s/x.1".to_owned(); 9], ..loss() };
        assert!(told(vec![many; 5], 9).contains("s/x.1 and 6 more; "));
    }

    #[test]
    fn a_problem_comes_with_its_cause_and_its_fix() {
        let status = status();
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        insta::assert_snapshot!(render(&status, now, &streams(Look::plain()).0));
    }

    #[test]
    fn machines_that_take_nothing_new_are_named_with_the_way_out() {
        let out = &streams(Look::plain()).0;
        assert_eq!(cordoned(&status(), out), None);
        let names = ["mini-2", "mini-3", "mini-4", "mini-5"].map(str::to_owned).to_vec();
        let closed = StatusView { cordoned: names, ..status() };
        let line = "cordoned     mini-2, mini-3, mini-4 and 1 more: nothing new is placed there until \
                    `sisoctl node uncordon mini-2`\n";
        assert_eq!(cordoned(&closed, out).unwrap(), line);
        assert!(render(&closed, Timestamp::UNIX_EPOCH, out).contains(line));
    }

    #[test]
    fn the_number_of_schedulers_says_what_may_be_lost() {
        assert_eq!(voters(3), "3, survive the loss of 1");
        assert_eq!(voters(5), "5, survive the loss of 2");
        assert!(voters(2).contains("no better than one"));
    }
}
