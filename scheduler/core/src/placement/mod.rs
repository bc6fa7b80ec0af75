//! Which node a task goes to, and why not another.
//!
//! **Invariant:** what [`fits`] refuses is never placed: the same function answers the planner, the
//! log when it takes the plan, and the person who asks why.

mod cells;
mod filter;
mod fixes;
mod fleet;
mod joint;
mod moves;
mod place;
mod problem;
mod rank;
mod rescue;
mod scales;
mod score;
mod shortage;
mod verdict;

#[cfg(test)]
mod tests;

use model::{NodeId, Task};

pub use filter::{Filter, Misfit, filters};
pub(crate) use filter::{flags, holds};
pub(crate) use fixes::machine::bought;
pub use fixes::{Applied, Former, Queue, fixes, way_to};
pub use fleet::{Ask, Fleet, NodeView, Room};
pub use joint::{Effort, Outlook, Tried};
pub use moves::{Goal, Movable, Shift, Way, moves};
pub use place::{Placed, place, place_in_groups};
pub(crate) use rank::Judge;
pub use rescue::{FewMoves, Sought, rescue_by_few};
pub use score::{Criterion, Score};
pub(crate) use verdict::leaves;

use crate::cluster::Cluster;

/// Whether the task could be on that node as the cluster is now.
pub fn fits(cluster: &Cluster, task: &Task, node: NodeId) -> Result<(), Misfit> {
    let fleet = Fleet::single_for(cluster, node, (&task.stack, &task.service));
    fleet.fits(&Ask::of(task), node)
}
