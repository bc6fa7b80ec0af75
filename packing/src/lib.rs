//! Puts items into bins: all at once, one at a time, with few moves, or into few bins.
//!
//! A room of its own: it knows bins, items, rules, bounds and search, and nothing of clusters. Bins have
//! capacities of any number of resources (the first one leads: most of it shall be placed); items have
//! demands, a set of bins they may be in, exclusive keys (host ports), groups (replicas, with a most per
//! bin, a skew over parts, conflicts), a priority, and a bin they are in now.
//!
//! | question | answered by | how |
//! |---|---|---|
//! | where does everything go? | [`pack()`] | greed, the hardest first, by the shape score ([`Measure`]); a large-neighbourhood search; everything there is to try when it is little; bounds |
//! | why can that not be? | [`Impossible`] | resources, pieces, keys and members, for every set of bins items are restricted to |
//! | where does one more go? | [`Online`] | the shape score of every bin, or of cells of bins |
//! | how does what is stuck get room? | [`rescue`], [`room`] | chains of ejections, deepening; then a search that charges moves |
//! | how is a bin emptied, or the whole packed tighter? | [`empty`], [`consolidate`] | the same |
//! | in which order? | [`Moves::sequence`] | every step has room while both are there |
//! | into how few bins does it go? | [`fewest_bins`] | dual feasible functions, column generation, dives, the same search |
//! | is this right? | [`check()`] | one function that knows nothing of the others; tests compare everything with it |
//!
//! **Invariant:** the same answer on every machine, to the bit. Integers and fixed point decide; there is no
//! clock, no thread, no hash order, no randomness but a counter that is mixed (`rng`), and a [`Budget`] counts
//! steps, not time. Linear programs only guide, in floats that every machine rounds alike (docs/adr/0023); no
//! bound rests on their exactness.
//!
//! Read next: [`Problem`], then [`check()`], then `pack.rs`. Sources of the formulas stand where they are
//! used; docs/adr/0016 says why these.

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
pub use problem::{
    Bin, BinSet, Group, Item, LEADING, MAX_AMOUNT, Malformed, Placement, Problem, Spread, UNLIMITED,
};
pub use score::{BINDING_SLACK, Measure, ONE, Scarcity};
