//! Machines as a picture of blocks, one for each task, to scale: what `placement` writes to a terminal, as SVG.

use model::{
    Bytes,
    view::{PlacedTask, PlacementNode, PlacementView},
};

use super::{
    amount::count,
    blocks::{drawn, name, named, spans, title},
    safe,
};

/// In pixels, as all that follows.
const WIDTH: usize = 960;
const MARGIN: usize = 24;
/// The bar of the largest machine.
const BAR: usize = 760;
const BAR_HEIGHT: usize = 28;
/// A machine: its title, its bar and the space below.
const ROW: usize = 64;
/// A line of text.
const LINE: usize = 20;
/// What a letter of the text takes at most, nearly always.
const LETTER: usize = 7;
/// More of what waits is counted.
const WAITING_MAX: usize = 200;
/// A name in a block is left out where fewer of its letters fit.
const FEWEST_LETTERS: usize = 3;
const DARK: &str = "#1a1a1a";
/// Light enough for dark letters, and told apart by people who see no red or green (Okabe and Ito, 2008).
const FILLS: [&str; 6] = ["#9ecfee", "#f5c977", "#7fd1b9", "#f7ec9b", "#e3b3cf", "#f0a582"];

/// The machines and what waits for a place, readable on their own.
pub fn svg(placement: &PlacementView) -> String {
    let PlacementView { nodes, pending } = placement;
    // A picture of nothing says why.
    let below = MARGIN + ROW * nodes.len().max(1);
    let (told, more) = pending.split_at(pending.len().min(WAITING_MAX));
    let lines = told.len() + usize::from(!more.is_empty());
    let waiting = if lines == 0 { 0 } else { LINE * (lines + 1) };
    let height = below + waiting + MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    if nodes.is_empty() {
        text += &line((MARGIN, MARGIN + ROW / 2), "No machine has joined the cluster yet.");
    }
    let largest = nodes.iter().map(|node| node.allocatable).max().unwrap_or_default();
    for (row, node) in nodes.iter().enumerate() {
        text += &machine(MARGIN + row * ROW, node, largest);
    }
    if !pending.is_empty() {
        text += &line((MARGIN, below + 12), "pending");
    }
    for (row, task) in told.iter().enumerate() {
        text += &without_place(below + LINE * (row + 1), task);
    }
    if !more.is_empty() {
        let at = (2 * MARGIN, below + LINE * lines + 12);
        text += &line(at, &format!("and {} more", count(more.len() as u64, "task")));
    }
    text += "</svg>\n";
    text
}

fn machine(top: usize, node: &PlacementNode, largest: Bytes) -> String {
    let most = u128::from(node.allocatable.0) * BAR as u128 / u128::from(largest.0.max(1));
    let whole = usize::try_from(most).unwrap_or(BAR).max(1);
    let y = top + LINE;
    let tasks = drawn(node);
    let amounts: Vec<Bytes> = tasks.iter().map(|task| task.memory).collect();
    let spans = spans(&amounts, node.allocatable, whole);
    let blocks = tasks.iter().zip(spans).zip(FILLS.iter().cycle()).map(|((task, span), fill)| {
        block((MARGIN + span.from, y, span.to - span.from), task, fill)
    });
    let blocks: String = blocks.collect();
    let title = cut_line((MARGIN, top + 12), &format!("{}: {}", node.name, title(node)));
    format!(
        "{title}<rect x=\"{MARGIN}\" y=\"{y}\" width=\"{whole}\" height=\"{BAR_HEIGHT}\" fill=\"#eeeeee\" stroke=\"#666666\"/>\n{blocks}"
    )
}

fn block((x, y, width): (usize, usize, usize), task: &PlacedTask, fill: &str) -> String {
    let what = escaped(&format!("{} {}", named(task), task.memory));
    let letters: String = name(task).chars().take(width.saturating_sub(8) / LETTER).collect();
    let shown = if letters.chars().count() < FEWEST_LETTERS {
        String::new()
    } else {
        line((x + 4, y + 18), &letters)
    };
    format!(
        "<g><title>{what}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{BAR_HEIGHT}\" fill=\"{fill}\" stroke=\"#ffffff\"/>\n\
         {shown}</g>\n"
    )
}

/// A line of the list of what waits.
fn without_place(top: usize, task: &PlacedTask) -> String {
    let reason = task.reason.as_deref().map(|reason| format!(": {reason}"));
    let what = format!("{} {}{}", named(task), task.memory, reason.unwrap_or_default());
    cut_line((2 * MARGIN, top + 12), &what)
}

/// A line of text that is cut where the picture ends, and whole for who points at it.
fn cut_line((x, y): (usize, usize), text: &str) -> String {
    let shown = line((x, y), &cut(&safe::line(text), (WIDTH - MARGIN - x) / LETTER));
    format!("<g><title>{}</title>\n{shown}</g>\n", escaped(text))
}

/// A line of text whose letters stand on `y`.
fn line((x, y): (usize, usize), text: &str) -> String {
    format!("<text x=\"{x}\" y=\"{y}\" fill=\"{DARK}\">{}</text>\n", escaped(text))
}

/// At most so many letters, the last of which says that there were more.
fn cut(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters) {
        None => text.to_owned(),
        Some(_) => text.chars().take(letters.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in safe::line(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{placed_on, placed_task};

    #[test]
    fn a_picture_holds_every_task_and_no_markup_of_others() {
        let nodes = vec![
            placed_on("mini-1", 14, &[("neo4j", 6_144), ("<b>&\"", 512)]),
            placed_on("mini-2", 0, &[]),
        ];
        let text = svg(&PlacementView { nodes, pending: Vec::new() });
        assert!(text.contains("shop/&lt;b&gt;&amp;&quot;.1 512.0 MiB"), "{text}");
        assert!(!text.contains("<b>"), "{text}");
        // Two machines and two tasks.
        assert_eq!(text.matches("<title>").count(), 4);
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        assert!(!text.contains("has joined") && !text.contains("pending"), "{text}");
        let nothing = svg(&PlacementView { nodes: Vec::new(), pending: Vec::new() });
        assert!(nothing.contains(">No machine has joined the cluster yet.</text>"), "{nothing}");
    }

    #[test]
    fn what_waits_is_in_the_picture_with_its_reason() {
        let waiting =
            PlacedTask { reason: Some("needs <20>".repeat(40)), ..placed_task("big", 20_480) };
        let pending = vec![waiting, placed_task("other", 1)];
        let text = svg(&PlacementView { nodes: vec![placed_on("mini-1", 14, &[])], pending });
        assert!(text.contains(">pending</text>"), "{text}");
        assert!(text.contains(">shop/big.1 20.0 GiB: needs &lt;20&gt;"), "{text}");
        assert!(text.contains("…</text>"), "what is too long for the picture is cut: {text}");
        let whole =
            format!("<title>shop/big.1 20.0 GiB: {}</title>", "needs &lt;20&gt;".repeat(40));
        assert!(text.contains(&whole), "{text}");
        assert!(text.contains(">shop/other.1 1.0 MiB</text>"), "{text}");
        assert!(text.contains("height=\"172\""), "{text}");
    }

    #[test]
    fn of_very_much_that_waits_the_rest_is_counted() {
        let pending = vec![placed_task("web", 1); WAITING_MAX + 3];
        let text = svg(&PlacementView { nodes: Vec::new(), pending });
        assert_eq!(text.matches(">shop/web.1 1.0 MiB</text>").count(), WAITING_MAX);
        assert!(text.contains(">and 3 tasks more</text>"), "{text}");
    }
}
