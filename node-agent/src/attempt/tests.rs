use model::{Epoch, Resources, TaskId};

use super::*;
use crate::runtime::{ContainerId, ContainerState, Place};

const STARTED: Timestamp = Timestamp(1_000);
const NOW: Moment = Moment(50_000);
const WALL: Timestamp = Timestamp(1_000_000);

fn spec(restart: RestartPolicy) -> ServiceSpec {
    let mut spec = ServiceSpec::new("a");
    spec.restart = restart;
    spec.resources.memory_limit = Bytes::mib(512);
    spec.resources.reserved = Resources { memory: Bytes::mib(64), ..Resources::ZERO };
    spec
}

fn ended(code: i64) -> Container {
    Container {
        id: ContainerId("c1".to_owned()),
        task: TaskId::new(1),
        node: None,
        place: Place { stack: "s".to_owned(), service: "web".to_owned(), slot: 1 },
        epoch: Epoch(1),
        state: ContainerState::Exited,
        health: Health::None,
        probe: None,
        started_at: Some(STARTED),
        finished_at: Some(STARTED.plus_millis(5_000)),
        exit_code: Some(code),
        oom_killed: false,
        leased: None,
        volumes: std::collections::BTreeMap::new(),
        binds: std::collections::BTreeMap::new(),
    }
}

/// What was heard before an end was seen.
#[derive(Clone, Copy)]
enum Heard {
    Death,
    KillAndDeath,
    Nothing,
}

/// Lets an attempt notice an end and answers what became of it.
fn notice(attempt: &mut Attempt, restart: RestartPolicy, container: &Container, heard: Heard) {
    let at = container.finished_at.unwrap();
    if matches!(heard, Heard::KillAndDeath) {
        attempt.hear(Happening::Killed, at);
    }
    if !matches!(heard, Heard::Nothing) {
        attempt.hear(Happening::Died, at);
    }
    let seen = (Wanted::Run, Seen::Exited(container));
    attempt.notice(&spec(restart), seen, NOW, WALL);
    // Whatever may still be told about this end has been told by now.
    attempt.notice(&spec(restart), seen, NOW.plus(LATE_DEATH), WALL);
}

/// One end of a fresh attempt: the state it leads to, the restarts, and words of the message.
#[track_caller]
fn check(restart: RestartPolicy, code: i64, heard: Heard, state: TaskState, says: &str) {
    let mut attempt = Attempt::default();
    notice(&mut attempt, restart, &ended(code), heard);
    let status = &attempt.status;
    assert_eq!(status.state, state);
    assert_eq!(status.restarts, u32::from(state == TaskState::Starting));
    assert_eq!(status.exit_code, Some(code));
    let interrupted = status.failure.as_ref().map(|failure| failure.cause == Cause::Interrupted);
    let by_itself = matches!(heard, Heard::Death);
    assert!(interrupted.is_none_or(|interrupted| interrupted != by_itself), "{status:?}");
    let message = status.failure.as_ref().map_or("", |failure| failure.message.as_str());
    assert!(message.contains(says) && message.is_empty() == says.is_empty(), "{message:?}");
}

const NEVER: RestartPolicy = RestartPolicy::Never;
const ALWAYS: RestartPolicy = RestartPolicy::Always;
const ON_FAILURE: RestartPolicy = RestartPolicy::OnFailure { max_attempts: None };

#[test]
fn a_restart_policy_decides_over_an_end_by_itself() {
    use TaskState::{Failed, Starting, Stopped};
    check(NEVER, 0, Heard::Death, Stopped, "");
    check(NEVER, 3, Heard::Death, Failed, "exited with code 3");
    check(ON_FAILURE, 0, Heard::Death, Stopped, "");
    check(ON_FAILURE, 3, Heard::Death, Starting, "exited with code 3");
    check(ALWAYS, 0, Heard::Death, Starting, "");
    check(ALWAYS, 3, Heard::Death, Starting, "exited with code 3");
}

#[test]
fn an_end_from_outside_is_no_reason_to_call_a_service_done() {
    use TaskState::{Failed, Starting, Stopped};
    check(ON_FAILURE, 0, Heard::KillAndDeath, Starting, "from outside, exit code 0");
    check(ON_FAILURE, 137, Heard::KillAndDeath, Starting, "137");
    check(ALWAYS, 0, Heard::KillAndDeath, Starting, "from outside");
    check(NEVER, 137, Heard::KillAndDeath, Failed, "137");
    check(NEVER, 0, Heard::KillAndDeath, Stopped, "from outside");
}

#[test]
fn an_end_nobody_witnessed_is_an_interruption() {
    use TaskState::{Failed, Starting};
    check(ON_FAILURE, 0, Heard::Nothing, Starting, "was away, exit code 0");
    check(ALWAYS, 1, Heard::Nothing, Starting, "was away");
    check(NEVER, 1, Heard::Nothing, Failed, "was away");
}

