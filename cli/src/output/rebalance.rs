//! By which few moves the cluster would be packed better, for people.

use model::view::{RebalanceMove, RebalanceView};

use super::{
    Out, Tone,
    amount::count,
    plan::{nodes, warnings},
    safe,
    table::{Cell, Table},
};

/// Ways out shown per task that has no place.
const MAX_FIXES: usize = 3;

/// The whole answer.
pub fn render(found: &RebalanceView, out: &Out) -> String {
    let moves = found.moves.len() as u64;
    let heading = match (moves, found.left.is_empty()) {
        (0, true) if found.warnings.is_empty() => "nothing to gain".to_owned(),
        (0, _) => "no moves help".to_owned(),
        (moves, _) if found.fewest => format!("{}; fewer do not do", count(moves, "move")),
        (moves, _) => count(moves, "move"),
    };
    let mut parts = vec![format!("{}\n", out.paint(Tone::Strong, &heading))];
    if moves > 0 {
        let mut table = Table::new(&["TASK", "FROM", "TO", "MEMORY", "HOW"]);
        for held in &found.moves {
            let (how, tone) = how(held);
            table.row([
                Cell::new(name(held).as_str()),
                Cell::new(held.from.as_str()),
                Cell::new(held.to.as_str()),
                Cell::amount(held.memory.to_string()),
                Cell::remark(how).tone(tone),
            ]);
        }
        parts.push(format!("\n{}", table.render(out)));
    }
    if !found.gains.is_empty() {
        parts.push("\n".to_owned());
    }
    for gain in &found.gains {
        parts.push(format!("{}\n", out.paint(Tone::Good, &safe::line(gain))));
    }
    for left in &found.left {
        let what = format!("{}/{}.{}: {}", left.stack, left.service, left.replica, left.reason);
        parts.push(format!("\n{}\n", out.paint(Tone::Bad, &safe::line(&what))));
        for fix in left.fixes.iter().take(MAX_FIXES) {
            parts.push(format!("  fix: {}\n", safe::line(fix)));
        }
    }
    if moves > 0 && !found.nodes.is_empty() {
        parts.push(format!("\n{}", nodes(&found.nodes, &[], out)));
    }
    parts.push(warnings(&found.warnings, out));
    parts.concat()
}

/// `STACK/SERVICE.N` of what moves.
pub fn name(held: &RebalanceMove) -> String {
    format!("{}/{}.{}", held.stack, held.service, held.replica)
}

/// Whether it is missed meanwhile.
pub fn is_missed(held: &RebalanceMove) -> bool {
    held.how != "start-first"
}

fn how(held: &RebalanceMove) -> (&'static str, Tone) {
    if is_missed(held) {
        ("stops here before it starts there", Tone::Careful)
    } else {
        ("starts there before it stops here", Tone::Faint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::Look,
        testing::{rebalancing, stay, streams},
    };

    #[test]
    fn moves_are_told_in_order_with_what_they_come_to() {
        let out = streams(Look::plain()).0;
        insta::assert_snapshot!(render(&rebalancing(), &out));
        let nothing = RebalanceView {
            moves: vec![],
            left: vec![],
            gains: vec![],
            warnings: vec![],
            ..rebalancing()
        };
        assert_eq!(render(&nothing, &out), "nothing to gain\n");
        let stuck = RebalanceView { left: vec![stay("postgres")], ..nothing };
        let text = render(&stuck, &out);
        assert!(text.starts_with("no moves help\n\nshop/postgres.1: its volume"), "{text}");
    }
}
