//! The scheduler: acts on what `scheduler_core` decides. It keeps the replicated log, answers people and
//! agents on one port, and lets the leader plan.
//!
//! **Invariant:** nothing is answered as done before it is durable, and nobody but `log` changes what
//! the cluster is. Read [`start()`] first, then `log`, `leader`, `dispatch` and `api`.

mod clock;
pub mod log;
mod pki;

pub use pki::PkiError;