#[test]
fn events_of_an_earlier_run_explain_nothing() {
    let mut attempt = Attempt::default();
    attempt.hear(Happening::Died, Timestamp(STARTED.0 - 1));
    notice(&mut attempt, ON_FAILURE, &ended(0), Heard::Nothing);
    assert_eq!(attempt.status.state, TaskState::Starting, "it ran and was interrupted");
}

#[test]
fn an_event_may_come_a_little_later_than_the_sight() {
    let mut attempt = Attempt::default();
    let (container, spec) = (ended(0), spec(ON_FAILURE));
    let seen = (Wanted::Run, Seen::Exited(&container));
    attempt.notice(&spec, seen, NOW, WALL);
    assert!(attempt.end_seen.is_some(), "too early to tell");
    assert_eq!(attempt.due(NOW), Some(NOW.plus(LATE_OOM)));
    attempt.hear(Happening::Died, container.finished_at.unwrap());
    attempt.notice(&spec, seen, NOW.plus(1), WALL);
    assert_eq!(attempt.status.state, TaskState::Stopped);
}

#[test]
fn an_oom_kill_is_reported_with_the_limit_however_it_is_told() {
    let check = |told: fn(&mut Attempt, &mut Container)| {
        let (mut attempt, mut container) = (Attempt::default(), ended(137));
        told(&mut attempt, &mut container);
        notice(&mut attempt, ON_FAILURE, &container, Heard::Death);
        let failure = attempt.status.failure.unwrap();
        assert_eq!(failure.cause, Cause::OutOfMemory);
        assert_eq!(failure.message, "killed: exceeded its limit of 512.0 MiB");
    };
    check(|_, container| container.oom_killed = true);
    check(|attempt, container| {
        attempt.hear(Happening::OutOfMemory, container.finished_at.unwrap());
    });
    // A shell that survives its killed child ends with code 0.
    check(|_, container| {
        container.oom_killed = true;
        container.exit_code = Some(0);
    });
}

#[test]
fn sigkill_without_an_explanation_waits_for_one_and_is_taken_for_want_of_memory() {
    let (mut attempt, container) = (Attempt::default(), ended(137));
    attempt.hear(Happening::Died, container.finished_at.unwrap());
    let seen = (Wanted::Run, Seen::Exited(&container));
    attempt.notice(&spec(ON_FAILURE), seen, NOW, WALL);
    assert!(attempt.end_seen.is_some());
    attempt.notice(&spec(ON_FAILURE), seen, NOW.plus(LATE_OOM), WALL);
    let failure = attempt.status.failure.unwrap();
    assert_eq!(failure.cause, Cause::OutOfMemory, "the engine may have missed it");
    assert!(failure.message.ends_with("most likely exceeded its limit of 512.0 MiB"));
}

#[test]
fn a_run_is_proven_once_it_has_lasted() {
    let mut container = ended(0);
    (container.state, container.exit_code) = (ContainerState::Running, None);
    let started = Timestamp(1_000_000);
    container.started_at = Some(started);
    let mut attempt = Attempt::default();
    let mut look = |container: &Container, now: Moment, wall: Timestamp| {
        attempt.notice(&spec(ALWAYS), (Wanted::Run, Seen::Running(container)), now, wall);
        (attempt.proven, attempt.due(now))
    };
    let due = NOW.plus(PROOF_OF_LIFE - 200);
    assert_eq!(look(&container, NOW, started.plus_millis(200)), (false, Some(due)));
    // A clock that was set changes nothing about a run that is being watched.
    assert_eq!(look(&container, NOW.plus(1), Timestamp(0)), (false, Some(due)));
    assert_eq!(look(&container, due, started), (true, None));
    container.started_at = Some(started.plus_millis(5_000));
    assert!(!look(&container, due, started.plus_millis(5_000)).0, "another run");
    // Found running, as after a restart of the agent.
    container.started_at = Some(started.plus_millis(6_000));
    assert!(look(&container, due, started.plus_millis(6_000 + PROOF_OF_LIFE)).0);
}

#[test]
fn events_told_again_say_nothing_new() {
    let mut attempt = Attempt::default();
    for at in [3_000, 2_000] {
        attempt.hear(Happening::Killed, Timestamp(at));
    }
    assert_eq!(attempt.killed_at, Some(Timestamp(3_000)));
}

