//! The last resort: a machine that is larger, or one more.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Allows, Bytes, Generic, ImaginedNode, Node, NodeId, NodeName, Resources, Shortfall,
    spec::{Constraint, ConstraintKey, ConstraintOp},
};

use super::{Change, proof::Stuck};
use crate::placement::{
    Ask, Fleet, Misfit,
    filter::{flags, holds},
};

/// Sizes and numbers of machines that are tried for one task.
const MAX_TRIES: usize = 8;
/// Architectures of machines that can be bought.
const SOLD: [&str; 2] = ["arm64", "amd64"];

/// What is left when nothing there is will do: a machine that is larger, or one more.
pub(super) fn more_machine(stuck: &mut Stuck<'_, '_>) -> Option<String> {
    let (fleet, ask) = (stuck.fleet, stuck.ask);
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
        Some((by, node)) => larger(stuck, &by, node),
        None => another(stuck),
    }
}

/// When only one node will do.
fn larger(stuck: &mut Stuck<'_, '_>, by: &str, home: NodeId) -> Option<String> {
    let (fleet, ask) = (stuck.fleet, stuck.ask);
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
        (Some(what), _) => {
            let more = enough_more(stuck, home, &misfits).map(|more| format!("{more} "));
            Some(format!("give {name} {}more {what}: {binds}{open}", more.unwrap_or_default()))
        }
        (None, Some(why)) => Some(format!("only {name} will do, for {binds}, but {why}{open}")),
        // To let it take new tasks was offered.
        (None, None) if closed => None,
        (None, None) => Some(format!("only {name} will do: {binds}")),
    }
}

/// How much more memory gives it a place on its home, when that is all it takes.
fn enough_more(stuck: &mut Stuck<'_, '_>, home: NodeId, misfits: &[Misfit]) -> Option<Bytes> {
    let short = misfits.iter().find_map(|why| {
        let Misfit::Short(Shortfall::Memory { needed, free }) = why else { return None };
        Some(needed.saturating_sub(*free))
    })?;
    let mut node = stuck.fleet.rooms().get(&home)?.node.clone();
    let more = short.rounded_up();
    node.inventory.memory = node.inventory.memory.saturating_add(more);
    node.schedulable = true;
    stuck.has_place_with(&Change::Node(Box::new(node))).then_some(more)
}

/// Machines that are added.
#[derive(Debug)]
struct Added {
    /// What each has.
    offers: Resources,
    generic: Generic,
    count: usize,
    /// The others that have a place there.
    first: Vec<String>,
}

/// What is added, when something can be that helps: one machine, as large as it must be for what comes first to leave
/// room; or several, where no two may be on one. What is too much to search is answered with room for all that waits.
fn another(stuck: &mut Stuck<'_, '_>) -> Option<String> {
    let own = stuck.ask.reserved();
    let own_generic = stuck.ask.spec.generic_on(&Generic::NONE).into_owned();
    let beside = |(held, generic): (Resources, Generic), count| {
        let offers = own.plus(held);
        let offers = Resources { memory: offers.memory.rounded_up(), ..offers };
        Added { offers, generic: own_generic.clone().plus(&generic), count, first: Vec::new() }
    };
    let mut added = beside((Resources::ZERO, Generic::NONE), 1);
    let mut enough: Option<Added> = None;
    for _ in 0..MAX_TRIES {
        let Some(outcome) = stuck.on_machines(&machines(stuck, &added)?) else { break };
        if outcome.has_place {
            return Some(in_words(stuck, &Added { first: outcome.first, ..added }));
        }
        let Some(taken) = outcome.taken else {
            added.count = added.count.saturating_add(1);
            continue;
        };
        if enough.is_none() {
            let all = beside(stuck.all_others(), added.count);
            let outcome = stuck.on_machines(&machines(stuck, &all)?)?;
            if !outcome.has_place {
                // However large it is, one more is needed.
                added.count = added.count.saturating_add(1);
                continue;
            }
            enough = Some(Added { first: outcome.first, ..all });
        }
        added = beside(taken, added.count);
    }
    enough.map(|enough| in_words(stuck, &enough))
}

/// As if they had joined.
fn machines(stuck: &Stuck<'_, '_>, added: &Added) -> Option<Vec<Node>> {
    let mut node = bought(stuck.fleet, std::slice::from_ref(stuck.ask), added.offers)?;
    node.inventory.generic = added.generic.clone();
    let mut machines = Vec::with_capacity(added.count);
    for _ in 0..added.count {
        machines.push(node.clone());
        node.id = node.id.next()?;
    }
    Some(machines)
}

fn in_words(stuck: &Stuck<'_, '_>, added: &Added) -> String {
    let (fleet, ask) = (stuck.fleet, stuck.ask);
    let meets: Vec<String> = ask
        .spec
        .placement
        .constraints
        .iter()
        .filter(|wanted| is_asked_of_another(fleet, wanted))
        .map(|wanted| format!("`{wanted}`"))
        .collect();
    let Resources { memory, cpu } = added.offers;
    let cpus = if cpu.0 > 0 { format!(" and {cpu} CPUs") } else { String::new() };
    let generic = &added.generic;
    let generic = if generic.is_empty() { String::new() } else { format!(" and {generic}") };
    let (many, each, meet, are) = match added.count {
        1 => ("a node".to_owned(), "", "meets", "is"),
        count => (format!("{count} nodes"), " each", "meet", "are"),
    };
    let mut text = format!("add {many} with at least {memory}{cpus}{generic} free{each}");
    if !meets.is_empty() {
        text = format!("{text} that {meet} {}", meets.join(" and "));
    }
    let lacks: Vec<&str> = fleet.lacks(ask).iter().map(String::as_str).collect();
    if !lacks.is_empty() {
        text = format!("{text} that {are} not {}", lacks.join(" or "));
    }
    let lacks = Allows::default().lacks(ask.spec);
    if !lacks.is_empty() {
        let whose = if added.count == 1 { "agent has" } else { "agents have" };
        text = format!("{text} whose {whose} {}", flags(&lacks));
    }
    match added.first.as_slice() {
        [] => text,
        [one] => format!("{text}: {one} goes there as well"),
        others => format!("{text}: {} others that wait go there as well", others.len()),
    }
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
