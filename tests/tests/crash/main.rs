//! Crashes of the real programs, each at a place of our choosing.
//!
//! Faults of system calls need `strace` (`SISO_REQUIRE_STRACE=1`); power cuts and full disks need a
//! disk of their own, which only root can mount (`SISO_REQUIRE_OWN_DISK=1`); wrong clocks need libfaketime
//! (`SISO_REQUIRE_FAKETIME=1`), ends for want of memory control groups of version 1, which only root can
//! make (`SISO_REQUIRE_MEMORY_GROUP=1`); agents are killed on a
//! container engine of their own (`SISO_REQUIRE_OWN_ENGINE=1`). `SISO_KILLS`, `SISO_CUTS`,
//! `SISO_AGENT_KILLS` and `SISO_ENGINE_RESTARTS` ask for more crashes than fit into a test;
//! `cargo run -p siso-tests --bin crash` tells what became of them.

mod agent_disks;
mod agents;
mod clocks;
mod directories;
mod disks;
mod followers;
mod kills;
mod names;
mod standstill;
mod writes;

use siso_tests::{
    crash::{Fault, LoopDisk},
    required,
};
use tempfile::TempDir;

/// Opens before a program's own: the loader's. It cannot say anything when they fail.
const LOADER: u32 = 5;

/// Whether faults can be made here; says so when the test is skipped.
#[track_caller]
fn faults(test: &str) -> bool {
    required(test, "SISO_REQUIRE_STRACE", Fault::possible()).is_some()
}

/// A disk of its own, in a directory that lives as long.
#[track_caller]
fn disk(test: &str, mib: u64) -> Option<(LoopDisk, TempDir)> {
    let directory = tempfile::tempdir().expect("tempdir");
    let disk = LoopDisk::new(directory.path(), mib);
    Some((required(test, "SISO_REQUIRE_OWN_DISK", disk)?, directory))
}

/// How many crashes: as many as the environment asks for.
fn asked(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |count| count.parse().expect("a number"))
}
