//! `node`: machines.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    Bytes,
    generic::Amount,
    view::{NodeGeneric, NodeRow, TaskRow},
};
use serde::Serialize;

use super::{add, agreed, drain, ps};
use crate::{
    args::{Global, LabelChange, Node, NodeRm},
    client::{Client, Written, suggest},
    error::Error,
    output::{
        Out, Tone,
        bars::bar,
        json, safe,
        table::{Cell, Table},
    },
};

/// Carries out `node`.
pub async fn run(
    args: &Node,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    match args {
        Node::Ls => list(client, out).await,
        Node::Show { node } => show(node.as_str(), client, out).await,
        Node::Label { node, labels, .. } => label(node.as_str(), labels, client, out).await,
        Node::Add(args) => add::run(args, client, global, out).await,
        Node::Drain(args) => drain::run(args, client, global, out).await,
        Node::Rm(args) => remove(args, client, out).await,
        Node::Cordon { node, .. } => set_schedulable(node.as_str(), false, client, out).await,
        Node::Uncordon { node, .. } => set_schedulable(node.as_str(), true, client, out).await,
    }
}

async fn list(client: &Client, out: &mut Out) -> Result<(), Error> {
    let nodes = client.nodes().await?;
    if out.is_json() {
        return json::document(out, &nodes);
    }
    if out.look.quiet {
        return nodes.iter().try_for_each(|node| out.data_line(&node.name));
    }
    let empty = "no nodes: make a token with `sisoctl token create --role node` and start siso-agent with it";
    table(&nodes).print(out, empty)
}

/// Machines as a table.
pub fn table(nodes: &[NodeRow]) -> Table {
    let mut table = Table::new(&[
        "NODE",
        "STATE",
        "ALLOCATABLE",
        "RESERVED",
        "FREE",
        "USED",
        "CPUS",
        "TASKS",
        "ARCH",
        "LABELS",
    ])
    .sparing(&["ARCH", "CPUS", "USED", "RESERVED"]);
    for node in nodes {
        let memory = node.memory;
        let (state, tone) = state(node);
        table.row([
            Cell::new(node.name.as_str()),
            Cell::new(state.as_str()).tone(tone),
            Cell::amount(memory.allocatable.to_string()),
            Cell::amount(memory.reserved.to_string()),
            Cell::amount(memory.allocatable.saturating_sub(memory.reserved).to_string()),
            Cell::amount(memory.used.map(|used| used.to_string())),
            Cell::amount(format!("{}/{}", node.cpus.reserved, node.cpus.capacity)),
            Cell::amount(node.tasks.to_string()),
            Cell::new(node.arch.as_str()),
            Cell::remark(&labels(node).join(",")),
        ]);
    }
    table
}

fn labels(node: &NodeRow) -> Vec<String> {
    node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn state(node: &NodeRow) -> (String, Tone) {
    let mut words = vec![node.state.as_str()];
    match (node.schedulable, &node.drain_until) {
        (_, Some(_)) => words.push("draining"),
        (false, None) => words.push("cordoned"),
        (true, None) => {}
    }
    if !node.engine_ready {
        words.push("no engine");
    }
    let tone = match (node.state.as_str(), words.len()) {
        ("ready", 1) => Tone::Good,
        ("ready", _) => Tone::Careful,
        _ => Tone::Bad,
    };
    (words.join(", "), tone)
}

/// A machine and what is on it, for scripts.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    node: &'a NodeRow,
    placed: &'a [TaskRow],
}

async fn show(name: &str, client: &Client, out: &mut Out) -> Result<(), Error> {
    let nodes = client.nodes().await?;
    let Some(node) = nodes.iter().find(|node| node.name == name) else {
        return Err(unknown(name, &nodes));
    };
    let mut tasks = client.tasks(None).await?;
    tasks.retain(|task| task.node.as_deref() == Some(name));
    if out.is_json() {
        return json::document(out, &Shown { node, placed: &tasks });
    }
    let mut text = render(node, out);
    if !tasks.is_empty() {
        text.push('\n');
        text.push_str(&ps::table(&tasks, Timestamp::now()).render(out));
    }
    out.data(&text)
}

