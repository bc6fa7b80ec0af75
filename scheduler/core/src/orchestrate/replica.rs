//! One replica: the task it has, the task it should have, the way from one to the other.

use model::{
    Desired, Health, Task, TaskState,
    planted::{Bug, is_planted},
    spec::RestartPolicy,
};

use super::{
    Ids, MIN_READY_MS, READY_DEADLINE_MS, RECREATE_DELAY_MS, Replicas, Scene, Steps, holders,
    in_the_way, is_current, is_movable, lacks_variant, may_start, starts_first,
};
use crate::{
    cluster::{Change, RolloutOutcome, limits},
    waits::Wait,
};

impl<'a> Scene<'a> {
    /// Whether the task may stay: it is what is wanted, where it may be.
    fn current(self, task: &Task) -> bool {
        is_current(self.cluster, self.service, task) && !self.leaves(task)
    }

    /// Whether the replica is on its way from one task to another: the next one waits for that.
    pub(super) fn is_in_motion(self, tasks: &[&Task]) -> bool {
        let stopping = |task: &&Task| {
            // One that has just stopped counts until its successor has had its turn.
            let there = task.holds_resources() || task.status.state == TaskState::Stopped;
            task.desired.is_leaving() && there && task.status.state != TaskState::Lost
        };
        let holders = holders(tasks);
        let live = holders.iter().filter(|task| !task.status.state.is_over()).count();
        let unproven = |task: &&Task| {
            task.node.is_some()
                && !task.status.state.is_over()
                && self.current(task)
                && !task.is_ready()
        };
        live > 1 || tasks.iter().any(stopping) || holders.last().is_some_and(unproven)
    }

    /// Where a new task failed for good, the replicas that are still old keep serving; answers
    /// whether that was found out now.
    pub(super) fn give_up_after_failure(
        self,
        count: u32,
        replicas: &Replicas<'a>,
        steps: &mut Steps,
    ) -> bool {
        if self.service.failed.is_some() {
            return false;
        }
        let newest = |tasks: &Vec<&'a Task>| holders(tasks).last().copied();
        let tasks: Vec<&Task> =
            replicas.range(..=count).filter_map(|(_, tasks)| newest(tasks)).collect();
        // What failed where a person wanted it says nothing of the others.
        let fails = |task: &&&Task| {
            task.status.state == TaskState::Failed
                && self.current(task)
                && task.moves_from.is_none()
        };
        let failed = tasks.iter().find(fails);
        // One that waits for an image its node can never have is no former one.
        let old = tasks.iter().any(|task| {
            !task.status.state.is_over()
                && !self.current(task)
                && !lacks_variant(self.cluster, self.service, task)
        });
        if let Some(failed) = failed.filter(|_| old) {
            self.give_up(failed, steps);
            return true;
        }
        false
    }

    /// Forgets what ended, except the last failures, and what was to stop before it had a node.
    pub(super) fn tidy(self, tasks: &[&Task], steps: &mut Steps) {
        let leaving: Vec<&Task> =
            tasks.iter().copied().filter(|task| task.desired.is_leaving()).collect();
        let failures = leaving.iter().filter(|task| task.status.state == TaskState::Failed).count();
        let mut surplus = failures.saturating_sub(limits::MAX_ENDED_PER_SLOT);
        for task in leaving {
            let failed = task.status.state == TaskState::Failed;
            if task.node.is_none() || (task.status.state.is_over() && (!failed || surplus > 0)) {
                if failed {
                    surplus = surplus.saturating_sub(1);
                }
                steps.push(Change::Forget { task: task.id });
            } else if self.is_down(task) && !task.status.state.is_over() {
                self.retire(task, steps);
            }
        }
    }

    /// The steps of one wanted replica, whose tasks that are not to stop are `holders`.
    pub(super) fn replica(
        self,
        slot: u32,
        holders: &[&Task],
        (busy, ids): (&mut bool, &mut Ids),
        steps: &mut Steps,
    ) {
        let Some((newest, older)) = holders.split_last() else {
            self.create(slot, ids, steps);
            return;
        };
        // What ended before and has a successor is history; a failure is kept to be looked into.
        for ended in older.iter().filter(|task| task.status.state.is_over()) {
            let failed = ended.status.state == TaskState::Failed;
            steps.set(ended, if failed { Desired::Rest } else { Desired::Stop });
        }
        let older = older.iter().copied().filter(|task| !task.status.state.is_over());
        let older: Vec<&Task> = older.collect();
        if !self.current(newest) {
            self.outdated(slot, (newest, &older), (busy, ids), steps);
        } else if newest.status.state.is_over() {
            self.ended(slot, (newest, &older), ids, steps);
        } else if older.is_empty() {
            self.alone(slot, newest, ids, steps);
        } else {
            self.pair(newest, &older, steps);
        }
    }

