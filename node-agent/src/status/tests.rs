use model::{Epoch, TaskId, Timestamp};

use super::*;
use crate::{
    attempt::Moment,
    runtime::{ContainerId, ContainerState, Place},
};

const LIMIT: Bytes = Bytes::mib(512);

fn container(state: ContainerState) -> Container {
    Container {
        id: ContainerId("c1".to_owned()),
        task: TaskId::new(1),
        node: None,
        place: Place { stack: "s".to_owned(), service: "web".to_owned(), slot: 1 },
        epoch: Epoch(1),
        state,
        health: Health::None,
        probe: None,
        started_at: Some(Timestamp(1)),
        finished_at: Some(Timestamp(2)),
        exit_code: (state == ContainerState::Exited).then_some(143),
        oom_killed: false,
        leased: None,
        volumes: std::collections::BTreeMap::new(),
        binds: std::collections::BTreeMap::new(),
    }
}

fn attempt(state: TaskState) -> Attempt {
    let status = TaskStatus { state, restarts: 2, sequence: 7, ..TaskStatus::default() };
    Attempt { status, permitted: true, ..Attempt::default() }
}

fn failed_image() -> Image {
    let failure = failure(Cause::Image, "no such image".to_owned());
    Image::Failed { tries: 1, not_before: Moment(0), failure }
}

#[test]
fn every_pair_of_wanted_and_seen_has_its_state() {
    use TaskState::{Failed, Preparing, Running, Starting, Stopped, Stopping};
    let (created, runs, ended, leaving, lost) = (
        container(ContainerState::Created),
        container(ContainerState::Running),
        container(ContainerState::Exited),
        container(ContainerState::Leaving),
        container(ContainerState::Lost),
    );
    let check = |wanted, seen: Seen<'_>, image: Option<&Image>, expected| {
        let held = attempt(Starting);
        let status = status(wanted, seen, &held, image, LIMIT);
        assert_eq!(status.state, expected, "{wanted:?} {seen:?}");
        assert_eq!((status.restarts, status.sequence), (2, 7), "{wanted:?} {seen:?}");
    };
    let present = Some(&Image::Present);
    for wanted in [Wanted::Prepare, Wanted::Run] {
        check(wanted, Seen::Unknown, present, Starting);
        check(wanted, Seen::Absent, None, Preparing);
        check(wanted, Seen::Created(&created), present, Starting);
        check(wanted, Seen::Running(&runs), present, Running);
        check(wanted, Seen::Exited(&ended), present, Starting);
        check(wanted, Seen::Leaving(&leaving), present, Starting);
        check(wanted, Seen::Lost(&lost), present, Starting);
    }
    for wanted in [Wanted::Prepare, Wanted::Run] {
        check(wanted, Seen::Absent, present, Starting);
        check(wanted, Seen::Absent, Some(&failed_image()), Preparing);
    }
    check(Wanted::Rest, Seen::Unknown, None, Starting);
    check(Wanted::Rest, Seen::Running(&runs), None, Stopping);
    check(Wanted::Rest, Seen::Leaving(&leaving), None, Starting);
    check(Wanted::Rest, Seen::Lost(&lost), None, Stopping);
    for seen in [Seen::Absent, Seen::Created(&created), Seen::Exited(&ended)] {
        check(Wanted::Rest, seen, None, Failed);
    }
    check(Wanted::Stop, Seen::Unknown, None, Starting);
    check(Wanted::Stop, Seen::Created(&created), None, Stopping);
    check(Wanted::Stop, Seen::Running(&runs), None, Stopping);
    check(Wanted::Stop, Seen::Exited(&ended), None, Stopping);
    check(Wanted::Stop, Seen::Leaving(&leaving), None, Stopping);
    check(Wanted::Stop, Seen::Lost(&lost), None, Stopping);
    check(Wanted::Stop, Seen::Absent, None, Stopped);
}

#[test]
fn without_a_check_of_its_own_a_container_is_well_only_once_it_has_lasted() {
    let mut runs = container(ContainerState::Running);
    let ended = container(ContainerState::Exited);
    let mut held = attempt(TaskState::Running);
    let health = |held: &Attempt, seen| status(Wanted::Run, seen, held, None, LIMIT).health;
    assert_eq!(health(&held, Seen::Running(&runs)), Health::Starting);
    held.proven = true;
    assert_eq!(health(&held, Seen::Running(&runs)), Health::None);
    // Its end is seen, but not yet counted.
    assert_eq!(health(&held, Seen::Exited(&ended)), Health::Starting);
    held.proven = false;
    runs.health = Health::Healthy;
    let own = status(Wanted::Run, Seen::Running(&runs), &held, None, LIMIT).health;
    assert_eq!(own, Health::Healthy, "its own check knows better");
}

