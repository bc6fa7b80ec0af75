//! The whole ring in one thread, by virtual time, from one seed: the scheduler's core and the agent's
//! mind as they are, between a hostile log, hostile engines and hostile machines.
//!
//! **Invariant:** nothing here depends on anything but the seed: no clock, no thread, no hash order.
//! So a seed that broke a rule breaks it again, step by step. Start at [`World`]; what must hold is in
//! `check`.

mod agent;
pub mod chance;
mod check;
mod clocks;
mod engine;
mod event;
mod faults;
pub mod flapping;
mod image;
mod leader;
mod log;
mod machine;
mod members;
mod old_leader;
mod people;
mod queue;
pub mod script;
mod session;
mod show;
mod trace;
mod work;
mod world;

pub use world::{Ended, World};
