//! The assignment set last accepted and what is remembered of its tasks, on disk: so the agent knows
//! what to run without a scheduler.
//!
//! The file is `SISOLED1`, the length and CRC-32C of what follows (little-endian), and a protobuf
//! message. **Invariant:** a set is accepted only for this cluster and node, and never an older one.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use model::{
    AssignmentSet, Generation, Inventory, NodeId, TaskId, Timestamp,
    planted::{Bug, is_planted},
};
use prost::Message as _;
use proto::v1;
use thiserror::Error;

use crate::{attempt::Attempt, file};

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

const MAGIC: &[u8; 8] = b"SISOLED1";
const HEADER: usize = 16;
/// Larger than any set that fits into a message, with what is remembered of it.
const MAX_BYTES: u64 = 16 << 20;
const FILE: &str = "ledger";
const DAMAGED: &str = "ledger.damaged";
/// Tasks one machine is given at most: an engine is slow with a tenth of it.
pub const MAX_TASKS: usize = 1_000;

/// What the ledger holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The set.
    pub set: AssignmentSet,
    /// What is remembered of its tasks.
    pub attempts: BTreeMap<TaskId, Attempt>,
    /// What the machine offered when the engine last answered.
    pub inventory: Option<Inventory>,
}

/// The ledger's file.
#[derive(Debug, Clone)]
pub struct Ledger {
    path: PathBuf,
}

/// What goes wrong with the file.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// It cannot be read or written.
    #[error("the ledger {} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Its content is not what was written.
    #[error("the ledger {} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Why a set is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAccepted {
    /// It is older than the one that is held.
    #[error("assignments of generation {got} are older than generation {held}, which is held")]
    Stale {
        /// Of the set.
        got: Generation,
        /// Of the one that is held.
        held: Generation,
    },
    /// It is for somebody else.
    #[error("assignments for {node} of cluster {cluster} are not for this agent")]
    NotOurs {
        /// The cluster it names.
        cluster: String,
        /// The node it names.
        node: NodeId,
    },
    /// It is too large.
    #[error("{count} tasks are assigned, {MAX_TASKS} at most")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// Whether `news` may replace what is held. The same generation again is fine: it is sent at every
/// connection.
pub fn check(
    (cluster, node): (&str, NodeId),
    held: Option<&AssignmentSet>,
    news: &AssignmentSet,
) -> Result<(), NotAccepted> {
    if news.cluster != cluster || news.node != node {
        return Err(NotAccepted::NotOurs { cluster: news.cluster.clone(), node: news.node });
    }
    if news.tasks.len() > MAX_TASKS {
        return Err(NotAccepted::TooMany { count: news.tasks.len() });
    }
    match held {
        Some(held) if news.generation < held.generation && !is_planted(Bug::OlderSetAccepted) => {
            Err(NotAccepted::Stale { got: news.generation, held: held.generation })
        }
        _ => Ok(()),
    }
}

/// The file's message. Field numbers are never reused.
#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(message, optional, tag = "1")]
    set: Option<v1::AssignmentSet>,
    #[prost(message, repeated, tag = "2")]
    attempts: Vec<AttemptRecord>,
    #[prost(message, optional, tag = "3")]
    inventory: Option<v1::Inventory>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AttemptRecord {
    #[prost(message, optional, tag = "1")]
    report: Option<v1::TaskReport>,
    #[prost(uint32, tag = "2")]
    streak: u32,
    #[prost(uint32, tag = "3")]
    failures: u32,
    #[prost(uint64, optional, tag = "4")]
    counted: Option<u64>,
}

impl Ledger {
    /// The ledger in this directory and what it holds; nothing when there is no file yet.
    pub fn open(directory: &Path) -> (Self, Result<Option<Held>, LedgerError>) {
        let path = directory.join(FILE);
        let held = load(&path);
        (Self { path }, held)
    }

    /// Puts a damaged file aside, for whoever looks into it.
    pub fn put_aside(&self) -> Result<(), LedgerError> {
        let aside = self.path.with_file_name(DAMAGED);
        let io = |cause| LedgerError::Io { path: self.path.clone(), cause };
        std::fs::rename(&self.path, aside).map_err(io)
    }

    /// Writes durably what [`encode`] made.
    pub fn write(&self, bytes: &[u8]) -> Result<(), LedgerError> {
        let io = |cause| LedgerError::Io { path: self.path.clone(), cause };
        file::replace(&self.path, bytes).map_err(io)
    }
}

/// The file's content.
pub fn encode(
    set: &AssignmentSet,
    attempts: &BTreeMap<TaskId, Attempt>,
    inventory: Option<&Inventory>,
) -> Vec<u8> {
    let attempt = |(task, attempt): (&TaskId, &Attempt)| {
        let report = model::TaskReport { task: *task, status: attempt.status.clone() };
        AttemptRecord {
            report: Some(report.into()),
            streak: attempt.streak,
            failures: attempt.failures,
            counted: attempt.counted.map(|at| at.0),
        }
    };
    let record = Record {
        set: Some(set.into()),
        attempts: attempts.iter().map(attempt).collect(),
        inventory: inventory.map(Into::into),
    };
    seal(&record.encode_to_vec())
}

/// The body behind its header.
fn seal(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn load(path: &Path) -> Result<Option<Held>, LedgerError> {
    let damaged = |why: String| LedgerError::Damaged { path: path.to_owned(), why };
    match file::read(path, MAX_BYTES) {
        Ok(Some(bytes)) => decode(&bytes).map(Some).map_err(damaged),
        Ok(None) => Ok(None),
        Err(cause) => Err(LedgerError::Io { path: path.to_owned(), cause }),
    }
}

/// What [`encode`] wrote, or why it is not that.
pub fn decode(bytes: &[u8]) -> Result<Held, String> {
    let (header, body) = bytes.split_at_checked(HEADER).ok_or("it is cut off")?;
    let field = |from: usize| {
        let bytes: Option<[u8; 4]> =
            header.get(from..from + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).unwrap_or_default()
    };
    if !header.starts_with(MAGIC) {
        return Err("it is not a ledger".to_owned());
    }
    if u32::try_from(body.len()) != Ok(field(8)) {
        return Err("its length is wrong".to_owned());
    }
    if crc32c::crc32c(body) != field(12) {
        return Err("its checksum is wrong".to_owned());
    }
    let record = Record::decode(body).map_err(|error| error.to_string())?;
    let set = record.set.ok_or("it holds no assignments")?;
    let set = AssignmentSet::try_from(set).map_err(|error| error.to_string())?;
    let mut attempts = BTreeMap::new();
    for record in record.attempts {
        let report = record.report.ok_or("an attempt has no status")?;
        let report = model::TaskReport::try_from(report).map_err(|error| error.to_string())?;
        let attempt = Attempt {
            status: report.status,
            streak: record.streak,
            failures: record.failures,
            counted: record.counted.map(Timestamp),
            ..Attempt::default()
        };
        attempts.insert(report.task, attempt);
    }
    let inventory = record.inventory.map(Inventory::try_from).transpose();
    let inventory = inventory.map_err(|error| error.to_string())?;
    Ok(Held { set, attempts, inventory })
}

#[cfg(test)]
mod tests;
