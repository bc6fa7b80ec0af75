//! Leases of strict singletons, as the agent holds them. Pure: what the clocks show is an argument.
//!
//! **Invariant:** a task that must never run twice is started only while its lease is good, and stopped
//! when it ends. A lease counts from when its renewal was *sent*, by the later of two clocks: the one
//! that counts the machine's sleep, and the hardware's, which alone goes on while a virtual machine is
//! frozen. Neither is the time of day, which anybody may set.

#![warn(
    missing_docs,
    clippy::wildcard_enum_match_arm,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;

use model::{
    Assignment, TaskId,
    lease::LEASE_MS,
    planted::{Bug, is_planted},
};

use crate::runtime::{Container, ContainerId};

/// How often leases are looked at while there are any, in milliseconds: timers stand still while a
/// machine sleeps, and a task whose lease ended then is to stop within two seconds of waking.
pub const LOOK_EVERY: u64 = 1_000;
/// The hardware's clock shows whole seconds, in milliseconds.
const TICK: u64 = 1_000;

/// What the clocks of a machine show that go on while it sleeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Awake {
    /// Milliseconds since it booted, its sleep included.
    pub boot: u64,
    /// The seconds of the hardware's clock, where it can be read.
    pub hardware: Option<u64>,
}

impl Awake {
    /// How long it is since `earlier` in this boot, in milliseconds: by the clock that says more.
    pub fn millis_since(self, earlier: Self) -> u64 {
        let boot = self.boot.saturating_sub(earlier.boot);
        let hardware = match (self.hardware, earlier.hardware) {
            (Some(now), Some(then)) => now.saturating_sub(then).saturating_mul(1_000),
            (Some(_) | None, None) | (None, Some(_)) => 0,
        };
        if is_planted(Bug::ClockStopsInSleep) {
            return boot;
        }
        boot.max(hardware.saturating_sub(TICK))
    }
}

/// A renewal that was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// What the clocks showed when it was sent.
    pub sent: Awake,
    /// The tasks that may run.
    pub tasks: Vec<TaskId>,
}

/// The leases an agent holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    sent: BTreeMap<TaskId, Awake>,
    /// Those that ended, for what is left of the grace period. None of them becomes good again.
    ended: BTreeMap<TaskId, Awake>,
    now: Awake,
}

impl Leases {
    /// Those an earlier life of the agent held in this boot of the machine.
    pub fn restored(sent: BTreeMap<TaskId, Awake>) -> Self {
        Self { sent, ..Self::default() }
    }

    /// Takes the leases of an answer. What is not among its tasks gets no more, and keeps what it has
    /// until that ends.
    pub fn take(&mut self, granted: &Granted) {
        for task in &granted.tasks {
            let held = self.sent.entry(*task).or_insert(granted.sent);
            // Answers may overtake each other.
            if held.boot < granted.sent.boot {
                *held = granted.sent;
            }
        }
    }

    /// It is later now, and some may have ended.
    pub fn pass(&mut self, now: Awake) {
        self.now = now;
        let lasts = if is_planted(Bug::LeaseEndsEarly) { LEASE_MS / 2 } else { LEASE_MS };
        let over = self.sent.extract_if(.., |_, sent| now.millis_since(*sent) >= lasts);
        self.ended.extend(over);
    }

    /// Forgets those of other tasks than these.
    pub fn retain(&mut self, known: impl Fn(TaskId) -> bool) {
        self.sent.retain(|task, _| known(*task));
        self.ended.retain(|task, _| known(*task));
    }

    /// How long the container of a task whose lease ended may take to stop, in milliseconds: its grace
    /// period counts from that end. Nothing for one that never had a lease.
    pub fn grace_left(&self, assignment: &Assignment) -> u64 {
        self.grace_of(assignment.task, assignment.spec.stop_grace_ms)
    }

    fn grace_of(&self, task: TaskId, stop_grace_ms: u64) -> u64 {
        let Some(sent) = self.ended.get(&task) else { return 0 };
        LEASE_MS.saturating_add(stop_grace_ms).saturating_sub(self.now.millis_since(*sent))
    }

