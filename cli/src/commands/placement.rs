//! `placement`: who sits where and what is free.

use std::fs;

use model::{
    Bytes,
    view::{PlacementNode, PlacementView},
};

use crate::{
    args::Placement,
    client::Client,
    error::Error,
    output::{
        Out, Tone,
        blocks::{self, named},
        json, picture, safe,
        table::{Cell, Table},
    },
};

/// Carries out `placement`.
pub async fn run(args: &Placement, client: &Client, out: &mut Out) -> Result<(), Error> {
    let placement = client.placement().await?;
    if let Some(file) = &args.svg {
        fs::write(file, picture::svg(&placement))
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

fn node_part(node: &PlacementNode, largest: Bytes, out: &Out) -> String {
    let title = out.paint(Tone::Strong, &safe::line(&node.name));
    let bar = blocks::bar(node, largest, out);
    let mut text = format!("{title}: {}\n{bar}\n", blocks::title(node));
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
    use model::view::{PlacedTask, Succession};

    use super::*;
    use crate::{
        output::Look,
        testing::{placed_on, placed_task, streams},
    };

    #[test]
    fn bars_show_who_takes_what_and_what_waits() {
        let handing_over =
            |succession| PlacedTask { succession: Some(succession), ..placed_task("api", 512) };
        let mut handed = placed_on("mini-3", 14, &[("api", 512), ("api", 512)]);
        handed.tasks = [Succession::Old, Succession::New].map(handing_over).to_vec();
        let reason = Some("mini-1: needs 20.0 GiB, 7.5 GiB free".to_owned());
        let placement = PlacementView {
            nodes: vec![
                placed_on("mini-1", 14, &[("web", 512), ("neo4j", 6144)]),
                placed_on("mini-2", 14, &[]),
                handed,
            ],
            pending: vec![PlacedTask { reason, ..placed_task("big", 20480) }],
        };
        let look = Look { unicode: false, ..Look::plain() };
        insta::assert_snapshot!(render(&placement, &streams(look).0));
    }
}
