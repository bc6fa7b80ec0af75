//! `context`: which cluster, and as whom.

use crate::{
    args::Context,
    context::{ContextRow, Store},
    error::Error,
    output::{
        Out, Tone, json,
        table::{Cell, Table},
    },
};

/// Carries out `context`.
pub fn run(args: &Context, out: &mut Out) -> Result<(), Error> {
    let store = Store::of_process()?;
    match args {
        Context::Add { name, file } => {
            let added = store.add(name, file)?;
            let done = if added.replaced { "replaced" } else { "added" };
            let current = if added.current { ", it is the current one" } else { "" };
            out.note(&format!("context {name} {done}{current}"));
            Ok(())
        }
        Context::Use { name } => {
            store.choose(name)?;
            out.note(&format!("{name} is the current context"));
            Ok(())
        }
        Context::Ls => {
            let rows = store.list()?;
            if out.is_json() {
                return json::document(out, &rows);
            }
            if out.look.quiet {
                return rows.iter().try_for_each(|row| out.data_line(&row.name));
            }
            table(&rows).print(out, "no contexts: `sisoctl context add NAME --file F` makes one")
        }
    }
}

fn table(rows: &[ContextRow]) -> Table {
    let mut table = Table::new(&["", "CONTEXT", "CLUSTER", "ENDPOINTS"]);
    for row in rows {
        let last = match &row.error {
            Some(error) => Cell::remark(error).tone(Tone::Bad),
            None => Cell::remark(&row.endpoints.join(", ")),
        };
        table.row([
            Cell::remark(if row.current { "*" } else { "" }).tone(Tone::Good),
            Cell::new(row.name.as_str()),
            Cell::new(row.cluster.as_deref()),
            last,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{output::Look, testing::streams};

    #[test]
    fn the_current_context_is_marked() {
        let row = |name: &str, current, error: Option<&str>| ContextRow {
            name: name.to_owned(),
            current,
            cluster: error.is_none().then(|| "5f2c".to_owned()),
            endpoints: vec!["mini-1:7400".to_owned()],
            error: error.map(str::to_owned),
        };
        let rows =
            [row("home", true, None), row("lab", false, Some("lab.yaml is not a context file"))];
        insta::assert_snapshot!(table(&rows).render(&streams(Look::plain()).0), @r"
            CONTEXT   CLUSTER   ENDPOINTS
        *   home      5f2c      mini-1:7400
            lab       -         lab.yaml is not a context file
        ");
    }
}
