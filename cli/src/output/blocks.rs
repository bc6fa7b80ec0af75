//! Machines as bars of blocks, one for each task, to scale.

use model::{
    Bytes,
    generic::{Amount, sentence},
    view::{NodeGeneric, PlacedTask, PlacementNode},
};
use unicode_width::UnicodeWidthStr as _;

use super::{Look, Out, Tone, safe, succession::mark};

/// Columns of the widest bar where no terminal says how many there are.
const USUAL_COLUMNS: usize = 78;
/// A narrower terminal wraps: fewer columns show nothing any more.
const FEWEST_COLUMNS: usize = 20;

/// A part of a bar: from where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first column of it.
    pub from: usize,
    /// The first column behind it.
    pub to: usize,
}

/// The spans of amounts that lie one behind the other in a whole of so many columns. An amount gets a column
/// of its own as long as there is one, so that nothing is hidden by rounding.
pub fn spans(amounts: &[Bytes], whole: Bytes, columns: usize) -> Vec<Span> {
    let mut spans = Vec::with_capacity(amounts.len());
    let (mut sum, mut from) = (0_u128, 0);
    for (index, amount) in amounts.iter().enumerate() {
        sum += u128::from(amount.0);
        let exact = (sum * columns as u128 + u128::from(whole.0) / 2) / u128::from(whole.0.max(1));
        let behind = amounts.len() - index - 1;
        let most = columns.saturating_sub(behind).max(from);
        let to = usize::try_from(exact).unwrap_or(columns).max(from + 1).min(most).min(columns);
        spans.push(Span { from, to: to.max(from) });
        from = to.max(from);
    }
    spans
}

/// The tasks as they are drawn: the largest first.
pub fn drawn(node: &PlacementNode) -> Vec<&PlacedTask> {
    let mut tasks: Vec<&PlacedTask> = node.tasks.iter().collect();
    tasks.sort_by(|a, b| b.memory.cmp(&a.memory).then_with(|| name(a).cmp(&name(b))));
    tasks
}

/// `STACK/SERVICE.N`, and which of two it is.
pub fn name(task: &PlacedTask) -> String {
    format!("{}/{}.{}{}", task.stack, task.service, task.replica, mark(task.succession))
}

/// The same with the generic resources it reserves.
pub fn named(task: &PlacedTask) -> String {
    if task.generic.is_empty() {
        return name(task);
    }
    format!("{} ({})", name(task), sentence(task.generic.clone()))
}

/// What of a machine is reserved and what is free.
pub fn title(node: &PlacementNode) -> String {
    let PlacementNode { allocatable, reserved, free, .. } = node;
    let generic = node.generic.iter().map(|(kind, NodeGeneric { capacity, reserved })| {
        format!("; {} of {} {}", Amount(*reserved), Amount(*capacity), safe::line(kind))
    });
    let generic: String = generic.collect();
    format!("{reserved} of {allocatable} reserved, {free} free{generic}")
}

/// How many columns a machine has when the largest of all has as many as fit.
pub fn columns(node: &PlacementNode, largest: Bytes, look: &Look) -> usize {
    let most =
        look.width.map_or(USUAL_COLUMNS, |width| width.saturating_sub(2)).max(FEWEST_COLUMNS);
    let exact = u128::from(node.allocatable.0) * most as u128 / u128::from(largest.0.max(1));
    usize::try_from(exact).unwrap_or(most).clamp(1, most)
}

/// One bar: `[name      |name |........]`.
pub fn bar(node: &PlacementNode, largest: Bytes, out: &Out) -> String {
    let look = &out.look;
    let columns = columns(node, largest, look);
    let tasks = drawn(node);
    let amounts: Vec<Bytes> = tasks.iter().map(|task| task.memory).collect();
    let (wall, free) = if look.unicode { ("│", "░") } else { ("|", ".") };
    let mut text = String::from(wall);
    let mut end = 0;
    for (index, (task, span)) in
        tasks.iter().zip(spans(&amounts, node.allocatable, columns)).enumerate()
    {
        end = span.to;
        let Some(inside) = (span.to - span.from).checked_sub(1) else { continue };
        text.push_str(&out.paint(Tone::Hue(index), &label(task, inside)));
        text.push_str(wall);
    }
    let left = columns.saturating_sub(end);
    text.push_str(&out.paint(Tone::Faint, &free.repeat(left)));
    if left > 0 {
        text.push_str(wall);
    }
    text
}

/// The most of a task's name that fits, filled up to the width.
fn label(task: &PlacedTask, width: usize) -> String {
    let short = format!("{}.{}", task.service, task.replica);
    let names = [name(task), short.clone()];
    let fits = names.iter().map(|name| safe::line(name)).find(|name| name.width() <= width);
    let shown = fits.unwrap_or_else(|| {
        // What follows is told by the list below.
        safe::line(&short).chars().filter(char::is_ascii).take(width).collect::<String>().into()
    });
    format!("{shown}{}", " ".repeat(width.saturating_sub(shown.width())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{placed_on, streams};

    #[track_caller]
    fn check(amounts: &[u64], whole: u64, columns: usize, expected: &[(usize, usize)]) {
        let amounts: Vec<Bytes> = amounts.iter().copied().map(Bytes).collect();
        let spans = spans(&amounts, Bytes(whole), columns);
        let found: Vec<_> = spans.iter().map(|span| (span.from, span.to)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn blocks_are_to_scale_and_none_is_hidden_while_there_is_a_column() {
        check(&[], 100, 10, &[]);
        check(&[50, 25], 100, 20, &[(0, 10), (10, 15)]);
        check(&[1, 1, 1], 1_000, 10, &[(0, 1), (1, 2), (2, 3)]);
        check(&[998, 1, 1], 1_000, 10, &[(0, 8), (8, 9), (9, 10)]);
        check(&[1; 4], 4, 2, &[(0, 0), (0, 0), (0, 1), (1, 2)]);
        check(&[200], 100, 10, &[(0, 10)]);
        check(&[1], 0, 10, &[(0, 10)]);
    }

    #[test]
    fn a_bar_has_the_width_of_its_machine_and_is_readable_without_colour() {
        let large = placed_on("mini-1", 14, &[("neo4j", 6_144), ("web", 2_048), ("a", 16)]);
        let small = placed_on("mini-2", 7, &[("postgres", 4_096)]);
        for (unicode, width) in [(true, None), (false, Some(40)), (false, Some(5))] {
            let look = Look { unicode, width, ..Look::plain() };
            let out = streams(look).0;
            let bars = [bar(&large, Bytes::gib(14), &out), bar(&small, Bytes::gib(14), &out)];
            let columns = bars.each_ref().map(|bar| bar.width());
            // One wall at each end.
            let most = width.map_or(USUAL_COLUMNS, |width: usize| width.saturating_sub(2));
            let most = most.max(FEWEST_COLUMNS) + 2;
            assert_eq!(columns[0], most, "{bars:?}");
            assert!(columns[1] * 2 <= columns[0] + 2, "{bars:?}");
            assert!(unicode || bars[0].is_ascii(), "{bars:?}");
        }
        let look = Look { unicode: false, ..Look::plain() };
        insta::assert_snapshot!(bar(&large, Bytes::gib(14), &streams(look).0));
    }
}
