//! A replica's log read without the others, and a new one made of what it says.
//!
//! **Invariant:** every entry this replica has is kept, also those it does not know to be agreed on: an
//! acknowledged write may be among them. What the others agreed on without it is lost.

use std::{collections::BTreeMap, io, path::Path};

use model::Timestamp;
use openraft::{BasicNode, EntryPayload, entry::RaftEntry as _};
use scheduler_core::Cluster;
use tokio::sync::oneshot;

use super::{
    LogError, codec,
    snapshots::{self, SnapshotFiles},
    store::{Job, SEGMENT_BYTES, Store},
    types::{LogId, Membership, Payload, SnapshotMeta, StoredMembership, Vote},
};

/// Entries read at a time: bounds the memory it takes.
const PART: u64 = 256;

/// What a replica knows.
pub(crate) struct Knowledge {
    pub(crate) cluster: Cluster,
    /// The voters by the last change of members it has, with where they are.
    pub(crate) voters: Vec<(u64, String)>,
    /// When the last change it has was proposed, if any is still in the log.
    pub(crate) until: Option<Timestamp>,
    last: LogId,
    term: u64,
}

fn damaged(directory: &Path, what: impl std::fmt::Display) -> LogError {
    let cause = io::Error::new(io::ErrorKind::InvalidData, what.to_string());
    LogError::Open { path: directory.to_owned(), cause }
}

/// Reads the log in `directory`, which nobody uses; entries and snapshots of forms up to `form`.
pub(crate) fn read(directory: &Path, form: u32) -> Result<Knowledge, LogError> {
    let files = SnapshotFiles::open(directory.join("snapshots"), form)?;
    let loaded = files.newest()?;
    let (store, contents, _) = Store::open(directory, SEGMENT_BYTES)?;
    let mut cluster = Cluster::new();
    let (mut membership, mut applied) = (Membership::default(), None);
    if let Some(loaded) = loaded {
        cluster = loaded.cluster;
        membership = loaded.meta.last_membership.membership().clone();
        applied = loaded.meta.last_log_id;
    }
    if contents.purged > applied {
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
        return Err(LogError::Gap { applied: index(applied), purged: index(contents.purged) });
    }
    let last = contents.last.max(applied);
    let last = last.ok_or_else(|| LogError::NoLog { path: directory.to_owned() })?;
    let mut until = None;
    let mut next = applied.map_or(0, |id| id.index + 1);
    while next <= last.index {
        let upto = last.index.min(next + PART - 1);
        let entries = store.entries(&(next..=upto)).map_err(|cause| damaged(directory, cause))?;
        for entry in entries {
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(members) => membership = members.clone(),
                EntryPayload::Normal(Payload(bytes)) => {
                    let read = codec::decode_entry_up_to(bytes, form).map_err(|cause| {
                        damaged(directory, format!("entry {}: {cause}", entry.index()))
                    })?;
                    until = Some(read.at);
                    // Whoever asked was answered, or nobody will be.
                    let _ = cluster.apply(&read);
                }
            }
        }
        next = upto + 1;
    }
    let until = until.or_else(|| cluster.events().back().map(|event| event.at));
    let address = |id| membership.get_node(&id).map_or_else(String::new, |node| node.addr.clone());
    let voters = membership.voter_ids().map(|id| (id, address(id))).collect();
    let term = contents.vote.map_or(0, |vote| vote.leader_id.term).max(last.leader_id.term);
    Ok(Knowledge { cluster, voters, until, last, term })
}

/// Makes a log in the empty `directory` that holds what is known, with `voter`, at `address`, as the only
/// one who votes. It is durable when this returns.
pub(crate) fn write(
    directory: &Path,
    knowledge: &Knowledge,
    (voter, address): (u64, &str),
) -> Result<(), LogError> {
    let failed = |cause| LogError::Open { path: directory.to_owned(), cause };
    crate::files::make_private_directory(directory).map_err(failed)?;
    let nodes = BTreeMap::from([(voter, BasicNode::new(address))]);
    let members = Membership::new(vec![[voter].into()], nodes)
        .map_err(|bad| damaged(directory, bad.to_string()))?;
    let meta = SnapshotMeta {
        last_log_id: Some(knowledge.last),
        last_membership: StoredMembership::new(Some(knowledge.last), members),
    };
    let files = SnapshotFiles::open(directory.join("snapshots"), codec::ENTRY_VERSION)?;
    let bytes = snapshots::encode(&meta, &knowledge.cluster);
    files.adopt(&meta, &bytes).map_err(failed)?;
    let (store, _, writer) = Store::open(directory, SEGMENT_BYTES)?;
    let thread = writer.start(Box::new(|_, _, _| ())).map_err(failed)?;
    let vote = Vote::new(knowledge.term + 1, voter);
    let (done, ballot) = oneshot::channel();
    store.submit_blocking(Job::Vote { vote, done }).map_err(failed)?;
    let (done, purged) = oneshot::channel();
    store.submit_blocking(Job::Purge { upto: knowledge.last, done }).map_err(failed)?;
    drop(store);
    for written in [ballot, purged] {
        let gone = |_| failed(io::Error::other("the log's writer has stopped"));
        written.blocking_recv().map_err(gone)?.map_err(failed)?;
    }
    thread.join().map_err(|_| failed(io::Error::other("the log's writer broke")))
}
