//! What would make a task fit, the cheapest first, in words with amounts.
//!
//! **Invariant:** each was tried: all that waits was planned with it and nothing else changed, and the task had a
//! place then.

mod lower;
pub(crate) mod machine;
mod proof;
mod way;

use std::{collections::BTreeSet, fmt};

use model::{
    Generic, Liveness, Node, NodeId, NodeName, Resources, ServiceName, ServiceSpec, TaskId,
    spec::{Constraint, ConstraintKey, ConstraintOp},
};

use self::{
    lower::{lower_reservation, share_evenly},
    machine::more_machine,
    proof::Stuck,
};
pub use self::{proof::Former, way::way_to};
use crate::placement::{Ask, Effort, Fleet, Misfit, Room, filter::flags};

/// More would not be read.
const MAX_FIXES: usize = 6;
/// Tasks one fix may ask to stop.
const MAX_STOPS: usize = 3;
/// Fixes that are tried for one task, the cheapest first.
const MAX_TRIED: usize = 32;

/// How much a fix asks of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// One command that stops nothing.
    Command,
    /// One command that moves what runs.
    Moves,
    /// An edit of the stack file.
    Edit,
    /// Something else must stop.
    Stop,
    /// A machine must come back.
    Repair,
}

/// What a fix changes, so that it can be tried.
#[derive(Debug, Clone)]
enum Change {
    /// The node is like this then.
    Node(Box<Node>),
    /// The service is.
    Spec(Box<ServiceSpec>),
    /// These end there.
    Ends(NodeId, Vec<TaskId>),
    /// What was tried before.
    Tried,
}

#[derive(Debug, Clone)]
struct Fix {
    cost: Cost,
    /// Among those of the same cost, the least first.
    order: u64,
    text: String,
    change: Change,
}

/// Whether a task has a place when its service is applied like this.
pub type Applied<'q> = &'q dyn Fn(&ServiceSpec) -> bool;

/// What is known of all tasks without a place, when it is asked what would help one of them.
pub struct Queue<'q, 'a> {
    /// All that wait for a place: they would be planned together.
    pub all: &'q [Ask<'a>],
    /// What the one takes over from, when that still runs; the fleet is without it.
    pub former: Option<Former<'a>>,
    /// Moves that were found to make room for the one, in words.
    pub moves: Option<String>,
    /// For what is edited while something of the service runs: that is replaced as well, one after the other.
    pub applied: Applied<'q>,
}

impl fmt::Debug for Queue<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { all, former, moves, .. } = self;
        let mut shown = f.debug_struct("Queue");
        shown
            .field("all", all)
            .field("former", former)
            .field("moves", moves)
            .finish_non_exhaustive()
    }
}

/// What would give the task a place, the cheapest first; empty when it fits already. All plans that show it take so much
/// effort at most.
pub fn fixes<'a>(
    fleet: &Fleet<'a>,
    ask: &Ask<'a>,
    Queue { all, former, moves, applied }: Queue<'_, 'a>,
    effort: &mut Effort,
) -> Vec<String> {
    let mut stuck = Stuck { fleet, ask, former: former.as_ref(), waiting: all, applied, effort };
    let mut found: Vec<Fix> = Vec::new();
    found.extend(moves.map(|text| Fix {
        cost: Cost::Moves,
        order: 0,
        text,
        change: Change::Tried,
    }));
    for (node, room) in fleet.rooms() {
        match fleet.misfits(ask, *node).as_slice() {
            [] => return Vec::new(),
            [only] => found.extend(for_one(fleet, ask, room, only, true)),
            // Memory and CPU short together, or a port that its holder takes along.
            several if several.iter().all(gone_with_tasks) => {
                found.extend(stop(fleet, ask, room, several));
            }
            _ => {}
        }
    }
    found.extend(share_evenly(&stuck));
    found.extend(lower_reservation(&stuck));
    found.sort_by(|a, b| (a.cost, a.order, &a.text).cmp(&(b.cost, b.order, &b.text)));
    found.dedup_by(|a, b| a.text == b.text);
    let tried = found.into_iter().take(MAX_TRIED);
    let mut lowered = false;
    let proven = tried.filter(|fix| {
        let lowers =
            matches!(&fix.change, Change::Spec(spec) if spec.resources != ask.spec.resources);
        // Of two that lower it the first asks for less.
        let holds = !(lowers && lowered) && stuck.has_place_with(&fix.change);
        lowered |= lowers && holds;
        holds
    });
    let proven = proven.map(|fix| fix.text);
    // There is always a place in the list for the last resort.
    let mut proven: Vec<String> = proven.take(MAX_FIXES.saturating_sub(1)).collect();
    proven.extend(more_machine(&mut stuck));
    proven
}