    /// The newest task is not what is wanted any more.
    fn outdated(
        self,
        slot: u32,
        (newest, older): (&Task, &[&Task]),
        (busy, ids): (&mut bool, &mut Ids),
        steps: &mut Steps,
    ) {
        if newest.node.is_none() {
            steps.push(Change::Forget { task: newest.id });
            // In the same step: without a successor that waits, what runs would count as one that need not leave.
            let takes_over = |old: &&Task| !self.current(old) && self.service.failed.is_none();
            if older.last().is_none_or(takes_over) {
                self.create(slot, ids, steps);
            }
        } else if newest.status.state.is_over() || self.is_down(newest) {
            let free = newest.status.state.is_over() || is_movable(newest);
            if free && older.is_empty() {
                self.create(slot, ids, steps);
            } else if free {
                self.drop_attempt(newest, steps);
            }
        } else if lacks_variant(self.cluster, self.service, newest) {
            // Nor will it run there: it makes room before its successor looks for another place.
            if newest.moves_from.is_some() {
                self.end_move(newest, steps);
            }
            steps.set(newest, Desired::Stop);
        } else if newest.desired == Desired::Prepare {
            // It never ran: nobody misses it.
            steps.set(newest, Desired::Stop);
        } else if older.is_empty() {
            // One replica after the other, but nobody waits for one that does not serve anyway.
            let waits = self.service.failed.is_some() || (*busy && newest.is_ready());
            if !waits {
                *busy = true;
                self.create(slot, ids, steps);
            }
        } else {
            self.drop_attempt(newest, steps);
        }
    }

    fn drop_attempt(self, task: &Task, steps: &mut Steps) {
        if self.is_down(task) && !task.status.state.is_over() {
            self.retire(task, steps);
        } else {
            steps.set(task, Desired::Stop);
        }
    }

    /// The newest task is what is wanted and has ended.
    fn ended(
        self,
        slot: u32,
        (newest, older): (&Task, &[&Task]),
        ids: &mut Ids,
        steps: &mut Steps,
    ) {
        let completed = newest.status.state == TaskState::Stopped;
        if older.is_empty() && newest.moves_from.is_some() {
            self.end_move(newest, steps);
            // It stopped first, for a place where it does not work.
            if !completed {
                self.create(slot, ids, steps);
            }
        } else if older.is_empty() {
            // Only a node that lost its memory lets a task end that must always run.
            let must_run = newest.spec.restart == RestartPolicy::Always;
            if completed && must_run && self.has_been_so(newest, RECREATE_DELAY_MS, steps) {
                self.create(slot, ids, steps);
            }
        } else if completed {
            for old in older {
                self.drop_attempt(old, steps);
            }
        } else {
            self.give_up(newest, steps);
            steps.set(newest, Desired::Rest);
        }
    }

    /// The one task of the replica, and it is what is wanted.
    fn alone(self, slot: u32, task: &Task, ids: &mut Ids, steps: &mut Steps) {
        if self.is_down(task) {
            match self.held_down(task) {
                _ if !is_movable(task) => {}
                Some(left) => steps.wake(self.now.plus_millis(left)),
                None => self.create(slot, ids, steps),
            }
            return;
        }
        if task.moves_from.is_some() && task.is_ready() {
            self.end_move(task, steps);
        }
        self.let_run(task, steps);
    }

    /// Lets a task run once what it depends on is there and nothing it may not run beside is.
    fn let_run(self, task: &Task, steps: &mut Steps) {
        let asks = task.desired == Desired::Prepare && task.node.is_some();
        if !asks || !may_start(self.cluster, task) {
            return;
        }
        if in_the_way(self.cluster, task).is_none() {
            steps.set(task, Desired::Run);
        }
    }

