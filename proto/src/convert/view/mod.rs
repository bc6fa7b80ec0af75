//! What people are shown. Only a scheduler makes these and only people read them, so texts and lists
//! are bounded by the size of a message alone.

mod cluster;
mod node;
mod plan;
mod task;

use super::kinds::{List, Map, Same};

/// A text that is shown.
type Shown = Same<String>;
/// A list that is shown.
type Rows<F> = List<F, { usize::MAX }>;
/// Amounts of generic resources by kind that are shown.
type Amounts = Map<Shown, Same<u64>>;
