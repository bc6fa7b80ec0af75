//! The harness of the tests that cross rooms: real processes on a real engine, driven the way a
//! person drives them, through `sisoctl` and signals.
//!
//! **Invariant:** nothing is ended or removed here that a test did not start itself: processes by
//! their id, containers, networks and volumes by the label of the test's own cluster.
//!
//! Start at [`World`]; a test reads as a story about one.

mod acknowledged;
pub mod beats;
mod contract;
pub mod crash;
mod ctl;
mod daemon;
mod engine;
mod gate;
#[cfg(target_os = "linux")]
pub mod hosts;
mod http;
mod own_engine;
mod ports;
mod programs;
pub mod register;
mod relay;
mod sshd;
mod unharmed;
pub mod vm;
mod wait;
mod witness;
mod world;

pub use acknowledged::{Acknowledged, Found, replicas};
pub use contract::{Shape, check_shape};
pub use ctl::{Answer, Ctl, Follower};
pub use daemon::Daemon;
pub use engine::{Engine, TEST_IMAGE};
pub use gate::required;
pub use http::{Reply, get};
pub use own_engine::OwnEngine;
pub use ports::own_port;
pub use programs::{current_program, earlier_program, has_earlier_programs, program};
pub use relay::{BrokenEngine, Relay};
pub use sshd::{GUEST, Sshd};
pub use unharmed::MEMORY_KIB_MAX;
pub use vm::Vm;
pub use wait::{PATIENT, PROMPT, wait_until};
pub use witness::{Deed, Witness};
pub use world::World;