    /// A new task beside older ones that still run.
    fn pair(self, new: &Task, older: &[&Task], steps: &mut Steps) {
        let moves = new.moves_from.is_some();
        if moves && older.iter().any(|old| !self.is_down(old)) && self.move_is_over(new, steps) {
            return;
        }
        let mut goes_on = true;
        for old in older {
            if self.is_down(old) {
                // It is given up only when its successor has a node: it may yet come back first.
                if new.node.is_some() {
                    self.lose(old, steps);
                }
            } else if moves || !self.current(old) {
                goes_on &= self.hand_over(new, old, steps);
            } else if new.is_ready() {
                // Its node came back, but its successor serves already.
                steps.set(old, Desired::Stop);
            } else {
                steps.set(new, Desired::Stop);
                goes_on = false;
            }
        }
        if goes_on {
            self.let_run(new, steps);
        }
    }

    /// Whether a move is given up because its node went or because it takes too long: the old task, which
    /// is as it should be, serves on.
    fn move_is_over(self, new: &Task, steps: &mut Steps) -> bool {
        let wait = Wait::Task { task: new.id, since: new.created_at };
        let over = self.is_down(new)
            || !new.is_ready() && steps.waited(self.beats, self.now, (wait, READY_DEADLINE_MS));
        if over {
            self.end_move(new, steps);
            self.drop_attempt(new, steps);
        }
        over
    }

    /// Writes down that a task which was moved on request serves in its new place, or does not.
    fn end_move(self, new: &Task, steps: &mut Steps) {
        let served = new.is_ready() || new.status.state == TaskState::Stopped;
        let failed = if self.is_down(new) {
            Some("its node is down".to_owned())
        } else {
            (!served).then(|| why_failed(new))
        };
        steps.push(Change::EndMove { task: new.id, failed });
    }

    /// From the old task to the new one; answers false when the new one failed and goes.
    fn hand_over(self, new: &Task, old: &Task, steps: &mut Steps) -> bool {
        if new.node.is_none() {
            return true;
        }
        if is_planted(Bug::MovedBeforeReady) && new.moves_from.is_some() {
            steps.set(old, Desired::Stop);
            return true;
        }
        if !starts_first(&new.spec) {
            // What serves does not make way for what is refused or has no image.
            if new.is_prepared() && may_start(self.cluster, new) {
                steps.set(old, Desired::Stop);
            }
            return true;
        }
        let healthy = new.status.health == Health::Healthy;
        if new.is_ready() && !new.has_crashed() {
            if healthy || self.has_been_so(new, MIN_READY_MS, steps) {
                steps.set(old, Desired::Stop);
            }
            return true;
        }
        let running = new.status.state == TaskState::Running;
        if new.has_crashed()
            || new.status.health == Health::Unhealthy
            || (running && self.has_been_so(new, READY_DEADLINE_MS, steps))
        {
            self.give_up(new, steps);
            steps.set(new, Desired::Rest);
            return false;
        }
        true
    }

    /// Whether the task has been in the state it is in for so long.
    fn has_been_so(self, task: &Task, millis: u64, steps: &mut Steps) -> bool {
        let wait = Wait::Task { task: task.id, since: task.since };
        steps.waited(self.beats, self.now, (wait, millis))
    }

    /// Writes down that the replacement failed; nothing more is tried until a person asks again. A move that
    /// failed says nothing of the service.
    fn give_up(self, new: &Task, steps: &mut Steps) {
        if new.moves_from.is_some() {
            return self.end_move(new, steps);
        }
        let said = |change: &Change| {
            matches!(change, Change::RecordRollout { stack, service, .. }
                if stack == self.stack && service == self.name)
        };
        if self.service.failed.is_some() || steps.changes.iter().any(said) {
            return;
        }
        steps.push(Change::RecordRollout {
            stack: self.stack.clone(),
            service: self.name.clone(),
            outcome: RolloutOutcome::Failed {
                revision: self.service.spec_revision,
                reason: why_failed(new),
            },
        });
    }
}

/// What went wrong with a new task, for a person.
fn why_failed(task: &Task) -> String {
    let cause = match (&task.status.failure, task.status.health) {
        (Some(failure), _) => failure.message.clone(),
        (None, Health::Unhealthy) => "its health check fails".to_owned(),
        (None, Health::None | Health::Starting | Health::Healthy) => {
            match (task.status.exit_code, task.status.state) {
                (Some(code), _) => format!("it ended with exit code {code}"),
                (None, TaskState::Running) => {
                    let minutes = READY_DEADLINE_MS / 60_000;
                    format!("it was not ready after {minutes} minutes")
                }
                (None, state) => format!("it is {state}"),
            }
        }
    };
    format!("replica {} (task {}): {cause}", task.slot, task.id)
}
