//! How long something has been so, by the clock of the leader.
//!
//! The stamps in the log are of the wall clocks of whoever led, and people and time servers set those: a
//! difference of two of them is no time that has passed. So a leader measures for itself, from the first
//! plan in which it waited, as it does with heartbeats and leases. A new leader measures deadlines anew: one may
//! become longer by that, and is never over too soon. Of how long ago something was that only keeps services
//! from moving ([`Wait::Moved`], [`Wait::Returned`]) it takes what the stamps say for the time before it led,
//! because what is held for nothing is away; so it does with moves that nobody asked for
//! ([`Wait::Rebalanced`]), of which nothing is away that is held.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    NodeId, TaskId, Timestamp, TokenId,
    planted::{Bug, is_planted},
};

use crate::{
    placement::{Sought, Tried},
    plan::Plan,
};

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
    /// A join token, to end.
    Token {
        /// Which.
        token: TokenId,
        /// [`model::token::Token::created_at`]
        since: Timestamp,
    },
    /// Services that were moved because their node was down, to be moved again. What moved with one entry
    /// is one wait.
    Moved {
        /// [`crate::cluster::Service::moved_at`]
        since: Timestamp,
    },
    /// A node that came back, to have been there for long enough.
    Returned {
        /// Which.
        node: NodeId,
        /// [`model::Node::returned_at`]
        since: Timestamp,
    },
    /// A task that was moved with nobody asking for it, or a move of that kind that failed, to be an hour ago.
    Rebalanced {
        /// [`crate::cluster::AutomaticMove::at`], [`crate::cluster::Automatic::failed_at`]
        since: Timestamp,
    },
    /// A node that is down.
    Down {
        /// Which.
        node: NodeId,
        /// [`model::Node::since`]
        since: Timestamp,
    },
}

impl Wait {
    const fn since(self) -> Timestamp {
        match self {
            Self::Task { since, .. }
            | Self::Drain { since, .. }
            | Self::Token { since, .. }
            | Self::Moved { since }
            | Self::Returned { since, .. }
            | Self::Rebalanced { since }
            | Self::Down { since, .. } => since,
        }
    }

    /// How long it had been so when a leader looked for the first time, the stamps' clock saying `wall`.
    fn before(self, wall: Timestamp) -> u64 {
        match self {
            Self::Task { .. } | Self::Drain { .. } | Self::Token { .. } => 0,
            // A clock that was set back does not say when that was: nothing is held for it.
            Self::Moved { since } | Self::Returned { since, .. } if since > wall => u64::MAX,
            Self::Moved { since }
            | Self::Returned { since, .. }
            | Self::Rebalanced { since }
            | Self::Down { since, .. } => wall.millis_since(since),
        }
    }
}

/// From when on the leader measures something, and what it takes for the time before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Began {
    at: Ticks,
    before: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// What the leader's clock says; `None` where there is no clock but that of the stamps.
    now: Option<Ticks>,
    /// Whether a plan has looked yet.
    has_looked: bool,
    began: BTreeMap<Wait, Began>,
    /// The arrangement that was looked for last.
    tried: Option<Arc<Tried>>,
    /// The moves that were looked for last.
    sought: Option<Arc<Sought>>,
}

impl Waits {
    /// Those of plans that are only imagined: time passes there as the stamps say.
    pub const fn imagined() -> Self {
        Self { now: None, has_looked: false, began: BTreeMap::new(), tried: None, sought: None }
    }

    /// Those of a leader that begins now.
    pub const fn new(now: Ticks) -> Self {
        Self {
            now: Some(now),
            has_looked: false,
            began: BTreeMap::new(),
            tried: None,
            sought: None,
        }
    }

    /// It is later now.
    pub fn pass(&mut self, now: Ticks) {
        self.now = self.now.map(|known| known.max(now));
    }

    /// What the last plan waited for is measured on, or from now on, while the stamps' clock says `wall`;
    /// everything else is forgotten.
    pub fn keep(&mut self, waited_for: &BTreeSet<Wait>, wall: Timestamp) {
        let at = self.now.unwrap_or_default();
        let began = |wait: &Wait| {
            let known = self.began.get(wait).copied();
            (*wait, known.unwrap_or_else(|| Began { at, before: self.before(*wait, wall) }))
        };
        self.began = waited_for.iter().map(began).collect();
        self.has_looked = self.now.is_some();
    }

    /// How long it has been so before it is measured. What the last plan did not know has begun since then, whatever
    /// its stamp says, for the clock may have been set in between: it counts from now, so that nothing is over too soon.
    fn before(&self, wait: Wait, wall: Timestamp) -> u64 {
        if self.has_looked { 0 } else { wait.before(wall) }
    }

