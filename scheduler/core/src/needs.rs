//! What agents see of memory -> what services need. What is seen stays in the leader's memory; only a
//! marked change of it enters the log, so that an idle cluster writes next to nothing: a service that
//! uses what it always used is written down each time it has been observed twice as long.

use std::collections::BTreeMap;

use model::{Bytes, ServiceName, StackName, Task, TaskId, Timestamp, task::MemorySeen};

use crate::cluster::{Cluster, LONG_ENOUGH_MS, Need, ServiceNeed, limits};

/// Nothing is written down before a service was observed that long: an hour, in milliseconds.
const FIRST_MS: u64 = 3_600_000;
/// Between two entries about one service: an hour, in milliseconds.
const SELDOM_MS: u64 = 3_600_000;
/// A lower peak takes the place of a higher one once the tasks that run now were observed that long by
/// themselves: a week, in milliseconds, which is the rhythm of most of what is seldom.
const FORGET_MS: u64 = 7 * 24 * 3_600_000;
/// A peak that differs by less than an eighth is the same.
const MARKED_PART: u64 = 8;

/// For how long services were observed, as far as this leader knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// For how long each task was observed when it was last asked.
    tasks: BTreeMap<TaskId, u64>,
    services: BTreeMap<(StackName, ServiceName), Gained>,
}

/// How much longer a service was observed since it was last written down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Gained {
    /// What was written down: when.
    since: Option<Timestamp>,
    millis: u64,
}

impl Needs {
    /// Takes in what was seen by now; answers what should be written down.
    pub fn pass(
        &mut self,
        cluster: &Cluster,
        seen: &BTreeMap<TaskId, MemorySeen>,
        now: Timestamp,
    ) -> Vec<ServiceNeed> {
        let mut known = std::mem::take(&mut self.services);
        let mut news = Vec::new();
        for (name, stack) in cluster.stacks().iter() {
            for (service, held) in stack.wanted() {
                let tasks: Vec<_> = seen_of(cluster, (name, service), seen).collect();
                let key = (name.clone(), service.clone());
                let since = held.memory.need.map(|need| need.at);
                let before = known.remove(&key).filter(|gained| gained.since == since);
                let mut gained = before.unwrap_or(Gained { since, millis: 0 });
                let more = tasks.iter().map(|(task, seen)| self.more(task.id, seen.observed_ms));
                gained.millis = gained.millis.saturating_add(more.max().unwrap_or_default());
                let merged = merged(held.memory.need, tasks.iter().map(|(_, seen)| **seen));
                if let Some(merged) = merged {
                    let written = held.memory.need.map_or(0, |need| need.observed_ms);
                    let by_all = written.saturating_add(gained.millis);
                    let observed_ms = merged.observed_ms.max(by_all);
                    let need = Need { at: now, observed_ms, ..merged };
                    if news.len() < limits::MAX_NEEDS && is_due(held.memory.need, &need) {
                        let Need { peak, usual, observed_ms, .. } = need;
                        let (stack, service) = key.clone();
                        news.push(ServiceNeed { stack, service, peak, usual, observed_ms });
                    }
                }
                self.services.insert(key, gained);
            }
        }
        self.tasks = seen.iter().map(|(task, seen)| (*task, seen.observed_ms)).collect();
        news
    }

    /// How much longer a task was observed since it was last asked. Of one that was not known nothing:
    /// the leader before may have counted it.
    fn more(&self, task: TaskId, observed_ms: u64) -> u64 {
        match self.tasks.get(&task) {
            // Its agent began anew.
            Some(before) if *before > observed_ms => observed_ms,
            Some(before) => observed_ms.saturating_sub(*before),
            None => 0,
        }
    }
}

/// The tasks of a service that are there to stay, with what was seen of them.
fn seen_of<'a>(
    cluster: &'a Cluster,
    (stack, service): (&StackName, &ServiceName),
    seen: &'a BTreeMap<TaskId, MemorySeen>,
) -> impl Iterator<Item = (&'a Task, &'a MemorySeen)> {
    let tasks = cluster.tasks_of_service(stack, service);
    let stay = |task: &&Task| !task.desired.is_leaving() && !task.status.state.is_over();
    tasks.filter(stay).filter_map(move |task| Some((task, seen.get(&task.id)?)))
}

/// What is written down together with what is seen now.
fn merged(held: Option<Need>, seen: impl Iterator<Item = MemorySeen>) -> Option<Need> {
    let (mut peak, mut usual, mut longest, mut any) = (Bytes::ZERO, Bytes::ZERO, 0, false);
    for seen in seen {
        any = true;
        peak = peak.max(seen.peak);
        usual = usual.max(seen.usual);
        longest = longest.max(seen.observed_ms);
    }
    let Some(held) = held else {
        let now = Need { at: Timestamp(0), peak, usual, observed_ms: longest };
        return any.then_some(now);
    };
    if any && longest < FORGET_MS {
        peak = peak.max(held.peak);
        usual = usual.max(held.usual);
    } else if !any {
        (peak, usual) = (held.peak, held.usual);
    }
    Some(Need { at: held.at, peak, usual, observed_ms: longest.max(held.observed_ms) })
}

/// What a service needs as far as is known: what is written down, and what is seen now.
pub(crate) fn known_need(
    cluster: &Cluster,
    of: (&StackName, &ServiceName),
    seen: &BTreeMap<TaskId, MemorySeen>,
) -> Option<Need> {
    let held = cluster.service(of.0, of.1).and_then(|service| service.memory.need);
    merged(held, seen_of(cluster, of, seen).map(|(_, seen)| *seen))
}

/// Whether it is markedly other than what is written down.
fn is_due(held: Option<Need>, now: &Need) -> bool {
    let Some(held) = held else { return now.observed_ms >= FIRST_MS };
    if now.at.millis_since(held.at) < SELDOM_MS {
        return false;
    }
    let differs = held.peak.0.abs_diff(now.peak.0).saturating_mul(MARKED_PART) > held.peak.0;
    let twice = now.observed_ms >= held.observed_ms.saturating_mul(2);
    let enough = held.observed_ms < LONG_ENOUGH_MS && now.observed_ms >= LONG_ENOUGH_MS;
    differs || (twice && now.observed_ms > held.observed_ms) || enough
}

#[cfg(test)]
mod tests;
