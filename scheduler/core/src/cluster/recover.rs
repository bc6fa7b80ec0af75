//! Going on from one scheduler's copy when a majority is lost for good.
//!
//! The others may have agreed on more than this copy knows: given numbers away, begun epochs, sent
//! sets of higher generations. Every counter leaps over what they can have used, so that nothing of
//! theirs is ever taken for something of this cluster, or the other way round.

use model::{Epoch, Generation, Id, Revision, Timestamp};

use super::{Cluster, FOUNDER, apply::Happened, snapshot::IMAGE_VERSION};

/// What revisions, generations and the numbers of tasks leap over: far more than a cluster of the
/// largest size changes in the years a scheduler may lie in a drawer.
pub(super) const LEAP: u64 = 1_000_000_000;
/// What epochs and the numbers of nodes, tokens and schedulers leap over: people read these.
pub(super) const SHORT_LEAP: u64 = 1_000_000;

impl Cluster {
    /// Makes this copy a cluster of its own with the id `id`, and answers the number its scheduler
    /// has from now on. Every scheduler with a lower number is shut out. What runs stays as it is:
    /// tasks, nodes, volumes, and what certificates and containers call the cluster. Join tokens that
    /// were not used are void.
    pub fn recover(&mut self, at: Timestamp, id: &str) -> u64 {
        if self.origin.is_empty() {
            self.origin.clone_from(&self.id);
        }
        let former = std::mem::replace(&mut self.id, id.to_owned());
        // Only who reads all forms can be here.
        self.form = IMAGE_VERSION;
        self.revision = Revision(self.revision.0.saturating_add(LEAP));
        self.next_task = leap(self.next_task, LEAP);
        self.next_node = leap(self.next_node, SHORT_LEAP);
        self.next_token = leap(self.next_token, SHORT_LEAP);
        for service in self.stacks.values_mut().flat_map(|stack| stack.services.values_mut()) {
            for slot in service.slots.values_mut() {
                slot.last = Epoch(slot.last.0.saturating_add(SHORT_LEAP));
            }
        }
        let generation = Generation(self.revision.0);
        for node in self.nodes.keys() {
            self.generations.insert(*node, generation);
        }
        self.tokens.retain(|_, token| token.used_at.is_some());
        let scheduler = FOUNDER.saturating_add(self.next_token.raw());
        self.next_token = leap(self.next_token, 1);
        self.least_scheduler = scheduler;
        self.removed_schedulers.clear();
        let message = format!(
            "the cluster was recovered as {id} from what scheduler {scheduler} knew of {former}: every \
             scheduler from before is shut out"
        );
        self.note(Happened::new(at, "recovered", message).warning());
        scheduler
    }
}

fn leap<K>(id: Id<K>, over: u64) -> Id<K> {
    Id::new(id.raw().saturating_add(over))
}
