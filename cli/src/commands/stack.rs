//! `stack`: stacks and their revisions.

use jiff::Timestamp;
use model::{
    StackName,
    view::{ChangeAction, RevisionRow, ServiceChange, StackRow},
};
use serde::Serialize;

use super::{
    agreed,
    follow::{Goal, finish, until},
};
use crate::{
    args::{Global, Stack, StackRm, StackRollback},
    client::{Client, Written},
    error::Error,
    output::{
        Out, Tone,
        amount::age,
        json,
        table::{Cell, Table},
    },
};

/// Carries out `stack`.
pub async fn run(
    args: &Stack,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    match args {
        Stack::Ls => list(client, out).await,
        Stack::Rm(args) => remove(args, client, global, out).await,
        Stack::History { stack } => history(stack, client, out).await,
        Stack::Rollback(args) => rollback(args, client, global, out).await,
    }
}

async fn list(client: &Client, out: &mut Out) -> Result<(), Error> {
    let stacks = client.stacks().await?;
    if out.is_json() {
        return json::document(out, &stacks);
    }
    if out.look.quiet {
        return stacks.iter().try_for_each(|row| out.data_line(&row.stack));
    }
    table(&stacks, Timestamp::now()).print(out, "no stacks: `sisoctl apply FILE` makes one")
}

/// Stacks as a table.
pub fn table(stacks: &[StackRow], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "STACK", "STATE", "REVISION", "SERVICES", "READY", "MEMORY", "APPLIED", "PROBLEMS",
    ])
    .sparing(&["SERVICES", "APPLIED", "MEMORY"]);
    for row in stacks {
        let tone = match row.state.as_str() {
            "running" => Tone::Good,
            "degraded" => Tone::Bad,
            _ => Tone::Careful,
        };
        let applied = row.applied_at.as_deref().map(|at| age(at, now));
        table.row([
            Cell::new(row.stack.as_str()),
            Cell::new(row.state.as_str()).tone(tone),
            Cell::amount(row.revision.to_string()),
            Cell::amount(row.services.to_string()),
            Cell::amount(format!("{}/{}", row.ready, row.replicas)),
            Cell::amount(row.memory.to_string()),
            Cell::amount(applied),
            Cell::remark(&row.problems.join("; ")),
        ]);
    }
    table
}

/// What `stack rm` did, for scripts.
#[derive(Debug, Serialize)]
struct Removed<'a> {
    stack: &'a StackName,
    #[serde(flatten)]
    written: Written,
    /// Whether everything is gone already.
    gone: bool,
}

async fn remove(
    args: &StackRm,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let stack = &args.stack;
    if !args.yes {
        let what =
            if args.volumes { ", its volumes and ALL DATA in them" } else { "; its volumes stay" };
        if !agreed(&format!("Remove stack {stack}{what}?"), out).await? {
            return Err(
                Error::input("not removed: nothing was changed").hint("answer y, or give --yes")
            );
        }
    }
    let written = match client.remove_stack(stack, args.volumes).await {
        Ok(written) => written,
        Err(error) => return Err(client.with_nearest(error, stack.as_str(), None).await),
    };
    if !args.detach {
        until(Goal::Gone, stack, client, global, out).await?;
    }
    if out.is_json() {
        return json::document(out, &Removed { stack, written, gone: !args.detach });
    }
    let done = if args.detach { "is being removed" } else { "is removed" };
    let volumes = if args.volumes {
        ", and so are the volumes that were made for it (`sisoctl events` names each)"
    } else {
        "; its volumes stay"
    };
    out.data_line(&format!("{stack} {done}{volumes}"))?;
    if !args.volumes {
        out.note(&format!(
            "`sisoctl stack rm {stack} --volumes` removes them later, with all data; until then the next apply of \
             {stack} finds them again. To see them, on the machine where each lives: \
             docker volume ls --filter label=siso.stack={stack}"
        ));
    }
    Ok(())
}

async fn history(stack: &StackName, client: &Client, out: &mut Out) -> Result<(), Error> {
    let rows = match client.history(stack.as_str()).await {
        Ok(rows) => rows,
        Err(error) => return Err(client.with_nearest(error, stack.as_str(), None).await),
    };
    if out.is_json() {
        return json::document(out, &rows);
    }
    revisions(&rows, Timestamp::now()).print(out, "no revisions")
}

/// What a person going back wants to know of a revision.
const fn standing(row: &RevisionRow) -> &'static str {
    match (row.current, row.ready) {
        (true, true) => "current, ready",
        (true, false) => "current",
        (false, true) => "was ready",
        (false, false) => "never ready",
    }
}

/// Revisions as a table.
pub fn revisions(rows: &[RevisionRow], now: Timestamp) -> Table {
    let mut table = Table::new(&["REVISION", "", "AGE", "CAUSE", "CHANGES"]);
    for row in rows {
        let changes: Vec<String> = row
            .changes
            .iter()
            .filter(|change| change.action != ChangeAction::Keep)
            .map(words)
            .collect();
        table.row([
            Cell::amount(row.revision.to_string()),
            Cell::remark(standing(row)).tone(Tone::Good),
            Cell::amount(age(&row.applied_at, now)),
            Cell::new(row.cause.as_str()),
            Cell::remark(&changes.join("; ")),
        ]);
    }
    table
}

fn words(change: &ServiceChange) -> String {
    let fields = if change.fields.is_empty() {
        String::new()
    } else {
        format!(" ({})", change.fields.join(", "))
    };
    format!("{} {}{fields}", change.action.as_str(), change.service)
}

async fn rollback(
    args: &StackRollback,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let written = match client.rollback_stack(&args.stack, args.to).await {
        Ok(written) => written,
        Err(error) => return Err(client.with_nearest(error, args.stack.as_str(), None).await),
    };
    let finished = finish((&args.stack, written), args.detach, client, global, out).await?;
    if out.is_json() {
        json::document(out, &finished)?;
    }
    finished.judge(client).await
}

#[cfg(test)]
mod tests {
    use model::Bytes;

    use super::*;
    use crate::{
        output::Look,
        testing::{plan, streams},
    };

    #[test]
    fn a_stack_shows_how_far_it_is_and_what_is_wrong() {
        let row = |stack: &str, state: &str, ready, problems: &[&str]| StackRow {
            stack: stack.to_owned(),
            revision: 4,
            services: 3,
            replicas: 4,
            ready,
            memory: Bytes::gib(6),
            applied_at: Some("2026-02-27T12:00:00Z".to_owned()),
            state: state.to_owned(),
            problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
        };
        let stacks = [
            row("quickstart", "running", 4, &[]),
            row("shop", "degraded", 2, &["web: exited with code 1", "neo4j: no node has room"]),
        ];
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&stacks, now).render(&streams(Look::plain()).0));
    }

    #[test]
    fn a_revision_says_what_made_it_and_what_it_changed() {
        let row = |revision, cause: &str, current| RevisionRow {
            revision,
            applied_at: "2026-03-01T11:57:00Z".to_owned(),
            cause: cause.to_owned(),
            changes: plan().changes,
            current,
            ready: revision == 3,
        };
        let rows = [row(4, "rollback to 2", true), row(3, "apply", false)];
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        insta::assert_snapshot!(revisions(&rows, now).render(&streams(Look::plain()).0));
    }
}