const fn gone_with_tasks(why: &Misfit) -> bool {
    if let Misfit::ShortOfGeneric { needed, offered, .. } = why {
        return *needed <= *offered;
    }
    matches!(why, Misfit::Short(_) | Misfit::PortTaken { .. } | Misfit::TooManyTasks { .. })
}

/// The constraint holds by a label, or is taken away. A label that something there stands on stays what it is.
fn of_constraint(
    ask: &Ask<'_>,
    room: &Room<'_>,
    wanted: &Constraint,
    (which, has_room): (&str, &str),
) -> Fix {
    let (node, service) = (&room.node.name, ask.service);
    let asks_for = |one: &Constraint| one.key == wanted.key;
    let mut others = room.tasks.values().map(|(other, _)| other);
    let is_stood_on = others.any(|other| other.spec.placement.constraints.iter().any(asks_for));
    if let (ConstraintKey::Label(label), ConstraintOp::Equal) = (&wanted.key, wanted.op)
        && !(is_stood_on && room.node.labels.contains_key(label))
    {
        let value = &wanted.value;
        let text =
            format!("give {node}{which} the label: sisoctl node label {node} {label}={value}");
        let mut changed = room.node.clone();
        changed.labels.insert(label.clone(), value.clone());
        return Fix {
            cost: Cost::Command,
            order: 1,
            text,
            change: Change::Node(Box::new(changed)),
        };
    }
    let text = format!("remove the constraint `{wanted}` from {service}{has_room}");
    let mut changed = ask.spec.clone();
    changed.placement.constraints.retain(|one| one != wanted);
    Fix { cost: Cost::Edit, order: 1, text, change: Change::Spec(Box::new(changed)) }
}

/// Whether the holder of a port, as it is named, is a replica of the same service.
fn is_of_service(ask: &Ask<'_>, holder: &str) -> bool {
    holder.starts_with(&format!("{}/{}.", ask.stack, ask.service))
}

/// What to do about a host port that is taken; another one would not help replicas against each other.
fn without_port(ask: &Ask<'_>, port: u16, holder: &str, node: &NodeName) -> String {
    let service = ask.service;
    if is_of_service(ask, holder) {
        format!("leave out the host port {port} of {service}: {node} has it once, for {holder}")
    } else {
        format!("publish another host port than {port}: on {node} it is taken by {holder}")
    }
}

