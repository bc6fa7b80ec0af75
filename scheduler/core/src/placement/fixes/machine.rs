//! The last resort: a machine that is larger, or one more.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Allows, Generic, ImaginedNode, Node, NodeId, NodeName, Resources, Shortfall,
    spec::{Constraint, ConstraintKey, ConstraintOp},
};

use super::{Change, helps};
use crate::placement::{
    Ask, Fleet, Misfit,
    filter::{flags, holds},
};

/// Architectures of machines that can be bought.
const SOLD: [&str; 2] = ["arm64", "amd64"];

/// What is left when nothing there is will do: a machine that is larger, or one more.
pub(super) fn more_machine(fleet: &Fleet<'_>, ask: &Ask<'_>) -> Option<String> {
    let homes = ask.volumes.iter();
    let mut homes = homes.filter_map(|(name, volume)| {
        Some((format!("volume `{name}`"), fleet.home(&volume.engine_name)?))
    });
    let named = ask.spec.placement.constraints.iter().find_map(|wanted| {
        let node = fleet.rooms().values().find(|room| holds(wanted, room.node))?.node;
        let one = matches!(wanted.key, ConstraintKey::Id | ConstraintKey::Hostname);
        (one && wanted.op == ConstraintOp::Equal).then(|| (format!("`{wanted}`"), node.id))
    });
    match homes.next().or(named) {
        Some((by, node)) => larger(fleet, ask, &by, node),
        None => another(fleet, ask),
    }
}

/// When only one node will do.
fn larger(fleet: &Fleet<'_>, ask: &Ask<'_>, by: &str, home: NodeId) -> Option<String> {
    let (name, misfits) = (fleet.name(home), fleet.misfits(ask, home));
    let lacks = misfits.iter().find_map(|why| {
        if let Misfit::ShortOfGeneric { kind, .. } = why {
            return Some(kind.to_string());
        }
        let Misfit::Short(short) = why else { return None };
        Some(match short {
            Shortfall::Memory { .. } => "memory".to_owned(),
            Shortfall::Cpu { .. } => "CPUs".to_owned(),
        })
    });
    let binds = format!("{by} binds {} to it", ask.service);
    let closed = misfits.contains(&Misfit::Cordoned);
    let open = if closed {
        format!("; let it take new tasks as well: sisoctl node uncordon {name}")
    } else {
        String::new()
    };
    let other = misfits.iter().find(|why| **why != Misfit::Cordoned);
    match (lacks, other) {
        (Some(what), _) => Some(format!("give {name} more {what}: {binds}{open}")),
        (None, Some(why)) => Some(format!("only {name} will do, for {binds}, but {why}{open}")),
        // To let it take new tasks was offered.
        (None, None) if closed => None,
        (None, None) => Some(format!("only {name} will do: {binds}")),
    }
}

/// A machine that is added, when one can be that helps.
fn another(fleet: &Fleet<'_>, ask: &Ask<'_>) -> Option<String> {
    let Resources { memory, cpu } = ask.reserved();
    let memory = memory.rounded_up();
    let node = bought(fleet, std::slice::from_ref(ask), Resources { memory, cpu })?;
    let meets: Vec<String> = ask
        .spec
        .placement
        .constraints
        .iter()
        .filter(|wanted| is_asked_of_another(fleet, wanted))
        .map(|wanted| format!("`{wanted}`"))
        .collect();
    let cpus = if cpu.0 > 0 { format!(" and {cpu} CPUs") } else { String::new() };
    let generic = ask.spec.generic_on(&Generic::NONE);
    let generic = if generic.is_empty() { String::new() } else { format!(" and {generic}") };
    let mut text = format!("add a node with at least {memory}{cpus}{generic} free");
    if !meets.is_empty() {
        text = format!("{text} that meets {}", meets.join(" and "));
    }
    let lacks: Vec<&str> = fleet.lacks(ask).iter().map(String::as_str).collect();
    if !lacks.is_empty() {
        text = format!("{text} that is not {}", lacks.join(" or "));
    }
    let lacks = Allows::default().lacks(ask.spec);
    if !lacks.is_empty() {
        text = format!("{text} whose agent has {}", flags(&lacks));
    }
    helps(fleet, ask, &Change::Node(Box::new(node))).then_some(text)
}

/// Whether a new node meets the constraint only when somebody sees to it.
fn is_asked_of_another(fleet: &Fleet<'_>, wanted: &Constraint) -> bool {
    let everywhere = fleet.rooms().values().all(|room| holds(wanted, room.node));
    match wanted.key {
        ConstraintKey::Label(_) | ConstraintKey::Hostname => wanted.op == ConstraintOp::Equal,
        ConstraintKey::Id => false,
        ConstraintKey::Arch | ConstraintKey::Os => !everywhere || fleet.rooms().is_empty(),
    }
}

/// What the machines there are, where their images have a variant for it.
fn arch(fleet: &Fleet<'_>, asks: &[Ask<'_>], os: &str) -> String {
    let lacks: BTreeSet<&String> = asks.iter().flat_map(|ask| fleet.lacks(ask)).collect();
    let there = fleet.rooms().values().map(|room| room.node.inventory.arch.as_str());
    let mut known = there.chain(SOLD);
    let first = known.clone().next().unwrap_or_default();
    known.find(|arch| !lacks.contains(&format!("{os}/{arch}"))).unwrap_or(first).to_owned()
}

/// A node that was bought for these tasks: with what it is to offer, and what their constraints ask for.
pub(crate) fn bought(fleet: &Fleet<'_>, asks: &[Ask<'_>], offers: Resources) -> Option<Node> {
    let like = fleet.rooms().values().next().map(|room| &room.node.inventory);
    let machine = ImaginedNode {
        name: NodeName::new("another").ok()?,
        memory: offers.memory,
        cpus: offers.cpu,
        labels: BTreeMap::new(),
        arch: like.map(|like| arch(fleet, asks, &like.os)),
        generic: asks
            .iter()
            .fold(Generic::NONE, |sum, ask| sum.plus(&ask.spec.generic_on(&Generic::NONE))),
    };
    let mut node = machine.node(fleet.spare_id());
    if let Some(like) = like {
        node.inventory.os.clone_from(&like.os);
    }
    let equal = |wanted: &&Constraint| wanted.op == ConstraintOp::Equal;
    let constraints = asks.iter().flat_map(|ask| &ask.spec.placement.constraints);
    for wanted in constraints.filter(equal) {
        let value = wanted.value.clone();
        match &wanted.key {
            ConstraintKey::Label(label) => drop(node.labels.insert(label.clone(), value)),
            ConstraintKey::Hostname => node.name = NodeName::new(&value).ok()?,
            ConstraintKey::Arch => node.inventory.arch = value,
            ConstraintKey::Os => node.inventory.os = value,
            // Ids are given, not chosen.
            ConstraintKey::Id => return None,
        }
    }
    Some(node)
}
