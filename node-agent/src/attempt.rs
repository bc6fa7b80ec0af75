//! What the agent remembers of a task: how often it was started, how it last ended, when it may be
//! started again. Pure: the time is an argument.
//!
//! An exit counts as the container's own only when its end was witnessed by the event stream and
//! nobody had sent it a signal before. Everything else (a restarted engine, a power cut, a `docker
//! stop` by hand) is an interruption, and no reason to call a service done.

#![warn(
    missing_docs,
    clippy::wildcard_enum_match_arm,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing
)]

use model::{
    Bytes, Health, ServiceSpec, TaskState, TaskStatus, Timestamp,
    planted::{Bug, is_planted},
    spec::RestartPolicy,
    story,
    task::{Cause, Failure},
};

use crate::{
    ports::taken,
    reconcile::{Seen, Wanted},
    runtime::{Container, Happening, RuntimeError},
};

/// Milliseconds since the agent started, by a clock that only goes forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// This many milliseconds later.
    #[must_use]
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// The first delay before a container is started again, in milliseconds; it doubles each time.
pub const FIRST_DELAY: u64 = 1_000;
/// The longest such delay: often enough to come back by itself, seldom enough to cost nothing.
pub const LONGEST_DELAY: u64 = 60_000;
/// The longest after an end that nobody witnessed: where power fails again and again, services shall
/// start within a minute all the same, with the machine's own start before that.
pub const LONGEST_UNWATCHED_DELAY: u64 = 15_000;
/// A run of this long, not unhealthy at its end, makes the delays begin anew (10 min).
pub const CALM_RUN: u64 = 600_000;
/// How long the event of an end may come later than the sight of it, in milliseconds.
const LATE_DEATH: u64 = 2_000;
/// How long the event of an OOM kill may come later than the end it explains, in milliseconds.
const LATE_OOM: u64 = 1_000;
/// How long a container without a health check must run before it counts as ready, in milliseconds:
/// commands that cannot work mostly end sooner, and nobody waits a second for nothing twice.
pub const PROOF_OF_LIFE: u64 = 1_000;
/// The exit code of a process that SIGKILL ended: what the kernel sends when memory runs out.
const SIGKILLED: i64 = 137;
/// A limit from here on has room for what an engine starts a container with, some 15 MiB, whatever else counts for
/// it by then.
const ROOM_TO_START: Bytes = Bytes::mib(64);
/// What is said of a container whose command ran on without the engine's knowledge, at the beginning.
pub(crate) const LOST: &str = "the engine lost sight of it in a restart";
/// The longest message kept, in characters: engines quote whole runtime traces.
const MESSAGE_CHARS: usize = 500;

/// What is remembered of one task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attempt {
    /// As last reported. When it is over, it stays so. Kept in the ledger.
    pub status: TaskStatus,
    /// Ends in a row, for the delay. Kept in the ledger.
    pub streak: u32,
    /// Failures counted against the restart policy's maximum. Kept in the ledger.
    pub failures: u32,
    /// The end that was counted last, by its time. Kept in the ledger.
    pub counted: Option<Timestamp>,
    /// Not started before this.
    pub not_before: Moment,
    /// When an end that is not counted yet was first seen.
    pub end_seen: Option<Moment>,
    /// Whether the policy let it pass.
    pub permitted: bool,
    /// Whether a host port it needs was another program's when it was last asked for.
    pub lacks_port: bool,
    /// Whether the engine failed to remove its remains.
    pub stuck: bool,
    /// Whether its container can never be started again and has to be made anew.
    pub rebuild: bool,
    /// What was last reported.
    pub reported: TaskStatus,
    /// Whether its lease was over while the engine did not answer: its guard may have ended it.
    pub fenced: bool,
    /// Whether its present run has lasted for [`PROOF_OF_LIFE`].
    pub proven: bool,
    /// The present run, by its start, and when it has lasted long enough.
    pub(crate) proof: Option<(Timestamp, Moment)>,
    pub(crate) killed_at: Option<Timestamp>,
    pub(crate) died_at: Option<Timestamp>,
    pub(crate) oom_at: Option<Timestamp>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By itself, with this code.
    Exited(i64),
    /// The kernel killed it for memory.
    OutOfMemory,
    /// It was killed and nobody asked for that: most likely for memory. Of every hundred kills for
    /// memory the engine misses a few: it forgets the event when the control group goes first.
    Slain,
    /// Somebody sent it a signal.
    Killed(i64),
    /// Nobody watched.
    Unwatched(i64),
    /// Its lease was over.
    Fenced,
    /// Its container is gone.
    Vanished,
    /// The engine lost sight of it: it is ended.
    Lost,
    /// It did not begin.
    NotStarted,
    /// The kernel killed for memory what would have begun it.
    Cramped,
}