fn unknown(name: &str, nodes: &[NodeRow]) -> Error {
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    suggest(Error::input(format!("there is no node `{name}`")), name, "node", &names)
}

/// Its engine, as far as the machine has told of it.
fn engine(node: &NodeRow) -> String {
    match (node.engine.as_str(), node.arch.as_str()) {
        ("", "") => "not known yet".to_owned(),
        ("", arch) => format!("not known yet ({arch})"),
        (engine, "") => engine.to_owned(),
        (engine, arch) => format!("{engine} ({arch})"),
    }
}

/// Everything about a machine.
pub fn render(node: &NodeRow, out: &Out) -> String {
    let (state, tone) = state(node);
    let memory = node.memory;
    let free = memory.allocatable.saturating_sub(memory.reserved);
    let mut table = Table::new(&["", ""]);
    let mut fact = |name: &'static str, value: &str, tone: Tone| {
        table.row([Cell::new(name).tone(Tone::Faint), Cell::new(value).tone(tone)]);
    };
    fact("node", &format!("{} ({})", node.name, node.id), Tone::Strong);
    fact("state", &state, tone);
    fact("address", &node.address, Tone::Plain);
    fact("labels", &labels(node).join(", "), Tone::Plain);
    fact("engine", &engine(node), Tone::Plain);
    fact("agent", &node.version, Tone::Plain);
    let bar = bar(memory.reserved, Bytes::ZERO, memory.allocatable, &out.look);
    fact("memory", &format!("{bar} {free} free"), Tone::Plain);
    for (name, amount) in [
        ("  capacity", memory.capacity),
        ("  reserve", memory.reserve),
        ("  allocatable", memory.allocatable),
        ("  reserved", memory.reserved),
    ] {
        fact(name, &amount.to_string(), Tone::Plain);
    }
    let burst =
        if memory.limits > memory.allocatable { " (more than allocatable: burst)" } else { "" };
    fact("  limits", &format!("{}{burst}", memory.limits), Tone::Plain);
    fact("  used", &memory.used.map(|used| used.to_string()).unwrap_or_default(), Tone::Plain);
    let cpus = node.cpus;
    fact("cpus", &format!("{} of {} reserved", cpus.reserved, cpus.capacity), Tone::Plain);
    let disk = node.disk;
    fact("disk", &format!("{} of {} free", disk.free, disk.capacity), Tone::Plain);
    for (kind, NodeGeneric { capacity, reserved }) in &node.generic {
        let (capacity, reserved) = (Amount(*capacity), Amount(*reserved));
        fact("generic", &format!("{kind}: {reserved} of {capacity} reserved"), Tone::Plain);
    }
    fact("tasks", &node.tasks.to_string(), Tone::Plain);
    table.render(out)
}

/// The answer to a question about a machine; a name that is unknown is answered with the nearest.
pub(super) async fn known<T>(
    written: Result<T, Error>,
    name: &str,
    client: &Client,
) -> Result<T, Error> {
    match written {
        Err(error) if error.exit_code() == 1 && !error.has_hint() => {
            Err(match client.nodes().await {
                Ok(nodes) if !nodes.iter().any(|node| node.name == name) => unknown(name, &nodes),
                _ => error,
            })
        }
        answered => answered,
    }
}

async fn set_schedulable(
    name: &str,
    schedulable: bool,
    client: &Client,
    out: &mut Out,
) -> Result<(), Error> {
    let written = known(client.set_schedulable(name, schedulable).await, name, client).await?;
    if out.is_json() {
        return json::document(out, &written);
    }
    let name = safe::line(name).into_owned();
    out.data_line(&match (written.changed, schedulable) {
        (false, _) => format!("{name}: nothing to change"),
        (true, true) => format!("{name} takes new tasks again"),
        (true, false) => {
            format!("{name} is cordoned: nothing new is placed there, what runs stays")
        }
    })
}

