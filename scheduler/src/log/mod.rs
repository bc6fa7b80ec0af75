//! The replicated log: what was agreed, in order, durable before it is answered.
//!
//! **Invariant:** openraft and the store are named here and nowhere else; everyone else sees
//! [`ReplicatedLog`]. Read `store` for durability, `state_machine` for how the log becomes a
//! [`Cluster`], `snapshots` for what replaces its old part.

mod authorities;
mod codec;
mod door;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod mark;
mod members;
mod network;
mod pace;
mod raft;
mod record;
pub(crate) mod recovery;
mod room;
mod snapshots;
mod state_machine;
mod storage;
mod store;
mod types;

#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, time::Duration};

use futures::future::BoxFuture;
use model::{RequestId, Revision};
use parking_lot::MappedRwLockReadGuard;
use scheduler_core::{Applied, Cluster, Command};
use thiserror::Error;
use tokio::sync::watch;

pub(crate) use authorities::Member;
pub(crate) use codec::{ENTRY_VERSION, MOVES_FORM, form_of_inventory, inventory_in, reports_in};
pub(crate) use door::Door;
pub(crate) use members::{LEADER, PROBE_TIMEOUT, Seen};
pub(crate) use network::{OwnFace, Peers, SHUT_OUT, ShutOut, shut_out_by};
pub use raft::{ELECTION_LAN, ELECTION_WAN, Election, LogSettings, RaftLog};
pub(crate) use store::SEGMENT_BYTES;

/// What is left to do about a log that cannot be believed. An old copy of one that votes has forgotten what it agreed to,
/// so among several it must not come back.
pub(crate) const MENDED_BY: &str = "One of several schedulers: remove it (`sisoctl scheduler rm`), and join anew with an \
                                    empty directory. The only one: restore the directory from a backup, and before the \
                                    start `sisoctl scheduler recover --data-dir DIR --from-backup`";
/// How long a proposal may take until it is answered. Far beyond a slow disk's commit.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a reader waits for a majority before it is told that there is none: longer than an election and a
/// sync of a slow disk, and shorter than people's commands wait, so that they hear of it.
pub(crate) const BARRIER_TIMEOUT: Duration = Duration::from_secs(6);
/// The largest command: a specification of 1 MiB fits, and a plan of thousands of changes.
pub const COMMAND_BYTES_MAX: usize = 4 << 20;

/// Where commands go to be agreed on, and where what was agreed can be read.
pub trait ReplicatedLog: Send + Sync + 'static {
    /// Proposes a command and answers what applying it answered, once it is durable. With `request`,
    /// proposing the same again answers as the first time.
    fn propose(
        &self,
        request: Option<RequestId>,
        command: Command,
    ) -> BoxFuture<'_, Result<Applied, LogError>>;

    /// Returns once every write answered before the call can be read with [`Self::cluster`], and this
    /// replica was still the leader after the call began.
    fn barrier(&self) -> BoxFuture<'_, Result<(), LogError>>;

    /// Tells when [`Self::cluster`] has changed.
    fn revision(&self) -> watch::Receiver<Revision>;

    /// Tells who leads, who votes, and whether this replica still works. How far it has come is in
    /// there too, up to date whenever it is looked at; of that alone nobody is told.
    fn standing(&self) -> watch::Receiver<Standing>;

    /// The cluster as this replica knows it. Blocks it from changing: not to be kept.
    fn cluster(&self) -> MappedRwLockReadGuard<'_, Cluster>;
}

/// What a replica is, at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// This replica's id.
    pub id: u64,
    /// The term it knows.
    pub term: u64,
    /// Who leads, as far as it knows. Not this replica when it hears of no majority any more.
    pub leader: Option<u64>,
    /// Whether the one that leads was heard a moment ago: without that, this replica knows who led, and
    /// nothing of now.
    pub heard: bool,
    /// The voting members with the addresses they are reached at.
    pub voters: Vec<(u64, String)>,
    /// Whether the voters are changing: until they have, a majority of the old ones is needed as well.
    pub joint: bool,
    /// The last entry in its log.
    pub last: u64,
    /// The last entry it has applied.
    pub applied: u64,
    /// The last entry its newest snapshot covers.
    pub snapshot: u64,
    /// The last entry removed from its log.
    pub purged: u64,
    /// Why it has stopped for good, when it has.
    pub failed: Option<String>,
}