#[test]
fn what_ended_without_a_lease_while_the_engine_was_silent_is_no_end_of_its_own() {
    let container = ended(0);
    let running = Container { state: ContainerState::Running, exit_code: None, ..ended(0) };
    let after = |seen_again: bool| {
        let mut attempt = Attempt::default();
        let mut see = |wanted, seen| attempt.notice(&spec(ON_FAILURE), (wanted, seen), NOW, WALL);
        see(Wanted::Run, Seen::Running(&running));
        see(Wanted::Fence, Seen::Unknown);
        if seen_again {
            see(Wanted::Run, Seen::Running(&running));
        }
        attempt.hear(Happening::Died, container.finished_at.unwrap());
        attempt.notice(&spec(ON_FAILURE), (Wanted::Run, Seen::Exited(&container)), NOW, WALL);
        (attempt.status.state, attempt.status.restarts)
    };
    assert_eq!(after(false), (TaskState::Starting, 1));
    assert_eq!(after(true), (TaskState::Stopped, 0), "it ran on, and is done");
}

#[test]
fn what_the_engine_lost_sight_of_is_an_interruption_counted_once() {
    let lost = Container { state: ContainerState::Lost, exit_code: None, ..ended(0) };
    let made = Container { state: ContainerState::Created, finished_at: None, ..lost.clone() };
    let after = |restart| {
        let mut attempt = Attempt::default();
        let mut see = |seen| attempt.notice(&spec(restart), (Wanted::Run, seen), NOW, WALL);
        // The engine shows its last end, or none, before and after it was ended.
        for container in [&lost, &made] {
            see(Seen::Lost(container));
            see(Seen::Lost(container));
        }
        see(Seen::Created(&made));
        see(Seen::Exited(&made));
        (attempt.status.state, attempt.status.restarts, attempt.not_before)
    };
    assert_eq!(after(ALWAYS), (TaskState::Starting, 1, NOW), "started again at once");
    assert_eq!(after(NEVER), (TaskState::Failed, 0, Moment(0)), "it is not known to be done");
}

#[test]
fn an_end_is_counted_once() {
    let (mut attempt, container) = (Attempt::default(), ended(3));
    for _ in 0..3 {
        notice(&mut attempt, ON_FAILURE, &container, Heard::Death);
    }
    assert_eq!(attempt.status.restarts, 1);
    let mut again = container;
    again.started_at = again.finished_at.map(|at| at.plus_millis(1));
    again.finished_at = again.started_at.map(|at| at.plus_millis(1));
    notice(&mut attempt, ON_FAILURE, &again, Heard::Death);
    assert_eq!(attempt.status.restarts, 2);
}

/// Ends `count` times after runs of this length; answers the delay before the next start.
fn delay_after(count: u64, heard: Heard, ran: u64) -> u64 {
    let mut attempt = Attempt::default();
    for round in 0..count {
        let mut container = ended(3);
        container.started_at =
            Some(STARTED.plus_millis(CALM_RUN.saturating_mul(round.saturating_mul(2))));
        container.finished_at = container.started_at.map(|at| at.plus_millis(ran));
        notice(&mut attempt, ALWAYS, &container, heard);
    }
    let counted = if matches!(heard, Heard::Nothing) { NOW.plus(LATE_DEATH) } else { NOW };
    attempt.not_before.0.saturating_sub(counted.0)
}

#[test]
fn delays_double_to_a_minute_and_begin_anew_after_a_calm_run() {
    for (count, delay) in [(1, 1_000), (2, 2_000), (5, 16_000), (7, 60_000), (80, 60_000)] {
        assert_eq!(delay_after(count, Heard::Death, 10), delay, "after {count} ends");
    }
    assert_eq!(delay_after(7, Heard::Death, 61_000), 60_000, "a minute is no calm run");
    assert_eq!(delay_after(5, Heard::Death, CALM_RUN), 1_000);
}

#[test]
fn who_ends_at_once_for_an_hour_is_started_once_a_minute_and_each_time_is_told() {
    let (mut attempt, mut now, mut starts) = (Attempt::default(), Moment(0), Vec::new());
    while now < Moment(3_600_000) {
        starts.push(now);
        let mut container = ended(7);
        container.started_at = Some(STARTED.plus_millis(now.0));
        container.finished_at = Some(STARTED.plus_millis(now.plus(10).0));
        attempt.hear(Happening::Died, container.finished_at.unwrap());
        now = now.plus(10);
        attempt.notice(&spec(ALWAYS), (Wanted::Run, Seen::Exited(&container)), now, WALL);
        assert_eq!(usize::try_from(attempt.status.restarts), Ok(starts.len()));
        now = attempt.not_before;
    }
    // After 1, 2, 4, 8, 16 and 32 s, then each minute.
    assert_eq!(starts.len(), 1 + 6 + 58, "{starts:?}");
    let failure = attempt.status.failure.unwrap();
    assert_eq!((failure.cause, &*failure.message), (Cause::Exited, "exited with code 7"));
}