    /// The containers that run although their lease is over, with what is left of their grace period.
    pub fn overdue<'a>(
        &self,
        containers: impl IntoIterator<Item = &'a Container>,
    ) -> Vec<(ContainerId, u64)> {
        let overdue = |found: &Container| {
            let grace = found.leased.filter(|_| found.state.is_alive())?;
            let good = self.sent.contains_key(&found.task);
            (!good).then(|| (found.id.clone(), self.grace_of(found.task, grace)))
        };
        containers.into_iter().filter_map(overdue).collect()
    }

    /// Whether the task may run as far as leases go.
    pub fn allow(&self, assignment: &Assignment) -> bool {
        !assignment.spec.strict_singleton
            || self.sent.contains_key(&assignment.task)
            || is_planted(Bug::LeaseForgotten)
    }

    /// Whether there are none that are good.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Whether some have ended and were not given up yet.
    pub fn any_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// How long the first of them is still good, in milliseconds; `None` when there is none.
    pub fn first_end(&self) -> Option<u64> {
        let left = |sent: &Awake| LEASE_MS.saturating_sub(self.now.millis_since(*sent));
        self.sent.values().map(left).min()
    }

    /// When the renewal of each was sent, those that ended included.
    pub fn all(&self) -> BTreeMap<TaskId, Awake> {
        let mut all = self.ended.clone();
        all.extend(&self.sent);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::ServiceSpec;

    use super::*;
    use crate::testing::assignment;

    const TASK: TaskId = TaskId::new(7);

    fn strict() -> Assignment {
        let mut spec = ServiceSpec::new("image");
        spec.strict_singleton = true;
        assignment(TASK.raw(), spec)
    }

    fn at(boot: u64, hardware: Option<u64>) -> Awake {
        Awake { boot, hardware }
    }

    /// A lease sent at 100 s of both clocks, looked at when they show this.
    #[track_caller]
    fn check(now: Awake, expected: bool) {
        let mut leases = Leases::default();
        leases.take(&Granted { sent: at(100_000, Some(5_000)), tasks: vec![TASK] });
        leases.pass(now);
        assert_eq!(leases.allow(&strict()), expected, "{now:?}");
    }

    #[test]
    fn a_lease_ends_by_the_later_of_two_clocks() {
        check(at(100_000 + LEASE_MS - 1, Some(5_000)), true);
        check(at(100_000 + LEASE_MS, Some(5_000)), false);
        // A frozen virtual machine: its own clock has not moved.
        check(at(100_010, Some(5_020)), true);
        check(at(100_010, Some(5_021)), false);
        // A machine without the other clock, and one whose other clock was set back.
        check(at(100_000 + LEASE_MS - 1, None), true);
        check(at(100_000 + LEASE_MS, None), false);
        check(at(100_000 + LEASE_MS - 1, Some(1)), true);
        check(at(100_000 + LEASE_MS, Some(1)), false);
    }

    #[test]
    fn a_lease_that_ended_does_not_come_back_with_an_answer_from_before() {
        let mut leases = Leases::default();
        leases.take(&Granted { sent: at(0, None), tasks: vec![TASK] });
        leases.pass(at(LEASE_MS, None));
        assert!(!leases.allow(&strict()) && leases.is_empty());
        leases.take(&Granted { sent: at(10, None), tasks: vec![TASK] });
        leases.pass(at(LEASE_MS + 10, None));
        assert!(!leases.allow(&strict()), "it had been sent before the sleep");
        leases.take(&Granted { sent: at(LEASE_MS, None), tasks: vec![TASK] });
        leases.take(&Granted { sent: at(20, None), tasks: vec![TASK] });
        leases.pass(at(LEASE_MS + 30, None));
        assert!(leases.allow(&strict()), "the later one counts, whichever comes first");
    }

    #[test]
    fn the_grace_period_counts_from_the_end_of_the_lease_also_in_sleep() {
        let mut leases = Leases::default();
        assert_eq!(leases.grace_left(&strict()), 0, "it never had one");
        leases.take(&Granted { sent: at(0, Some(0)), tasks: vec![TASK] });
        let grace = strict().spec.stop_grace_ms;
        leases.pass(at(LEASE_MS + 300, Some(20)));
        assert_eq!(leases.grace_left(&strict()), grace - 300);
        leases.pass(at(LEASE_MS + 400, Some(3_600)));
        assert_eq!(leases.grace_left(&strict()), 0);
    }

    #[test]
    fn what_is_no_strict_singleton_needs_no_lease() {
        let plain = Assignment { spec: Arc::new(ServiceSpec::new("image")), ..strict() };
        assert!(Leases::default().allow(&plain) && !Leases::default().allow(&strict()));
    }
}
