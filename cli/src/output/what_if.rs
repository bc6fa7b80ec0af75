//! What the cluster would come to, for people.

use model::view::{ReplicaPlacement, WhatIfView};

use super::{
    Out, Tone,
    amount::count,
    plan::{changes, misfit_lines, nodes, warnings, why},
    safe,
    table::{Cell, Table},
};

/// The whole answer; `lost` are the names of the machines that are supposed to be gone.
pub fn render(found: &WhatIfView, lost: &[&str], out: &Out) -> String {
    let mut parts = vec![format!("{}\n", heading(found, out)), changes(&found.changes, out)];
    let (placed, homeless): (Vec<_>, Vec<_>) =
        found.placements.iter().partition(|placement| placement.node.is_some());
    if !placed.is_empty() {
        let mut table = Table::new(&["TASK", "FROM", "TO", "MEMORY", "WHY"]);
        for placement in &placed {
            let stays = placement.origin.is_none() && found.stack.is_none();
            table.row([
                Cell::new(name(placement).as_str()),
                Cell::new(placement.origin.as_deref().unwrap_or(if stays { "" } else { "new" })),
                Cell::new(placement.node.as_deref().unwrap_or_default()),
                Cell::amount(placement.memory.to_string()),
                Cell::remark(why(placement)).tone(Tone::Faint),
            ]);
        }
        parts.push(format!("\n{}", table.render(out)));
    }
    for placement in homeless {
        let what = format!("{}, {}, would be nowhere:", name(placement), placement.memory);
        parts.push(format!("\n{}\n", out.paint(Tone::Bad, &safe::line(&what))));
        for line in misfit_lines(placement) {
            parts.push(format!("  {}\n", safe::line(&line)));
        }
    }
    if !found.nodes.is_empty() {
        parts.push(format!("\n{}", nodes(&found.nodes, lost, out)));
    }
    parts.push(warnings(&found.warnings, out));
    parts.concat()
}

fn heading(found: &WhatIfView, out: &Out) -> String {
    let moved = found.placements.iter().filter(|placement| {
        placement.node.is_some() && placement.origin.is_some() && placement.origin != placement.node
    });
    let new = found
        .placements
        .iter()
        .filter(|placement| placement.node.is_some() && placement.origin.is_none());
    let parts: Vec<String> = [
        (moved.count() as u64, "would move"),
        (new.count() as u64, "would be placed"),
        (u64::from(found.unplaced), "would be nowhere"),
    ]
    .into_iter()
    .filter(|(tasks, _)| *tasks > 0)
    .map(|(tasks, what)| format!("{} {what}", count(tasks, "task")))
    .collect();
    let tone = if found.unplaced > 0 { Tone::Bad } else { Tone::Strong };
    let text = if parts.is_empty() { "nothing would move".to_owned() } else { parts.join(", ") };
    out.paint(tone, &text)
}

fn name(placement: &ReplicaPlacement) -> String {
    format!("{}/{}.{}", placement.stack, placement.service, placement.replica)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::Look,
        testing::{placed, plan, streams, unplaced},
    };

    fn found() -> WhatIfView {
        let moved = ReplicaPlacement { origin: Some("mini-2".to_owned()), ..placed("web", 1) };
        let lost = ReplicaPlacement { origin: Some("mini-2".to_owned()), ..unplaced("neo4j", 1) };
        WhatIfView {
            stack: None,
            revision: None,
            changes: Vec::new(),
            placements: vec![moved, lost],
            nodes: plan().nodes,
            unplaced: 1,
            warnings: vec!["shop/db.1 stays on mini-2: its volume `data` lives there".to_owned()],
        }
    }

    #[test]
    fn what_moves_and_what_would_be_nowhere_is_told_with_its_reasons() {
        insta::assert_snapshot!(render(&found(), &["mini-2"], &streams(Look::plain()).0));
    }

    #[test]
    fn where_nothing_moves_that_is_said() {
        let calm = WhatIfView { placements: Vec::new(), unplaced: 0, ..found() };
        let text = render(&calm, &[], &streams(Look::plain()).0);
        assert!(text.starts_with("nothing would move\n"), "{text}");
    }
}
