//! The durable store of one replica's log: one file, one writer thread, group commit.
//!
//! **Invariant:** a job is answered `Ok` only after the transaction that holds it was synced; after a
//! failed sync nothing is written or answered `Ok` any more, because what the disk holds is unknown.

use std::{
    io,
    ops::RangeInclusive,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use openraft::storage::IOFlushed;
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::{
    LogError,
    record::{self, BadRecord},
    snapshots::sync_directory,
    types::{LogId, RaftEntry, Types, Vote},
};

/// Entries by index, as sealed records.
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
/// The few facts besides the entries.
const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");
const VOTE: &str = "vote";
const PURGED: &str = "purged";

/// Memory for the store's page cache: the log is read once at start, then only appended.
const CACHE_BYTES: usize = 2 << 20;
/// Jobs waiting for the writer; more than the consensus library keeps in flight.
const QUEUE: usize = 1024;
/// Jobs in one transaction: bounds how long the first of them waits for the last.
const JOBS_PER_COMMIT: usize = 512;
/// A commit slower than this is worth a warning: writes and elections suffer.
const SLOW_COMMIT: Duration = Duration::from_secs(1);

/// What the writer does, and whom it tells.
pub(super) enum Job {
    Append {
        records: Vec<(u64, Vec<u8>)>,
        done: IOFlushed<Types>,
    },
    Vote {
        record: Vec<u8>,
        done: Done,
    },
    /// Removes every entry after this index; all of them for `None`.
    Truncate {
        after: Option<u64>,
        done: Done,
    },
    Purge {
        upto: LogId,
        done: Done,
    },
}

pub(super) type Done = oneshot::Sender<io::Result<()>>;

impl Job {
    fn answer(self, result: io::Result<()>) {
        match self {
            Self::Append { done, .. } => done.io_completed(result),
            // Whoever asked may have gone away; the write stands all the same.
            Self::Vote { done, .. } | Self::Truncate { done, .. } | Self::Purge { done, .. } => {
                let _ = done.send(result);
            }
        }
    }

    /// The last entry this makes durable.
    fn last_appended(&self) -> Option<u64> {
        match self {
            Self::Append { records, .. } => records.last().map(|(index, _)| *index),
            Self::Vote { .. } | Self::Truncate { .. } | Self::Purge { .. } => None,
        }
    }
}

/// Told after each commit: how long it took, how many jobs it held, the last entry made durable.
pub(super) type Observer = Box<dyn Fn(Duration, usize, Option<u64>) + Send>;

/// What a log holds besides its entries.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
}

impl Contents {
    /// Whether nothing was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        self.vote.is_none() && self.purged.is_none() && self.last.is_none()
    }
}

/// Reads the store; writes go to the thread behind `jobs`.
#[derive(Clone)]
pub(super) struct Store {
    database: Arc<Database>,
    jobs: mpsc::Sender<Job>,
}

fn unusable(error: impl Into<redb::Error>) -> io::Error {
    io::Error::other(error.into())
}

fn damaged(what: &str, cause: &BadRecord) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is damaged: {cause}"))
}

impl Store {
    /// Opens the log at `path`, making it when missing, and reads all of it once: a damaged entry is
    /// found now, not when it is needed.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents, Writer), LogError> {
        redb::Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(unusable)
            .and_then(Self::on)
            .and_then(|opened| {
                // A new file's name must outlive a power cut as its content does.
                path.parent().map_or(Ok(()), sync_directory).map(|()| opened)
            })
            .map_err(|cause| LogError::Open { path: path.into(), cause })
    }

    fn on(database: Database) -> io::Result<(Self, Contents, Writer)> {
        prepare(&database)?;
        let contents = contents(&database)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let database = Arc::new(database);
        let writer = Writer { database: Arc::clone(&database), queue };
        Ok((Self { database, jobs }, contents, writer))
    }

    /// Hands a job to the writer; waits while its queue is full.
    pub(super) async fn submit(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).await.map_err(|_| io::Error::other("the log's writer has stopped"))
    }

    /// The entries of the range that are there, in order.
    pub(super) fn entries(&self, range: RangeInclusive<u64>) -> io::Result<Vec<RaftEntry>> {
        let transaction = self.database.begin_read().map_err(unusable)?;
        let table = transaction.open_table(ENTRIES).map_err(unusable)?;
        let mut entries = Vec::new();
        for row in table.range(range).map_err(unusable)? {
            let (index, sealed) = row.map_err(unusable)?;
            entries.push(decode(index.value(), sealed.value())?);
        }
        Ok(entries)
    }
}

fn decode(index: u64, sealed: &[u8]) -> io::Result<RaftEntry> {
    record::decode_entry(index, sealed)
        .map_err(|cause| damaged(&format!("entry {index} of the log"), &cause))
}

fn prepare(database: &Database) -> io::Result<()> {
    let transaction = database.begin_write().map_err(unusable)?;
    transaction.open_table(ENTRIES).map_err(unusable)?;
    transaction.open_table(FACTS).map_err(unusable)?;
    transaction.commit().map_err(unusable)
}

