//! draft
#![allow(clippy::disallowed_methods)]
#![warn(missing_docs)]
mod bound;
mod budget;
mod check;
mod fewest;
mod greedy;
mod model;
mod moves;
mod pack;
mod problem;
mod rng;
pub mod score;
mod search;
mod state;

pub use bound::{Impossible, Short};
pub use budget::Budget;
pub use check::{Violation, check};
pub use fewest::{Fewest, fewest_bins};
pub use moves::{Moves, Step, empty, rescue};
pub use pack::{Answer, Proof, pack};
pub use problem::*;
