//! What each wake-up teaches.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use model::{
    Assignment, Desired, TaskId,
    planted::{Bug, is_planted},
    story,
    task::{Cause, Failure},
};

use super::{Mind, Wake};
use crate::{
    attempt::{Attempt, Moment, failure},
    board::Board,
    outbox::Disposal,
    perform::{Outcome, assignment_of},
    policy::Refusal,
    reconcile::{Image, Key, Observed, Step},
    runtime::{Container, ContainerId, Look, PullError, RuntimeError},
};

/// The first delay after a step that failed for a reason that may pass, in milliseconds.
const FIRST_RETRY: u64 = 1_000;
/// The longest such delay.
const LONGEST_RETRY: u64 = 30_000;
/// The first delay after an image could not be fetched (10 s), in milliseconds.
const FIRST_PULL_RETRY: u64 = 10_000;
/// The longest such delay (5 min): registries count how often they are asked.
const LONGEST_PULL_RETRY: u64 = 300_000;

/// Times a host port is found taken before that is told.
const PORT_TRIES: u32 = 3;

/// Doubles from `first` to `longest`.
fn delay(tries: u32, first: u64, longest: u64) -> u64 {
    first.saturating_mul(1_u64.checked_shl(tries).unwrap_or(u64::MAX)).min(longest)
}

/// An end, for the log and the counters.
pub(super) fn tell_end(board: &Board, assignment: &Assignment, attempt: &Attempt) {
    let said = attempt.status.failure.as_ref();
    let why = said.map_or("done", |failure| failure.message.as_str());
    let again = !attempt.is_over();
    let (task, stack, service) = (assignment.task, &assignment.stack, &assignment.service);
    tracing::info!(%task, %stack, %service, slot = assignment.slot, why, again, "ended");
    board.count(|counted| {
        counted.restarts += u64::from(again);
        let for_memory = said.is_some_and(|failure| failure.cause == Cause::OutOfMemory);
        counted.oom_kills += u64::from(for_memory);
    });
}

impl Mind {
    /// Takes in what a wake-up teaches.
    pub fn learn(&mut self, wake: Wake, now: Moment) {
        match wake {
            Wake::Happened { id, task, what, at } => {
                if let Some(attempt) = self.attempts.get_mut(&task) {
                    attempt.hear(what, at);
                }
                self.dirty.insert(id);
            }
            Wake::Looked { look: Ok(look), asked } => self.compare(look, asked),
            Wake::Looked { look: Err(error), .. } => self.lose_sight(&error),
            Wake::Inspected { asked, id, shown } => self.inspected(asked, id, shown),
            Wake::Done { step, outcome } => self.done(step, outcome, now),
        }
    }

    /// Whether we changed something about a task after this stamp, or are changing it.
    fn is_stale(&self, task: TaskId, asked: u64) -> bool {
        self.busy.contains(&Key::Task(task))
            || self.touched.get(&task).is_some_and(|touched| *touched > asked)
    }

    /// Takes over what was seen, except of tasks that changed since.
    fn compare(&mut self, look: Look, asked: u64) {
        if !self.observed.known {
            tracing::info!(containers = look.containers.len(), "the engine answers");
        }
        let ours = look.containers.into_iter().filter(|found| self.is_ours(found));
        let seen = ours.map(|found| (found.id.clone(), found));
        let mut seen: BTreeMap<ContainerId, Container> = seen.collect();
        seen.retain(|_, found| !self.is_stale(found.task, asked));
        let held = std::mem::take(&mut self.observed.containers);
        seen.extend(held.into_iter().filter(|(_, found)| self.is_stale(found.task, asked)));
        self.observed.containers = seen;
        self.observed.networks = look.networks;
        self.observed.known = true;
        let current = &self.observed.containers;
        let assigned = self.set.as_ref();
        self.touched.retain(|task, _| {
            current.values().any(|found| found.task == *task)
                || assigned.is_some_and(|set| assignment_of(set, *task).is_some())
        });
    }

    fn lose_sight(&mut self, error: &RuntimeError) {
        if self.observed.known {
            tracing::error!(why = story(error), "the engine does not answer; nothing is changed");
        }
        self.observed.known = false;
        if is_planted(Bug::FailedLookMeansAbsent) {
            self.observed = Observed { known: true, ..Observed::default() };
        }
    }

