//! A stack as the cluster remembers it: what is wanted, what was wanted before, how it went.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use model::{Epoch, Revision, ServiceName, ServiceSpec, StackSpec, Timestamp};

use super::Memory;

/// A stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Counts its specifications, from 1.
    pub(crate) revision: Revision,
    /// Its last specifications, the current one last; never empty.
    pub(crate) history: VecDeque<PastRevision>,
    /// What is known of each service; those no longer wanted stay while they have tasks.
    pub(crate) services: BTreeMap<ServiceName, Service>,
    /// Set once it is to be removed.
    pub(crate) removal: Option<Removal>,
}

/// One specification a stack had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRevision {
    /// Which.
    pub revision: Revision,
    /// When it was applied.
    pub at: Timestamp,
    /// What made it: `apply`, `scale`, `rollback to 3`.
    pub cause: String,
    /// What it said.
    pub spec: Arc<StackSpec>,
    /// Whether everything it wants has been ready at once: it is worth going back to.
    pub ready: bool,
}

/// A stack on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Whether the data of its volumes goes too.
    pub volumes: bool,
    /// Since when.
    pub since: Timestamp,
}

/// A service of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What new tasks run. Written by people.
    pub spec: Arc<ServiceSpec>,
    /// The stack revision that brought `spec`.
    pub spec_revision: Revision,
    /// False once the stack no longer has it.
    pub wanted: bool,
    /// Why its last replacement was given up; cleared when a person asks again.
    pub failed: Option<FailedRollout>,
    /// What is remembered of each replica.
    pub slots: BTreeMap<u32, Slot>,
    /// When a task of it was last replaced because its node was down.
    pub moved_at: Option<Timestamp>,
    /// What is known of its memory besides what its file says.
    pub memory: Memory,
    /// Platforms its image has no variant for (`linux/arm64`), as agents found out that tried; at most
    /// [`limits::MAX_LACKS`](super::limits::MAX_LACKS). Forgotten with the image, and when a person asks again
    /// while a replica waits.
    pub lacks: BTreeSet<String>,
}

/// A replacement that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRollout {
    /// The stack revision that failed.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// One sentence.
    pub reason: String,
}

/// A replica's memory across its tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slot {
    /// The highest epoch a task of it ever had.
    pub last: Epoch,
    /// Tasks of lower epochs must be replaced even when their specification is current.
    pub least: Epoch,
}

impl Stack {
    /// Counts its specifications, from 1.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Its last specifications, the current one last.
    pub const fn history(&self) -> &VecDeque<PastRevision> {
        &self.history
    }

    /// What is wanted now.
    pub fn spec(&self) -> Option<&Arc<StackSpec>> {
        self.history.back().map(|past| &past.spec)
    }

    /// The last specification before the current one that was ready and says something else.
    pub fn last_ready(&self) -> Option<&PastRevision> {
        let current = self.spec();
        self.history.iter().rev().find(|past| past.ready && Some(&past.spec) != current)
    }

    /// When the current specification was applied.
    pub fn applied_at(&self) -> Option<Timestamp> {
        self.history.back().map(|past| past.at)
    }

    /// What is known of each service; those no longer wanted stay while they have tasks.
    pub const fn services(&self) -> &BTreeMap<ServiceName, Service> {
        &self.services
    }

    /// Set once it is to be removed.
    pub const fn removal(&self) -> Option<Removal> {
        self.removal
    }

    /// The services that are wanted, none while the stack is being removed.
    pub fn wanted(&self) -> impl Iterator<Item = (&ServiceName, &Service)> {
        let stays = self.removal.is_none();
        self.services.iter().filter(move |(_, service)| stays && service.wanted)
    }
}
