//! Commands in running containers, and their end when nobody listens any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use bollard::{
    Docker,
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
};
use futures::{StreamExt as _, TryStreamExt as _};
use rustix::process::{Pid, Signal, kill_process};

use tokio::time::sleep;

use super::{QUICK, connection::trouble, within};
use crate::runtime::{ContainerId, Exec, ExecId, ExecRequest, Output, RuntimeError};

/// From hanging up to killing: time for a shell to save its history.
const HANG_UP_GRACE: Duration = Duration::from_millis(500);

/// How often, and how often at most, a command's process is asked for.
const PROCESS_LOOK: Duration = Duration::from_millis(100);
const PROCESS_LOOKS: u32 = 20;

/// See [`crate::runtime::Runtime::exec`].
pub(super) async fn exec(
    docker: &Docker,
    id: &ContainerId,
    request: &ExecRequest,
) -> Result<Exec, RuntimeError> {
    let wanted = CreateExecOptions {
        attach_stdin: Some(request.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(request.tty),
        cmd: Some(request.command.clone()),
        ..Default::default()
    };
    let made = within(QUICK, docker.create_exec(&id.0, wanted)).await?;
    let start = StartExecOptions { detach: false, tty: request.tty, output_capacity: None };
    match within(QUICK, docker.start_exec(&made.id, Some(start))).await? {
        StartExecResults::Attached { output, input } => {
            let output = output.map_ok(piece).map_err(trouble).boxed();
            Ok(Exec { id: ExecId(made.id), output, input })
        }
        StartExecResults::Detached => {
            Err(RuntimeError::Refused { message: "the engine did not attach".to_owned() })
        }
    }
}

fn piece(output: LogOutput) -> Output {
    match output {
        LogOutput::StdErr { message } => Output::Stderr(message.to_vec()),
        LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message } => Output::Stdout(message.to_vec()),
    }
}

/// Hangs up on a command and all it started, and kills what is left. The engine has no request for
/// this, and closing the connection does not end the command; so its process gets the signal.
pub(super) async fn end(docker: &Docker, exec: &ExecId) -> Result<(), RuntimeError> {
    let Some((root, container)) = process_of(docker, exec).await? else { return Ok(()) };
    if !belongs(root, &container) {
        let message = "the command goes on: its process is not visible from here".to_owned();
        return Err(RuntimeError::Refused { message });
    }
    let members = family(root, &parents());
    signal(&members, &container, Signal::HUP);
    sleep(HANG_UP_GRACE).await;
    signal(&members, &container, Signal::KILL);
    Ok(())
}

/// The process of a command and its container; `None` when it has ended. The engine tells the
/// process a little later than the command's first output.
async fn process_of(docker: &Docker, exec: &ExecId) -> Result<Option<(i32, String)>, RuntimeError> {
    let mut looks = 0..PROCESS_LOOKS;
    loop {
        let shown = within(QUICK, docker.inspect_exec(&exec.0)).await?;
        if shown.running != Some(true) {
            return Ok(None);
        }
        let pid = shown.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        if pid > 0 || looks.next().is_none() {
            return Ok(Some((pid, shown.container_id.unwrap_or_default())));
        }
        sleep(PROCESS_LOOK).await;
    }
}

/// Whether a process is in this container. An engine elsewhere has process numbers of its own.
fn belongs(pid: i32, container: &str) -> bool {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    pid > 1 && !container.is_empty() && groups.contains(container)
}

/// The parent of every process that can be seen.
fn parents() -> BTreeMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name before it is in parentheses and may hold anything.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

/// A process and its descendants.
fn family(root: i32, parents: &BTreeMap<i32, i32>) -> BTreeSet<i32> {
    let mut members = BTreeSet::from([root]);
    loop {
        let before = members.len();
        let children = parents.iter().filter(|(_, parent)| members.contains(parent));
        let children: Vec<i32> = children.map(|(child, _)| *child).collect();
        members.extend(children);
        if members.len() == before {
            return members;
        }
    }
}

fn signal(members: &BTreeSet<i32>, container: &str, signal: Signal) {
    for pid in members.iter().filter(|pid| belongs(**pid, container)) {
        // A process that has ended meanwhile is as it should be.
        let _ = Pid::from_raw(*pid).map(|pid| kill_process(pid, signal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_process_and_all_its_descendants() {
        let parents = [(10, 1), (11, 10), (12, 11), (20, 1), (21, 20)].into();
        assert_eq!(family(10, &parents), [10, 11, 12].into());
        assert_eq!(family(20, &parents), [20, 21].into());
    }
}
