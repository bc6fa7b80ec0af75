//! `plan`: what `apply` would do, on the cluster or on imagined machines.

use std::path::Path;

use model::{StackSpec, view::PlanView};
use scheduler_core::plan_offline;

use crate::{
    args::{Global, Plan},
    client::Client,
    error::{Error, diagnostic_line},
    offline::{Machines, unimaginable},
    output::{Out, json, plan::render},
    stack_input::{StackInput, say_notes},
};

/// Carries out `plan`.
pub async fn run(args: &Plan, global: &Global, out: &mut Out) -> Result<(), Error> {
    let input = StackInput::read(&args.stack)?;
    let input = if args.nodes.is_some() { input.imagined() } else { input };
    let loaded = input.load()?;
    if !out.is_json() {
        say_notes(out, &loaded.notes);
    }
    let mut plan = match &args.nodes {
        Some(file) => offline(file, &loaded.spec)?,
        None => Client::connect(global, out)?.plan(&loaded.spec).await?,
    };
    if out.is_json() {
        plan.warnings.extend(loaded.notes.iter().map(diagnostic_line));
        return json::document(out, &plan);
    }
    let text = render(&plan, out);
    out.data(&text)
}

fn offline(file: &Path, spec: &StackSpec) -> Result<PlanView, Error> {
    let machines = Machines::read(file)?;
    let seats = machines.seats(std::slice::from_ref(spec))?;
    plan_offline(spec, &machines.nodes, &seats).map_err(|why| unimaginable(&why))
}
