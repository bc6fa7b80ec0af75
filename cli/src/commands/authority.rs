//! `authority`: who signs the certificates of this cluster, and how another takes its place.

use std::time::Duration;

use jiff::Timestamp;
use model::view::{AuthoritiesView, AuthorityRow, HolderRow};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::agreed;
use crate::{
    args::{Authority, AuthorityFinish, Global},
    client::{Client, Written},
    error::Error,
    output::{
        Out, Tone, amount, json,
        table::{Cell, Table},
    },
};

/// How long giving up an authority is waited for: schedulers change their certificates in a second.
const FINISH_TIMEOUT: Duration = Duration::from_mins(1);
/// Between two looks at that.
const LOOK: Duration = Duration::from_millis(200);
/// Digits of a fingerprint that tell two apart; the whole of it is in the JSON.
const FINGERPRINT_SHOWN: usize = 16;

/// Carries out `authority`.
pub async fn run(
    args: &Authority,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    match args {
        Authority::Ls => {
            let view = client.authorities().await?;
            if out.is_json() {
                return json::document(out, &view);
            }
            if out.look.quiet {
                let mut rows = view.authorities.iter();
                return rows.try_for_each(|row| out.data_line(&row.number.to_string()));
            }
            let text = render(&view, Timestamp::now(), out);
            out.data(&text)
        }
        Authority::Rotate(_) => rotate(client, out).await,
        Authority::Finish(args) => finish(args, client, global, out).await,
    }
}

/// What a change of the authorities did, for scripts.
#[derive(Debug, Serialize)]
struct Changed {
    #[serde(flatten)]
    written: Written,
    #[serde(flatten)]
    view: AuthoritiesView,
}

async fn rotate(client: &Client, out: &mut Out) -> Result<(), Error> {
    let written = client.rotate_authority().await?;
    let view = client.authorities().await?;
    if out.is_json() {
        return json::document(out, &Changed { written, view });
    }
    let newest = view.authorities.last();
    let number = newest.map_or(0, |row| row.number);
    let said = if written.changed { "was made" } else { "was made before" };
    out.data_line(&format!(
        "authority {number} {said}; everybody gets a certificate of it by themselves"
    ))?;
    out.note(
        "`sisoctl authority ls` shows who is left; `sisoctl authority finish` ends the trust in the older one",
    );
    Ok(())
}

async fn finish(
    args: &AuthorityFinish,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let before = client.authorities().await?;
    // This context would be the first to be named as one that has not moved.
    let renewed;
    let client = if client.renew_context(out).await {
        renewed = Client::connect(global, out)?;
        &renewed
    } else {
        client
    };
    let older = before.authorities.first().map_or(0, |row| row.number);
    let question = format!(
        "Give authority {older} up? Contexts that were not used since another one signs are shut out."
    );
    if before.phase != "settled" && !args.yes && !agreed(&question, out).await? {
        return Err(
            Error::input("not given up: nothing was changed").hint("answer y, or give --yes")
        );
    }
    let written = client.finish_authority(args.force).await?;
    let deadline = Instant::now() + global.timeout.map_or(FINISH_TIMEOUT, |limit| limit.0);
    let view = loop {
        let view = client.authorities().await?;
        if view.phase == "settled" {
            break view;
        }
        if Instant::now() >= deadline {
            let left =
                view.behind.iter().map(|row| format!("{} {}: {}", row.kind, row.name, row.why));
            return Err(Error::cluster(format!("authority {older} is still being given up"))
                .details(left.collect())
                .hint("it goes on by itself; `sisoctl authority ls` shows how far it is"));
        }
        sleep(LOOK).await;
    };
    if out.is_json() {
        return json::document(out, &Changed { written, view });
    }
    if written.changed {
        out.data_line(&format!("authority {older} is trusted no more"))?;
        out.note("join tokens that were not used are void: make new ones");
    } else {
        out.data_line("there is one authority: nothing to give up")?;
    }
    Ok(())
}

/// The authorities, who needs an older one, and what goes on.
fn render(view: &AuthoritiesView, now: Timestamp, out: &Out) -> String {
    let mut text = authorities(&view.authorities, now).render(out);
    if !view.behind.is_empty() {
        text.push('\n');
        text.push_str(&holders(&view.behind).render(out));
    }
    text.push('\n');
    text.push_str(&goes_on(view));
    text.push('\n');
    text
}

