//! What the engine shows, as ours.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerInspectResponse, ContainerState as EngineState, ContainerStateStatusEnum as Status,
    ContainerStatsResponse, EventMessage, Health as EngineHealth, HealthStatusEnum, Mount,
    MountType,
};
use model::{Bytes, Epoch, Health, TaskId, Timestamp};

use super::{
    LABEL_CLUSTER, LABEL_EPOCH, LABEL_LEASE, LABEL_NODE, LABEL_SERVICE, LABEL_SLOT, LABEL_STACK,
    LABEL_TASK, text::time,
};
use crate::runtime::{Container, ContainerId, ContainerState, EngineEvent, Happening, Place};

/// How much of a failed probe's output is kept: enough for its last words.
const PROBE_CHARS: usize = 200;
/// Signals that ask a process to reload or to go on rather than to end: HUP, USR1, USR2, CONT,
/// WINCH.
const NO_END: [&str; 5] = ["1", "10", "12", "18", "28"];

/// A container of `cluster`; `None` when it is somebody else's or its labels are damaged: what is
/// not surely ours is never touched.
pub(super) fn container(cluster: &str, shown: ContainerInspectResponse) -> Option<Container> {
    let labels = shown.config.and_then(|config| config.labels)?;
    let label = |key: &str| labels.get(key).map(String::as_str);
    if label(LABEL_CLUSTER)? != cluster {
        return None;
    }
    let mounts = shown.host_config.and_then(|host| host.mounts).unwrap_or_default();
    let state = shown.state?;
    let health = state.health.as_ref();
    Some(Container {
        id: ContainerId(shown.id?),
        task: label(LABEL_TASK)?.parse().ok()?,
        node: label(LABEL_NODE).and_then(|node| node.parse().ok()),
        place: Place {
            stack: label(LABEL_STACK)?.to_owned(),
            service: label(LABEL_SERVICE)?.to_owned(),
            slot: label(LABEL_SLOT)?.parse().ok()?,
        },
        epoch: Epoch(label(LABEL_EPOCH)?.parse().ok()?),
        state: phase(state.status),
        health: health.map_or(Health::None, verdict),
        probe: health.and_then(last_words),
        started_at: state.started_at.as_deref().and_then(time),
        finished_at: state.finished_at.as_deref().and_then(time),
        exit_code: exit_code(&state),
        oom_killed: state.oom_killed.unwrap_or_default(),
        // One that cannot be read is no reason to let it run.
        leased: label(LABEL_LEASE).map(|grace| grace.parse().unwrap_or_default()),
        volumes: mounted(&mounts, MountType::VOLUME).collect(),
        binds: mounted(&mounts, MountType::BIND).map(|(path, rw)| (path.into(), rw)).collect(),
    })
}

/// What of one kind was asked to be mounted, and whether it can be written to through any of its
/// mounts. Asked, because engines in a virtual machine show paths of that machine as mounted.
fn mounted(mounts: &[Mount], kind: MountType) -> impl Iterator<Item = (String, bool)> {
    let mut found = BTreeMap::new();
    for mount in mounts.iter().filter(|mount| mount.typ == Some(kind)) {
        let Some(source) = mount.source.clone().filter(|source| !source.is_empty()) else {
            continue;
        };
        *found.entry(source).or_default() |= mount.read_only != Some(true);
    }
    found.into_iter()
}

fn phase(status: Option<Status>) -> ContainerState {
    match status {
        Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING) => {
            ContainerState::Running
        }
        Some(Status::EXITED | Status::DEAD) => ContainerState::Exited,
        Some(Status::REMOVING) => ContainerState::Leaving,
        Some(Status::CREATED | Status::EMPTY) | None => ContainerState::Created,
    }
}

/// Whether it does not run, as far as the engine knows.
pub(super) fn is_still(status: Option<Status>) -> bool {
    matches!(phase(status), ContainerState::Created | ContainerState::Exited)
}

fn exit_code(state: &EngineState) -> Option<i64> {
    matches!(phase(state.status), ContainerState::Exited).then_some(state.exit_code).flatten()
}

fn verdict(health: &EngineHealth) -> Health {
    match health.status {
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => Health::None,
    }
}

fn last_words(health: &EngineHealth) -> Option<String> {
    if verdict(health) != Health::Unhealthy {
        return None;
    }
    let output = health.log.as_ref()?.last()?.output.as_deref()?;
    // It becomes a part of one sentence.
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let kept: String = lines.join(" / ").chars().take(PROBE_CHARS).collect();
    (!kept.is_empty()).then_some(kept)
}

