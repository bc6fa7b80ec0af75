//! The durable store of one replica's log: one file, one writer thread, group commit.
//!
//! **Invariant:** a job is answered `Ok` only after the transaction that holds it was synced; after a
//! failed sync nothing is written or answered `Ok` any more, because what the disk holds is unknown.
//! What was answered is there when the log is opened again, or the log does not open: see `mark`.

use std::{
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use openraft::storage::IOFlushed;
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::{
    LogError,
    mark::{Mark, Promised, Seal},
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

/// What is left to do about a log that cannot be believed.
const MENDED_BY: &str = "Restore the directory from a backup or another scheduler";

/// What the writer does, and whom it tells.
pub(super) enum Job {
    Append {
        records: Vec<(u64, Vec<u8>)>,
        done: IOFlushed<Types>,
    },
    Vote {
        vote: Vote,
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

    /// What a mark may promise of it.
    fn held(&self) -> Promised {
        Promised {
            entries: self.last.map_or(0, |id| id.index + 1),
            term: self.vote.map_or(0, |vote| vote.leader_id.term),
        }
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
        let open = || {
            let (mark, promised, seal) = Mark::open(&path.with_extension("mark"))?;
            let database = match seal {
                Some(seal) => sealed(path, seal).and_then(|()| {
                    mark.lower(promised)?;
                    database(path)
                }),
                None => database(path).and_then(whole),
            };
            let mut opened = Self::on(database?, mark, promised)?;
            opened.2.path = Some(path.to_owned());
            Ok(opened)
        };
        open().map_err(|cause| LogError::Open { path: path.into(), cause })
    }

    fn on(
        database: Database,
        mark: Mark,
        promised: Promised,
    ) -> io::Result<(Self, Contents, Writer)> {
        prepare(&database)?;
        let contents = contents(&database)?;
        let held = contents.held();
        keeps(promised, held)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let database = Arc::new(database);
        let path = None;
        let writer = Writer { database: Arc::clone(&database), queue, path, mark, held };
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

/// The store's file, made when missing.
fn database(path: &Path) -> io::Result<Database> {
    if !path.try_exists()? {
        make(path)?;
    }
    redb::Builder::new().set_cache_size(CACHE_BYTES).open(path).map_err(unusable)
}

/// Makes the file beside and moves it into its place when it is whole: a file whose making was cut
/// off would never open.
fn make(path: &Path) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let database = redb::Builder::new().create(&beside).map_err(unusable)?;
    prepare(&database)?;
    drop(database);
    fs::rename(&beside, path)?;
    // Its name must outlive a power cut as its content does.
    path.parent().map_or(Ok(()), sync_directory)
}

/// Refuses a file that is not as it was left.
fn sealed(path: &Path, seal: Seal) -> io::Result<()> {
    if Seal::of(path)? == seal {
        return Ok(());
    }
    let text = format!("it is not as it was left: it was damaged or replaced. {MENDED_BY}");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// A look at the checksums of all pages; the store itself takes it after a crash only.
fn whole(mut database: Database) -> io::Result<Database> {
    if database.check_integrity().map_err(unusable)? {
        return Ok(database);
    }
    let text = format!("the checksums of its pages do not match. {MENDED_BY}");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// Refuses a log that lacks what was answered as durable: its newest part was damaged or removed.
fn keeps(promised: Promised, held: Promised) -> io::Result<()> {
    let lost = if held.entries < promised.entries {
        format!("{} entries were acknowledged, {} are left", promised.entries, held.entries)
    } else if held.term < promised.term {
        format!("a vote of term {} was given, one of term {} is left", promised.term, held.term)
    } else {
        return Ok(());
    };
    let text = format!("its newest part is damaged or gone: {lost}. {MENDED_BY}");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
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
    /// Of the store's file, if it lies in one.
    path: Option<PathBuf>,
    mark: Mark,
    /// What the log holds durably.
    held: Promised,
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
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the log could not be sealed");
        }
    }

    /// Closes the store and seals it. Nobody reads it any more: every [`Store`] is gone.
    fn close(self) -> io::Result<()> {
        let Self { database, path: Some(path), mark, held, .. } = self else { return Ok(()) };
        let Some(database) = Arc::into_inner(database) else { return Ok(()) };
        drop(database);
        mark.seal(held, Seal::of(&path)?)
    }

    /// Makes the jobs durable, and lets the mark say so.
    fn commit(&mut self, jobs: &[Job]) -> io::Result<()> {
        let (lowest, held) = afterwards(self.held, jobs);
        if lowest != self.held {
            self.mark.lower(lowest)?;
        }
        self.write(jobs).map_err(unusable)?;
        self.held = held;
        self.mark.raise(held)
    }

    fn write(&self, jobs: &[Job]) -> Result<(), redb::Error> {
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
                    Job::Vote { vote, .. } => {
                        facts.insert(VOTE, record::encode_vote(vote).as_slice())?;
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
    fn give_up(mut self, jobs: Vec<Job>, error: &io::Error) {
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

/// What the log holds after these jobs, and the least of it while they are done.
fn afterwards(held: Promised, jobs: &[Job]) -> (Promised, Promised) {
    let (mut lowest, mut now) = (held, held);
    for job in jobs {
        match job {
            Job::Append { records, .. } => {
                let end = records.last().map(|(index, _)| index + 1);
                now.entries = end.unwrap_or(now.entries);
            }
            Job::Vote { vote, .. } => now.term = vote.leader_id.term,
            Job::Truncate { after, .. } => {
                now.entries = now.entries.min(after.map_or(0, |after| after.saturating_add(1)));
                lowest.entries = lowest.entries.min(now.entries);
            }
            Job::Purge { upto, .. } => now.entries = now.entries.max(upto.index + 1),
        }
    }
    (lowest, now)
}

#[cfg(test)]
mod tests;
