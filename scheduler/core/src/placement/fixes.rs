//! What would make a task fit, the cheapest first, in words with amounts.

use model::{
    Bytes, Resources, Shortfall,
    spec::{ConstraintKey, ConstraintOp},
};

use crate::placement::{Ask, Fleet, Misfit, Room, filter::holds};

/// More would not be read.
const MAX_FIXES: usize = 6;
/// Tasks one fix may ask to stop.
const MAX_STOPS: usize = 3;
/// A reservation below this is no honest proposal.
const LEAST_RESERVATION: Bytes = Bytes::mib(16);

/// How much a fix asks of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// One command that stops nothing.
    Command,
    /// An edit of the stack file.
    Edit,
    /// Something else must stop.
    Stop,
    /// A machine must come back.
    Repair,
    /// A machine must be bought.
    Machine,
}

/// What would make the task fit, the cheapest first; empty when it fits already.
pub fn fixes(fleet: &Fleet<'_>, ask: &Ask<'_>) -> Vec<String> {
    let mut found: Vec<(Cost, u64, String)> = Vec::new();
    for (node, room) in fleet.rooms() {
        match fleet.misfits(ask, *node).as_slice() {
            [] => return Vec::new(),
            [only] => found.extend(for_one(fleet, ask, room, only)),
            // Memory and CPU short together, or a port that its holder takes along.
            several if several.iter().all(gone_with_tasks) => {
                found.extend(stop(ask, room));
            }
            _ => {}
        }
    }
    if let Some(lower) = lower_reservation(fleet, ask) {
        found.push(lower);
    }
    found.push(add_node(fleet, ask));
    found.sort();
    found.dedup();
    let mut fixes: Vec<String> = found.into_iter().map(|(_, _, text)| text).collect();
    fixes.dedup();
    // The last resort always stays in the list.
    if let Some(last) = fixes.pop() {
        fixes.truncate(MAX_FIXES.saturating_sub(1));
        fixes.push(last);
    }
    fixes
}

const fn gone_with_tasks(why: &Misfit) -> bool {
    matches!(why, Misfit::Short(_) | Misfit::PortTaken { .. } | Misfit::TooManyTasks { .. })
}

/// The fix when this alone stands against a node.
fn for_one(
    fleet: &Fleet<'_>,
    ask: &Ask<'_>,
    room: &Room<'_>,
    why: &Misfit,
) -> Option<(Cost, u64, String)> {
    let node = &room.node.name;
    let service = ask.service;
    let only_service = fleet.rooms().len() == 1;
    match why {
        Misfit::Cordoned => Some((
            Cost::Command,
            0,
            format!("let {node} take new tasks: sisoctl node uncordon {node}"),
        )),
        Misfit::Constraint { wanted, .. } => Some(match (&wanted.key, wanted.op) {
            (ConstraintKey::Label(label), ConstraintOp::Equal) => (
                Cost::Command,
                1,
                format!(
                    "give {node}, which has room, the label: sisoctl node label {node} {label}={}",
                    wanted.value
                ),
            ),
            _ => (
                Cost::Edit,
                1,
                format!("remove the constraint `{wanted}` from {service}: {node} has room"),
            ),
        }),
        Misfit::TooManyReplicas { max } => Some((
            Cost::Edit,
            2,
            format!("raise max_replicas_per_node of {service} above {max}: {node} has room"),
        )),
        Misfit::PortTaken { port, holder, .. } => Some((
            Cost::Edit,
            0,
            format!("publish another host port than {port}: on {node} it is taken by {holder}"),
        )),
        Misfit::Short(_) | Misfit::TooManyTasks { .. } => stop(ask, room),
        Misfit::NoEngine => Some((
            Cost::Repair,
            0,
            format!("start the container engine on {node}: `sisoctl doctor` there says more"),
        )),
        Misfit::NotThere(liveness) => Some((
            Cost::Repair,
            1,
            format!("bring {node} back: it is {} and would have room", liveness.as_str()),
        )),
        Misfit::VolumeElsewhere { volume, home, .. } if !only_service => Some((
            Cost::Repair,
            2,
            format!("make room on {home}, where the data of volume `{volume}` lives"),
        )),
        Misfit::VolumeElsewhere { .. } | Misfit::Gone => None,
    }
}

