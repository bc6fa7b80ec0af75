//! `apply`: shows the plan, asks, applies, follows.

use model::view::PlanView;
use serde::Serialize;

use super::{
    agreed,
    follow::{Finished, finish},
};
use crate::{
    args::{Apply, Global},
    client::Client,
    error::{Error, diagnostic_line},
    output::{
        Out,
        amount::count,
        json,
        plan::{is_unchanged, render},
        safe,
    },
    stack_input::{LoadedStack, StackInput, say_notes},
};

/// A stack that was read without mistakes.
#[derive(Debug)]
pub struct Prepared(LoadedStack);

impl Prepared {
    /// Reads the stack before anybody is asked anything.
    pub fn read(args: &Apply, out: &mut Out) -> Result<Self, Error> {
        let loaded = StackInput::read(&args.stack)?.load()?;
        if !out.is_json() {
            say_notes(out, &loaded.notes);
        }
        Ok(Self(loaded))
    }
}

/// The plan, and how applying it ended.
#[derive(Debug, Serialize)]
struct Applied<'a> {
    #[serde(flatten)]
    plan: &'a PlanView,
    applied: &'a Finished,
}

/// Carries out `apply`.
pub async fn run(
    args: &Apply,
    Prepared(loaded): Prepared,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let LoadedStack { spec, notes } = loaded;
    let mut plan = client.plan(&spec).await?;
    if out.is_json() {
        plan.warnings.extend(notes.iter().map(diagnostic_line));
    } else if args.dry_run || (!out.look.quiet && !is_unchanged(&plan)) {
        let text = render(&plan, out);
        out.data(&text)?;
    }
    if args.dry_run {
        return if out.is_json() { json::document(out, &plan) } else { Ok(()) };
    }
    let mut basis = None;
    if !args.yes && !is_unchanged(&plan) {
        // What was agreed to is this plan: not another one, if somebody was faster.
        basis = plan.revision.checked_sub(1);
        if !agreed(&question(&plan), out).await? {
            return Err(
                Error::input("not applied: nothing was changed").hint("answer y, or give --yes")
            );
        }
    }
    let (written, applied) = client.apply(&spec, basis).await?;
    plan = PlanView { warnings: plan.warnings, ..applied };
    let finished = finish((&spec.name, written), args.detach, client, global, out).await?;
    if out.is_json() {
        json::document(out, &Applied { plan: &plan, applied: &finished })?;
    }
    finished.judge(client).await
}

/// What is asked names what would be lost or interrupted.
fn question(plan: &PlanView) -> String {
    let unplaced = match plan.unplaced {
        0 => String::new(),
        number => format!(", leaving {} without a place", count(number, "replica")),
    };
    format!("\nApply this to stack {}{unplaced}?", safe::line(&plan.stack))
}