#[test]
fn the_first_interruption_is_made_good_at_once() {
    assert_eq!(delay_after(1, Heard::KillAndDeath, 10), 0);
    assert_eq!(delay_after(1, Heard::Nothing, 10), 0);
    assert_eq!(delay_after(3, Heard::KillAndDeath, 10), 4_000, "but not for ever");
}

#[test]
fn where_power_fails_again_and_again_services_start_within_a_minute_all_the_same() {
    assert_eq!(delay_after(10, Heard::Nothing, 10), LONGEST_UNWATCHED_DELAY);
    assert_eq!(delay_after(10, Heard::Death, 10), LONGEST_DELAY);
}

#[test]
fn a_maximum_counts_failures_and_not_interruptions() {
    let at_most_one = RestartPolicy::OnFailure { max_attempts: Some(1) };
    let mut attempt = Attempt::default();
    let mut container = ended(3);
    for (heard, state) in [
        (Heard::KillAndDeath, TaskState::Starting),
        (Heard::Death, TaskState::Starting),
        (Heard::KillAndDeath, TaskState::Starting),
        (Heard::Death, TaskState::Failed),
    ] {
        container.started_at = container.finished_at.map(|at| at.plus_millis(1));
        container.finished_at = container.finished_at.map(|at| at.plus_millis(1_000));
        notice(&mut attempt, at_most_one, &container, heard);
        assert_eq!(attempt.status.state, state);
    }
    assert_eq!(attempt.status.restarts, 3);
}

#[test]
fn a_container_that_was_removed_by_hand_is_missed_once() {
    let mut attempt = Attempt::default();
    attempt.notice(&spec(ON_FAILURE), (Wanted::Run, Seen::Absent), NOW, WALL);
    assert_eq!(attempt.status.restarts, 0, "there was none yet");
    attempt.status.container = Some("c1".to_owned());
    for _ in 0..2 {
        attempt.notice(&spec(ON_FAILURE), (Wanted::Run, Seen::Absent), NOW, WALL);
    }
    assert_eq!((attempt.status.restarts, attempt.status.state), (1, TaskState::Starting));
}

#[test]
fn only_a_wanted_task_has_its_end_counted() {
    let container = ended(3);
    for wanted in [Wanted::Prepare, Wanted::Rest, Wanted::Stop] {
        let mut attempt = Attempt::default();
        attempt.notice(&spec(ALWAYS), (wanted, Seen::Exited(&container)), NOW, WALL);
        assert_eq!(attempt, Attempt::default(), "{wanted:?}");
    }
}

#[test]
fn a_refused_start_is_tried_again_as_the_policy_says() {
    let check = |restart, state| {
        let mut attempt = Attempt::default();
        let refused = RuntimeError::Refused { message: "port is already allocated".to_owned() };
        attempt.start_failed(&spec(restart), &refused, None, NOW);
        assert_eq!(attempt.status.state, state);
        assert_eq!(attempt.status.failure.unwrap().cause, Cause::Start);
    };
    check(NEVER, TaskState::Failed);
    check(ON_FAILURE, TaskState::Starting);
    check(ALWAYS, TaskState::Starting);
    check(RestartPolicy::OnFailure { max_attempts: Some(0) }, TaskState::Failed);
}

#[test]
fn a_limit_in_which_nothing_starts_is_told_as_want_of_memory() {
    let mut attempt = Attempt::default();
    let killed = RuntimeError::Cramped { message: "init was OOM-killed".to_owned() };
    attempt.start_failed(&spec(ON_FAILURE), &killed, None, NOW);
    assert_eq!((attempt.status.state, attempt.status.restarts), (TaskState::Starting, 1));
    let failure = attempt.status.failure.unwrap();
    assert_eq!(failure.cause, Cause::OutOfMemory);
    assert_eq!(
        failure.message,
        "most likely its limit of 512.0 MiB is too low for what the engine starts a container with (init was OOM-killed)"
    );
    // Whose limit is high enough ended for another reason.
    for (mib, cause) in [(63, Cause::OutOfMemory), (64, Cause::Start)] {
        let mut attempt = Attempt::default();
        let mut spec = spec(ON_FAILURE);
        spec.resources.memory_limit = Bytes::mib(mib);
        let unsaid =
            RuntimeError::Stillborn { message: "cannot start a stopped process".to_owned() };
        attempt.start_failed(&spec, &unsaid, None, NOW);
        let failure = attempt.status.failure.unwrap();
        assert_eq!(failure.cause, cause, "{failure:?}");
        assert!(failure.message.contains("cannot start a stopped process"), "{failure:?}");
    }
}

#[test]
fn a_message_is_cut_to_what_a_person_reads() {
    let long = failure(Cause::Start, "é".repeat(MESSAGE_CHARS + 1)).message;
    assert_eq!(long.chars().count(), MESSAGE_CHARS + 1);
    assert!(long.ends_with('…'));
}
