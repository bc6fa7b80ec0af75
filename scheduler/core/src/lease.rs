//! Leases of strict singletons, as the leader sees them: who may have one, and when the last one is
//! surely over.
//!
//! A move of a strict singleton is safe because of five things together. (1) The agent counts a lease
//! from when it sent the renewal; the leader waits from when it answered, or began to lead. (2) A leader
//! answers only after a majority followed it in a round that began after the renewal had arrived, so none
//! is granted in another leader's name. (3) No lease is granted for a node that is down in the log.
//! (4) A task is given up for one spell of its node being down, named in the entry, and the log refuses it
//! after that spell. (5) A task that was given up never gets a lease again.

use std::collections::BTreeMap;

use model::{
    Desired, Liveness, NodeId, Task, TaskId, TaskState, Timestamp,
    lease::{Uptime, fence_ms},
};

use crate::cluster::Cluster;

/// The leases a leader has granted, by its own clock, which counts sleep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leases {
    /// When it began to lead: the leader before may have granted one until then.
    since: Uptime,
    now: Uptime,
    answered: BTreeMap<NodeId, Uptime>,
}

impl Leases {
    /// A leader that begins now and knows nothing of those before it.
    pub const fn new(now: Uptime) -> Self {
        Self { since: now, now, answered: BTreeMap::new() }
    }

    /// It is later now.
    pub fn pass(&mut self, now: Uptime) {
        self.now = self.now.max(now);
    }

    /// A renewal of the node is about to be answered. To be noted before the cluster is asked
    /// ([`grant`]): whoever decides afterwards that the node's last lease is over has to know of it.
    pub fn answer(&mut self, node: NodeId, now: Uptime) {
        self.pass(now);
        self.answered.insert(node, self.now);
    }

    /// How long it takes until the last lease of a task on that node is surely over and its container
    /// has stopped, in milliseconds; `None` when that is so.
    pub fn left(&self, node: NodeId, stop_grace_ms: u64) -> Option<u64> {
        let answered = self.answered.get(&node).copied().unwrap_or(self.since);
        let waited = self.now.millis_since(answered.max(self.since));
        let left = fence_ms(stop_grace_ms).saturating_sub(waited);
        (left > 0).then_some(left)
    }
}

/// The tasks of that node that get a lease now: those that are to run and were not given up, while the
/// node is not down in the log.
pub fn grant(cluster: &Cluster, node: NodeId) -> Vec<TaskId> {
    let there = cluster.node(node).is_some_and(|node| node.liveness != Liveness::Down);
    let may_run = |task: &&Task| {
        let lost = task.desired != Desired::Run || task.status.state == TaskState::Lost;
        task.spec.strict_singleton && !lost && !task.status.state.is_over()
    };
    cluster.tasks_on(node).filter(|_| there).filter(may_run).map(|task| task.id).collect()
}

/// Since when the node is down in the log, when no strict singleton can run there any more: all their
/// leases are over, and while it stays down none is granted.
pub fn all_over(cluster: &Cluster, node: NodeId, leases: &Leases) -> Option<Timestamp> {
    let node = cluster.node(node).filter(|node| node.liveness == Liveness::Down)?;
    let mut strict = cluster.tasks_on(node.id).filter(|task| task.spec.strict_singleton);
    let over = |task: &Task| leases.left(node.id, task.spec.stop_grace_ms).is_none();
    strict.all(over).then_some(node.since)
}

#[cfg(test)]
mod tests {
    use model::lease::{LEASE_MARGIN_MS, LEASE_MS};
    use proptest::prelude::*;

    use super::*;

    const NODE: NodeId = NodeId::new(1);
    const GRACE: u64 = 10_000;
    const WAIT: u64 = LEASE_MS + GRACE + LEASE_MARGIN_MS;

    /// A leader since `since` that answered at `answered`, asked at `now`.
    #[track_caller]
    fn check(since: u64, answered: Option<u64>, now: u64, expected: Option<u64>) {
        let mut leases = Leases::new(Uptime(since));
        if let Some(answered) = answered {
            leases.answer(NODE, Uptime(answered));
        }
        leases.pass(Uptime(now));
        assert_eq!(leases.left(NODE, GRACE), expected);
    }

    #[test]
    fn a_lease_is_over_when_it_its_grace_and_the_margin_have_passed_since_the_last_answer() {
        check(0, Some(100_000), 100_000, Some(WAIT));
        check(0, Some(100_000), 100_000 + WAIT - 1, Some(1));
        check(0, Some(100_000), 100_000 + WAIT, None);
    }

    #[test]
    fn a_new_leader_waits_in_full_for_whatever_was_granted_before_it() {
        check(50_000, None, 50_000, Some(WAIT));
        check(50_000, None, 50_000 + WAIT, None);
    }

    #[test]
    fn a_clock_that_is_read_late_makes_no_wait_shorter() {
        let mut leases = Leases::new(Uptime(10));
        leases.pass(Uptime(1_000));
        leases.answer(NODE, Uptime(500));
        assert_eq!(leases.left(NODE, GRACE), Some(WAIT), "it was answered when it was 1 s already");
    }

    proptest! {
        /// Agents and leaders with clocks of their own: whatever was sent, answered and when leaders
        /// changed, an agent has stopped by true time when the leader says that the lease is over.
        #[test]
        fn a_lease_is_over_for_its_agent_before_it_is_for_the_leader(
            renewals in prop::collection::vec((0_u64..3_000, 0_u64..3_000), 1..20),
            deposed_after in 0_u64..40_000,
            offset in 0_u64..1_000_000,
            asked in 0_u64..120_000,
        ) {
            let mut at = 0;
            let mut leases = Leases::new(Uptime(offset));
            let mut last_sent = None;
            for (pause, way) in renewals {
                at += pause;
                let sent = at;
                at += way;
                // Once deposed it finds no majority, and answers no more.
                if at < deposed_after {
                    leases.answer(NODE, Uptime(offset + at));
                    last_sent = Some(sent);
                }
            }
            if asked >= deposed_after {
                leases = Leases::new(Uptime(offset + deposed_after));
            }
            leases.pass(Uptime(offset + asked));
            if leases.left(NODE, GRACE).is_none() {
                let runs_until = last_sent.map_or(0, |sent| sent + LEASE_MS + GRACE);
                prop_assert!(runs_until <= asked, "{runs_until} > {asked}");
            }
        }
    }
}