/// An event of a container of ours; `None` when it cannot be told whose it is.
pub(super) fn event(message: EventMessage) -> Option<EngineEvent> {
    let actor = message.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    let task: TaskId = attributes.get(LABEL_TASK)?.parse().ok()?;
    let nanos = u64::try_from(message.time_nano?).ok()?;
    let what = happening(message.action.as_deref()?, &attributes);
    let at = Timestamp(nanos / 1_000_000);
    Some(EngineEvent::Container { id: ContainerId(actor.id?), task, what, at })
}

fn happening(action: &str, attributes: &HashMap<String, String>) -> Happening {
    match action {
        "die" => Happening::Died,
        "oom" => Happening::OutOfMemory,
        "kill" => match attributes.get("signal") {
            Some(signal) if NO_END.contains(&signal.as_str()) => Happening::Changed,
            _ => Happening::Killed,
        },
        _ => Happening::Changed,
    }
}

/// Usage without inactive page cache, as `docker stats` counts it; control groups v2 and v1 name it
/// differently.
pub(super) fn memory_used(stats: ContainerStatsResponse) -> Option<Bytes> {
    let memory = stats.memory_stats?;
    let counters = memory.stats.unwrap_or_default();
    let cache = counters.get("total_inactive_file").or_else(|| counters.get("inactive_file"));
    Some(Bytes(memory.usage?).saturating_sub(Bytes(cache.copied().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerMemoryStats, HealthcheckResult};

    use super::*;

    fn labels() -> HashMap<String, String> {
        [
            (LABEL_CLUSTER, "c1"),
            (LABEL_TASK, "t7"),
            (LABEL_STACK, "shop"),
            (LABEL_SERVICE, "web"),
            (LABEL_SLOT, "1"),
            (LABEL_EPOCH, "2"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    fn shown(labels: HashMap<String, String>) -> ContainerInspectResponse {
        ContainerInspectResponse {
            id: Some("abc".to_owned()),
            state: Some(EngineState { status: Some(Status::RUNNING), ..Default::default() }),
            config: Some(ContainerConfig { labels: Some(labels), ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn the_last_words_of_a_probe_are_one_line() {
        let said = |status, output: &str| {
            let result =
                HealthcheckResult { output: Some(output.to_owned()), ..Default::default() };
            let log = Some(vec![result]);
            last_words(&EngineHealth { status: Some(status), log, ..Default::default() })
        };
        let words = "wget: server returned error: HTTP/1.1 500\r\n\n  error getting response\n";
        let one = "wget: server returned error: HTTP/1.1 500 / error getting response";
        assert_eq!(said(HealthStatusEnum::UNHEALTHY, words).as_deref(), Some(one));
        assert_eq!(said(HealthStatusEnum::UNHEALTHY, " \n"), None);
        assert_eq!(said(HealthStatusEnum::HEALTHY, words), None);
        let long = said(HealthStatusEnum::UNHEALTHY, &"x\n".repeat(PROBE_CHARS));
        assert_eq!(long.map(|kept| kept.chars().count()), Some(PROBE_CHARS));
    }

    #[test]
    fn a_container_is_ours_only_with_every_label() {
        let ours = container("c1", shown(labels())).expect("ours");
        assert_eq!((ours.task, ours.epoch), (TaskId::new(7), Epoch(2)));
        assert_eq!(container("c2", shown(labels())), None, "another cluster's");
        for key in labels().into_keys() {
            let mut damaged = labels();
            damaged.insert(key.clone(), "?".to_owned());
            if ![LABEL_STACK, LABEL_SERVICE].contains(&key.as_str()) {
                assert_eq!(container("c1", shown(damaged.clone())), None, "{key} is damaged");
            }
            damaged.remove(&key);
            assert_eq!(container("c1", shown(damaged)), None, "{key} is missing");
        }
    }

    #[test]
    fn a_signal_that_asks_to_reload_is_no_kill() {
        let signal = |number: &str| [("signal".to_owned(), number.to_owned())].into();
        for (number, what) in
            [("9", Happening::Killed), ("15", Happening::Killed), ("1", Happening::Changed)]
        {
            assert_eq!(happening("kill", &signal(number)), what, "signal {number}");
        }
    }

    #[test]
    fn page_cache_that_can_be_dropped_is_not_memory_in_use() {
        for (counter, used) in [("total_inactive_file", 60), ("inactive_file", 60), ("rss", 100)] {
            let stats = Some([(counter.to_owned(), 40)].into());
            let memory = ContainerMemoryStats { usage: Some(100), stats, ..Default::default() };
            let answer =
                ContainerStatsResponse { memory_stats: Some(memory), ..Default::default() };
            assert_eq!(memory_used(answer), Some(Bytes(used)), "{counter}");
        }
    }
}
