//! Crashes of a scheduler on purpose: killed or failing at the n-th system call, its disk without
//! power or without room; and what was acknowledged to a client meanwhile.
//!
//! Start at [`Campaign`]: one crash after the other on one data directory.

mod campaign;
mod fault;
mod load;
mod loop_disk;
mod victim;

pub use campaign::{Campaign, Tally};
pub use fault::Fault;
pub use load::Load;
pub use loop_disk::LoopDisk;
pub use victim::Victim;