    fn inspected(
        &mut self,
        asked: u64,
        id: ContainerId,
        shown: Result<Option<Container>, RuntimeError>,
    ) {
        self.inspecting.remove(&id);
        let known = self.observed.containers.get(&id).map(|found| found.task);
        let task = known.or_else(|| shown.as_ref().ok()?.as_ref().map(|found| found.task));
        if task.is_some_and(|task| self.is_stale(task, asked)) {
            self.dirty.insert(id);
            return;
        }
        match shown {
            Ok(shown) => self.know(id, shown),
            Err(error) if error.is_transient() => self.lose_sight(&error),
            Err(error) => tracing::warn!(container = %id, why = story(&error), "not inspected"),
        }
    }

    fn done(&mut self, step: Step, outcome: Outcome, now: Moment) {
        let key = step.key();
        self.busy.remove(&key);
        let stamp = self.stamp.fetch_add(1, Ordering::SeqCst) + 1;
        if let Key::Task(task) = key {
            self.touched.insert(task, stamp);
        }
        let (name, succeeded) = (step.as_str(), succeeded(&outcome));
        self.board.count(|counted| *counted.steps.entry((name, succeeded)).or_default() += 1);
        if succeeded {
            self.retry.remove(&key);
        }
        match outcome {
            Outcome::Permitted(Ok(())) => {
                self.with_attempt(&step, Attempt::permit);
            }
            Outcome::PortTaken(port) => self.wait_for_port(&step, port, now),
            Outcome::Permitted(Err(refusal)) | Outcome::Refused(refusal) => {
                self.refused(&step, &refusal);
            }
            Outcome::Fetched(fetched) => self.fetched(&step, fetched, now),
            Outcome::Container { done, shown } => {
                let shown = shown.map(|found| found.map(|found| *found));
                self.worked_on(&step, (done, shown), now);
            }
            Outcome::Left => {
                if let Step::RemoveVolume { volume } = step {
                    self.dispose(volume, Disposal::Left);
                }
            }
            Outcome::Removed(Ok(())) => match step {
                Step::RemoveVolume { volume } => {
                    tracing::info!(volume, "removed, as asked");
                    self.dispose(volume, Disposal::Removed);
                }
                // Until the next look it would be taken for being there, and removed again.
                Step::RemoveNetwork { network } => {
                    self.observed.networks.retain(|held| held.id != network);
                }
                _ => {}
            },
            Outcome::Removed(Err(error)) => self.try_again(&step, &error, now),
        }
    }

    /// What became of a volume that a person asked to remove.
    fn dispose(&mut self, volume: String, disposal: Disposal) {
        self.board.outbox(|outbox| outbox.put_disposed(&volume, disposal));
        self.removed.insert(volume, disposal);
    }

    fn with_attempt(&mut self, step: &Step, change: impl FnOnce(&mut Attempt)) {
        if let Key::Task(task) = step.key()
            && let Some(attempt) = self.attempts.get_mut(&task)
        {
            change(attempt);
        }
    }

    fn refused(&mut self, step: &Step, refusal: &Refusal) {
        tracing::warn!(key = ?step.key(), %refusal, "refused");
        self.with_attempt(step, |attempt| attempt.refuse(Cause::Refused, refusal.to_string()));
    }

    fn fetched(&mut self, step: &Step, fetched: Result<(), PullError>, now: Moment) {
        let Step::Fetch { image } = step else { return };
        match fetched {
            Ok(()) => drop(self.images.insert(image.clone(), Image::Present)),
            Err(PullError::Engine(error)) => self.try_again(step, &error, now),
            Err(error) => {
                let tries = match self.images.get(image) {
                    Some(Image::Failed { tries, .. }) => *tries,
                    Some(Image::Present) | None => 0,
                };
                let wait = delay(tries, FIRST_PULL_RETRY, LONGEST_PULL_RETRY);
                tracing::warn!(image, %error, wait, "not fetched");
                let failed = Image::Failed {
                    tries: tries.saturating_add(1),
                    not_before: now.plus(wait),
                    failure: Failure {
                        no_variant: matches!(error, PullError::NoVariant { .. }),
                        ..failure(Cause::Image, error.to_string())
                    },
                };
                self.images.insert(image.clone(), failed);
            }
        }
    }

    fn worked_on(
        &mut self,
        step: &Step,
        (done, shown): (Result<(), RuntimeError>, Result<Option<Container>, RuntimeError>),
        now: Moment,
    ) {
        let id = match step {
            Step::Start { container, .. }
            | Step::Stop { container, .. }
            | Step::Fence { container, .. }
            | Step::Remove { container, .. } => Some(container.clone()),
            _ => shown.as_ref().ok().and_then(|shown| shown.as_ref().map(|found| found.id.clone())),
        };
        let now_there = match shown {
            Ok(shown) => {
                if let Some(id) = id {
                    self.know(id, shown.clone());
                }
                shown
            }
            Err(error) => {
                // What became of it is not known, so nothing is.
                self.lose_sight(&error);
                self.ask_for_a_look();
                None
            }
        };
        let Err(error) = done else {
            if let Step::Create { .. } = step {
                self.with_attempt(step, |attempt| attempt.rebuild = false);
            }
            return;
        };
        if error.is_transient() {
            self.try_again(step, &error, now);
            self.ask_for_a_look();
            return;
        }
        match step {
            Step::Create { task } | Step::Start { task, .. } => {
                self.not_started((step, *task), &error, now_there.as_ref(), now);
            }
            _ => {
                self.with_attempt(step, |attempt| attempt.stuck = true);
                self.try_again(step, &error, now);
            }
        }
    }

