//! `events`: what happened.

use jiff::Timestamp;
use model::view::EventRow;

use crate::{
    args::Events,
    client::Client,
    error::Error,
    output::{
        Out, Tone,
        amount::age,
        json, safe,
        table::{Cell, Table},
    },
};

/// Carries out `events`.
pub async fn run(args: &Events, client: &Client, out: &mut Out) -> Result<(), Error> {
    let stack = args.stack.as_ref().map(AsRef::as_ref);
    let mut answers = match client.events(stack, args.follow, 0).await {
        Ok(answers) => answers,
        Err(error) => {
            return Err(client.with_nearest(error, stack.unwrap_or_default(), None).await);
        }
    };
    if args.follow {
        while let Some(event) = answers.next_event().await? {
            if out.is_json() {
                json::record(out, &event)?;
            } else {
                let line = line(&event, out);
                out.data_line(&line)?;
            }
        }
        return Err(Error::unreachable("the scheduler ended the stream of events"));
    }
    let mut events = Vec::new();
    while let Some(event) = answers.next_event().await? {
        events.push(event);
    }
    if out.is_json() {
        return json::document(out, &events);
    }
    table(&events, Timestamp::now()).print(out, "no events")
}

/// Past events as a table.
pub fn table(events: &[EventRow], now: Timestamp) -> Table {
    let mut table = Table::new(&["AGE", "KIND", "ABOUT", "NODE", "MESSAGE"]);
    for event in events {
        table.row([
            Cell::amount(age(&event.at, now)),
            Cell::new(event.kind.as_str()).tone(tone(event)),
            Cell::new(about(event).as_str()),
            Cell::new(event.node.as_deref()),
            Cell::remark(&event.message),
        ]);
    }
    table
}

/// One event as it comes; columns that mostly stand under each other.
fn line(event: &EventRow, out: &Out) -> String {
    let kind = format!("{:<10}", safe::line(&event.kind));
    format!(
        "{}  {}  {:<24}  {}",
        safe::line(&event.at),
        out.paint(tone(event), &kind),
        safe::line(&about(event)),
        safe::line(&event.message)
    )
}

fn tone(event: &EventRow) -> Tone {
    if event.severity == "warning" { Tone::Careful } else { Tone::Plain }
}

/// The smallest thing it is about.
fn about(event: &EventRow) -> String {
    let named = match (&event.stack, &event.service) {
        (Some(stack), Some(service)) => Some(format!("{stack}/{service}")),
        (Some(stack), None) => Some(stack.clone()),
        (None, _) => event.node.clone(),
    };
    match (named, &event.task) {
        (Some(named), Some(task)) => format!("{named} {task}"),
        (Some(named), None) => named,
        (None, task) => task.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{output::Look, testing::streams};

    #[test]
    fn an_event_names_what_it_is_about() {
        let event =
            |kind: &str, service: Option<&str>, node: Option<&str>, message: &str| EventRow {
                revision: 7,
                at: "2026-03-01T11:57:00Z".to_owned(),
                severity: if kind == "oom" { "warning" } else { "normal" }.to_owned(),
                kind: kind.to_owned(),
                stack: service.map(|_| "shop".to_owned()),
                service: service.map(str::to_owned),
                task: service.map(|_| "t4".to_owned()),
                node: node.map(str::to_owned),
                message: message.to_owned(),
            };
        let events = [
            event("joined", None, Some("mini-1"), "mini-1 joined with 13.5 GiB"),
            event("oom", Some("web"), Some("mini-1"), "killed: exceeded its limit\u{1b}[2J"),
        ];
        let (out, ..) = streams(Look::plain());
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let followed: Vec<String> = events.iter().map(|event| line(event, &out)).collect();
        insta::assert_snapshot!(format!(
            "{}\n{}",
            table(&events, now).render(&out),
            followed.join("\n")
        ));
    }
}
