//! What must hold after an attack, whatever it was.

use std::fs;

use crate::{Daemon, World};

/// No process of ours takes more, whatever is done to it.
pub const MEMORY_KIB_MAX: u64 = 512 << 10;

impl World {
    /// People are served, and neither the scheduler nor the agent, where there is one, took much memory
    /// or panicked.
    #[track_caller]
    pub fn expect_unharmed(&self) {
        self.ctl.run(&["stack", "ls"]).expect(0);
        for daemon in [&self.scheduler, &self.agent] {
            check(daemon);
        }
    }
}

#[track_caller]
fn check(daemon: &Daemon) {
    let Some(pid) = daemon.runs() else { return };
    let peak = peak_kib(pid);
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB were taken: {}", daemon.story());
    let said = daemon.output("stderr");
    assert!(!said.contains("panicked"), "{said}");
}

/// The most memory a process ever took.
#[track_caller]
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").trim().parse().expect("kB")
}
