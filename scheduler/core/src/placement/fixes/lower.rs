//! A smaller reservation.

use std::cmp::Reverse;

use model::{Bytes, MilliCpu, NodeId, Resources, ServiceSpec, Shortfall, TaskId};

use super::{Change, Cost, Fix, proof::Stuck};
use crate::placement::{Ask, Fleet, Misfit, Room};

/// A reservation below this is no honest proposal.
const LEAST_RESERVATION: Bytes = Bytes::mib(16);
/// Replicas without a place that a lower reservation is sought for, together.
const MAX_BESIDE: usize = 100;

/// The largest reservation with which it would fit somewhere, and so would the others of its service
/// that have no place.
pub(super) fn lower_reservation(stuck: &Stuck<'_, '_>) -> Option<Fix> {
    let (fleet, ask) = (stuck.fleet, stuck.ask);
    // All replicas change with the file: what helps one alone would be no help.
    let beside = stuck.beside().take(MAX_BESIDE).count();
    let together = u32::try_from(beside).unwrap_or(u32::MAX).saturating_add(1);
    let asked = ask.reserved();
    let only_short = fleet
        .rooms()
        .iter()
        .filter(|(node, _)| matches!(fleet.misfits(ask, **node).as_slice(), [Misfit::Short(_)]));
    let free: Vec<(&Room<'_>, Resources)> =
        only_short.map(|(_, room)| (room, room.free_for(ask.task))).collect();
    let (widest, most) =
        free.iter().max_by_key(|(room, free)| (free.memory, free.cpu, Reverse(room.node.id)))?;
    let share = |of: fn(&Resources) -> u64| {
        let amounts: Vec<u64> = free.iter().map(|(_, free)| of(free)).collect();
        largest_share(&amounts, together)
    };
    let lowered = if together == 1 {
        Resources { memory: most.memory.min(asked.memory), cpu: most.cpu.min(asked.cpu) }
    } else {
        let memory = Bytes(share(|free| free.memory.0)).min(asked.memory);
        Resources { memory, cpu: MilliCpu(share(|free| free.cpu.0)).min(asked.cpu) }
    };
    let memory =
        if lowered.memory < asked.memory { lowered.memory.rounded_down() } else { lowered.memory };
    let lowered = Resources { memory, ..lowered };
    let what = in_words(ask, lowered);
    let too_little = lowered.memory < asked.memory && lowered.memory < LEAST_RESERVATION
        || lowered.cpu < asked.cpu && lowered.cpu == MilliCpu::ZERO;
    let mut spec = ask.spec.clone();
    spec.resources.reserved = lowered;
    if lowered == asked || too_little || !all_fit(fleet, ask, &spec, together) {
        return None;
    }
    let fits = match together {
        1 => format!("{} has that", widest.node.name),
        all => format!("all {all} without a place fit then"),
    };
    let text = format!("{what}: {fits}");
    let order = asked.memory.saturating_sub(lowered.memory).0;
    Some(Fix { cost: Cost::Edit, order, text, change: Change::Spec(Box::new(spec)) })
}

/// What is lowered, and to how much.
fn in_words(ask: &Ask<'_>, lowered: Resources) -> String {
    let (asked, service) = (ask.reserved(), ask.service);
    let mut what = Vec::new();
    if lowered.memory < asked.memory {
        let (from, to) = (asked.memory, lowered.memory);
        what.push(format!("memory reservation of {service} from {from} to {to}"));
    }
    if lowered.cpu < asked.cpu {
        what.push(format!("CPU reservation of {service} from {} to {}", asked.cpu, lowered.cpu));
    }
    format!("lower the {}", what.join(" and the "))
}

/// A reservation that the node has free, where stopping others is not enough.
pub(super) fn lower_to_free(ask: &Ask<'_>, room: &Room<'_>) -> Option<Fix> {
    let (asked, free) = (ask.reserved(), room.free_for(ask.task));
    let memory = asked.memory.min(free.memory.rounded_down());
    let lowered = Resources { memory, cpu: asked.cpu.min(free.cpu) };
    if lowered == asked || memory < LEAST_RESERVATION.min(asked.memory) {
        return None;
    }
    let mut spec = ask.spec.clone();
    spec.resources.reserved = lowered;
    let (text, change) = (in_words(ask, lowered), Change::Spec(Box::new(spec)));
    Some(Fix { cost: Cost::Edit, order: 0, text, change })
}

/// The largest reservation of memory with which it would fit beside those of its service that run on a node, as they
/// shrink with it: an even share of what they have and what is free there. Whether their successors find their places
/// has to be tried.
pub(super) fn share_evenly(stuck: &Stuck<'_, '_>) -> Option<Fix> {
    let (fleet, ask) = (stuck.fleet, stuck.ask);
    if stuck.beside().next().is_some() {
        return None;
    }
    let asked = ask.reserved().memory;
    let share = |(node, room): (&NodeId, &Room<'_>)| {
        let misfits = fleet.misfits(ask, *node);
        let [Misfit::Short(Shortfall::Memory { free, .. })] = misfits.as_slice() else {
            return None;
        };
        let alike = room.tasks.values().filter(|(other, desired)| {
            other.same_service(ask) && !desired.is_leaving() && other.reserved().memory == asked
        });
        let there = u64::try_from(alike.count()).ok().filter(|there| *there > 0)?;
        let (all, sharing) =
            (there.checked_mul(asked.0)?.checked_add(free.0)?, there.checked_add(1)?);
        Some((Bytes(all.checked_div(sharing)?).rounded_down(), Reverse(*node), sharing))
    };
    let (memory, Reverse(node), sharing) = fleet.rooms().iter().filter_map(share).max()?;
    if memory >= asked || memory < LEAST_RESERVATION {
        return None;
    }
    let mut spec = ask.spec.clone();
    spec.resources.reserved.memory = memory;
    let (service, name) = (ask.service, fleet.name(node));
    let text = format!(
        "lower the memory reservation of {service} from {asked} to {memory}: {name} has that for all {sharing} there"
    );
    let order = asked.saturating_sub(memory).0;
    Some(Fix { cost: Cost::Edit, order, text, change: Change::Spec(Box::new(spec)) })
}

/// The largest amount of which so many can be taken from these, each from one.
fn largest_share(amounts: &[u64], count: u32) -> u64 {
    let parts = amounts
        .iter()
        .flat_map(|amount| (1..=u64::from(count)).filter_map(move |part| amount.checked_div(part)));
    let mut shares: Vec<u64> = parts.collect();
    shares.sort_unstable();
    let enough = |share: &u64| {
        let taken = amounts.iter().map(|amount| amount.checked_div(*share).unwrap_or(u64::MAX));
        taken.fold(0, u64::saturating_add) >= u64::from(count)
    };
    // The larger the share, the fewer there are of it.
    let good = shares.partition_point(enough);
    good.checked_sub(1).and_then(|last| shares.get(last)).copied().unwrap_or(0)
}

/// Whether so many replicas of the service fit side by side when it is like this.
fn all_fit(fleet: &Fleet<'_>, ask: &Ask<'_>, spec: &ServiceSpec, count: u32) -> bool {
    let mut fleet = fleet.clone();
    (0..count).all(|number| {
        // Nobody has these ids: the largest there are.
        let task = TaskId::new(u64::MAX.saturating_sub(u64::from(number)));
        let task = if number == 0 { ask.task } else { task };
        let slot = if number == 0 { ask.slot } else { u32::MAX.saturating_sub(number) };
        let one = Ask { task, slot, spec, ..*ask };
        let place = fleet.rooms().keys().copied().find(|node| fleet.fits(&one, *node).is_ok());
        place.map(|node| fleet.put(one, node)).is_some()
    })
}