    fn not_started(
        &mut self,
        (step, task): (&Step, TaskId),
        error: &RuntimeError,
        container: Option<&Container>,
        now: Moment,
    ) {
        let Some(assignment) = self.set.as_ref().and_then(|set| assignment_of(set, task)) else {
            return;
        };
        let Some(attempt) = self.attempts.get_mut(&task) else { return };
        match error {
            RuntimeError::ImageAbsent { image } => drop(self.images.remove(image)),
            RuntimeError::VolumeAbsent { .. } => attempt.refuse(Cause::Start, error.to_string()),
            // Its container was removed meanwhile: that is noticed like any other absence.
            RuntimeError::Absent { .. } if container.is_none() => {}
            RuntimeError::Absent { .. } => {
                attempt.start_failed(&assignment.spec, error, container, now);
                attempt.rebuild();
                tell_end(&self.board, &assignment, attempt);
            }
            // No fault of the service's: neither counted nor told as a failure of its own.
            RuntimeError::Jammed { .. } => {
                attempt.rebuild();
                self.try_again(step, error, now);
            }
            RuntimeError::Refused { .. }
            | RuntimeError::Cramped { .. }
            | RuntimeError::Stillborn { .. }
            | RuntimeError::Unreachable { .. } => {
                attempt.start_failed(&assignment.spec, error, container, now);
                tell_end(&self.board, &assignment, attempt);
            }
        }
    }

    /// What is there only to take over from another waits, so that nothing stops for it. What is to run finds
    /// out when it starts.
    fn wait_for_port(&mut self, step: &Step, port: u16, now: Moment) {
        let Step::Permit { task } = step else { return };
        let assignment = self.set.as_ref().and_then(|set| assignment_of(set, *task));
        if assignment.is_none_or(|assignment| assignment.desired != Desired::Prepare) {
            return self.with_attempt(step, Attempt::permit);
        }
        let tries = self.later(step, now);
        tracing::warn!(%task, port, tries, "a host port is another program's");
        // What ends lets go of its ports a moment later.
        if tries >= PORT_TRIES {
            self.with_attempt(step, |attempt| attempt.wait_for_port(port));
        }
    }

    fn try_again(&mut self, step: &Step, error: &RuntimeError, now: Moment) {
        self.later(step, now);
        tracing::warn!(step = step.as_str(), key = ?step.key(), why = story(error), "failed");
    }

    /// Has it done again after a while, longer each time; answers how often it was done.
    fn later(&mut self, step: &Step, now: Moment) -> u32 {
        let (tries, moment) = self.retry.entry(step.key()).or_insert((0, Moment::default()));
        // What has no lease any more must not run on for a longer pause.
        let fences = matches!(step, Step::Fence { .. });
        let longest = if fences { FIRST_RETRY } else { LONGEST_RETRY };
        *moment = now.plus(delay(*tries, FIRST_RETRY, longest));
        *tries = tries.saturating_add(1);
        *tries
    }

    const fn ask_for_a_look(&mut self) {
        self.look_wanted = true;
    }
}

fn succeeded(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Permitted(answer) => answer.is_ok(),
        Outcome::Fetched(answer) => answer.is_ok(),
        Outcome::Container { done, .. } => done.is_ok(),
        Outcome::Left => true,
        Outcome::PortTaken(_) | Outcome::Refused(_) => false,
        Outcome::Removed(answer) => answer.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_asked_for_again_after_ten_seconds_and_at_last_every_five_minutes() {
        let delays = (0..8).map(|tries| delay(tries, FIRST_PULL_RETRY, LONGEST_PULL_RETRY) / 1_000);
        assert_eq!(delays.collect::<Vec<_>>(), [10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(delay(u32::MAX, FIRST_PULL_RETRY, LONGEST_PULL_RETRY), LONGEST_PULL_RETRY);
        assert_eq!(delay(0, FIRST_RETRY, LONGEST_RETRY), 1_000);
        assert_eq!(delay(5, FIRST_RETRY, LONGEST_RETRY), 30_000);
    }
}