fn contents(database: &Database) -> io::Result<Contents> {
    let transaction = database.begin_read().map_err(unusable)?;
    let facts = transaction.open_table(FACTS).map_err(unusable)?;
    let vote = facts.get(VOTE).map_err(unusable)?;
    let vote = vote.map(|sealed| record::decode_vote(sealed.value())).transpose();
    let purged = facts.get(PURGED).map_err(unusable)?;
    let purged = purged.map(|sealed| record::decode_log_id(sealed.value())).transpose();
    let mut contents = Contents {
        vote: vote.map_err(|cause| damaged("the vote", &cause))?,
        purged: purged.map_err(|cause| damaged("the purge mark", &cause))?,
        last: None,
    };
    let table = transaction.open_table(ENTRIES).map_err(unusable)?;
    let first = contents.purged.map_or(0, |id| id.index + 1);
    for (expected, row) in (first..).zip(table.iter().map_err(unusable)?) {
        let (index, sealed) = row.map_err(unusable)?;
        let entry = decode(index.value(), sealed.value())?;
        if index.value() != expected {
            let text = format!("entry {expected} of the log is missing");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        contents.last = Some(entry.log_id);
    }
    contents.last = contents.last.or(contents.purged);
    Ok(contents)
}

/// The one that writes.
pub(super) struct Writer {
    database: Arc<Database>,
    queue: mpsc::Receiver<Job>,
}

impl Writer {
    /// Writes on a thread of its own until every [`Store`] is gone or a write failed.
    pub(super) fn start(self, observe: Observer) -> io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || self.run(&observe))
    }

    /// What waits while a commit is in flight goes into the next one together.
    fn run(mut self, observe: &Observer) {
        let mut jobs = Vec::new();
        while self.queue.blocking_recv_many(&mut jobs, JOBS_PER_COMMIT) > 0 {
            let began = Instant::now();
            if let Err(error) = self.commit(&jobs) {
                return self.give_up(jobs, &error);
            }
            let took = began.elapsed();
            if took > SLOW_COMMIT {
                tracing::warn!(
                    took_ms = took.as_millis(),
                    "the disk is slow: one log commit took long"
                );
            }
            observe(took, jobs.len(), jobs.iter().filter_map(Job::last_appended).next_back());
            for job in jobs.drain(..) {
                job.answer(Ok(()));
            }
        }
    }

    fn commit(&self, jobs: &[Job]) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut facts = transaction.open_table(FACTS)?;
            for job in jobs {
                match job {
                    Job::Append { records, .. } => {
                        for (index, sealed) in records {
                            entries.insert(index, sealed.as_slice())?;
                        }
                    }
                    Job::Vote { record, .. } => {
                        facts.insert(VOTE, record.as_slice())?;
                    }
                    Job::Truncate { after: Some(after), .. } => {
                        entries.retain_in((after.saturating_add(1)).., |_, _| false)?;
                    }
                    Job::Truncate { after: None, .. } => entries.retain(|_, _| false)?,
                    Job::Purge { upto, .. } => {
                        facts.insert(PURGED, record::encode_log_id(upto).as_slice())?;
                        entries.retain_in(..=upto.index, |_, _| false)?;
                    }
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// A write or sync that failed is never tried again: the system may have thrown the pages away
    /// and would answer the second try with success.
    fn give_up(mut self, jobs: Vec<Job>, error: &redb::Error) {
        tracing::error!(%error, "the log cannot be written; this scheduler stops");
        let failed = || io::Error::other(format!("the log cannot be written: {error}"));
        for job in jobs {
            job.answer(Err(failed()));
        }
        self.queue.close();
        while let Some(job) = self.queue.blocking_recv() {
            job.answer(Err(failed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::{StorageBackend, backends::InMemoryBackend};

    use super::*;

    /// A disk that fails one sync, and would take all later ones: the trap a retry falls into.
    #[derive(Debug, Default)]
    struct Disk {
        memory: InMemoryBackend,
        fails_next: Arc<AtomicBool>,
    }

    impl StorageBackend for Disk {
        fn len(&self) -> Result<u64, io::Error> {
            self.memory.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.memory.read(offset, out)
        }

        fn set_len(&self, len: u64) -> Result<(), io::Error> {
            self.memory.set_len(len)
        }

        fn sync_data(&self) -> Result<(), io::Error> {
            if self.fails_next.swap(false, Ordering::SeqCst) {
                return Err(io::Error::from_raw_os_error(5));
            }
            self.memory.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            self.memory.write(offset, data)
        }
    }

    async fn vote(store: &Store, term: u64) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        store.submit(Job::Vote { record: record::encode_vote(&Vote::new(term, 1)), done }).await?;
        written.await.map_err(io::Error::other)?
    }

    #[tokio::test]
    async fn after_one_failed_sync_nothing_is_written_any_more() {
        let disk = Disk::default();
        let fails_next = Arc::clone(&disk.fails_next);
        let database = redb::Builder::new().create_with_backend(disk).unwrap();
        let (store, _, writer) = Store::on(database).unwrap();
        let thread = writer.start(Box::new(|_, _, _| ())).unwrap();
        vote(&store, 1).await.unwrap();
        fails_next.store(true, Ordering::SeqCst);
        for term in 2..5 {
            assert!(vote(&store, term).await.is_err(), "term {term}");
        }
        tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap();
    }
}
