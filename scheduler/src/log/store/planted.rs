//! Bugs that are planted in the store, to prove that cutting its power would find them.
//!
//! **Invariant:** nothing of it is in any program: [`is_planted`] is `false` before the compiler looks at
//! what depends on it, but in this crate's own tests, where a bug is planted for one thread.

/// A mistake that somebody could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A commit is answered when it was written, and synced with the next one.
    SyncedLate,
    /// Commits are not synced at all.
    NeverSynced,
    /// The name of a new segment is not made durable.
    DirectoryNotSynced,
    /// The mark promises a commit before it is written.
    MarkFirst,
}

#[cfg(not(test))]
pub(super) const fn is_planted(_: Bug) -> bool {
    false
}

#[cfg(test)]
pub(super) use switch::{is_planted, plant};

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    pub(in crate::log::store) fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Plants a bug for this thread, or none.
    pub(in crate::log::store) fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }
}
