//! Processes of containers, whatever the engine knows of them. One that lets containers outlive it and
//! ends while it starts one may show it as not running ever after, while its command runs: it can
//! neither be reached nor stopped through the engine, and what is made in its place would run beside it.
//!
//! An engine elsewhere has processes of its own, none of which is seen here.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bollard::Docker;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::shown;
use crate::runtime::{Container, ContainerId, ContainerState, RuntimeError};

/// Between two looks for what is left after a signal.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After SIGKILL: more time than a process needs that is not stuck in the system.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// Signals by their names; another is asked for by its number.
const SIGNALS: [(&str, Signal); 8] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("TERM", Signal::TERM),
    ("WINCH", Signal::WINCH),
];

/// Processes of a container, each with the one that started it.
type Processes = BTreeMap<i32, i32>;

/// Calls those lost of which the engine shows that they do not run, and whose command does.
pub(super) async fn find(
    docker: &Docker,
    cluster: &str,
    containers: &mut [Container],
) -> Result<(), RuntimeError> {
    let still =
        |found: &Container| matches!(found.state, ContainerState::Created | ContainerState::Exited);
    let ids: Vec<_> =
        containers.iter().filter(|found| still(found)).map(|it| it.id.clone()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let alive = processes(ids).await?;
    for found in containers.iter_mut().filter(|found| still(found)) {
        if !alive.contains_key(&found.id) {
            continue;
        }
        // It may have been started since it was shown.
        if let Some(now) = shown(docker, cluster, &found.id.0).await? {
            *found = now;
        }
        if still(found) {
            found.state = ContainerState::Lost;
        }
    }
    Ok(())
}

/// Ends the command of a container that the engine does not run, or cannot be asked about: asks it to with
/// `signal` (a name or a number, SIGTERM without one), and after `grace` does not ask. Answers whether there was
/// anything to end. The error names what else can be done.
pub(super) async fn end(
    id: &ContainerId,
    grace: Duration,
    signal: Option<&str>,
) -> Result<bool, RuntimeError> {
    let mut seen = false;
    let first = signal.and_then(named).unwrap_or(Signal::TERM);
    for (signal, grace) in [(first, grace), (Signal::KILL, KILL_GRACE)] {
        let until = Instant::now() + grace;
        let mut told = false;
        loop {
            let alive = processes(vec![id.clone()]).await?.remove(id).unwrap_or_default();
            if alive.is_empty() {
                return Ok(seen);
            }
            seen = true;
            if !std::mem::replace(&mut told, true) {
                tell(&alive, id, signal);
            }
            let now = Instant::now();
            if now >= until {
                break;
            }
            sleep(LOOK_EVERY.min(until - now)).await;
        }
    }
    let message = format!(
        "its command runs without the engine and does not end: end it on this machine with \
         `ctr -n moby task kill -s SIGKILL {id}`"
    );
    Err(RuntimeError::Refused { message })
}

fn named(signal: &str) -> Option<Signal> {
    let name = signal.strip_prefix("SIG").unwrap_or(signal);
    let known = SIGNALS.into_iter().find(|(known, _)| *known == name).map(|(_, signal)| signal);
    known.or_else(|| Signal::from_named_raw(name.parse().ok()?))
}

/// To the first process, which the others belong to; SIGKILL to each.
fn tell(alive: &Processes, id: &ContainerId, signal: Signal) {
    let is_first = |parent: &i32| signal == Signal::KILL || !alive.contains_key(parent);
    for (pid, _) in alive.iter().filter(|(_, parent)| is_first(parent)) {
        // Its number may be another's by now. One that has ended is as it should be; one that may not be
        // ended stays and is told of.
        if of(&Path::new("/proc").join(pid.to_string()), std::slice::from_ref(id))
            .is_ok_and(|it| it.is_some())
        {
            let _ = Pid::from_raw(*pid).map(|pid| kill_process(pid, signal));
        }
    }
}

/// The processes of each of these containers that has any.
async fn processes(
    ids: Vec<ContainerId>,
) -> Result<BTreeMap<ContainerId, Processes>, RuntimeError> {
    let looked = spawn_blocking(move || look(Path::new("/proc"), &ids)).await;
    looked.map_err(io::Error::other).flatten().map_err(|error| {
        // What cannot be seen is not known to have ended.
        RuntimeError::Unreachable { cause: Box::new(error) }
    })
}

fn look(proc: &Path, ids: &[ContainerId]) -> io::Result<BTreeMap<ContainerId, Processes>> {
    let mut found: BTreeMap<ContainerId, Processes> = BTreeMap::new();
    let entries = match fs::read_dir(proc) {
        // Another kind of system, whose engine is in a machine of its own.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some((id, parent)) = of(&entry.path(), ids)? {
            found.entry(id.clone()).or_default().insert(pid, parent);
        }
    }
    Ok(found)
}

/// Whose process this is, and who started it; `None` for one of nobody's, one that has ended, and one that
/// only waits to become a container's command.
fn of<'a>(process: &Path, ids: &'a [ContainerId]) -> io::Result<Option<(&'a ContainerId, i32)>> {
    let Some(groups) = read(process.join("cgroup"))? else { return Ok(None) };
    let Some(id) = ids.iter().find(|id| groups.contains(&id.0)) else { return Ok(None) };
    let Some(stat) = read(process.join("stat"))? else { return Ok(None) };
    let waits = read(process.join("cmdline"))?.is_none_or(|line| line.starts_with("runc\0init"));
    // The name before them is in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    let has_ended = fields.next().is_some_and(|state| matches!(state, "Z" | "X"));
    let parent = fields.next().and_then(|parent| parent.parse().ok()).unwrap_or_default();
    Ok((!waits && !has_ended).then_some((id, parent)))
}

/// A file about a process; `None` when the process is gone, or hidden from whom this one runs as.
fn read(path: PathBuf) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Ok(None),
            _ if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_name_and_number() {
        for (signal, known) in [
            ("SIGINT", Some(Signal::INT)),
            ("QUIT", Some(Signal::QUIT)),
            ("3", Some(Signal::QUIT)),
            ("SIGNOTHING", None),
        ] {
            assert_eq!(named(signal), known, "{signal}");
        }
    }

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
        let found = look(proc.path(), &ids).unwrap();
        let expected =
            [(ids[0].clone(), [(sleeps, 1)].into()), (ids[1].clone(), [(nested, 1)].into())];
        assert_eq!(found, expected.into());
        assert_eq!(look(&proc.path().join("absent"), &ids).unwrap(), BTreeMap::new());
        // What cannot be read is not taken for nothing.
        let opaque = proc.path().join(sleeps.to_string()).join("cgroup");
        fs::remove_file(&opaque).unwrap();
        fs::create_dir(&opaque).unwrap();
        look(proc.path(), &ids).unwrap_err();
        fs::remove_dir_all(opaque.parent().unwrap()).unwrap();
        assert_eq!(look(proc.path(), &ids).unwrap().len(), 1, "it has ended meanwhile");
    }
}
