//! What is reported of a task: its state from what is wanted, what is there and what is remembered.
//! Pure.

use model::{
    Bytes, Health, TaskState, TaskStatus,
    task::{Cause, Failure},
};

use crate::{
    attempt::{Attempt, LOST, failure},
    reconcile::{Image, Seen, Wanted},
    runtime::Container,
};

/// The status to report now; its `sequence` is the remembered one.
pub fn status(
    wanted: Wanted,
    seen: Seen<'_>,
    attempt: &Attempt,
    image: Option<&Image>,
    limit: Bytes,
) -> TaskStatus {
    let held = attempt.status.clone();
    if held.state.is_over() {
        return held;
    }
    match (wanted, seen) {
        (Wanted::Prepare | Wanted::Run | Wanted::Fence, Seen::Absent) => {
            let ready = attempt.permitted && image == Some(&Image::Present);
            let state = if ready { TaskState::Starting } else { TaskState::Preparing };
            waiting(held, state, image)
        }
        (Wanted::Prepare | Wanted::Run | Wanted::Fence, Seen::Created(container)) => {
            let container = Some(container.id.to_string());
            TaskStatus { state: TaskState::Starting, container, ..held }
        }
        (Wanted::Prepare | Wanted::Run, Seen::Running(container)) => {
            let status = running(held, TaskState::Running, container, limit);
            let health = match container.health {
                Health::None if !attempt.proven => Health::Starting,
                told => told,
            };
            TaskStatus { health, ..status }
        }
        (Wanted::Prepare | Wanted::Run, Seen::Lost(container)) => {
            let failure = Some(lost(container));
            let container = Some(container.id.to_string());
            let (state, health) = (TaskState::Starting, Health::None);
            TaskStatus { state, health, container, failure, ..held }
        }
        // An end is counted by the attempt, not here; until it is, nothing is said to be well.
        (Wanted::Prepare | Wanted::Run, Seen::Exited(_) | Seen::Leaving(_))
            if held.state == TaskState::Running =>
        {
            TaskStatus { health: Health::Starting, ..held }
        }
        // It is being stopped for want of a lease, and may run on in this attempt when that cannot be done
        // before the next lease: stopping would be the last that is heard of the attempt.
        (Wanted::Fence, Seen::Running(container) | Seen::Lost(container)) => {
            let status = running(held, TaskState::Running, container, limit);
            TaskStatus { health: Health::Starting, ..status }
        }
        (Wanted::Rest | Wanted::Stop, Seen::Running(container) | Seen::Lost(container)) => {
            running(held, TaskState::Stopping, container, limit)
        }
        (Wanted::Rest, Seen::Created(container) | Seen::Exited(container)) => {
            given_up(held, Some(container))
        }
        (Wanted::Rest, Seen::Absent) => given_up(held, None),
        (_, Seen::Unknown)
        | (Wanted::Rest, Seen::Leaving(_))
        | (Wanted::Prepare | Wanted::Run | Wanted::Fence, Seen::Exited(_) | Seen::Leaving(_)) => {
            held
        }
        (Wanted::Stop, Seen::Exited(container)) if attempt.stuck => stopped(held, Some(container)),
        (Wanted::Stop, Seen::Exited(container)) => {
            let ended = stopped(held, Some(container));
            TaskStatus { state: TaskState::Stopping, ..ended }
        }
        (Wanted::Stop, Seen::Created(container) | Seen::Leaving(container)) => {
            let container = Some(container.id.to_string());
            TaskStatus { state: TaskState::Stopping, health: Health::None, container, ..held }
        }
        (Wanted::Stop, Seen::Absent) => stopped(held, None),
    }
}

fn waiting(held: TaskStatus, state: TaskState, image: Option<&Image>) -> TaskStatus {
    let failure = match image {
        Some(Image::Failed { failure, .. }) => Some(failure.clone()),
        Some(Image::Present) | None => held.failure.filter(|past| past.cause != Cause::Image),
    };
    TaskStatus { state, health: Health::None, failure, ..held }
}

fn running(held: TaskStatus, state: TaskState, container: &Container, limit: Bytes) -> TaskStatus {
    let failure = current_failure(held.failure, container, limit);
    TaskStatus {
        state,
        health: container.health,
        container: Some(container.id.to_string()),
        started_at: container.started_at,
        failure,
        ..held
    }
}

/// What is wrong with a running container; else what last went wrong, unless that is over.
fn current_failure(past: Option<Failure>, container: &Container, limit: Bytes) -> Option<Failure> {
    if container.health == Health::Unhealthy {
        let said = container.probe.as_deref().map(|probe| format!(": {probe}"));
        let message = format!("its health check fails{}", said.unwrap_or_default());
        return Some(failure(Cause::Unhealthy, message));
    }
    if container.oom_killed {
        let message = format!("one of its processes was killed: exceeded the limit of {limit}");
        return Some(failure(Cause::OutOfMemory, message));
    }
    past.filter(|past| !matches!(past.cause, Cause::Unhealthy | Cause::Image))
}

/// What a person can do stands in it, for where the agent may not.
fn lost(container: &Container) -> Failure {
    let message = format!(
        "{LOST}: its command, which runs, is ended. If that cannot be: \
         `ctr -n moby task kill -s SIGKILL {}` on this machine",
        container.id
    );
    failure(Cause::Interrupted, message)
}

fn stopped(held: TaskStatus, container: Option<&Container>) -> TaskStatus {
    let exit_code = container.and_then(|container| container.exit_code).or(held.exit_code);
    let finished_at = container.and_then(|container| container.finished_at).or(held.finished_at);
    let state = TaskState::Stopped;
    TaskStatus { state, health: Health::None, exit_code, finished_at, ..held }
}

/// What made the scheduler give it up stays its reason.
fn given_up(held: TaskStatus, container: Option<&Container>) -> TaskStatus {
    TaskStatus { state: TaskState::Failed, ..stopped(held, container) }
}

#[cfg(test)]
mod tests;