impl Standing {
    /// Whether this replica leads.
    pub fn leads(&self) -> bool {
        self.failed.is_none() && self.leader == Some(self.id)
    }

    /// Whether the two differ at most in how far the replica has come.
    fn is_same_role(&self, other: &Self) -> bool {
        let Self { id, term, leader, heard, voters, joint, failed, .. } = self;
        (id, term, leader, heard) == (&other.id, &other.term, &other.leader, &other.heard)
            && (voters, joint, failed) == (&other.voters, &other.joint, &other.failed)
    }
}

/// What goes wrong with the log.
#[derive(Debug, Error)]
pub enum LogError {
    /// A file of the log cannot be used.
    #[error("cannot use {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// All snapshots are damaged.
    #[error(
        "no snapshot is whole, the newest is {}: this scheduler's copy of the cluster is lost. {}",
        path.display(),
        MENDED_BY
    )]
    NoWholeSnapshot {
        /// The newest.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error(
        "{} was written by a newer version of siso-scheduler: nothing was touched\nhint: go on with \
         that version",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is too new.
        #[source]
        cause: io::Error,
    },
    /// Not every scheduler understands the change yet.
    #[error(
        "this needs form {needed} of the log, and the schedulers have agreed on form {agreed} so far\n\
         hint: one of them is of an earlier version (`sisoctl scheduler ls`): update it, and ask again"
    )]
    NotYet {
        /// The form of the change.
        needed: u32,
        /// What all understand.
        agreed: u32,
    },
    /// Snapshots and log do not meet.
    #[error(
        "the newest whole snapshot ends at entry {applied}, the log begins after entry {purged}: what \
         lies between is lost. {}",
        MENDED_BY
    )]
    Gap {
        /// Where the snapshot ends.
        applied: u64,
        /// Where the log begins.
        purged: u64,
    },
    /// There are snapshots without a log.
    #[error(
        "known id, empty log: {} holds snapshots, but the log they were made of is gone, and with it \
         what came after them. {}",
        path.display(),
        MENDED_BY
    )]
    NoLog {
        /// The directory.
        path: PathBuf,
    },
    /// The disk is all but full.
    #[error(
        "the disk of {} has {} MiB free, and changes are made only while {} MiB are; nothing is lost, \
         and what runs goes on\nhint: free space on the scheduler's disk",
        path.display(), free >> 20, least >> 20
    )]
    DiskFull {
        /// The directory on it.
        path: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes that must be.
        least: u64,
    },
    /// The settings contradict each other.
    #[error("bad election times: {0}")]
    Settings(String),
    /// No leader is known.
    #[error(
        "no majority of the schedulers is heard, so nothing can be decided, and nothing known for sure; what runs \
         goes on\nhint: `sisoctl scheduler ls` says which are missing, and what can be done"
    )]
    NoLeader,
    /// There is a leader, and it did not confirm in time that it still is one.
    #[error(
        "the schedulers did not confirm within {} s that what they know is of now: ask again",
        BARRIER_TIMEOUT.as_secs()
    )]
    Late,
    /// Another replica leads.
    #[error("scheduler {leader} leads, not this one")]
    NotLeader {
        /// Which.
        leader: u64,
    },
    /// No answer in time: it may still happen.
    #[error(
        "the change was not confirmed within {} s; it may still be made",
        PROPOSE_TIMEOUT.as_secs()
    )]
    TimedOut,
    /// The command is too large.
    #[error("the change is {size} bytes large, at most {COMMAND_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// This replica has stopped for good.
    #[error("this scheduler has stopped: {0}")]
    Stopped(String),
}
