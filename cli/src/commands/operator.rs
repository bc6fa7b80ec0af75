//! `operator`: who may ask for things, each with a context of their own.

use std::path::PathBuf;

use jiff::Timestamp;
use model::view::OperatorRow;
use serde_json::json;

use super::agreed;
use crate::{
    args::{Operator, OperatorAdd, OperatorRm},
    client::Client,
    error::Error,
    output::{
        Out, Tone, amount, json,
        table::{Cell, Table},
    },
};

/// Carries out `operator`.
pub async fn run(args: &Operator, client: &Client, out: &mut Out) -> Result<(), Error> {
    match args {
        Operator::Ls => {
            let rows = client.operators().await?;
            if out.is_json() {
                return json::document(out, &rows);
            }
            if out.look.quiet {
                return rows.iter().try_for_each(|row| out.data_line(&row.name));
            }
            table(&rows, Timestamp::now()).print(out, "no operators")
        }
        Operator::Add(args) => add(args, client, out).await,
        Operator::Rm(args) => rm(args, client, out).await,
    }
}

async fn add(args: &OperatorAdd, client: &Client, out: &mut Out) -> Result<(), Error> {
    let OperatorAdd { name, file, .. } = args;
    let file = file.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.yaml")));
    if file.exists() {
        return Err(Error::input(format!(
            "{} is there already: nothing was changed",
            file.display()
        ))
        .hint("name another file with --file"));
    }
    client.add_operator(name, &file).await?;
    if out.is_json() {
        return json::document(out, &json!({"name": name, "file": file}));
    }
    out.data_line(&format!("operator {name} is added; the context is in {}", file.display()))?;
    out.note(
        "hand the file over as you would a key, and delete it here; there: `sisoctl context add NAME --file FILE`",
    );
    Ok(())
}

async fn rm(args: &OperatorRm, client: &Client, out: &mut Out) -> Result<(), Error> {
    let name = &args.name;
    let question = format!(
        "Remove operator {name}? Every context with a certificate of that name is shut out at once."
    );
    if !args.yes && !agreed(&question, out).await? {
        return Err(
            Error::input("not removed: nothing was changed").hint("answer y, or give --yes")
        );
    }
    let written = client.remove_operator(name).await?;
    if out.is_json() {
        return json::document(out, &written);
    }
    let said = if written.changed { "is shut out" } else { "was removed before" };
    out.data_line(&format!("operator {name} {said}"))
}

/// Operators as a table.
fn table(rows: &[OperatorRow], now: Timestamp) -> Table {
    let mut table = Table::new(&["OPERATOR", "ADDED", "LAST USED", "FROM", ""]);
    for row in rows {
        let added = row.added_at.as_deref().map(|at| amount::age(at, now));
        let used = row.last_used_at.as_deref().map(|at| amount::age(at, now));
        let remark = match (row.own, &row.added_at) {
            (true, _) => "you",
            (false, None) => "schedulers write it beside their data",
            (false, Some(_)) => "",
        };
        table.row([
            Cell::new(row.name.as_str()).tone(if row.own { Tone::Good } else { Tone::Plain }),
            Cell::amount(added.unwrap_or_else(|| "founded".to_owned())),
            Cell::amount(used.unwrap_or_else(|| "not seen".to_owned())),
            Cell::new(row.last_used_from.as_deref().unwrap_or("")),
            Cell::remark(remark),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{output::Look, testing::streams};

    #[test]
    fn operators_say_who_they_are_and_when_they_were_last_seen() {
        let row = |name: &str, added: Option<&str>, used: Option<&str>, own| OperatorRow {
            name: name.to_owned(),
            added_at: added.map(str::to_owned),
            last_used_at: used.map(str::to_owned),
            last_used_from: used.map(|_| "10.0.0.9".to_owned()),
            own,
        };
        let rows = [
            row("admin", None, Some("2026-03-01T10:00:00Z"), false),
            row("ada", Some("2026-02-01T12:00:00Z"), Some("2026-03-01T11:59:00Z"), true),
            row("bob", Some("2026-02-27T12:00:00Z"), None, false),
        ];
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&rows, now).render(&streams(Look::plain()).0));
    }
}
