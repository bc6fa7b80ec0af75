//! `top`: who uses the memory, the most first; on a terminal anew every two seconds.

use std::{fmt::Write as _, time::Duration};

use model::{
    Bytes,
    view::{NodeRow, TaskRow},
};
use serde::Serialize;

use crate::{
    args::Top,
    client::Client,
    error::{Blame, Error},
    output::{
        Out, Tone,
        bars::bar,
        json, safe,
        succession::mark,
        table::{Cell, Table},
        wrap::wrap,
    },
    terminal,
};

/// How long a view stands. Agents report what tasks use every few seconds.
const INTERVAL: Duration = Duration::from_secs(2);
/// From so much of its limit on, in percent, a task is close to being killed.
const CLOSE: u128 = 90;
/// The cursor to the upper left; what is there is written over.
const HOME: &str = "\x1b[H";
/// What is there of a line is gone.
const REST_OF_LINE: &str = "\x1b[K";
/// A line that is wider than the terminal is cut, and then none is again: a view that wraps would scroll.
const CUT: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// What was below is gone.
const REST_OF_SCREEN: &str = "\x1b[J";

/// Machines, and the tasks that use something, the most first.
#[derive(Debug, Serialize)]
struct Use {
    nodes: Vec<NodeRow>,
    tasks: Vec<TaskRow>,
}

/// Carries out `top`.
pub async fn run(args: &Top, client: &Client, out: &mut Out) -> Result<(), Error> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let live = out.look.stdout_terminal && !dumb && !args.once;
    let mut shown = ask(args, client).await?;
    if out.is_json() {
        return json::document(out, &shown);
    }
    if out.look.quiet {
        return shown.tasks.iter().try_for_each(|task| out.data_line(&task.task));
    }
    if !live {
        return out.data(&render(&shown, out));
    }
    let mut trouble = None;
    loop {
        let (columns, rows) = terminal::size();
        out.look.width = usize::try_from(columns).ok().filter(|columns| *columns > 0);
        let text = said(trouble.as_ref(), out) + &render(&shown, out);
        out.data(&screen(&text, rows as usize))?;
        tokio::time::sleep(INTERVAL).await;
        match ask(args, client).await {
            Ok(now) => (shown, trouble) = (now, None),
            Err(error) if error.blame() == Some(Blame::Unreachable) => trouble = Some(error),
            Err(error) => return Err(error),
        }
    }
}

async fn ask(args: &Top, client: &Client) -> Result<Use, Error> {
    let stack = args.stack.as_ref().map(AsRef::as_ref);
    let nodes = client.nodes().await?;
    match client.tasks(stack).await {
        Ok(tasks) => Ok(Use { nodes, tasks: by_use(tasks) }),
        Err(error) => Err(client.with_nearest(error, stack.unwrap_or_default(), None).await),
    }
}

/// The tasks that use something, the most first.
fn by_use(mut tasks: Vec<TaskRow>) -> Vec<TaskRow> {
    tasks.retain(|task| task.memory_used.is_some());
    tasks.sort_by(|a, b| b.memory_used.cmp(&a.memory_used).then_with(|| a.task.cmp(&b.task)));
    tasks
}

/// A view that stands for want of an answer says so, in lines that need no wrapping.
fn said(trouble: Option<&Error>, out: &Out) -> String {
    let Some(error) = trouble else { return String::new() };
    let text = format!("not as it is now: {}; asked again", safe::line(&error.to_string()));
    let lines = wrap(&text, out.look.width.unwrap_or(usize::MAX));
    lines.iter().flat_map(|line| [out.paint(Tone::Careful, line), "\n".to_owned()]).collect()
}

/// Both tables.
fn render(shown: &Use, out: &Out) -> String {
    let nodes = nodes(&shown.nodes, out).render(out);
    if shown.tasks.is_empty() {
        return format!("{nodes}\nno task is known to use memory\n");
    }
    format!("{nodes}\n{}", tasks(&shown.tasks).render(out))
}

fn nodes(nodes: &[NodeRow], out: &Out) -> Table {
    let header = ["NODE", "USED", "SHARE", "ALLOCATABLE", "RESERVED", "LIMITS", "TASKS"];
    let mut table = Table::new(&header).sparing(&["SHARE", "LIMITS", "TASKS"]);
    for node in nodes {
        let memory = node.memory;
        let share = memory.used.map(|used| bar(used, Bytes::ZERO, memory.allocatable, &out.look));
        table.row([
            Cell::new(node.name.as_str()),
            Cell::amount(memory.used.map(|used| used.to_string())),
            Cell::new(share.as_deref()),
            Cell::amount(memory.allocatable.to_string()),
            Cell::amount(memory.reserved.to_string()),
            Cell::amount(memory.limits.to_string()),
            Cell::amount(node.tasks.to_string()),
        ]);
    }
    table
}