    /// What a plan looked for is not looked for again.
    pub fn remember(&mut self, plan: &Plan) {
        self.tried.clone_from(&plan.tried);
        self.sought.clone_from(&plan.sought);
    }

    pub(crate) const fn tried(&self) -> Option<&Arc<Tried>> {
        self.tried.as_ref()
    }

    pub(crate) const fn sought(&self) -> Option<&Arc<Sought>> {
        self.sought.as_ref()
    }

    /// How long it was waited so far, in milliseconds, the stamps' clock saying `wall`.
    pub(crate) fn waited(&self, wait: Wait, wall: Timestamp) -> u64 {
        match self.now {
            Some(Ticks(now)) if !is_planted(Bug::WaitByWallClock) => {
                let Some(Began { at, before }) = self.began.get(&wait) else {
                    return self.before(wait, wall);
                };
                now.saturating_sub(at.0).saturating_add(*before)
            }
            _ => wait.before(wall).max(wall.millis_since(wait.since())),
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
        waits.keep(&[WAIT].into(), Timestamp(0));
        waits.pass(Ticks(350));
        for wall in [0, 1_000, 1_000_000] {
            assert_eq!(waits.waited(WAIT, Timestamp(wall)), 300);
        }
        // Still waited for: measured on. The same task in its next state: anew.
        waits.keep(&[WAIT].into(), Timestamp(0));
        waits.pass(Ticks(360));
        assert_eq!(waits.waited(WAIT, Timestamp(0)), 310);
        let next = Wait::Task { task: TaskId::new(1), since: Timestamp(1_001) };
        waits.keep(&[next].into(), Timestamp(0));
        assert_eq!(waits.waited(next, Timestamp(0)), 0);
        waits.pass(Ticks(300));
        assert_eq!(waits.waited(next, Timestamp(0)), 0, "a clock that is read late");
        assert!(!waits.began.contains_key(&WAIT), "nothing is kept that is not waited for");
    }

    #[test]
    fn what_the_last_plan_did_not_know_counts_from_now_whatever_its_stamp_says() {
        let mut waits = Waits::new(Ticks(1_000));
        let moved = |since| Wait::Moved { since: Timestamp(since) };
        // Of what was before it led, a leader knows the stamp alone.
        assert_eq!(waits.waited(moved(0), Timestamp(900_000)), 900_000);
        waits.keep(&BTreeSet::from([moved(0)]), Timestamp(900_000));
        waits.pass(Ticks(1_040));
        // The wall clock was set on by an hour, or back, after the entry was stamped.
        for wall in [Timestamp(4_500_000), Timestamp(100_000)] {
            assert_eq!(waits.waited(moved(900_010), wall), 0);
        }
        waits.keep(&BTreeSet::from([moved(0), moved(900_010)]), Timestamp(4_500_000));
        waits.pass(Ticks(2_040));
        assert_eq!(waits.waited(moved(900_010), Timestamp(4_501_000)), 1_000);
        assert_eq!(waits.waited(moved(0), Timestamp(4_501_000)), 901_040);
    }

    #[test]
    fn an_imagined_plan_takes_the_time_from_the_stamps() {
        let waits = Waits::imagined();
        assert_eq!(waits.waited(WAIT, Timestamp(1_700)), 700);
        assert_eq!(waits.waited(WAIT, Timestamp(0)), 0);
    }

    #[test]
    fn how_long_ago_something_was_is_taken_from_the_stamps_once_and_measured_from_then_on() {
        let since = Timestamp(1_000);
        let (moved, node) = (Wait::Moved { since }, NodeId::new(1));
        let check = |wait: Wait, wall: u64, expected: u64| {
            let mut waits = Waits::new(Ticks(50));
            assert_eq!(waits.waited(wait, Timestamp(wall)), expected, "{wait:?} at first");
            waits.keep(&[wait].into(), Timestamp(wall));
            waits.pass(Ticks(350));
            for stepped in [0, 1_000_000_000] {
                let expected = expected.saturating_add(300);
                assert_eq!(waits.waited(wait, Timestamp(stepped)), expected, "{wait:?}");
            }
        };
        check(moved, 4_000, 3_000);
        check(moved, 999, u64::MAX);
        check(Wait::Returned { node, since }, 4_000, 3_000);
        check(Wait::Returned { node, since }, 0, u64::MAX);
        check(Wait::Rebalanced { since }, 4_000, 3_000);
        check(Wait::Rebalanced { since }, 0, 0);
        check(Wait::Down { node, since }, 4_000, 3_000);
        check(Wait::Down { node, since }, 0, 0);
        check(Wait::Token { token: TokenId::new(1), since }, 4_000, 0);
    }
}
