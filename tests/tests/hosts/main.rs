//! Siso on several hosts with real containers: faults of machines and of the network between them.
//!
//! Needs root and `dockerd` (`SISO_REQUIRE_HOSTS=1` demands them). `SISO_LOSS_MINUTES` watches a network
//! that loses packets for longer than fits into a test.

#![cfg(target_os = "linux")]

mod clocks;
mod disks;
mod leaders;
mod leftovers;
mod links;
mod members;
mod nodes;
mod power;
mod singletons;
mod upgrades;

/// Services that can run anywhere, one on each of three hosts.
const CALM: &str = "
name: calm
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    deploy: { replicas: 3 }
";

/// Flags of schedulers that give no node up while a test looks at something else, however slow the
/// machine is.
fn patient() -> Vec<String> {
    ["--unreachable-after", "5m", "--down-after", "10m"].map(str::to_owned).to_vec()
}
