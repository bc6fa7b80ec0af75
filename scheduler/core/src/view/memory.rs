//! What is said of memory that no file asks for.

use model::{ServiceName, ServiceSpec, StackName, Task, spec::MemoryBasis, view::MemorySource};

use crate::cluster::{Cluster, MARGIN_PERCENT, Memory, with_margin};

/// Where the memory came from that is reserved for a task.
pub(super) fn source(cluster: &Cluster, task: &Task) -> MemorySource {
    known(cluster, (&task.stack, &task.service)).source(&task.spec.resources)
}

/// What is known of the service besides its file.
pub(super) fn known(cluster: &Cluster, (stack, service): (&StackName, &ServiceName)) -> Memory {
    cluster.service(stack, service).map(|held| held.memory).unwrap_or_default()
}

/// What is given to a service that says nothing about memory, and why that much; nothing of others.
pub(super) fn assumption(
    cluster: &Cluster,
    of: (&StackName, &ServiceName),
    spec: &ServiceSpec,
) -> Option<String> {
    let ask = &spec.resources;
    if ask.basis != MemoryBasis::Assumed {
        return None;
    }
    let (name, reserved, limit) = (of.1, ask.reserved.memory, ask.memory_limit);
    let memory = known(cluster, of);
    let Some(seen) = memory.seen() else {
        let both = if limit == reserved {
            "are assumed, as reservation and as limit".to_owned()
        } else {
            format!("are assumed, its limit is {limit}")
        };
        return Some(format!("{name} says nothing about memory: {reserved} {both}"));
    };
    let killed = memory.kills.filter(|kills| kills.limit == seen);
    let why = match (killed, memory.need) {
        (Some(kills), _) => {
            let times =
                if kills.count == 1 { "once".to_owned() } else { format!("{} times", kills.count) };
            format!("it was killed {times} at a limit of up to {seen}")
        }
        (None, Some(need)) => {
            format!("its observed peak of {seen} over {}", period(need.observed_ms))
        }
        (None, None) => format!("its observed peak of {seen}"),
    };
    let by = if with_margin(seen) == reserved {
        format!("{why} and {MARGIN_PERCENT} %")
    } else {
        format!("{why}, from which it does not differ enough to be changed")
    };
    Some(format!(
        "{name} says nothing about memory: {reserved} are reserved ({by}), its limit is {limit}"
    ))
}

/// A time of observation in words; what is begun does not count.
pub(super) fn period(millis: u64) -> String {
    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let of = |unit: u64| millis.checked_div(unit).unwrap_or_default();
    match millis {
        _ if millis >= 2 * DAY => format!("{} days", of(DAY)),
        _ if millis >= 2 * HOUR => format!("{} h", of(HOUR)),
        _ if millis >= 2 * MINUTE => format!("{} min", of(MINUTE)),
        _ => format!("{} s", of(1_000)),
    }
}