fn authorities(rows: &[AuthorityRow], now: Timestamp) -> Table {
    let mut table = Table::new(&["AUTHORITY", "STATE", "FINGERPRINT", "AGE", "EXPIRES"]);
    for row in rows {
        let tone = if row.state == "current" { Tone::Good } else { Tone::Careful };
        let fingerprint: String = row.fingerprint.chars().take(FINGERPRINT_SHOWN).collect();
        table.row([
            Cell::new(row.number.to_string().as_str()),
            Cell::new(row.state.as_str()).tone(tone),
            Cell::new(fingerprint.as_str()),
            Cell::amount(amount::age(&row.since, now)),
            Cell::new(super::token::expiry(&row.until, now).as_str()),
        ]);
    }
    table
}

fn holders(rows: &[HolderRow]) -> Table {
    let mut table = Table::new(&["STILL NEEDED BY", "NAME", "AUTHORITY", "WHY"]);
    for row in rows {
        let tone = if row.needed { Tone::Careful } else { Tone::Bad };
        let authority = row.authority.map(|number| number.to_string());
        table.row([
            Cell::new(row.kind.as_str()).tone(tone),
            Cell::new(row.name.as_str()),
            Cell::new(authority.as_deref().unwrap_or("unknown")),
            Cell::remark(&row.why),
        ]);
    }
    table
}

/// What goes on and what to do, in a sentence.
fn goes_on(view: &AuthoritiesView) -> String {
    let number = |row: Option<&AuthorityRow>| row.map_or(0, |row| row.number);
    let (older, newest) = (number(view.authorities.first()), number(view.authorities.last()));
    let needing = view.behind.iter().filter(|row| row.needed).count();
    match view.phase.as_str() {
        "introduced" => format!(
            "Authority {newest} is trusted; it signs as soon as every scheduler holds its key."
        ),
        "moving" if needing == 0 => format!(
            "Nobody that is known needs authority {older} any more: `sisoctl authority finish` gives it up. A \
             context that was not used since authority {newest} signs is shut out then."
        ),
        "moving" => format!(
            "Authority {newest} signs, and everybody gets a certificate of it by themselves. When nobody is \
             left: `sisoctl authority finish`."
        ),
        "finishing" => format!("Authority {older} is being given up."),
        _ => "There is one authority; `sisoctl authority rotate` puts another in its place."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{output::Look, testing::streams};

    fn view(phase: &str, states: &[&str], behind: Vec<HolderRow>) -> AuthoritiesView {
        let row = |(number, state): (u64, &&str)| AuthorityRow {
            number,
            fingerprint: format!("{number:064x}").chars().rev().collect(),
            state: (*state).to_owned(),
            since: "2026-03-01T11:00:00Z".to_owned(),
            until: "2036-02-28T12:00:00Z".to_owned(),
        };
        let authorities = (1..).zip(states).map(row).collect();
        AuthoritiesView { authorities, phase: phase.to_owned(), behind }
    }

    #[test]
    fn authorities_say_which_signs_and_who_still_needs_the_older_one() {
        let holder = |kind: &str, name: &str, authority, why: &str| HolderRow {
            kind: kind.to_owned(),
            name: name.to_owned(),
            authority,
            needed: true,
            why: why.to_owned(),
        };
        let behind = vec![
            holder("node", "mini-2", Some(1), "is down: bring it back, or remove it"),
            holder("scheduler", "3", None, "cannot be reached at mini-3:7400: no answer"),
            holder(
                "context",
                "admin at 10.0.0.9",
                Some(1),
                "was last used at 2026-03-01T11:00:00Z",
            ),
        ];
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let told = |view: &AuthoritiesView| render(view, now, &streams(Look::plain()).0);
        insta::assert_snapshot!(told(&view("moving", &["leaving", "current"], behind)));
        for (phase, states, says) in [
            ("settled", &["current"][..], "There is one authority"),
            ("introduced", &["current", "coming"], "every scheduler holds its key"),
            ("moving", &["leaving", "current"], "`sisoctl authority finish` gives it up"),
            ("finishing", &["leaving", "current"], "Authority 1 is being given up."),
        ] {
            let text = told(&view(phase, states, Vec::new()));
            assert!(text.contains(says), "{text}");
        }
    }
}
