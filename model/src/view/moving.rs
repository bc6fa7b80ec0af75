//! What moves, or would, and what stays.

use serde::{Deserialize, Serialize};

use super::PlanNode;
use crate::Bytes;

/// `node drain`: what would move, and what would stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct DrainView {
    pub node: String,
    /// What moves, in the order in which it goes: first what can run beside its successor.
    pub moves: Vec<DrainMove>,
    pub stays: Vec<DrainStay>,
    pub nodes: Vec<PlanNode>,
}

/// A task that leaves a drained node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct DrainMove {
    pub task: String,
    pub stack: String,
    pub service: String,
    pub replica: u32,
    pub memory: Bytes,
    pub to: String,
    /// Why it is down for a moment, when it is: `publishes a host port`.
    pub down_because: Option<String>,
}

/// A task that stays on a drained node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct DrainStay {
    pub task: String,
    pub stack: String,
    pub service: String,
    pub replica: u32,
    pub memory: Bytes,
    /// Why, in one sentence.
    pub reason: String,
    /// What would let it go, the cheapest first.
    pub fixes: Vec<String>,
}

/// `rebalance`: by which few moves the cluster would be packed better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct RebalanceView {
    /// In the order in which they are made: each has room when its turn comes.
    pub moves: Vec<RebalanceMove>,
    pub nodes: Vec<PlanNode>,
    /// What was to have a place, or to leave its node, and stays as it is.
    pub left: Vec<DrainStay>,
    /// Whether it is proven that fewer moves do not do.
    pub fewest: bool,
    pub unplaced_before: u32,
    pub unplaced_after: u32,
    /// What it comes to, a sentence each.
    pub gains: Vec<String>,
    pub warnings: Vec<String>,
}

/// A task that goes to another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct RebalanceMove {
    pub stack: String,
    pub service: String,
    pub replica: u32,
    pub task: String,
    pub from: String,
    pub to: String,
    pub memory: Bytes,
    /// `start-first`, or `stop-first` when it is down for a moment.
    pub how: String,
}

/// The automatic mode of `rebalance`: moves that nobody asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct AutomaticView {
    pub on: bool,
    /// When it was turned on or off last; null when never.
    pub since: Option<String>,
    /// The last moves, the newest first.
    pub moves: Vec<AutomaticRow>,
    /// How many of them began within the last hour: no more begin than `most_per_hour`.
    pub moves_last_hour: u32,
    pub most_per_hour: u32,
    /// Why it rests at present, in one sentence: a move failed less than an hour ago.
    pub paused: Option<String>,
}

/// A move that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct AutomaticRow {
    pub stack: String,
    pub service: String,
    pub replica: u32,
    pub from: String,
    pub to: String,
    /// When it began.
    pub at: String,
    /// What for: `so that shop/db.1 has room`.
    pub reason: String,
    /// `moving`, `moved`, `failed`, or `overtaken` when the task went before its move ended.
    pub state: String,
    /// Why it was given up.
    pub error: Option<String>,
}