/// The fewest and smallest tasks whose end makes room on that node.
fn stop(ask: &Ask<'_>, room: &Room<'_>) -> Option<(Cost, u64, String)> {
    let short = ask.reserved().minus(room.free_for(ask.task));
    let mut others: Vec<&Ask<'_>> = room
        .tasks
        .values()
        .filter(|(other, desired)| !desired.is_leaving() && !other.same_service(ask))
        .map(|(other, _)| other)
        .collect();
    others.sort_by_key(|other| (other.spec.priority, other.reserved().memory, other.task));
    let chosen = fewest(&others, short)?;
    let freed: Resources = chosen.iter().map(|other| other.reserved()).sum();
    let names: Vec<String> = chosen
        .iter()
        .map(|other| format!("{}/{}.{}", other.stack, other.service, other.slot))
        .collect();
    let mut amount = format!("frees {}", freed.memory);
    if short.cpu.0 > 0 {
        amount = format!("{amount} and {} CPUs", freed.cpu);
    }
    let text =
        format!("stop or scale down {} on {} ({amount})", names.join(" and "), room.node.name);
    Some((Cost::Stop, freed.memory.0, text))
}

/// One task that frees enough, the smallest such; else as few of the largest as do.
fn fewest<'o, 'a>(others: &[&'o Ask<'a>], short: Resources) -> Option<Vec<&'o Ask<'a>>> {
    let enough = |freed: Resources| freed.after(short).is_ok();
    if let Some(one) = others.iter().find(|other| enough(other.reserved())) {
        return Some(vec![one]);
    }
    let mut by_size: Vec<&'o Ask<'a>> = others.to_vec();
    by_size.sort_by_key(|other| (std::cmp::Reverse(other.reserved().memory), other.task));
    let mut chosen = Vec::new();
    let mut freed = Resources::ZERO;
    for other in by_size.into_iter().take(MAX_STOPS) {
        chosen.push(other);
        freed = freed.plus(other.reserved());
        if enough(freed) {
            return Some(chosen);
        }
    }
    None
}

/// The largest reservation with which it would fit somewhere.
fn lower_reservation(fleet: &Fleet<'_>, ask: &Ask<'_>) -> Option<(Cost, u64, String)> {
    let only_short = fleet.rooms().iter().filter_map(|(node, room)| {
        match fleet.misfits(ask, *node).as_slice() {
            [Misfit::Short(short)] => Some((*short, room)),
            _ => None,
        }
    });
    let (short, room) = only_short.max_by_key(|(short, room)| match short {
        Shortfall::Memory { free, .. } => (1, free.0, std::cmp::Reverse(room.node.id)),
        Shortfall::Cpu { free, .. } => (0, free.0, std::cmp::Reverse(room.node.id)),
    })?;
    let (service, node) = (ask.service, &room.node.name);
    match short {
        Shortfall::Memory { needed, free } if free >= LEAST_RESERVATION => Some((
            Cost::Edit,
            needed.saturating_sub(free).0,
            format!(
                "lower the memory reservation of {service} from {needed} to {free}: {node} has that"
            ),
        )),
        Shortfall::Cpu { needed, free } if free.0 > 0 => Some((
            Cost::Edit,
            0,
            format!(
                "lower the CPU reservation of {service} from {needed} to {free}: {node} has that"
            ),
        )),
        Shortfall::Memory { .. } | Shortfall::Cpu { .. } => None,
    }
}

fn add_node(fleet: &Fleet<'_>, ask: &Ask<'_>) -> (Cost, u64, String) {
    let Resources { memory, cpu } = ask.reserved();
    let home = ask
        .volumes
        .iter()
        .find_map(|(name, volume)| fleet.home(&volume.engine_name).map(|home| (name, home)));
    if let Some((volume, home)) = home {
        let (name, misfits) = (fleet.name(home), fleet.misfits(ask, home));
        let lacks = misfits.iter().find_map(|why| {
            let Misfit::Short(short) = why else { return None };
            Some(match short {
                Shortfall::Memory { .. } => "memory",
                Shortfall::Cpu { .. } => "CPUs",
            })
        });
        let binds = format!("volume `{volume}` binds {} to it", ask.service);
        let text = match (lacks, misfits.first()) {
            (Some(what), _) => format!("give {name} more {what}: {binds}"),
            (None, Some(why)) => format!("only {name} will do, for {binds}, but {why}"),
            (None, None) => format!("only {name} will do: {binds}"),
        };
        return (Cost::Machine, 0, text);
    }
    let labels: Vec<String> = ask
        .spec
        .placement
        .constraints
        .iter()
        .filter(|wanted| !fleet.rooms().values().any(|room| holds(wanted, room.node)))
        .map(|wanted| format!("`{wanted}`"))
        .collect();
    let cpus = if cpu.0 > 0 { format!(" and {cpu} CPUs") } else { String::new() };
    let met = if labels.is_empty() {
        String::new()
    } else {
        format!(" that meets {}", labels.join(" and "))
    };
    (Cost::Machine, 1, format!("add a node with at least {memory}{cpus} free{met}"))
}
