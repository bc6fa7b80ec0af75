//! `explain`: why a task is, or is not, where it is.

mod score;

use jiff::Timestamp;
use model::{
    NodeName,
    generic::Amount,
    view::{ExplainView, Verdict},
};
use serde::Serialize;

use super::node::known;
use crate::{
    args::Explain,
    client::Client,
    error::Error,
    output::{
        Out, Tone,
        amount::age,
        json, safe,
        succession::mark,
        table::{Cell, Table},
    },
};

/// The explanation of one replica; of a whole service, that of the replica that needs it most, with
/// all of them in `replicas`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    explained: &'a ExplainView,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    replicas: &'a [ExplainView],
}

/// Carries out `explain`.
pub async fn run(args: &Explain, client: &Client, out: &mut Out) -> Result<(), Error> {
    let target = &args.target;
    let views = match client.explain(target, args.on.as_ref()).await {
        Ok(views) => views,
        Err(error) if args.on.is_some() => {
            let on = args.on.as_ref().map(ToString::to_string).unwrap_or_default();
            return known(Err(error), &on, client).await;
        }
        Err(error) => {
            let (stack, service) = (target.stack.as_str(), target.service.as_str());
            return Err(client.with_nearest(error, stack, Some(service)).await);
        }
    };
    let Some(first) = views.iter().find(|view| view.placement.node.is_none()).or(views.first())
    else {
        return Err(Error::input(format!("{}/{} has no replicas", target.stack, target.service))
            .hint(format!("give it some: `sisoctl scale {}/{}=1`", target.stack, target.service)));
    };
    if out.is_json() {
        let replicas = if target.replica.is_some() { &[][..] } else { &views };
        return json::document(out, &Document { explained: first, replicas });
    }
    let now = Timestamp::now();
    let texts: Vec<String> = views
        .iter()
        .map(|view| render(target.stack.as_str(), view, args.on.as_ref(), now, out))
        .collect();
    let legend = score::legend(views.iter().map(|view| view.placement.verdicts.as_slice()));
    out.data(&(texts.join("\n") + &legend))
}

/// One replica: where it is, a verdict per node, the fixes.
pub fn render(
    stack: &str,
    view: &ExplainView,
    on: Option<&NodeName>,
    now: Timestamp,
    out: &Out,
) -> String {
    let placement = &view.placement;
    let (service, replica) = (&placement.service, placement.replica);
    let name = format!("{stack}/{service}.{replica}{}", mark(placement.succession));
    let place = match &placement.node {
        Some(node) => out.paint(Tone::Good, &format!("is on {}", safe::line(node))),
        None => out.paint(Tone::Bad, "has no place"),
    };
    let state = safe::line(&view.state);
    let mut parts =
        vec![format!("{} {place} ({state})\n", out.paint(Tone::Strong, &safe::line(&name)))];
    let mut facts = vec![format!("reserves {}", placement.memory)];
    if placement.cpus.0 > 0 {
        facts.push(format!("{} CPUs", placement.cpus));
    }
    facts.extend(
        placement
            .generic
            .iter()
            .map(|(kind, amount)| format!("{} {}", Amount(*amount), safe::line(kind))),
    );
    facts.extend(view.task.as_ref().map(|task| format!("task {}", safe::line(task))));
    if let Some(at) = &view.decided_at {
        facts.push(format!("decided {} ago", age(at, now)));
    }
    facts.extend(view.revision.map(|revision| format!("at cluster revision {revision}")));
    parts.push(format!("  {}\n", facts.join(", ")));
    parts.push(then(view));
    if let Some(error) = &view.error {
        let error = out.paint(Tone::Careful, &safe::line(error));
        parts.push(format!("  {error}\n"));
    }
    if !placement.verdicts.is_empty() {
        parts.push("\n".to_owned());
        parts.push(verdicts(&placement.verdicts, placement.node.as_deref(), out));
    }
    if !placement.fixes.is_empty() {
        parts.push("\n".to_owned());
    }
    if let Some(on) = on.filter(|_| !placement.fixes.is_empty()) {
        parts.push(format!("to be on {on} it would take, all of it:\n"));
    }
    let mark = if on.is_some() { "  -" } else { "fix:" };
    for fix in &placement.fixes {
        parts.push(format!("{mark} {}\n", safe::line(fix)));
    }
    parts.concat()
}

/// Why its node was chosen, in the words of then: what spoke for it, and for the next best.
fn then(view: &ExplainView) -> String {
    const TOLD: usize = 2;
    let told = view.decided.iter().take(TOLD);
    let line =
        |one: &Verdict| format!("  then {}: {}\n", safe::line(&one.node), safe::line(&one.reason));
    told.map(line).collect()
}

fn verdicts(verdicts: &[Verdict], chosen: Option<&str>, out: &Out) -> String {
    let columns = score::columns(verdicts);
    let titles = columns.iter().map(|column| column.title());
    let header: Vec<_> = ["NODE", "VERDICT"].into_iter().chain(titles).chain(["WHY"]).collect();
    let mut table = Table::new(&header);
    for verdict in verdicts {
        let (word, tone) = match (verdict.fits, chosen == Some(verdict.node.as_str())) {
            (_, true) => ("chosen", Tone::Good),
            (true, false) => ("fits", Tone::Plain),
            (false, false) => ("does not fit", Tone::Bad),
        };
        let mut cells = vec![Cell::new(verdict.node.as_str()), Cell::new(word).tone(tone)];
        cells.extend(columns.iter().map(|column| Cell::amount(column.value(verdict))));
        cells.push(Cell::remark(&verdict.reason));
        table.row(cells);
    }
    table.render(out)
}

#[cfg(test)]
mod tests {
    use model::view::{ReplicaPlacement, Succession};

    use super::*;
    use crate::{
        output::Look,
        testing::{placed, short, streams, unplaced},
    };

    fn view(placement: ReplicaPlacement, error: Option<&str>) -> ExplainView {
        ExplainView {
            placement,
            decided: Vec::new(),
            task: Some("t7".to_owned()),
            decided_at: Some("2026-03-01T11:57:00Z".to_owned()),
            revision: Some(12),
            state: "running".to_owned(),
            error: error.map(str::to_owned),
        }
    }

    fn rendered(view: &ExplainView) -> String {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        render("shop", view, None, now, &streams(Look::plain()).0)
    }

    #[test]
    fn a_placed_replica_shows_who_lost_and_why() {
        let mut placement = placed("postgres", 1);
        placement.verdicts.push(short("mini-2"));
        placement.succession = Some(Succession::Old);
        let legend = score::legend([placement.verdicts.as_slice()].into_iter());
        let decided = placed("postgres", 1).verdicts;
        let view = ExplainView { decided, ..view(placement, None) };
        insta::assert_snapshot!(rendered(&view) + &legend);
    }

    #[test]
    fn an_unplaced_replica_shows_amounts_and_fixes() {
        let view = view(unplaced("neo4j", 1), Some("no node has room"));
        insta::assert_snapshot!(rendered(&ExplainView { state: "pending".to_owned(), ..view }));
    }

    #[test]
    fn the_json_of_a_service_is_one_placement_with_all_of_them_inside() {
        let views = [view(placed("web", 1), None), view(placed("web", 2), None)];
        let document = Document { explained: &views[0], replicas: &views };
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!((&json["replica"], &json["task"]), (&1.into(), &"t7".into()));
        assert_eq!(json["replicas"][1]["replica"], 2);
        let one = Document { explained: &views[1], replicas: &[] };
        assert_eq!(serde_json::to_value(&one).unwrap(), serde_json::to_value(&views[1]).unwrap());
    }
}
