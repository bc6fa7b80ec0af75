//! What a drain would do, for people.

use model::view::{DrainStay, DrainView};

use super::{
    Out, Tone,
    amount::count,
    plan::nodes,
    safe,
    table::{Cell, Table},
};

/// Ways out shown per task that stays.
const MAX_FIXES: usize = 3;

/// The whole plan.
pub fn render(plan: &DrainView, out: &Out) -> String {
    let node = out.paint(Tone::Strong, &safe::line(&plan.node));
    let (moves, stays) = (plan.moves.len() as u64, plan.stays.len() as u64);
    let heading = match (moves, stays) {
        (0, 0) => "nothing runs there".to_owned(),
        (moves, 0) => format!("{} to move", count(moves, "task")),
        (0, stays) => format!("{}, and none can move", count(stays, "task")),
        (moves, stays) => {
            format!("{} to move, {} cannot", count(moves, "task"), count(stays, "task"))
        }
    };
    let mut parts = vec![format!("{node}: {heading}\n")];
    if !plan.moves.is_empty() {
        let mut table = Table::new(&["TASK", "TO", "MEMORY", "HOW"]);
        for held in &plan.moves {
            let how = match &held.down_because {
                Some(why) => format!("down for a moment: {why}"),
                None => "starts there before it stops here".to_owned(),
            };
            let tone = if held.down_because.is_some() { Tone::Careful } else { Tone::Faint };
            table.row([
                Cell::new(format!("{}/{}.{}", held.stack, held.service, held.replica).as_str()),
                Cell::new(held.to.as_str()),
                Cell::amount(held.memory.to_string()),
                Cell::remark(&how).tone(tone),
            ]);
        }
        parts.push(format!("\n{}", table.render(out)));
    }
    for stay in &plan.stays {
        let mut lines = stay_lines(stay).into_iter();
        let first = lines.next().unwrap_or_default();
        parts.push(format!("\n{}\n", out.paint(Tone::Bad, &safe::line(&first))));
        parts.extend(lines.map(|line| format!("{}\n", safe::line(&line))));
    }
    if !plan.nodes.is_empty() && moves > 0 {
        parts.push(format!("\n{}", nodes(&plan.nodes, &[], out)));
    }
    parts.concat()
}

/// Why a task stays, and what would let it go, a line each.
pub fn stay_lines(stay: &DrainStay) -> Vec<String> {
    let name = format!("{}/{}.{}", stay.stack, stay.service, stay.replica);
    let mut lines = vec![format!("{name} stays: {}", stay.reason)];
    lines.extend(stay.fixes.iter().take(MAX_FIXES).map(|fix| format!("  fix: {fix}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::Look,
        testing::{draining, streams},
    };

    #[test]
    fn a_drain_shows_what_goes_where_and_what_stays_and_why() {
        let out = streams(Look::plain()).0;
        insta::assert_snapshot!(render(&draining(), &out));
        let empty = DrainView { moves: vec![], stays: vec![], ..draining() };
        assert_eq!(render(&empty, &out), "mini-1: nothing runs there\n");
        let stuck = DrainView { moves: vec![], ..draining() };
        assert!(render(&stuck, &out).starts_with("mini-1: 1 task, and none can move\n"));
    }
}
