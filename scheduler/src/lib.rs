//! The scheduler: acts on what `scheduler_core` decides. It keeps the replicated log, answers people and
//! agents on one port, and lets the leader plan.
//!
//! **Invariant:** nothing is answered as done before it is durable, and nobody but `log` changes what
//! the cluster is. Read [`start()`] first, then `log`, `leader`, `dispatch` and `api`.

mod admin;
mod api;
mod clock;
mod config;
mod data_dir;
mod dispatch;
mod files;
mod join;
mod leader;
mod listener;
pub mod log;
mod metrics;
mod needs;
mod open_files;
mod operators;
mod pki;
mod places;
mod probes;
mod recover;
mod refusals;
mod start;

#[cfg(test)]
mod tests;

pub use config::{Config, ElectionProfile, LogFormat};
pub use data_dir::DataDirError;
pub use join::JoinError;
pub use model::story;
pub use open_files::raise_open_files;
pub use pki::PkiError;
pub use recover::{RecoverError, Recovered, recover};
pub use start::{Handle, StartError, start};
