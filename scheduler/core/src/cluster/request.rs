//! Answers that are remembered so that a write asked twice is done once.

use model::{NodeId, Revision, Timestamp, TokenId};

use crate::cluster::{Outcome, Rejection};

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
