//! The durable store of one replica's log: a directory of segments, one writer thread, group commit.
//!
//! **Invariant:** a job is answered `Ok` only after the commit that holds it was synced; after a failed
//! sync nothing is written or answered `Ok` any more, because what the disk holds is unknown. What was
//! answered is there when the log is opened again, or the log does not open: see `mark`.

mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod index;
mod opened;
mod planted;
mod segments;

use std::{
    io,
    ops::RangeInclusive,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use openraft::storage::IOFlushed;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use crate::files;

use super::{
    LogError, MENDED_BY,
    mark::Mark,
    pace,
    record::{self, BadRecord},
    snapshots::sync_directory,
    types::{LogId, RaftEntry, Types, Vote},
};

use index::{Index, Place};
use opened::Files;
use planted::{Bug, is_planted};
pub(crate) use segments::SEGMENT_BYTES;
use segments::{Directory, Media, Segments};

/// Jobs waiting for the writer; more than the consensus library keeps in flight.
const QUEUE: usize = 1024;
/// Jobs in one commit: bounds how long the first of them waits for the last.
const JOBS_PER_COMMIT: usize = 512;
/// A commit is ended by the job that makes it this long: bounds the memory it takes.
const COMMIT_BYTES: usize = 8 << 20;

/// The log of versions before the first release.
const EARLIER: &str = "log.redb";
const UNREADABLE: &str = "log.redb is the log of a version before 0.1.0, which this one cannot read: go on \
                          with that version, or found a new cluster in an empty directory";

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

    /// About the bytes it writes.
    fn size(&self) -> usize {
        match self {
            Self::Append { records, .. } => records.iter().map(|(_, sealed)| sealed.len()).sum(),
            Self::Vote { .. } | Self::Truncate { .. } | Self::Purge { .. } => 0,
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
    index: Arc<RwLock<Index>>,
    files: Files,
    jobs: mpsc::Sender<Job>,
}

fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}. {MENDED_BY}"))
}

fn damaged(what: &str, cause: &BadRecord) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is damaged: {cause}"))
}

impl Store {
    /// Opens the log in `directory`, making it when missing, and reads all of it once: a damaged entry
    /// is found now, not when it is needed.
    pub(super) fn open(
        directory: &Path,
        segment_bytes: u64,
    ) -> Result<(Self, Contents, Writer), LogError> {
        let open = || {
            let segments = directory.join("segments");
            if directory.join(EARLIER).try_exists()? {
                return Err(io::Error::new(io::ErrorKind::Unsupported, UNREADABLE));
            }
            files::make_private_directory(&segments)?;
            // The name must outlive a power cut as what is in it does.
            sync_directory(directory)?;
            let (mark, promised) = Mark::open(&directory.join("mark"))?;
            Self::on(Directory::new(segments), segment_bytes, mark, promised)
        };
        open().map_err(|cause| LogError::Open { path: directory.into(), cause })
    }

    fn on<M: Media>(
        media: M,
        segment_bytes: u64,
        mark: Mark,
        promised: u64,
    ) -> io::Result<(Self, Contents, Writer<M>)> {
        let segments = Segments::open(media, segment_bytes, promised)?;
        // What is there now is there for good, whatever the mark said before a power cut.
        mark.raise(segments.sequence())?;
        mark.sync()?;
        let (index, contents) = (segments.index(), segments.contents()?);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let files = segments.files();
        Ok((Self { index, files, jobs }, contents, Writer { segments, queue, mark }))
    }

    /// Hands a job to the writer; waits while its queue is full.
    pub(super) async fn submit(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).await.map_err(|_| io::Error::other("the log's writer has stopped"))
    }

    /// Hands a job to the writer, from a thread that may wait.
    pub(super) fn submit_blocking(&self, job: Job) -> io::Result<()> {
        let sent = self.jobs.blocking_send(job);
        sent.map_err(|_| io::Error::other("the log's writer has stopped"))
    }

    /// The entries of the range that are there, in order.
    pub(super) fn entries(&self, range: &RangeInclusive<u64>) -> io::Result<Vec<RaftEntry>> {
        let places = self.index.read().range(range);
        let read = places.into_iter().filter_map(|(index, place)| {
            let sealed = self.read(index, place).transpose()?;
            Some(sealed.and_then(|sealed| decode(index, &sealed)))
        });
        read.collect()
    }

    /// The record of an entry; `None` when the entry, and its segment with it, were purged since its
    /// place was looked up.
    fn read(&self, index: u64, place: Place) -> io::Result<Option<Vec<u8>>> {
        match self.files.read(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let now = self.index.read().range(&(index..=index));
                if now.iter().any(|(_, held)| *held == place) { Err(error) } else { Ok(None) }
            }
            read => read.map(Some),
        }
    }
}

fn decode(index: u64, sealed: &[u8]) -> io::Result<RaftEntry> {
    record::decode_entry_at(index, sealed)
        .map_err(|cause| damaged(&format!("entry {index} of the log"), &cause))
}

/// The one that writes.
pub(super) struct Writer<M = Directory> {
    segments: Segments<M>,
    queue: mpsc::Receiver<Job>,
    mark: Mark,
}

impl<M: Media> Writer<M> {
    /// Writes on a thread of its own until every [`Store`] is gone or a write failed.
    pub(super) fn start(self, observe: Observer) -> io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || self.run(&observe))
    }

    /// What waits while a commit is in flight goes into the next one together.
    fn run(mut self, observe: &Observer) {
        let mut jobs = Vec::new();
        while self.queue.blocking_recv_many(&mut jobs, JOBS_PER_COMMIT) > 0 {
            while !jobs.is_empty() {
                let later = jobs.split_off(in_one_commit(&jobs));
                if let Err(error) = self.commit(&jobs, observe) {
                    jobs.extend(later);
                    return self.give_up(jobs, &error);
                }
                for job in jobs.drain(..) {
                    job.answer(Ok(()));
                }
                jobs = later;
                // Nobody waits for the mark: a crash before it is written leaves one that promises less.
                if let Err(error) = self.raise_mark() {
                    return self.give_up(jobs, &error);
                }
            }
        }
        if let Err(error) = self.mark.sync() {
            tracing::warn!(%error, "the log's mark could not be synced");
        }
    }

    /// Makes the jobs durable.
    fn commit(&mut self, jobs: &[Job], observe: &Observer) -> io::Result<()> {
        let began = Instant::now();
        if is_planted(Bug::MarkFirst) {
            self.mark.raise(self.segments.sequence().saturating_add(1))?;
        }
        self.segments.commit(jobs)?;
        let took = began.elapsed();
        if took > pace::SLOW {
            tracing::warn!(
                took_ms = took.as_millis(),
                "the disk is slow: one log commit took long"
            );
        }
        observe(took, jobs.len(), jobs.iter().filter_map(Job::last_appended).next_back());
        Ok(())
    }

    fn raise_mark(&self) -> io::Result<()> {
        self.mark.raise(self.segments.sequence())?;
        // Seldom enough to wait for, often enough that a power cut leaves no mark of long ago.
        if self.segments.has_just_begun() { self.mark.sync() } else { Ok(()) }
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

/// How many of the jobs go into the next commit: as many as fit, and at least one.
fn in_one_commit(jobs: &[Job]) -> usize {
    let mut bytes = 0;
    let fits = jobs.iter().take_while(|job| {
        let before = bytes;
        bytes += job.size();
        before < COMMIT_BYTES
    });
    fits.count()
}

#[cfg(test)]
mod tests;
