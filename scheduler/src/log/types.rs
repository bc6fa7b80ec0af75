//! The types openraft is told to work with, and nothing else.

use std::fmt;

use bytes::Bytes;
use openraft::{alias, impls::ProgressResponder, vote::RaftLeaderId as _};
use scheduler_core::Applied;

/// A command on its way through the log: an encoded `Entry`, opaque to everything but the codec.
///
/// Opaque, so that a replica stores and forwards what it cannot read yet, and stops only where it
/// would have to apply it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The answer to one entry. `None` for entries of the log itself (blank, membership).
pub(crate) type Answer = Option<Applied>;

/// Ties the types together; never instantiated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types {}

impl openraft::RaftTypeConfig for Types {
    type D = Payload;
    type R = Answer;
    type NodeId = u64;
    type Node = openraft::BasicNode;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Payload, u64, openraft::BasicNode>;
    type Entry =
        openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = openraft_rt_tokio::TokioRuntime;
    type Responder<T>
        = ProgressResponder<Self, T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type RaftEntry = alias::EntryOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, openraft::BasicNode>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// The place `index`, written in `term`.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    // Who led that term is not part of a committed id.
    let leader = alias::LeaderIdOf::<Types>::new(term, 0).to_committed();
    LogId::new(leader, index)
}