/// The fix of what stands against a node; `alone` when nothing else does.
fn for_one(
    fleet: &Fleet<'_>,
    ask: &Ask<'_>,
    room: &Room<'_>,
    why: &Misfit,
    alone: bool,
) -> Option<Fix> {
    let node = &room.node.name;
    let which = if alone { ", which has room," } else { "" };
    let because = |what: &str| if alone { format!(": {what}") } else { String::new() };
    let has_room = because(&format!("{node} has room"));
    let service = ask.service;
    let with_node = |cost, order, text, change: &dyn Fn(&mut Node)| {
        let mut changed = room.node.clone();
        change(&mut changed);
        Some(Fix { cost, order, text, change: Change::Node(Box::new(changed)) })
    };
    let with_spec = |order, text, change: &dyn Fn(&mut ServiceSpec)| {
        let mut changed = ask.spec.clone();
        change(&mut changed);
        Some(Fix { cost: Cost::Edit, order, text, change: Change::Spec(Box::new(changed)) })
    };
    match why {
        Misfit::Cordoned => {
            let text = format!("let {node} take new tasks: sisoctl node uncordon {node}");
            with_node(Cost::Command, 0, text, &|node| node.schedulable = true)
        }
        Misfit::Constraint { wanted, .. } => {
            Some(of_constraint(ask, room, wanted, (which, &has_room)))
        }
        Misfit::NotAllowed(lacks) => {
            let flags = flags(lacks);
            let text =
                format!("start the agent of {node} with {flags} as well{}", because("it has room"));
            with_node(Cost::Command, 2, text, &|node| node.inventory.allows = None)
        }
        // Of any other image nothing is known.
        Misfit::NoVariant { image, platform } => {
            let text = format!("{}{has_room}", other_image(service, image, platform));
            with_spec(3, text, &|spec| "another".clone_into(&mut spec.image))
        }
        Misfit::TooManyReplicas { max } => {
            let text = format!("raise max_replicas_per_node of {service} above {max}{has_room}");
            with_spec(2, text, &|spec| spec.placement.max_replicas_per_node = None)
        }
        Misfit::PortTaken { port, holder, .. } => {
            let text = without_port(ask, *port, holder, node);
            let another = if is_of_service(ask, holder) { None } else { spare_port(ask, room) };
            with_spec(0, text, &|spec| leave_port(spec, *port, another))
        }
        Misfit::ShortOfGeneric { kind, needed, free, offered } if needed > offered => {
            let more = needed.saturating_sub(*free);
            let all = offered.saturating_add(more);
            let text = format!(
                "start the agent of {node} with --generic {kind}={all}, if it has them{}",
                because("it has room otherwise")
            );
            with_node(Cost::Command, 3, text, &|node| node.inventory.generic.add(kind, more))
        }
        Misfit::Short(_) | Misfit::ShortOfGeneric { .. } | Misfit::TooManyTasks { .. } => {
            stop(fleet, ask, room, std::slice::from_ref(why))
        }
        Misfit::NoEngine => {
            let text =
                format!("start the container engine on {node}: `sisoctl doctor` there says more");
            with_node(Cost::Repair, 0, text, &|node| node.inventory.engine_ready = true)
        }
        Misfit::NotThere(liveness) => {
            let then = if alone { " and would have room" } else { "" };
            let text = format!("bring {node} back: it is {}{then}", liveness.as_str());
            with_node(Cost::Repair, 1, text, &|node| node.liveness = Liveness::Ready)
        }
        Misfit::VolumeElsewhere { volume, home, node } => {
            let text = format!("make room on {home}, where the data of volume `{volume}` lives");
            at_home(fleet, ask, *node, text)
        }
        Misfit::Gone => None,
    }
}

/// A host port that neither the service nor anything in the room has: replicas have it one on each node all the same.
fn spare_port(ask: &Ask<'_>, room: &Room<'_>) -> Option<u16> {
    let there = room.tasks.values().map(|(other, _)| other.spec);
    let specs = there.chain([ask.spec]);
    let taken: BTreeSet<u16> =
        specs.flat_map(|spec| &spec.ports).filter_map(|port| port.published).collect();
    (1..=u16::MAX).rev().find(|port| !taken.contains(port))
}

/// Takes another host port in its place, or none.
fn leave_port(spec: &mut ServiceSpec, port: u16, another: Option<u16>) {
    spec.ports.retain(|one| another.is_some() || one.published != Some(port));
    for one in spec.ports.iter_mut().filter(|one| one.published == Some(port)) {
        one.published = another;
    }
}

fn other_image(service: &ServiceName, image: &str, platform: &str) -> String {
    format!(
        "take another image for {service} that has a variant for {platform}, or apply again once {image} \
         has one"
    )
}

/// Room on another node, where its data is.
fn at_home(fleet: &Fleet<'_>, ask: &Ask<'_>, home: NodeId, text: String) -> Option<Fix> {
    let there = fleet.rooms().get(&home).filter(|_| fleet.rooms().len() > 1)?;
    let others = there.tasks.values().filter(|(other, _)| !other.same_service(ask));
    let tasks = others.map(|(other, _)| other.task).collect();
    Some(Fix { cost: Cost::Repair, order: 2, text, change: Change::Ends(home, tasks) })
}

