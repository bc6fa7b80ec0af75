//! Crashes on purpose: a scheduler killed or failing at the n-th system call, its disk without power or
//! without room, and what was acknowledged to a client meanwhile; an agent and an engine killed amidst
//! their work, and what runs then.
//!
//! Start at [`Campaign`], one crash after the other on one data directory, and [`AgentKills`].

mod agent_kills;
mod campaign;
mod engine_restarts;
mod fault;
mod load;
mod loop_disk;
mod memory_group;
mod victim;
mod ward;

pub use agent_kills::{AgentKills, AgentTally};
pub use campaign::{Campaign, Tally};
pub use engine_restarts::{EngineRestarts, EngineTally};
pub use fault::{Fault, Struck};
pub use load::Load;
pub use loop_disk::LoopDisk;
pub use memory_group::MemoryGroup;
pub use victim::Victim;
pub use ward::{Seen, Task, Ward};
