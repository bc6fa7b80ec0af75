//! `rebalance --auto`: whether the cluster makes few moves by itself when something is stuck.

use jiff::Timestamp;
use model::view::{AutomaticRow, AutomaticView};
use serde_json::json;

use super::agreed;
use crate::{
    args::Auto,
    client::Client,
    error::Error,
    output::{
        Out, Tone,
        amount::{age, count},
        json, safe,
        table::{Cell, Table},
    },
};

/// Asked before it is turned on.
const QUESTION: &str = "When tasks are stuck for want of room, the cluster will move others by itself: one at a time, \
     only what starts there before it stops here, at most ten in an hour. Turn it on?";

/// Carries out `rebalance --auto`.
pub async fn run(wanted: Auto, yes: bool, client: &Client, out: &mut Out) -> Result<(), Error> {
    let on = match wanted {
        Auto::Status => return status(client, out).await,
        Auto::On => true,
        Auto::Off => false,
    };
    if on && !yes && !agreed(QUESTION, out).await? {
        return Err(Error::input("nothing was changed").hint("answer y, or give --yes"));
    }
    let written = client.set_automatic_rebalance(on).await?;
    if out.is_json() {
        return json::document(out, &json!({"on": on, "changed": written.changed}));
    }
    out.data_line(match (on, written.changed) {
        (true, true) => "automatic rebalance is on: when tasks are stuck, a few others are moved",
        (true, false) => "automatic rebalance is on already",
        (false, true) => "automatic rebalance is off: a move that has begun is brought to its end",
        (false, false) => "automatic rebalance is off already",
    })
}

async fn status(client: &Client, out: &mut Out) -> Result<(), Error> {
    let known = client.status().await?.automatic_rebalance;
    let Some(view) = known else {
        return Err(Error::cluster("the scheduler knows of no automatic rebalance")
            .hint("it is of an earlier version: update it"));
    };
    if out.is_json() {
        return json::document(out, &view);
    }
    let text = render(&view, Timestamp::now(), out);
    out.data(&text)
}

/// The whole answer.
pub fn render(view: &AutomaticView, now: Timestamp, out: &Out) -> String {
    let mut parts = vec![format!("automatic rebalance is {}\n", line(view, now))];
    if !view.moves.is_empty() {
        let mut table = Table::new(&["TASK", "FROM", "TO", "BEGAN", "STATE", "WHY"]);
        for row in &view.moves {
            let began = age(&row.at, now);
            table.row([
                Cell::new(format!("{}/{}.{}", row.stack, row.service, row.replica).as_str()),
                Cell::new(row.from.as_str()),
                Cell::new(row.to.as_str()),
                Cell::new(format!("{began} ago").as_str()),
                Cell::new(row.state.as_str()).tone(tone(row)),
                Cell::remark(row.error.as_deref().unwrap_or(&row.reason)),
            ]);
        }
        parts.push(format!("\n{}", table.render(out)));
    }
    if let Some(why) = &view.paused {
        let word = out.paint(Tone::Careful, "paused:");
        parts.push(format!("\n{word} {}\n", safe::line(why)));
        parts.push(
            "  it goes on by itself after an hour; now: sisoctl rebalance --auto on\n".to_owned(),
        );
    }
    parts.concat()
}

/// In a few words: whether, since when, and how much it does.
pub fn line(view: &AutomaticView, now: Timestamp) -> String {
    let since = view.since.as_deref().map(|since| age(since, now)).filter(|age| !age.is_empty());
    let since = since.map(|age| format!(" (for {age})")).unwrap_or_default();
    if !view.on {
        return format!("off{since}");
    }
    let moves = count(u64::from(view.moves_last_hour), "move");
    let (most, paused) = (view.most_per_hour, view.paused.is_some());
    let limit = view.moves_last_hour >= most;
    let rests = if paused || limit { ", at rest" } else { "" };
    format!("on{since}: {moves} of at most {most} in the last hour{rests}")
}

fn tone(row: &AutomaticRow) -> Tone {
    match row.state.as_str() {
        "moved" => Tone::Good,
        "moving" => Tone::Careful,
        "failed" => Tone::Bad,
        _ => Tone::Faint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::Look,
        testing::{automatic, streams},
    };

    const NOW: &str = "2026-03-01T12:00:00Z";

    #[test]
    fn the_last_moves_are_shown_with_what_they_were_for() {
        let out = streams(Look::plain()).0;
        insta::assert_snapshot!(render(&automatic(), NOW.parse().unwrap(), &out));
    }

    #[test]
    fn that_it_is_off_is_told_in_a_word_and_that_it_rests_as_well() {
        let now = NOW.parse().unwrap();
        let (off, on) = (AutomaticView::default(), automatic());
        assert_eq!(line(&off, now), "off");
        assert_eq!(line(&on, now), "on (for 1h): 2 moves of at most 10 in the last hour, at rest");
        let busy = AutomaticView { paused: None, ..on };
        assert!(line(&busy, now).ends_with("2 moves of at most 10 in the last hour"));
        let full = AutomaticView { moves_last_hour: 10, ..busy };
        assert!(line(&full, now).ends_with("10 moves of at most 10 in the last hour, at rest"));
    }
}
