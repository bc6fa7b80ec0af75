//! draft
#![warn(missing_docs)]
pub mod budget;
mod check;
mod greedy;
mod model;
mod pack;
mod problem;
mod rng;
pub mod score;
mod search;
mod state;

pub use budget::Budget;
pub use check::{Violation, check};
pub use pack::{Answer, pack};
pub use problem::*;
