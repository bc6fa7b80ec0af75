//! Processes of containers, whatever the engine knows of them. One that lets containers outlive it and
//! ends while it starts one may show it as not running ever after, while its command runs: it can
//! neither be reached nor stopped through the engine, and what is made in its place would run beside it.
//!
//! An engine elsewhere has processes of its own, none of which is seen here.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{task::spawn_blocking, time::sleep};

use crate::runtime::{Container, ContainerId, ContainerState, RuntimeError};

/// Between two looks for what is left after a signal.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks after SIGKILL: more time than a process needs that is not stuck in the system.
const LOOKS_AFTER_KILL: u32 = 50;

/// Calls those lost of which the engine shows that they do not run, and whose command does.
pub(super) async fn find(containers: &mut [Container]) {
    let still =
        |found: &Container| matches!(found.state, ContainerState::Created | ContainerState::Exited);
    let ids: Vec<_> =
        containers.iter().filter(|found| still(found)).map(|it| it.id.clone()).collect();
    if ids.is_empty() {
        return;
    }
    let alive = processes(ids).await;
    for found in containers.iter_mut().filter(|found| still(found)) {
        if alive.values().any(|of| *of == found.id) {
            found.state = ContainerState::Lost;
        }
    }
}

/// Ends the command of a container that the engine does not run: asks it to, and after `grace` does not
/// ask. The error names what else can be done.
pub(super) async fn end(id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
    let looks = grace.as_millis().div_ceil(LOOK_EVERY.as_millis());
    let asked = [(Signal::TERM, u32::try_from(looks).unwrap_or(u32::MAX))];
    for (signal, looks) in asked.into_iter().chain([(Signal::KILL, LOOKS_AFTER_KILL)]) {
        for pid in processes(vec![id.clone()]).await.into_keys() {
            // One that has ended meanwhile is as it should be; one that may not be ended stays and is told of.
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
        }
        for _ in 0..looks {
            if processes(vec![id.clone()]).await.is_empty() {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }
    let message = format!(
        "its command runs, though the engine does not know, and does not end: end it on this machine with \
         `ctr -n moby task kill -s SIGKILL {id}`"
    );
    Err(RuntimeError::Refused { message })
}

/// The processes of these containers.
async fn processes(ids: Vec<ContainerId>) -> BTreeMap<i32, ContainerId> {
    spawn_blocking(move || look(Path::new("/proc"), &ids)).await.unwrap_or_default()
}

fn look(proc: &Path, ids: &[ContainerId]) -> BTreeMap<i32, ContainerId> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let groups = fs::read_to_string(entry.path().join("cgroup")).ok()?;
            let id = ids.iter().find(|id| groups.contains(&id.0))?;
            (!waits(&entry.path()) && !has_ended(&entry.path())).then(|| (pid, id.clone()))
        })
        .collect()
}

/// Whether it only waits to become a container's command.
fn waits(process: &Path) -> bool {
    fs::read(process.join("cmdline")).unwrap_or_default().starts_with(b"runc\0init")
}

/// Whether it has ended and nobody has taken notice.
fn has_ended(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // The name before it is in parentheses and may hold anything.
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_belong_to_whose_group_they_are_in_unless_they_wait_or_have_ended() {
        let proc = tempfile::tempdir().unwrap();
        let mut next = 100;
        let mut process = |group: &str, command: &str, state: char| {
            next += 1;
            let directory = proc.path().join(next.to_string());
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("cgroup"), format!("4:memory:{group}\n0::/\n")).unwrap();
            fs::write(directory.join("cmdline"), command).unwrap();
            fs::write(directory.join("stat"), format!("{next} (a) b) {state} 1 2 3")).unwrap();
            next
        };
        let ids = ["aaaa", "bbbb"].map(|id| ContainerId(id.to_owned()));
        let sleeps = process("/docker/aaaa", "sleep\x001", 'S');
        let nested = process("/system.slice/docker-bbbb.scope/more", "sh", 'R');
        process("/docker/cccc", "sleep", 'S');
        process("/user.slice", "aaaa", 'S');
        process("/docker/aaaa", "runc\0init\0", 'S');
        process("/docker/aaaa", "", 'Z');
        fs::create_dir(proc.path().join("net")).unwrap();
        let found = look(proc.path(), &ids);
        assert_eq!(found, [(sleeps, ids[0].clone()), (nested, ids[1].clone())].into());
        assert_eq!(look(&proc.path().join("absent"), &ids), BTreeMap::new());
    }
}
