//! `advise`: what services reserve and may use, beside what they were seen to use.

use std::collections::BTreeMap;

use model::{
    Bytes, ServiceName, StackName, TaskId,
    spec::ResourceAsk,
    task::MemorySeen,
    view::{AdviceRow, MemorySource},
};

use crate::{
    cluster::{
        Cluster, Kills, LONG_ENOUGH_MS, MARGIN_PERCENT, Memory, Need, Rejection, Service,
        is_worth_changing, with_margin,
    },
    needs::known_need,
    view::memory::period,
};

/// A peak nearer to the limit than a tenth of it is too near.
const NEAR_PART: u64 = 10;

/// The services of all stacks, of one stack, or one service, by name.
pub fn advise(
    cluster: &Cluster,
    seen: &BTreeMap<TaskId, MemorySeen>,
    stack: Option<&StackName>,
    service: Option<&ServiceName>,
) -> Result<Vec<AdviceRow>, Rejection> {
    if let Some(name) = stack {
        let held = cluster.stack(name).ok_or_else(|| Rejection::UnknownStack(name.clone()))?;
        if let Some(service) = service.filter(|service| !held.services().contains_key(*service)) {
            let (stack, service) = (name.clone(), service.clone());
            return Err(Rejection::UnknownService { stack, service });
        }
    }
    let stacks = cluster.stacks().iter().filter(|(name, _)| stack.is_none_or(|one| one == *name));
    let services = stacks.flat_map(|(name, held)| held.wanted().map(move |held| (name, held)));
    let asked = services.filter(|(_, (name, _))| service.is_none_or(|one| one == *name));
    let rows = asked.map(|(stack, (name, held))| {
        row((stack, name), held, known_need(cluster, (stack, name), seen))
    });
    Ok(rows.collect())
}

fn row((stack, name): (&StackName, &ServiceName), held: &Service, need: Option<Need>) -> AdviceRow {
    let ask = &held.spec.resources;
    let memory = Memory { need, ..held.memory };
    let observed_ms = need.map_or(0, |need| need.observed_ms);
    let advice = advice(&memory, ask);
    AdviceRow {
        stack: stack.to_string(),
        service: name.to_string(),
        replicas: held.spec.replicas,
        memory_reservation: ask.reserved.memory,
        memory_basis: held.memory.source(ask),
        memory_limit: ask.memory_limit,
        observed_peak: need.map(|need| need.peak),
        observed_usual: need.map(|need| need.usual),
        observed_seconds: observed_ms / 1_000,
        needed_seconds: LONG_ENOUGH_MS.saturating_sub(observed_ms).div_ceil(1_000),
        oom_kills: memory.kills.map_or(0, |kills| kills.count),
        advised_reservation: advice.as_ref().and_then(|advice| advice.reservation),
        advised_limit: advice.as_ref().and_then(|advice| advice.limit),
        advice: advice.map(|advice| advice.why),
    }
}

/// What should be written, and why. One of the two is there.
struct Advice {
    reservation: Option<Bytes>,
    limit: Option<Bytes>,
    why: String,
}

fn advice(memory: &Memory, ask: &ResourceAsk) -> Option<Advice> {
    let seen = memory.seen()?;
    let source = memory.source(ask);
    let (reserved, limit) = (ask.reserved.memory, ask.memory_limit);
    let wanted = with_margin(seen);
    let changes = is_worth_changing(reserved, seen);
    let killed = memory.kills.filter(|kills| kills.limit >= limit);
    let near = seen.0.saturating_add(limit.0 / NEAR_PART) > limit.0;
    let raised = match killed {
        Some(kills) => Some(Bytes(kills.limit.0.saturating_mul(2)).max(wanted)),
        None => near.then(|| with_margin(wanted)),
    };
    let raised = raised.or_else(|| changes.then_some(wanted)).filter(|raised| *raised > limit);
    if !changes && raised.is_none() {
        return None;
    }
    // A limit alone is a reservation as well, and a reservation alone a limit: then both are written.
    let reservation = changes || source == MemorySource::Limit;
    let no_limit_of_its_own = source != MemorySource::Limit && limit == reserved;
    let both = reservation && (!source.is_declared() || no_limit_of_its_own);
    Some(Advice {
        reservation: reservation.then_some(wanted),
        limit: raised.or_else(|| both.then_some(limit)),
        why: why(memory, (source, reserved, limit), (killed, changes, seen)),
    })
}

fn why(
    memory: &Memory,
    (source, reserved, limit): (MemorySource, Bytes, Bytes),
    (killed, changes, seen): (Option<Kills>, bool, Bytes),
) -> String {
    let observed = memory.need.map_or(0, |need| need.observed_ms);
    let peak = match memory.need {
        Some(need) if need.peak == seen => {
            format!("its peak over {} was {seen}", period(observed))
        }
        _ => format!("it needs more than {seen}"),
    };
    if let Some(kills) = killed {
        let times =
            if kills.count == 1 { "once".to_owned() } else { format!("{} times", kills.count) };
        return format!("was killed {times} for want of memory: its limit of {limit} is too low");
    }
    if !changes {
        return format!("{peak}, next to its limit of {limit}");
    }
    let margin = format!("with {MARGIN_PERCENT} % that is {}", with_margin(seen));
    match source {
        MemorySource::Assumed => {
            format!("says nothing about memory, {reserved} are assumed; {peak}, {margin}")
        }
        MemorySource::Observed => {
            format!("says nothing about memory, {reserved} are reserved by now; {peak}, {margin}")
        }
        MemorySource::Limit if seen <= reserved => {
            format!("reserves all of its limit of {limit}; {peak}, {margin}")
        }
        MemorySource::Reservation if seen <= reserved => {
            format!("reserves {reserved} that others could use; {peak}, {margin}")
        }
        MemorySource::Reservation | MemorySource::Limit => {
            format!(
                "uses more than the {reserved} it reserves: what is beside it may come short; {peak}, {margin}"
            )
        }
    }
}

#[cfg(test)]
mod tests;
