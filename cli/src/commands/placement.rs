//! `placement`: who sits where and what is free.

use std::fs;

use model::{
    Bytes,
    generic::{Amount, sentence},
    view::{NodeGeneric, PlacedTask, PlacementNode, PlacementView},
};

use crate::{
    args::Placement,
    client::Client,
    error::Error,
    output::{
        Out, Tone,
        blocks::{self, name},
        json, safe,
        table::{Cell, Table},
    },
};

/// Carries out `placement`.
pub async fn run(args: &Placement, client: &Client, out: &mut Out) -> Result<(), Error> {
    let placement = client.placement().await?;
    if let Some(file) = &args.svg {
        fs::write(file, blocks::svg(&placement.nodes))
            .map_err(|error| Error::input(format!("cannot write {}: {error}", file.display())))?;
    }
    if out.is_json() {
        return json::document(out, &placement);
    }
    if placement.nodes.is_empty() {
        out.note("no nodes: make a token with `sisoctl token create --role node` and start siso-agent with it");
    }
    let text = render(&placement, out);
    out.data(&text)
}

/// A bar per node, each task below it with its own share.
pub fn render(placement: &PlacementView, out: &Out) -> String {
    let largest = placement.nodes.iter().map(|node| node.allocatable).max().unwrap_or_default();
    let nodes = placement.nodes.iter();
    let mut parts: Vec<String> = nodes.map(|node| node_part(node, largest, out)).collect();
    if !placement.pending.is_empty() {
        let mut table = Table::new(&["", "", ""]).indented(2);
        for task in &placement.pending {
            table.row([
                Cell::new(named(task).as_str()),
                Cell::amount(task.memory.to_string()),
                Cell::remark(task.reason.as_deref().unwrap_or_default()),
            ]);
        }
        parts.push(format!("{}\n{}", out.paint(Tone::Careful, "pending"), table.render(out)));
    }
    parts.join("\n")
}

/// A task with the generic resources it reserves.
fn named(task: &PlacedTask) -> String {
    if task.generic.is_empty() {
        return name(task);
    }
    format!("{} ({})", name(task), sentence(task.generic.clone()))
}

fn node_part(node: &PlacementNode, largest: Bytes, out: &Out) -> String {
    let title = out.paint(Tone::Strong, &safe::line(&node.name));
    let PlacementNode { allocatable, reserved, free, .. } = node;
    let bar = blocks::bar(node, largest, out);
    let generic = node.generic.iter().map(|(kind, NodeGeneric { capacity, reserved })| {
        format!("; {} of {} {}", Amount(*reserved), Amount(*capacity), safe::line(kind))
    });
    let generic: String = generic.collect();
    let mut text =
        format!("{title}: {reserved} of {allocatable} reserved, {free} free{generic}\n{bar}\n");
    let mut table = Table::new(&["", ""]).indented(2);
    for (index, task) in blocks::drawn(node).into_iter().enumerate() {
        table.row([
            Cell::amount(task.memory.to_string()),
            Cell::new(named(task).as_str()).tone(Tone::Hue(index)),
        ]);
    }
    text.push_str(&table.render(out));
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::view::Succession;

    use super::*;
    use crate::{output::Look, testing::streams};

    #[test]
    fn bars_show_who_takes_what_and_what_waits() {
        let task = |service: &str, memory, reason: Option<&str>| PlacedTask {
            task: "t1".to_owned(),
            stack: "shop".to_owned(),
            service: service.to_owned(),
            replica: 1,
            memory: Bytes::mib(memory),
            reason: reason.map(str::to_owned),
            succession: None,
            generic: BTreeMap::new(),
        };
        let handing_over =
            |succession| PlacedTask { succession: Some(succession), ..task("api", 512, None) };
        let (old, new) = (handing_over(Succession::Old), handing_over(Succession::New));
        let node = |name: &str, reserved, tasks| PlacementNode {
            name: name.to_owned(),
            allocatable: Bytes::gib(14),
            reserved: Bytes::mib(reserved),
            free: Bytes::gib(14).saturating_sub(Bytes::mib(reserved)),
            tasks,
            generic: BTreeMap::new(),
        };
        let placement = PlacementView {
            nodes: vec![
                node("mini-1", 6656, vec![task("web", 512, None), task("neo4j", 6144, None)]),
                node("mini-2", 0, vec![]),
                node("mini-3", 1024, vec![old, new]),
            ],
            pending: vec![task("big", 20480, Some("mini-1: needs 20.0 GiB, 7.5 GiB free"))],
        };
        let look = Look { unicode: false, ..Look::plain() };
        insta::assert_snapshot!(render(&placement, &streams(look).0));
    }
}
