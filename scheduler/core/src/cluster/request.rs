//! Answers that are remembered so that a write asked twice is done once.

use std::collections::{BTreeMap, BTreeSet};

use model::{NodeId, RequestId, Revision, Timestamp, TokenId};

use crate::cluster::{Outcome, Rejection, limits};

/// Since this form the order of the log says what is forgotten. Before, the stamps of entries did, and a
/// clock that stepped made a cluster forget what it had answered a moment ago.
const BY_ORDER_FORM: u32 = 4;

/// The last answers, as many as are kept.
///
/// **Invariant:** all of these hold the same requests. The others find those to be forgotten without a
/// look at all of them: this is done at every write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requests {
    held: BTreeMap<RequestId, Remembered>,
    by_time: BTreeSet<(Timestamp, RequestId)>,
    by_order: BTreeSet<(Revision, RequestId)>,
}

impl Requests {
    pub(crate) const fn new() -> Self {
        Self { held: BTreeMap::new(), by_time: BTreeSet::new(), by_order: BTreeSet::new() }
    }

    pub(crate) fn get(&self, request: RequestId) -> Option<&Remembered> {
        self.held.get(&request)
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// By id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RequestId, &Remembered)> {
        self.held.iter().map(|(request, held)| (*request, held))
    }

    /// Adds one, in the place of an earlier answer to the same request, which is returned.
    pub(crate) fn insert(&mut self, request: RequestId, held: Remembered) -> Option<Remembered> {
        let (at, revision) = (held.at, held.revision);
        let replaced = self.held.insert(request, held);
        if let Some(replaced) = &replaced {
            self.by_time.remove(&(replaced.at, request));
            self.by_order.remove(&(replaced.revision, request));
        }
        self.by_time.insert((at, request));
        self.by_order.insert((revision, request));
        replaced
    }

    /// Adds one now and forgets the oldest of too many; in a cluster of an earlier form also those that
    /// are too old.
    pub(crate) fn remember(&mut self, request: RequestId, held: Remembered, form: u32) {
        let now = held.at;
        if form >= BY_ORDER_FORM {
            while self.held.len() >= limits::MAX_REQUESTS
                && let Some(&(_, oldest)) = self.by_order.first()
            {
                self.forget(oldest);
            }
        } else {
            while let Some(&(at, oldest)) = self.by_time.first()
                && (now.millis_since(at) >= limits::REQUEST_MEMORY_MS
                    || self.held.len() >= limits::MAX_REQUESTS)
            {
                self.forget(oldest);
            }
        }
        self.insert(request, held);
    }

    fn forget(&mut self, request: RequestId) {
        let Some(gone) = self.held.remove(&request) else { return };
        self.by_time.remove(&(gone.at, request));
        self.by_order.remove(&(gone.revision, request));
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// When it was answered.
    pub at: Timestamp,
    /// The cluster's revision then.
    pub revision: Revision,
    /// What was answered.
    pub answer: Answer,
}

/// An answer in the form that is kept: a rejection by its words alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// [`Outcome::Done`]
    Done,
    /// [`Outcome::Unchanged`]
    Unchanged,
    /// [`Outcome::Stack`]
    Stack(Revision),
    /// [`Outcome::Node`]
    Node(NodeId),
    /// [`Outcome::Token`]
    Token(TokenId),
    /// A rejection.
    Refused {
        /// What was said.
        text: String,
        /// [`Rejection::is_input_error`]
        input: bool,
    },
}

impl Answer {
    /// What is kept of a result.
    pub(crate) fn of(result: &Result<Outcome, Rejection>) -> Self {
        match result {
            Ok(Outcome::Done | Outcome::Planned { .. }) => Self::Done,
            Ok(Outcome::Unchanged) => Self::Unchanged,
            Ok(Outcome::Stack(revision)) => Self::Stack(*revision),
            Ok(Outcome::Node(node)) => Self::Node(*node),
            Ok(Outcome::Token(token)) => Self::Token(*token),
            Err(why) => Self::Refused { text: why.to_string(), input: why.is_input_error() },
        }
    }

    /// The result to give again.
    pub(crate) fn again(&self) -> Result<Outcome, Rejection> {
        match self {
            Self::Done => Ok(Outcome::Done),
            Self::Unchanged => Ok(Outcome::Unchanged),
            Self::Stack(revision) => Ok(Outcome::Stack(*revision)),
            Self::Node(node) => Ok(Outcome::Node(*node)),
            Self::Token(token) => Ok(Outcome::Token(*token)),
            Self::Refused { text, input } => {
                Err(Rejection::Repeated { text: text.clone(), input: *input })
            }
        }
    }
}
