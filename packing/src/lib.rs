//! draft
#![warn(missing_docs)]
mod bound;
mod budget;
mod check;
mod fewest;
mod greedy;
mod model;
mod moves;
mod online;
mod pack;
mod problem;
mod rng;
mod score;
mod search;
mod state;

pub use bound::{Impossible, Short};
pub use budget::Budget;
pub use check::{Violation, check};
pub use fewest::{Fewest, fewest_bins};
pub use moves::{Moves, Step, consolidate, empty, rescue, room};
pub use online::{MAX_SCANNED, Online};
pub use pack::{Answer, Proof, pack};
pub use problem::*;
pub use score::{BINDING_SLACK, Measure, ONE, Scarcity};