impl Attempt {
    /// Whether it has ended for good.
    pub fn is_over(&self) -> bool {
        self.status.state.is_over()
    }

    /// Notes an event of its container. Events may be told again.
    pub fn hear(&mut self, what: Happening, at: Timestamp) {
        let last = match what {
            Happening::Killed => &mut self.killed_at,
            Happening::Died => &mut self.died_at,
            Happening::OutOfMemory => &mut self.oom_at,
            Happening::Changed => return,
        };
        *last = (*last).max(Some(at));
    }

    /// Counts an end that is seen for the first time, and decides whether there is another start.
    /// Watches a run until it has lasted long enough. `wall` is the time by the machine's clock.
    pub fn notice(
        &mut self,
        spec: &ServiceSpec,
        (wanted, seen): (Wanted, Seen<'_>),
        now: Moment,
        wall: Timestamp,
    ) {
        match (wanted, seen) {
            (Wanted::Run, Seen::Lost(container)) if !self.is_told_as_lost() => {
                self.counted = Some(ended_at(container));
                self.count(spec, End::Lost, None, now);
            }
            (Wanted::Run, Seen::Exited(container)) if self.counted != Some(ended_at(container)) => {
                let since = *self.end_seen.get_or_insert(now);
                let fenced = std::mem::take(&mut self.fenced).then_some(End::Fenced);
                if let Some(end) = fenced.or_else(|| self.how_it_ended(container, since, now)) {
                    self.counted = Some(ended_at(container));
                    self.status.exit_code = container.exit_code;
                    self.status.started_at = container.started_at;
                    self.status.finished_at = container.finished_at;
                    if was_calm(container) {
                        (self.streak, self.failures) = (0, 0);
                    }
                    self.count(spec, end, None, now);
                }
            }
            (Wanted::Fence, Seen::Exited(container))
                if self.counted != Some(ended_at(container)) =>
            {
                self.fenced = false;
                self.counted = Some(ended_at(container));
                self.status.finished_at = container.finished_at;
                self.count(spec, End::Fenced, None, now);
            }
            (Wanted::Run, Seen::Absent) if self.status.container.is_some() => {
                self.status.container = None;
                // One that is made anew was removed by us.
                if !self.rebuild {
                    self.count(spec, End::Vanished, None, now);
                }
            }
            (Wanted::Fence, Seen::Unknown) => (self.fenced, self.end_seen) = (true, None),
            (Wanted::Prepare | Wanted::Run, Seen::Running(container)) => {
                (self.end_seen, self.fenced) = (None, false);
                self.watch(container, now, wall);
            }
            (
                Wanted::Prepare | Wanted::Run | Wanted::Fence | Wanted::Rest | Wanted::Stop,
                Seen::Unknown
                | Seen::Absent
                | Seen::Created(_)
                | Seen::Running(_)
                | Seen::Exited(_)
                | Seen::Leaving(_)
                | Seen::Lost(_),
            ) => self.end_seen = None,
        }
    }

    /// Also by the agent's life before: it is kept in the ledger.
    fn is_told_as_lost(&self) -> bool {
        let failure = self.status.failure.as_ref();
        self.status.state == TaskState::Starting
            && failure.is_some_and(|failure| failure.message.starts_with(LOST))
    }

    /// How long it had run before it was first seen is told by the machine's clock only, which may
    /// be off by what the proof is worth and no more.
    fn watch(&mut self, container: &Container, now: Moment, wall: Timestamp) {
        let run = container.started_at.unwrap_or_default();
        let ran = wall.millis_since(run).min(PROOF_OF_LIFE);
        let (_, due) = *self
            .proof
            .take_if(|(held, _)| *held == run)
            .get_or_insert((run, now.plus(PROOF_OF_LIFE.saturating_sub(ran))));
        self.proof = Some((run, due));
        self.proven = now >= due;
    }

    /// Counts a start that the engine refused, for want of memory where it says so, or where nothing says why and
    /// the limit is as low as what starts it may need. `container` is what is there now.
    pub fn start_failed(
        &mut self,
        spec: &ServiceSpec,
        error: &RuntimeError,
        container: Option<&Container>,
        now: Moment,
    ) {
        self.counted = container.map(ended_at).or(self.counted);
        self.status.container = container.map(|container| container.id.to_string());
        let low = spec.resources.memory_limit < ROOM_TO_START;
        let cramped = matches!(error, RuntimeError::Cramped { .. })
            || (low && matches!(error, RuntimeError::Stillborn { .. }));
        let end = if cramped { End::Cramped } else { End::NotStarted };
        self.count(spec, end, Some(story(error)), now);
    }

    /// Has its container made anew: what it was made with is gone, a network for example.
    pub fn rebuild(&mut self) {
        self.rebuild = true;
        self.status.container = None;
    }

    /// It may go on.
    pub fn permit(&mut self) {
        self.permitted = true;
        if std::mem::take(&mut self.lacks_port) {
            self.status.failure = None;
        }
    }

    /// It waits for a host port that another program has.
    pub fn wait_for_port(&mut self, port: u16) {
        self.lacks_port = true;
        self.status.failure = Some(failure(Cause::Start, taken(port)));
    }

    /// Ends it for good without a start.
    pub fn refuse(&mut self, cause: Cause, message: String) {
        self.status.state = TaskState::Failed;
        self.status.failure = Some(failure(cause, message));
    }

    /// When something about it changes by the passing of time alone.
    pub fn due(&self, now: Moment) -> Option<Moment> {
        let late =
            self.end_seen.into_iter().flat_map(|seen| [seen.plus(LATE_OOM), seen.plus(LATE_DEATH)]);
        let proof = self.proof.map(|(_, due)| due);
        late.chain([self.not_before]).chain(proof).filter(|moment| *moment > now).min()
    }

    /// `None` while it is too early to tell.
    fn how_it_ended(&self, container: &Container, since: Moment, now: Moment) -> Option<End> {
        let code = container.exit_code.unwrap_or_default();
        let this_run =
            |at: Option<Timestamp>| at.is_some_and(|at| Some(at) >= container.started_at);
        if container.oom_killed || this_run(self.oom_at) {
            return Some(End::OutOfMemory);
        }
        if this_run(self.killed_at) {
            return Some(End::Killed(code));
        }
        if this_run(self.died_at) {
            if code != SIGKILLED {
                return Some(End::Exited(code));
            }
            return (now >= since.plus(LATE_OOM)).then_some(End::Slain);
        }
        (now >= since.plus(LATE_DEATH)).then_some(End::Unwatched(code))
    }

    fn count(&mut self, spec: &ServiceSpec, end: End, message: Option<String>, now: Moment) {
        (self.end_seen, self.proof, self.proven) = (None, None, false);
        self.status.health = Health::None;
        let limit = spec.resources.memory_limit;
        self.status.failure = explain(end, limit, message);
        if self.starts_again(spec.restart, end) {
            self.status.restarts = self.status.restarts.saturating_add(1);
            self.status.state = TaskState::Starting;
            self.not_before = now.plus(self.delay(end));
            // That there was no lease is no fault of the service's.
            self.streak = self.streak.saturating_add(u32::from(end != End::Fenced));
        } else {
            self.status.state = match end {
                End::Exited(0) | End::Killed(0) | End::Unwatched(0) => TaskState::Stopped,
                End::Exited(_)
                | End::Killed(_)
                | End::Unwatched(_)
                | End::OutOfMemory
                | End::Slain
                | End::Fenced
                | End::Vanished
                | End::Lost
                | End::NotStarted
                | End::Cramped => TaskState::Failed,
            };
        }
    }

    fn starts_again(&mut self, policy: RestartPolicy, end: End) -> bool {
        let is_failure = match end {
            End::Exited(code) => code != 0,
            End::OutOfMemory | End::Slain | End::NotStarted | End::Cramped => true,
            End::Killed(_) | End::Unwatched(_) | End::Fenced | End::Vanished | End::Lost => false,
        };
        match policy {
            _ if is_planted(Bug::PolicyForgotten) => false,
            RestartPolicy::Never => false,
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure { .. } if end == End::Exited(0) => false,
            RestartPolicy::OnFailure { .. } if !is_failure => true,
            RestartPolicy::OnFailure { max_attempts } => {
                let again = max_attempts.is_none_or(|max| self.failures < max);
                self.failures = self.failures.saturating_add(1);
                again
            }
        }
    }

    /// The first interruption in a row is made good at once: it was not the service's fault.
    fn delay(&self, end: End) -> u64 {
        match end {
            _ if is_planted(Bug::BackoffLost) => 0,
            End::Fenced => 0,
            End::Killed(_) | End::Unwatched(_) | End::Vanished | End::Lost if self.streak == 0 => 0,
            End::Killed(_)
            | End::Unwatched(_)
            | End::Vanished
            | End::Lost
            | End::Exited(_)
            | End::OutOfMemory
            | End::Slain
            | End::NotStarted
            | End::Cramped => {
                let factor = 1_u64.checked_shl(self.streak).unwrap_or(u64::MAX);
                let unwatched = matches!(end, End::Unwatched(_));
                let longest = if unwatched { LONGEST_UNWATCHED_DELAY } else { LONGEST_DELAY };
                FIRST_DELAY.saturating_mul(factor).min(longest)
            }
        }
    }
}

/// The time of a container's end; an engine that does not tell has one end only.
fn ended_at(container: &Container) -> Timestamp {
    container.finished_at.unwrap_or_default()
}

fn was_calm(container: &Container) -> bool {
    let ran = match (container.started_at, container.finished_at) {
        (Some(started), Some(finished)) => finished.millis_since(started),
        _ => 0,
    };
    ran >= CALM_RUN && container.health != Health::Unhealthy
}

fn explain(end: End, limit: Bytes, message: Option<String>) -> Option<Failure> {
    let (cause, text) = match end {
        End::Exited(0) => return None,
        End::Exited(code) => (Cause::Exited, format!("exited with code {code}")),
        End::OutOfMemory => (Cause::OutOfMemory, format!("killed: exceeded its limit of {limit}")),
        End::Slain => {
            let text = format!(
                "killed (exit code {SIGKILLED}) without being asked to: most likely exceeded its limit \
                 of {limit}"
            );
            (Cause::OutOfMemory, text)
        }
        End::Killed(code) => (Cause::Interrupted, format!("ended from outside, exit code {code}")),
        End::Unwatched(code) => {
            let text = format!("ended while the engine or the agent was away, exit code {code}");
            (Cause::Interrupted, text)
        }
        End::Fenced => {
            let text = "stopped: its lease ended, no scheduler with a majority answered in time";
            (Cause::NodeLost, text.to_owned())
        }
        End::Vanished => (Cause::Interrupted, "its container was removed from outside".to_owned()),
        End::Lost => (Cause::Interrupted, LOST.to_owned()),
        End::NotStarted => (Cause::Start, message.unwrap_or_default()),
        End::Cramped => {
            let text = format!(
                "most likely its limit of {limit} is too low for what the engine starts a container with ({})",
                message.unwrap_or_default()
            );
            (Cause::OutOfMemory, text)
        }
    };
    Some(failure(cause, text))
}

/// A failure with its message cut to what a person reads.
pub fn failure(cause: Cause, message: String) -> Failure {
    let message = match message.char_indices().nth(MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message,
    };
    Failure::new(cause, message)
}

#[cfg(test)]
mod tests;
