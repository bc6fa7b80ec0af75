//! What it means that the engine did not start a container, told from its words: it has one code for all of it.

use super::{ContainerId, RuntimeError};
use crate::ports;

/// What runc says when the program that becomes a container's command was killed for memory before it could: the
/// container's limit counts for it already, and it copies itself into memory first (opencontainers/runc#1980).
const OUT_OF_ROOM: &str = "container init was OOM-killed";

/// What containerd and runc say when it ended a moment later, for whatever reason: for memory, but also for what a
/// seccomp profile or a limit of processes forbids.
const STILLBORN: [&str; 3] = [
    "cannot start a stopped process",
    "cannot start a container that has stopped",
    "container process is already dead",
];

/// Why this container was not started.
pub(super) fn of_start(id: &ContainerId, error: RuntimeError) -> RuntimeError {
    match error {
        RuntimeError::Refused { message } => read(id, message),
        other => other,
    }
}

/// An engine that lets containers outlive it and ends while it starts one leaves a task of that name in
/// containerd, and can neither use nor remove it. Mostly with a process that only waits to become the
/// container's command: then it can be made anew. When the command runs, that would run it twice. Or it ends
/// before there is a process, and leaves its directory only, in whose place it makes no other.
fn read(id: &ContainerId, message: String) -> RuntimeError {
    let says = |part: &str| message.contains(part);
    if says("id already in use") {
        let message = format!(
            "its command runs, but the engine lost sight of it in a restart; end it on this machine \
             with `ctr -n moby task kill -s SIGKILL {id}` ({message})"
        );
        return RuntimeError::Refused { message };
    }
    if says(&format!("task {id}: already exists")) || says(&format!("/{id}: file exists")) {
        return RuntimeError::Jammed { message };
    }
    if says(OUT_OF_ROOM) {
        return RuntimeError::Cramped { message };
    }
    if STILLBORN.into_iter().any(says) {
        return RuntimeError::Stillborn { message };
    }
    RuntimeError::Refused { message: ports::in_words(&message).unwrap_or(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> RuntimeError {
        let error = RuntimeError::Refused { message: message.to_owned() };
        of_start(&ContainerId("c1".to_owned()), error)
    }

    #[test]
    fn what_an_engine_cannot_start_any_more_is_told_from_what_runs_behind_its_back() {
        for left in [
            "task c1: already exists",
            "failed to create: task c1: already exists: x",
            "failed to start shim: mkdir /run/containerd/io.containerd.runtime.v2.task/moby/c1: file exists: unknown",
        ] {
            assert!(matches!(refused(left), RuntimeError::Jammed { .. }), "{left}");
        }
        let runs = refused("id already in use");
        assert!(matches!(runs, RuntimeError::Refused { .. }), "{runs}");
        assert!(runs.to_string().contains("task kill -s SIGKILL c1"), "{runs}");
        for other in
            ["task c2: already exists", "mkdir /data/c2: file exists", "port is already allocated"]
        {
            assert_eq!(refused(other).to_string(), other);
            assert!(matches!(refused(other), RuntimeError::Refused { .. }), "{other}");
        }
    }

    #[test]
    fn a_limit_in_which_nothing_can_be_started_is_told_from_other_refusals() {
        let small = "failed to create task for container: failed to create shim task: OCI runtime create failed: \
                     runc create failed: unable to start container process: container init was OOM-killed \
                     (memory limit too low?): unknown";
        let told = refused(small);
        assert!(matches!(told, RuntimeError::Cramped { .. }), "{told}");
        assert_eq!(told.to_string(), small);
        let unsaid = "cannot start a stopped process: unknown";
        let told = refused(unsaid);
        assert!(matches!(told, RuntimeError::Stillborn { .. }), "{told}");
        assert_eq!(told.to_string(), unsaid);
    }
}
