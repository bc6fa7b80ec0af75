//! Heartbeat ages -> which nodes are there. Heartbeats stay in the leader's memory; only what they
//! change enters the log.

use std::collections::BTreeMap;

use model::{
    Liveness, NodeId, Timestamp,
    lease::Uptime,
    planted::{Bug, is_planted},
};

use crate::{cluster::Cluster, lease::Leases, waits::Waits};

/// After how long without a heartbeat a node counts as what, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// How often an agent sends one.
    pub heartbeat: u64,
    /// From here on nothing new is placed there.
    pub unreachable: u64,
    /// From here on movable tasks are replaced.
    pub down: u64,
}

impl Thresholds {
    /// Three missed heartbeats raise doubt, eight end it.
    pub const DEFAULT: Self = Self { heartbeat: 1_000, unreachable: 3_000, down: 8_000 };
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// When the leader last heard of each node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeats {
    thresholds: Thresholds,
    /// Ages of nodes that were never heard of begin here.
    since: Timestamp,
    seen: BTreeMap<NodeId, Timestamp>,
    /// The leases it has granted, which begin afresh with it as the ages do.
    pub leases: Leases,
    /// How long it waits for what, which begins afresh as well.
    pub waits: Waits,
}

impl Heartbeats {
    /// A leader that begins now: every age begins with it, or it would declare healthy nodes dead
    /// for silence that was its own.
    pub const fn new(now: Timestamp) -> Self {
        Self {
            thresholds: Thresholds::DEFAULT,
            since: now,
            seen: BTreeMap::new(),
            leases: Leases::new(Uptime(0)),
            waits: Waits::imagined(),
        }
    }

    /// The same that began to lead at this time of its clock for leases.
    #[must_use]
    pub fn leading_since(self, now: Uptime) -> Self {
        Self { leases: Leases::new(now), ..self }
    }

    /// The same with waits that are measured.
    #[must_use]
    pub fn waiting(self, waits: Waits) -> Self {
        Self { waits, ..self }
    }

    /// The same with other thresholds.
    #[must_use]
    pub fn with_thresholds(self, thresholds: Thresholds) -> Self {
        Self { thresholds, ..self }
    }

    /// The thresholds in force.
    pub const fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// A heartbeat arrived.
    pub fn beat(&mut self, node: NodeId, now: Timestamp) {
        self.seen.insert(node, now);
    }

    /// When the node was last heard of under this leader.
    pub fn last_seen(&self, node: NodeId) -> Option<Timestamp> {
        self.seen.get(&node).copied()
    }

    /// The clock that says when was set, and ages are no older for it.
    #[cfg(test)]
    pub(crate) fn step(&mut self, millis: i64) {
        let stepped = |at: Timestamp| Timestamp(at.0.saturating_add_signed(millis));
        self.since = stepped(self.since);
        self.seen.values_mut().for_each(|at| *at = stepped(*at));
    }

    /// What the node is by its age. Silence since the leader began proves nothing good: a node that
    /// was down stays so until it is heard.
    fn judge(&self, node: NodeId, held: Liveness, now: Timestamp) -> Liveness {
        let age = now.millis_since(self.last_seen(node).unwrap_or(self.since));
        let one_missed = is_planted(Bug::DownAtOneMiss) && age >= self.thresholds.unreachable;
        let by_age = if age >= self.thresholds.down || one_missed {
            Liveness::Down
        } else if age >= self.thresholds.unreachable {
            Liveness::Unreachable
        } else {
            Liveness::Ready
        };
        if self.seen.contains_key(&node) { by_age } else { by_age.max(held) }
    }
}

/// The nodes that are no longer what the cluster holds them to be, and when to look again.
pub fn transitions(
    cluster: &Cluster,
    beats: &Heartbeats,
    now: Timestamp,
) -> (Vec<(NodeId, Liveness)>, Option<Timestamp>) {
    let mut changed = Vec::new();
    let mut wake: Option<Timestamp> = None;
    for node in cluster.nodes().values() {
        let is = beats.judge(node.id, node.liveness, now);
        if is != node.liveness {
            changed.push((node.id, is));
        }
        let next = match is {
            Liveness::Ready => beats.thresholds.unreachable,
            Liveness::Unreachable => beats.thresholds.down,
            Liveness::Down => continue,
        };
        let at = beats.last_seen(node.id).unwrap_or(beats.since).plus_millis(next);
        wake = Some(wake.map_or(at, |wake| wake.min(at)));
    }
    (changed, wake)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `held` at the start of a leader at 0, a heartbeat at `beat`, judged at `now`.
    #[track_caller]
    fn check(held: Liveness, beat: Option<u64>, now: u64, expected: Liveness) {
        let mut beats = Heartbeats::new(Timestamp(0));
        if let Some(beat) = beat {
            beats.beat(NodeId::new(1), Timestamp(beat));
        }
        assert_eq!(beats.judge(NodeId::new(1), held, Timestamp(now)), expected);
    }

    #[test]
    fn a_node_is_judged_by_the_age_of_its_last_heartbeat() {
        use Liveness::{Down, Ready, Unreachable};
        check(Ready, Some(0), 2_999, Ready);
        check(Ready, Some(0), 3_000, Unreachable);
        check(Ready, Some(0), 7_999, Unreachable);
        check(Unreachable, Some(0), 8_000, Down);
        check(Down, Some(60_000), 60_001, Ready);
    }

    #[test]
    fn a_new_leader_gives_every_node_its_full_time_but_believes_none_is_back() {
        use Liveness::{Down, Ready, Unreachable};
        check(Ready, None, 2_999, Ready);
        check(Ready, None, 8_000, Down);
        check(Down, None, 1, Down);
        check(Unreachable, None, 1, Unreachable);
        check(Unreachable, None, 8_000, Down);
    }
}