#[test]
fn what_is_stopped_for_want_of_a_lease_may_run_on_in_the_same_attempt() {
    let runs = container(ContainerState::Running);
    let held = Attempt { proven: true, ..attempt(TaskState::Running) };
    let told = |wanted, sequence| {
        let status = status(wanted, Seen::Running(&runs), &held, None, LIMIT);
        TaskStatus { sequence, ..status }
    };
    let (fenced, again) = (told(Wanted::Fence, 8), told(Wanted::Run, 9));
    assert_eq!((fenced.state, fenced.health), (TaskState::Running, Health::Starting));
    // As the log takes it.
    assert_eq!(fenced.merge(again.clone()), again);
}

#[test]
fn what_is_over_stays_as_it_ended() {
    let runs = container(ContainerState::Running);
    for state in [TaskState::Stopped, TaskState::Failed] {
        let held = attempt(state);
        for wanted in [Wanted::Rest, Wanted::Stop] {
            for seen in [Seen::Unknown, Seen::Absent, Seen::Running(&runs)] {
                assert_eq!(status(wanted, seen, &held, None, LIMIT), held.status);
            }
        }
    }
}

#[test]
fn an_image_that_cannot_be_fetched_is_told_while_it_is_missing() {
    let mut held = attempt(TaskState::Preparing);
    held.status = status(Wanted::Run, Seen::Absent, &held, Some(&failed_image()), LIMIT);
    assert_eq!(held.status.failure.as_ref().map(|failure| failure.cause), Some(Cause::Image));
    held.status = status(Wanted::Run, Seen::Absent, &held, Some(&Image::Present), LIMIT);
    assert_eq!(held.status.failure, None);
}

#[test]
fn an_unhealthy_container_is_told_with_its_last_words_and_forgiven_when_well() {
    let mut held = attempt(TaskState::Running);
    let mut runs = container(ContainerState::Running);
    runs.health = Health::Unhealthy;
    runs.probe = Some("connection refused".to_owned());
    held.status = status(Wanted::Run, Seen::Running(&runs), &held, None, LIMIT);
    assert_eq!(held.status.health, Health::Unhealthy);
    let message = held.status.failure.clone().unwrap().message;
    assert_eq!(message, "its health check fails: connection refused");
    runs.health = Health::Healthy;
    held.status = status(Wanted::Run, Seen::Running(&runs), &held, None, LIMIT);
    assert_eq!((held.status.health, &held.status.failure), (Health::Healthy, &None));
}

#[test]
fn a_running_container_keeps_the_reason_of_its_last_end() {
    let mut held = attempt(TaskState::Starting);
    held.status.failure = Some(failure(Cause::Exited, "exited with code 3".to_owned()));
    let runs = container(ContainerState::Running);
    let status = status(Wanted::Run, Seen::Running(&runs), &held, None, LIMIT);
    assert_eq!(status.failure, held.status.failure);
}

#[test]
fn a_process_killed_for_memory_inside_a_running_container_is_told() {
    let mut runs = container(ContainerState::Running);
    runs.oom_killed = true;
    let held = attempt(TaskState::Running);
    let status = status(Wanted::Run, Seen::Running(&runs), &held, None, LIMIT);
    let failure = status.failure.unwrap();
    assert_eq!(failure.cause, Cause::OutOfMemory);
    assert!(failure.message.contains("512.0 MiB"), "{}", failure.message);
}

#[test]
fn a_stop_is_confirmed_when_it_is_gone_or_cannot_be_removed() {
    let ended = container(ContainerState::Exited);
    let mut held = attempt(TaskState::Stopping);
    let still = status(Wanted::Stop, Seen::Exited(&ended), &held, None, LIMIT);
    assert_eq!((still.state, still.exit_code), (TaskState::Stopping, Some(143)));
    held.stuck = true;
    let confirmed = status(Wanted::Stop, Seen::Exited(&ended), &held, None, LIMIT);
    assert_eq!((confirmed.state, confirmed.exit_code), (TaskState::Stopped, Some(143)));
}