/// The fewest and smallest tasks whose end makes room on that node; who holds a port it wants is one of
/// them. Of a service with several replicas only the last can be ended alone.
fn stop<'a>(fleet: &Fleet<'a>, ask: &Ask<'_>, room: &Room<'a>, why: &[Misfit]) -> Option<Fix> {
    let mut others: Vec<&Ask<'_>> = room
        .tasks
        .values()
        .filter(|(other, desired)| !desired.is_leaving() && !other.same_service(ask))
        .map(|(other, _)| other)
        .filter(|other| fleet.is_last_replica(other))
        .collect();
    others.sort_by_key(|other| (other.spec.priority, other.reserved().memory, other.task));
    let name = |other: &Ask<'_>| format!("{}/{}.{}", other.stack, other.service, other.slot);
    let holders: BTreeSet<&str> = why
        .iter()
        .filter_map(|why| {
            if let Misfit::PortTaken { holder, .. } = why { Some(holder.as_str()) } else { None }
        })
        .collect();
    let (mut chosen, others): (Vec<&Ask<'_>>, Vec<&Ask<'_>>) =
        others.into_iter().partition(|other| holders.contains(name(other).as_str()));
    if chosen.len() < holders.len() {
        return None;
    }
    let freed =
        |chosen: &[&Ask<'_>]| chosen.iter().map(|other| other.reserved()).sum::<Resources>();
    let offers = &room.node.inventory.generic;
    let generic = |chosen: &[&Ask<'_>]| {
        let held = chosen.iter().map(|other| other.spec.generic_on(offers));
        held.fold(Generic::NONE, |sum, held| sum.plus(&held))
    };
    let short = ask.reserved().minus(room.free_for(ask.task));
    let missing = short.minus(freed(&chosen));
    let wanted = ask.spec.generic_on(offers);
    let free = |kind| room.generic_free_for(ask.task, kind);
    let short_of: Generic =
        wanted.iter().map(|(kind, amount)| (kind, amount.saturating_sub(free(kind)))).collect();
    let missing_of = short_of.clone().minus(&generic(&chosen));
    let crowded = why.iter().any(|why| matches!(why, Misfit::TooManyTasks { .. }));
    if !missing_of.is_empty() {
        let holders = |chosen: &[&Ask<'_>]| missing_of.clone().minus(&generic(chosen)).is_empty();
        let enough = |more: &[&Ask<'_>]| holders(more) && freed(more).after(missing).is_ok();
        let helpers: Vec<&Ask<'_>> =
            others.iter().copied().filter(|other| other.spec.wants_generic()).collect();
        chosen.extend(fewest(&helpers, |other| generic(&[other]), enough)?);
    } else if missing != Resources::ZERO || (crowded && chosen.is_empty()) {
        let enough = |more: &[&Ask<'_>]| freed(more).after(missing).is_ok();
        chosen.extend(fewest(&others, |other| other.reserved().memory, enough)?);
    }
    let held = generic(&chosen);
    let freed = freed(&chosen);
    let names: Vec<String> = chosen.iter().map(|other| name(other)).collect();
    let mut amount = format!("frees {}", freed.memory);
    if short.cpu.0 > 0 {
        amount = format!("{amount} and {} CPUs", freed.cpu);
    }
    let wanted = held.iter().filter(|(kind, _)| short_of.get(kind) > 0).collect::<Generic>();
    if !wanted.is_empty() {
        amount = format!("{amount} and {wanted}");
    }
    let text =
        format!("stop or scale down {} on {} ({amount})", names.join(" and "), room.node.name);
    let tasks = chosen.iter().map(|other| other.task).collect();
    let change = Change::Ends(room.node.id, tasks);
    Some(Fix { cost: Cost::Stop, order: freed.memory.0, text, change })
}

/// One task that frees enough, the smallest such; else as few of the largest as do.
fn fewest<'o, 'a, K: Ord>(
    others: &[&'o Ask<'a>],
    size: impl Fn(&Ask<'_>) -> K,
    enough: impl Fn(&[&Ask<'_>]) -> bool,
) -> Option<Vec<&'o Ask<'a>>> {
    if let Some(one) = others.iter().find(|other| enough(&[other])) {
        return Some(vec![one]);
    }
    let mut by_size: Vec<&'o Ask<'a>> = others.to_vec();
    by_size.sort_by_key(|other| (std::cmp::Reverse(size(other)), other.task));
    let mut chosen = Vec::new();
    for other in by_size.into_iter().take(MAX_STOPS) {
        chosen.push(other);
        if enough(&chosen) {
            return Some(chosen);
        }
    }
    None
}
