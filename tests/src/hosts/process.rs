//! Signals to processes of hosts, and to nobody else.

use std::{collections::BTreeMap, fs};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};

/// Sends a signal; whether there was anybody to receive it.
#[track_caller]
pub(super) fn signal(process: u32, signal: Signal) -> bool {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process id");
    match kill_process(pid, signal) {
        Ok(()) => true,
        Err(Errno::SRCH) => false,
        Err(error) => panic!("{signal:?} to {process}: {error}"),
    }
}

/// Whether both live in the same namespace of processes.
pub(super) fn are_together(one: u32, other: u32) -> bool {
    let space = |process| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    space(one).is_some_and(|found| Some(found) == space(other))
}

/// A process and everybody it started, directly or not, itself first.
pub(super) fn family(process: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(child) = entry.file_name().to_string_lossy().parse() else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name before it may hold anything, a parenthesis included.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut found = vec![process];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        found.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    found
}
