//! What it would take to be on one node: not the cheapest that helps, but all of it.

use model::{NodeId, spec::Port};

use super::{Change, Fix, for_one, gone_with_tasks, lower::lower_to_free, stop};
use crate::placement::{Ask, Fleet, Misfit, Room, filter::clash};

/// Steps beside those for host ports: more than there are kinds of rules.
const MAX_STEPS: usize = 16;

/// Everything it would take for the task to be on that node, in order: with all of it, it fits. Empty when
/// it fits already.
///
/// # Errors
///
/// The rule it still breaks where no change that is known of would do.
pub fn way_to(fleet: &Fleet<'_>, ask: &Ask<'_>, node: NodeId) -> Result<Vec<String>, Misfit> {
    let most = MAX_STEPS.saturating_add(ask.spec.ports.len());
    onward(fleet, ask, node, most).map_err(|mut why| {
        // On its way it looks at that node alone, and knows no other by name.
        if let Misfit::VolumeElsewhere { node, home, .. } = &mut why {
            *home = fleet.name(*node);
        }
        why
    })
}

fn onward(
    fleet: &Fleet<'_>,
    ask: &Ask<'_>,
    node: NodeId,
    left: usize,
) -> Result<Vec<String>, Misfit> {
    let misfits = fleet.misfits(ask, node);
    // What others have to stop for comes last, when all else is settled.
    let first = misfits.iter().find(|why| !gone_with_tasks(why)).or_else(|| misfits.first());
    let Some(why) = first else { return Ok(Vec::new()) };
    let stands = || why.clone();
    let left = left.checked_sub(1).ok_or_else(stands)?;
    let room = fleet.rooms().get(&node).ok_or_else(stands)?;
    let fix = if gone_with_tasks(why) {
        with_less(fleet, ask, room, &misfits)
    } else {
        for_one(fleet, ask, room, why, false)
    };
    let fix = fix.ok_or_else(stands)?;
    let rest = match &fix.change {
        Change::Node(changed) => {
            let room = room.on(changed);
            onward(&fleet.alone(room), ask, node, left)?
        }
        Change::Spec(spec) => onward(fleet, &Ask { spec, ..*ask }, node, left)?,
        Change::Ends(there, tasks) if *there == node => {
            let mut fleet = fleet.alone(room.clone());
            for task in tasks {
                fleet.take_away(*task, node);
            }
            onward(&fleet, ask, node, left)?
        }
        Change::Ends(..) | Change::Tried => return Err(stands()),
    };
    Ok(std::iter::once(fix.text).chain(rest).collect())
}

/// The next step where only others, and how much is wanted, stand against it. A port that is all, or whose holder
/// cannot be stopped alone, is left to its holder.
fn with_less(fleet: &Fleet<'_>, ask: &Ask<'_>, room: &Room<'_>, why: &[Misfit]) -> Option<Fix> {
    let port = why.iter().find(|why| matches!(why, Misfit::PortTaken { .. }));
    let leave = || for_one(fleet, ask, room, port?, false);
    match why {
        [Misfit::PortTaken { .. }] if taken_ports(ask, room) == 1 => leave(),
        _ => stop(fleet, ask, room, why).or_else(leave).or_else(|| lower_to_free(ask, room)),
    }
}

/// How many of its host ports others in the room have.
fn taken_ports(ask: &Ask<'_>, room: &Room<'_>) -> usize {
    let others = || room.tasks.values().map(|(other, _)| other);
    let others = || others().filter(|other| !(other.same_service(ask) && other.slot == ask.slot));
    let is_taken = |port: &&Port| {
        others().any(|other| other.spec.ports.iter().any(|taken| clash(port, taken)))
    };
    ask.spec.ports.iter().filter(is_taken).count()
}
