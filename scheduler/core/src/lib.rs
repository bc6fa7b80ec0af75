//! Decides: what the cluster is, what should change, who goes where and why.
//!
//! **Invariant:** nothing here reads a clock, a socket or a file, and no order depends on a hash;
//! so every replica that folds the same entries holds the same [`Cluster`]. Start at [`plan()`], then
//! [`Cluster::apply`].

#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    warn(
        clippy::wildcard_enum_match_arm,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing
    )
)]

pub mod assign;
pub mod cluster;
pub mod lease;
pub mod liveness;
pub mod needs;
pub mod offline;
pub mod orchestrate;
pub mod placement;
pub mod plan;
mod rebalance;
pub mod view;
pub mod waits;

pub use assign::{assignments, assignments_without_remains};
pub use cluster::{
    Applied, Change, Cluster, Command, Entry, Outcome, Rejection, RolloutOutcome,
    snapshot::{BadImage, ClusterImage},
};
pub use lease::Leases;
pub use liveness::{Heartbeats, Thresholds};
pub use needs::Needs;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;

pub use offline::{Seat, Unimaginable, plan_offline, rebalance_offline, what_if_offline};
pub use placement::Goal;
pub use plan::{Draft, Part, Plan, PlanReport, plan, plan_in_parts};
pub use waits::{Ticks, Waits};