async fn label(
    name: &str,
    changes: &[LabelChange],
    client: &Client,
    out: &mut Out,
) -> Result<(), Error> {
    let (mut set, mut remove) = (BTreeMap::new(), BTreeSet::new());
    for LabelChange { name, value } in changes {
        let again = set.contains_key(name) || remove.contains(name);
        if again {
            return Err(Error::input(format!("label `{name}` stands there twice"))
                .hint("say once what it shall be"));
        }
        match value {
            Some(value) => drop(set.insert(name.clone(), value.clone())),
            None => drop(remove.insert(name.clone())),
        }
    }
    let written = known(client.label_node(name, set, remove).await, name, client).await?;
    let nodes = client.nodes().await?;
    let Some(node) = nodes.iter().find(|node| node.name == name) else {
        return Err(unknown(name, &nodes));
    };
    if out.is_json() {
        return json::document(out, &Labelled { written, labels: &node.labels });
    }
    let mut labels = labels(node).join(", ");
    if labels.is_empty() {
        "no labels".clone_into(&mut labels);
    }
    let same = if written.changed { "" } else { " (nothing to change)" };
    let line = format!("{name}: {labels}{same}");
    out.data_line(&safe::line(&line))
}

/// What `node label` did, for scripts.
#[derive(Debug, Serialize)]
struct Labelled<'a> {
    #[serde(flatten)]
    written: Written,
    labels: &'a BTreeMap<String, String>,
}

async fn remove(args: &NodeRm, client: &Client, out: &mut Out) -> Result<(), Error> {
    let name = args.node.as_str();
    if !args.yes {
        let lost = match (args.force, args.with_volumes) {
            (false, false) => "",
            (true, false) => ", and give up its tasks",
            (false, true) => ", and forget its volumes with ALL DATA in them",
            (true, true) => ", and give up its tasks and its volumes with ALL DATA in them",
        };
        if !agreed(&format!("Remove node {name}{lost}?"), out).await? {
            return Err(
                Error::input("not removed: nothing was changed").hint("answer y, or give --yes")
            );
        }
    }
    let removed = client.remove_node(name, args.force, args.with_volumes).await;
    let written = known(removed, name, client).await?;
    if out.is_json() {
        return json::document(out, &written);
    }
    let line = format!(
        "{name} is removed; stop siso-agent there and delete its data directory before it joins again"
    );
    out.data_line(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::Look,
        testing::{node, streams},
    };

    #[test]
    fn machines_show_what_they_offer_and_what_is_wrong() {
        let mut cordoned = node("mini-2");
        (cordoned.schedulable, cordoned.engine_ready) = (false, false);
        let mut down = node("mini-3");
        down.state = "down".to_owned();
        down.memory.used = None;
        let nodes = [node("mini-1"), cordoned, down];
        insta::assert_snapshot!(table(&nodes).render(&streams(Look::plain()).0));
    }

    #[test]
    fn one_machine_shows_everything() {
        let look = Look { unicode: false, ..Look::plain() };
        insta::assert_snapshot!(render(&node("mini-1"), &streams(look).0));
    }

    #[test]
    fn of_an_engine_that_was_never_heard_of_that_is_said() {
        let row = |engine: &str, arch: &str| NodeRow {
            engine: engine.to_owned(),
            arch: arch.to_owned(),
            ..node("mini-1")
        };
        for (engine, arch, expected) in [
            ("", "", "not known yet"),
            ("", "arm64", "not known yet (arm64)"),
            ("docker 27.3.1", "", "docker 27.3.1"),
            ("docker 27.3.1", "arm64", "docker 27.3.1 (arm64)"),
        ] {
            let text = render(&row(engine, arch), &streams(Look::plain()).0);
            let line = text.lines().find(|line| line.starts_with("engine")).unwrap();
            assert_eq!(line.strip_prefix("engine").unwrap().trim(), expected);
        }
    }
}