fn tasks(tasks: &[TaskRow]) -> Table {
    let header = ["REPLICA", "NODE", "USED", "RESERVED", "OF RESERVED", "LIMIT", "OF LIMIT"];
    let mut table = Table::new(&header).sparing(&["OF RESERVED", "NODE", "RESERVED"]);
    for task in tasks {
        let used = task.memory_used.unwrap_or_default();
        let name =
            format!("{}/{}.{}{}", task.stack, task.service, task.replica, mark(task.succession));
        let of = |whole: Bytes| percent(used, whole).map(|share| format!("{share} %"));
        let close = percent(used, task.memory_limit).is_some_and(|share| share >= CLOSE);
        table.row([
            Cell::new(name.as_str()),
            Cell::new(task.node.as_deref()),
            Cell::amount(used.to_string()),
            Cell::amount(task.memory_reservation.to_string()),
            Cell::amount(of(task.memory_reservation)),
            Cell::amount(task.memory_limit.to_string()),
            Cell::amount(of(task.memory_limit)).tone(if close {
                Tone::Careful
            } else {
                Tone::Plain
            }),
        ]);
    }
    table
}

/// Of a whole, rounded down; `None` of nothing.
fn percent(part: Bytes, whole: Bytes) -> Option<u128> {
    (u128::from(part.0) * 100).checked_div(u128::from(whole.0))
}

/// What a terminal of so many rows is sent to show the text in place of what it showed. A text that scrolls could not be
/// written over.
fn screen(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = if rows == 0 { lines.len() } else { rows.saturating_sub(1) };
    let all = lines.len() <= room;
    let shown = if all { lines.len() } else { room.saturating_sub(1) };
    let mut text = format!("{CUT}{HOME}");
    for line in lines.iter().take(shown) {
        text.extend([REST_OF_LINE, line, "\n"]);
    }
    if !all {
        let _ = writeln!(text, "{REST_OF_LINE}and {} lines more", lines.len() - shown);
    }
    text.extend([REST_OF_SCREEN, WRAP]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::Look,
        testing::{node, streams, task},
    };

    fn seen() -> Use {
        let mut close = task("postgres", 1);
        close.memory_used = Some(Bytes::mib(1_900));
        let mut away = node("mini-2");
        away.memory.used = None;
        let mut waits = task("api", 1);
        waits.memory_used = None;
        let tasks = by_use(vec![task("web", 2), waits, close, task("web", 1)]);
        Use { nodes: vec![node("mini-1"), away], tasks }
    }

    #[test]
    fn machines_and_tasks_are_shown_with_what_they_use_of_what() {
        let wide = render(&seen(), &streams(Look::plain()).0);
        let narrow = Look { width: Some(60), ..Look::plain() };
        insta::assert_snapshot!([wide, render(&seen(), &streams(narrow).0)].join("\n"));
        let none = Use { nodes: vec![node("mini-1")], tasks: Vec::new() };
        assert!(
            render(&none, &streams(Look::plain()).0).ends_with("no task is known to use memory\n")
        );
    }

    #[test]
    fn a_view_that_stands_for_want_of_an_answer_says_so_in_lines_that_fit() {
        let error = Error::unreachable("nobody answered within 3000 ms");
        let narrow = Look { width: Some(40), ..Look::plain() };
        let lines = said(Some(&error), &streams(narrow).0);
        assert_eq!(lines, "not as it is now: nobody answered within\n3000 ms; asked again\n");
        assert_eq!(said(None, &streams(narrow).0), "");
    }

    #[test]
    fn a_share_of_nothing_is_none() {
        assert_eq!(percent(Bytes(5), Bytes::ZERO), None);
        assert_eq!(percent(Bytes(u64::MAX), Bytes(u64::MAX)), Some(100));
    }

    #[test]
    fn a_screen_is_never_longer_than_the_terminal() {
        let text = "1\n2\n3\n4\n";
        let plain = |rows| screen(text, rows).replace(REST_OF_LINE, "");
        let drawn = |text: &str| format!("{CUT}{HOME}{text}{REST_OF_SCREEN}{WRAP}");
        assert_eq!(plain(5), drawn("1\n2\n3\n4\n"));
        assert_eq!(plain(4), drawn("1\n2\nand 2 lines more\n"));
        assert_eq!(plain(1), drawn("and 4 lines more\n"));
        assert_eq!(plain(0), plain(5), "of a terminal that does not say");
    }
}
