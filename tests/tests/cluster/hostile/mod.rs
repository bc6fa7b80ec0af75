//! People, strangers, members and containers that mean harm, or are made to: refused or borne, with
//! little memory, while everybody else is served. `docs/security.md` lists what is held by which test.

mod caller;
mod commands;
mod connections;
mod files;
mod intruders;
mod nodes;
mod probes;
mod reach;
mod secrets;
mod tokens;
mod vandals;
mod wire;
mod words;

use std::fs;

use siso_tests::World;

/// No process of ours takes more, whatever is done to it.
const MEMORY_KIB_MAX: u64 = 512 << 10;

/// The most memory a process ever took.
#[track_caller]
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").trim().parse().expect("kB")
}

/// After an attack: people are served, the scheduler took little memory, and nothing in it panicked.
#[track_caller]
fn unharmed(world: &World) {
    world.ctl.run(&["stack", "ls"]).expect(0);
    let peak = peak_kib(world.scheduler.pid());
    assert!(peak < MEMORY_KIB_MAX, "the scheduler took {peak} KiB");
    let said = world.scheduler.output("stderr");
    assert!(!said.contains("panicked"), "{said}");
}
