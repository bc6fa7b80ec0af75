//! A plan for people: what changes, where everything goes, what is left on each machine.

use model::{
    Bytes, MilliCpu,
    generic::sentence,
    view::{
        ChangeAction, FieldChange, MemorySource, OutlookView, PlanNode, PlanView, ReplicaPlacement,
        ServiceChange,
    },
};

use super::{
    Out, Tone,
    amount::count,
    bars::bar,
    safe,
    succession::mark,
    table::{Cell, Table},
};

/// Misfits shown per replica; more machines than this say the same in other amounts.
const MAX_VERDICTS: usize = 10;

/// Replicas without a place that are told of one by one.
const MAX_HOMELESS: usize = 20;

/// The whole plan.
pub fn render(plan: &PlanView, out: &Out) -> String {
    let mut parts = vec![heading(plan, out)];
    parts.push(changes(&plan.changes, out));
    if !plan.placements.is_empty() {
        parts.push("\n".to_owned());
        parts.push(placements(&plan.placements, out));
    }
    let homeless = || plan.placements.iter().filter(|placement| placement.node.is_none());
    for placement in homeless().take(MAX_HOMELESS) {
        let name = format!("{} fits nowhere:", name(placement));
        parts.push(format!("\n{}\n", out.paint(Tone::Bad, &safe::line(&name))));
        for line in misfit_lines(placement) {
            parts.push(format!("  {}\n", safe::line(&line)));
        }
    }
    let more = homeless().count().saturating_sub(MAX_HOMELESS);
    if more > 0 {
        parts.push(format!("\nand {} that fit nowhere\n", count(more as u64, "more replica")));
    }
    if let Some(outlook) = plan.outlook.as_ref().filter(|_| plan.unplaced > 0) {
        parts.push("\n".to_owned());
        let lines = if plan.nodes.is_empty() { vec![empty(plan)] } else { said(outlook) };
        parts.extend(lines.iter().map(|line| format!("{}\n", safe::line(line))));
    }
    if !plan.nodes.is_empty() {
        parts.push("\n".to_owned());
        parts.push(nodes(&plan.nodes, &[], out));
    }
    parts.push(warnings(&plan.warnings, out));
    parts.concat()
}

/// Warnings, each after an empty line; none with `-q`.
pub fn warnings(warnings: &[String], out: &Out) -> String {
    let said = warnings.iter().filter(|_| !out.look.quiet).map(|warning| {
        let word = out.paint(Tone::Careful, "warning:");
        format!("\n{word} {}\n", safe::line(warning))
    });
    said.collect()
}

/// What there is to say where no machine is.
fn empty(plan: &PlanView) -> String {
    let homeless = plan.placements.iter().filter(|placement| placement.node.is_none());
    let memory: Bytes = homeless.map(|placement| placement.memory).sum();
    format!(
        "no machine has joined the cluster yet, {memory} are wanted in all: `sisoctl node add USER@HOST` adds one"
    )
}

/// How good a plan is that leaves something out.
fn said(outlook: &OutlookView) -> Vec<String> {
    let none = outlook.short.as_ref().map(|short| format!("no plan has a place for all: {short}"));
    let off = if outlook.optimal {
        "optimal: no plan has a place for more memory, while nothing else moves".to_owned()
    } else if outlook.off > Bytes::ZERO {
        format!("at most {} more could have a place, while nothing else moves", outlook.off)
    } else {
        "whether another plan has a place for more is not known".to_owned()
    };
    none.into_iter().chain([off]).collect()
}

/// Whether applying would change nothing.
pub fn is_unchanged(plan: &PlanView) -> bool {
    plan.changes.iter().all(|change| change.action == ChangeAction::Keep)
}

fn heading(plan: &PlanView, out: &Out) -> String {
    let stack = out.paint(Tone::Strong, &safe::line(&plan.stack));
    let of = |action| plan.changes.iter().filter(|change| change.action == action).count();
    let parts: Vec<String> = [
        (ChangeAction::Create, "to create"),
        (ChangeAction::Update, "to update"),
        (ChangeAction::Replace, "to replace"),
        (ChangeAction::Remove, "to remove"),
        (ChangeAction::Keep, "unchanged"),
    ]
    .into_iter()
    .filter(|(action, _)| of(*action) > 0)
    .map(|(action, words)| format!("{} {words}", of(action)))
    .collect();
    let parts = if parts.is_empty() { "no services".to_owned() } else { parts.join(", ") };
    format!("{stack} revision {}: {parts}\n", plan.revision)
}

