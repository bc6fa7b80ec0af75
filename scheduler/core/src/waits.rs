//! How long something has been so, by the clock of the leader.
//!
//! The stamps in the log are of the wall clocks of whoever led, and people and time servers set those: a
//! difference of two of them is no time that has passed. So a leader measures for itself, from the first
//! plan in which it waited, as it does with heartbeats and leases. A new leader measures anew: a wait may
//! become longer by that, and is never over too soon.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    NodeId, TaskId, Timestamp,
    planted::{Bug, is_planted},
};

use crate::placement::Tried;

/// A time by a clock of the leader's own, in milliseconds. Nobody sets it, and it stands still while the
/// machine sleeps: a task did not get on meanwhile that the leader could have heard of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub u64);

/// Something that is waited for. The stamp tells two of a kind apart, and is not compared with any clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// A task, in the state it is in.
    Task {
        /// Which.
        task: TaskId,
        /// [`model::Task::since`]
        since: Timestamp,
    },
    /// The tasks of a node that is drained, to leave it.
    Drain {
        /// Which.
        node: NodeId,
        /// [`model::Node::drain_since`]
        since: Timestamp,
    },
}

impl Wait {
    const fn since(self) -> Timestamp {
        match self {
            Self::Task { since, .. } | Self::Drain { since, .. } => since,
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// What the leader's clock says; `None` where there is no clock but that of the stamps.
    now: Option<Ticks>,
    began: BTreeMap<Wait, Ticks>,
    /// The arrangement that was looked for last.
    tried: Option<Arc<Tried>>,
}

impl Waits {
    /// Those of plans that are only imagined: time passes there as the stamps say.
    pub const fn imagined() -> Self {
        Self { now: None, began: BTreeMap::new(), tried: None }
    }

    /// Those of a leader that begins now.
    pub const fn new(now: Ticks) -> Self {
        Self { now: Some(now), began: BTreeMap::new(), tried: None }
    }

    /// It is later now.
    pub fn pass(&mut self, now: Ticks) {
        self.now = self.now.map(|known| known.max(now));
    }

    /// What the last plan waited for is measured on, or from now on; everything else is forgotten.
    pub fn keep(&mut self, waited_for: &BTreeSet<Wait>) {
        let now = self.now.unwrap_or_default();
        let began = |wait: &Wait| (*wait, self.began.get(wait).copied().unwrap_or(now));
        self.began = waited_for.iter().map(began).collect();
    }

    /// What the last plan looked for is not looked for again.
    pub fn remember(&mut self, tried: Option<Arc<Tried>>) {
        self.tried = tried;
    }

    pub(crate) const fn tried(&self) -> Option<&Arc<Tried>> {
        self.tried.as_ref()
    }

    /// How long it was waited so far, in milliseconds, the stamps' clock saying `wall`.
    pub(crate) fn waited(&self, wait: Wait, wall: Timestamp) -> u64 {
        match self.now {
            Some(Ticks(now)) if !is_planted(Bug::WaitByWallClock) => {
                self.began.get(&wait).map_or(0, |began| now.saturating_sub(began.0))
            }
            _ => wall.millis_since(wait.since()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Wait = Wait::Task { task: TaskId::new(1), since: Timestamp(1_000) };

    #[test]
    fn a_wait_is_measured_from_the_first_plan_on_whatever_the_wall_clock_says() {
        let mut waits = Waits::new(Ticks(50));
        for wall in [0, 1_000, 1_000_000] {
            assert_eq!(waits.waited(WAIT, Timestamp(wall)), 0);
        }
        waits.keep(&[WAIT].into());
        waits.pass(Ticks(350));
        for wall in [0, 1_000, 1_000_000] {
            assert_eq!(waits.waited(WAIT, Timestamp(wall)), 300);
        }
        // Still waited for: measured on. The same task in its next state: anew.
        waits.keep(&[WAIT].into());
        waits.pass(Ticks(360));
        assert_eq!(waits.waited(WAIT, Timestamp(0)), 310);
        let next = Wait::Task { task: TaskId::new(1), since: Timestamp(1_001) };
        waits.keep(&[next].into());
        assert_eq!(waits.waited(next, Timestamp(0)), 0);
        waits.pass(Ticks(300));
        assert_eq!(waits.waited(next, Timestamp(0)), 0, "a clock that is read late");
        assert!(!waits.began.contains_key(&WAIT), "nothing is kept that is not waited for");
    }

    #[test]
    fn an_imagined_plan_takes_the_time_from_the_stamps() {
        let waits = Waits::imagined();
        assert_eq!(waits.waited(WAIT, Timestamp(1_700)), 700);
        assert_eq!(waits.waited(WAIT, Timestamp(0)), 0);
    }
}