/// A line per service that changes, and one per value that does.
pub fn changes(changes: &[ServiceChange], out: &Out) -> String {
    let mut table = Table::new(&["", "", ""]).indented(2);
    for change in changes.iter().filter(|change| change.action != ChangeAction::Keep) {
        let (mark, tone) = match change.action {
            ChangeAction::Create => ("+", Tone::Good),
            ChangeAction::Update | ChangeAction::Replace => ("~", Tone::Careful),
            ChangeAction::Remove => ("-", Tone::Bad),
            ChangeAction::Keep => ("=", Tone::Faint),
        };
        table.row([
            Cell::new(mark).tone(tone),
            Cell::new(change.action.as_str()).tone(tone),
            Cell::new(change.service.as_str()),
        ]);
        for line in values(change, out) {
            table.line_below(Cell::remark(&line).tone(Tone::Faint));
        }
    }
    table.render(out)
}

/// What changes of a service: a line for each value that is told, one for all that are withheld.
fn values(change: &ServiceChange, out: &Out) -> Vec<String> {
    if change.values.is_empty() && !change.fields.is_empty() {
        // A scheduler of an earlier version.
        return vec![change.fields.join(", ")];
    }
    let told = |change: &&FieldChange| change.old.is_some() || change.new.is_some();
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let line = |change: &FieldChange| {
        format!("{}: {} {} {}", change.field, value(&change.old), arrow(out), value(&change.new))
    };
    let mut lines: Vec<String> = change.values.iter().filter(told).map(line).collect();
    let withheld = change.values.iter().filter(|change| !told(change));
    let withheld: Vec<String> =
        withheld.map(|change| format!("{} {}", change.field, change.what)).collect();
    if !withheld.is_empty() {
        lines.push(withheld.join(", "));
    }
    lines
}

fn arrow(out: &Out) -> &'static str {
    if out.look.unicode { "→" } else { "->" }
}

fn placements(placements: &[ReplicaPlacement], out: &Out) -> String {
    // Where nobody said how much it needs, that is a word of its own.
    let undeclared = |placement: &ReplicaPlacement| {
        placement.memory_basis.filter(|basis| !basis.is_declared()).map(MemorySource::as_str)
    };
    let marked = placements.iter().any(|placement| undeclared(placement).is_some());
    let generic = placements.iter().any(|placement| !placement.generic.is_empty());
    let columns = [("", marked), ("CPUS", true), ("GENERIC", generic), ("WHY", true)];
    let columns = columns.into_iter().filter_map(|(name, there)| there.then_some(name));
    let header: Vec<&str> = ["REPLICA", "NODE", "MEMORY"].into_iter().chain(columns).collect();
    let mut table = Table::new(&header);
    for placement in placements {
        let node = match &placement.node {
            Some(node) => Cell::new(node.as_str()),
            None => Cell::new("none").tone(Tone::Bad),
        };
        let mut cells = vec![
            Cell::new(name(placement).as_str()),
            node,
            Cell::amount(placement.memory.to_string()),
        ];
        if marked {
            cells.push(Cell::remark(undeclared(placement).unwrap_or_default()).tone(Tone::Careful));
        }
        cells.push(cpus(placement.cpus));
        if generic {
            cells.push(Cell::amount(sentence(placement.generic.clone())));
        }
        cells.push(Cell::remark(why(placement)).tone(Tone::Faint));
        table.row(cells);
    }
    table.render(out)
}

fn name(placement: &ReplicaPlacement) -> String {
    format!("{}.{}{}", placement.service, placement.replica, mark(placement.succession))
}

/// CPUs reserved; most services reserve none.
pub fn cpus(cpus: MilliCpu) -> Cell {
    Cell::amount((cpus > MilliCpu::ZERO).then(|| cpus.to_string()))
}

/// Why it goes where it goes.
pub fn why(placement: &ReplicaPlacement) -> &str {
    let chosen = |node: &String| placement.verdicts.iter().find(|verdict| verdict.node == *node);
    let verdict = placement.node.as_ref().and_then(chosen);
    verdict.map_or("", |verdict| verdict.reason.as_str())
}

/// Why a replica fits nowhere and what would make it fit, a line each.
pub fn misfit_lines(placement: &ReplicaPlacement) -> Vec<String> {
    let misfits: Vec<_> = placement.verdicts.iter().filter(|verdict| !verdict.fits).collect();
    let mut lines: Vec<String> = misfits
        .iter()
        .take(MAX_VERDICTS)
        .map(|verdict| format!("{}: {}", verdict.node, verdict.reason))
        .collect();
    if misfits.is_empty() {
        lines.push("there is no machine in the cluster".to_owned());
    }
    // Verdicts are the nearest misses only; of a scheduler of an earlier version they are all that is known.
    let all = placement.misfits.values().sum::<u64>().max(misfits.len() as u64);
    if all > MAX_VERDICTS as u64 {
        let more = count(all - MAX_VERDICTS as u64, "machine");
        let reasons: Vec<String> =
            placement.misfits.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let reasons = if reasons.is_empty() {
            String::new()
        } else {
            format!("; in the way on all {all}: {}", reasons.join(", "))
        };
        lines.push(format!("and {more} more{reasons}"));
    }
    lines.extend(placement.fixes.iter().map(|fix| format!("fix: {fix}")));
    lines
}

/// What is reserved on each machine before and afterwards; those of the names in `lost` are gone then.
pub fn nodes(nodes: &[PlanNode], lost: &[&str], out: &Out) -> String {
    let mut table = Table::new(&["NODE", "MEMORY", "RESERVED", "OF", "FREE", "TASKS"])
        .sparing(&["OF", "MEMORY"]);
    for node in nodes {
        if lost.contains(&node.name.as_str()) {
            table.row([
                Cell::new(node.name.as_str()),
                Cell::new("lost").tone(Tone::Bad),
                Cell::amount(change(node.reserved_before, Bytes::ZERO, out)),
                Cell::amount(node.allocatable.to_string()),
                Cell::amount(None),
                Cell::amount("0".to_owned()),
            ]);
            continue;
        }
        let stays = node.reserved_before.min(node.reserved_after);
        let added = node.reserved_after.saturating_sub(stays);
        table.row([
            Cell::new(node.name.as_str()),
            Cell::new(bar(stays, added, node.allocatable, &out.look).as_str()),
            Cell::amount(change(node.reserved_before, node.reserved_after, out)),
            Cell::amount(node.allocatable.to_string()),
            Cell::amount(node.free_after.to_string()),
            Cell::amount(node.tasks.len().to_string()),
        ]);
    }
    table.render(out)
}

fn change(before: Bytes, after: Bytes, out: &Out) -> String {
    if before == after { after.to_string() } else { format!("{before} {} {after}", arrow(out)) }
}

#[cfg(test)]
mod tests {
    use model::view::Succession;

    use super::*;
    use crate::{
        output::Look,
        testing::{placed, plan, streams, unplaced},
    };

    #[test]
    fn a_plan_shows_changes_places_misfits_and_headroom() {
        insta::assert_snapshot!(render(&plan(), &streams(Look::plain()).0));
    }

    #[test]
    fn a_successor_without_a_place_is_not_taken_for_what_runs() {
        let old = ReplicaPlacement { succession: Some(Succession::Old), ..placed("web", 1) };
        let new = ReplicaPlacement { succession: Some(Succession::New), ..unplaced("web", 1) };
        let plan = PlanView { placements: vec![old, new], ..plan() };
        let text = render(&plan, &streams(Look::plain()).0);
        for line in ["web.1 (old)   mini-1 ", "web.1 (new)   none ", "web.1 (new) fits nowhere:"] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn a_plan_without_unicode_is_plain_ascii() {
        let look = Look { unicode: false, ..Look::plain() };
        let text = render(&plan(), &streams(look).0);
        assert!(text.is_ascii(), "{text}");
    }

    #[test]
    fn many_misfits_are_counted_not_listed() {
        let mut placement = unplaced("web", 1);
        let verdict = placement.verdicts[0].clone();
        placement.verdicts = vec![verdict; MAX_VERDICTS + 3];
        let lines = misfit_lines(&placement);
        assert_eq!(lines.len(), MAX_VERDICTS + 2);
        assert_eq!(lines[MAX_VERDICTS], "and 3 machines more");
        placement.misfits = [("memory".to_owned(), 900), ("constraint".to_owned(), 37)].into();
        let lines = misfit_lines(&placement);
        let more = 937 - MAX_VERDICTS;
        let told =
            format!("and {more} machines more; in the way on all 937: constraint 37, memory 900");
        assert_eq!(lines[MAX_VERDICTS], told);
    }

    #[test]
    fn where_no_machine_is_nothing_is_said_of_better_plans() {
        let outlook = OutlookView {
            short: Some("2.3 GiB short without a node".to_owned()),
            optimal: true,
            off: Bytes::ZERO,
        };
        let placements = vec![unplaced("web", 1), unplaced("web", 2)];
        let wanted: Bytes = placements.iter().map(|placement| placement.memory).sum();
        let outlook = Some(outlook);
        let plan = PlanView { placements, nodes: Vec::new(), unplaced: 2, outlook, ..plan() };
        let text = render(&plan, &streams(Look::plain()).0);
        assert!(
            text.contains(&format!("no machine has joined the cluster yet, {wanted}")),
            "{text}"
        );
        assert!(!text.contains("optimal") && !text.contains("without a node"), "{text}");
    }

    #[test]
    fn quiet_is_without_warnings() {
        assert!(!plan().warnings.is_empty());
        let said = |quiet| render(&plan(), &streams(Look { quiet, ..Look::plain() }).0);
        assert!(said(false).contains("warning:"));
        assert!(!said(true).contains("warning"), "{}", said(true));
    }

    #[test]
    fn an_empty_cluster_is_named_as_the_reason() {
        let mut placement = unplaced("web", 1);
        placement.verdicts.clear();
        assert_eq!(misfit_lines(&placement)[0], "there is no machine in the cluster");
    }
}
