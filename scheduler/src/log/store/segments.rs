//! The files of the log: segments, each the commits since the one it is named by.
//!
//! A commit is written behind the one before, into room that was filled with zeros beforehand, and
//! synced: one write, and one sync that need not note a new length. When a segment is long enough the
//! next commit begins a new one, with the vote and the purge mark said again, so that old segments
//! can go whole, and the last entry, so that one that is gone is missed.
//!
//! **Invariant:** a commit is written only after the one before was synced. So a commit that does not
//! read whole was in flight when the power failed, unless a later one is there or the mark promises
//! it: then it was damaged, and the log is refused.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use openraft::entry::RaftEntry as _;
use parking_lot::RwLock;

use crate::files;

use super::{
    super::{
        record,
        snapshots::sync_directory,
        types::{LogId, Vote},
    },
    Contents, Job, damaged,
    frame::{Builder, Frame, Kind},
    index::{Index, Place},
    opened::{Files, segment_path},
    planted::{Bug, is_planted},
    refused,
};

/// A segment this long is followed by a new one.
pub(crate) const SEGMENT_BYTES: u64 = 4 << 20;
/// Room made at a time, for hundreds of ordinary commits.
const ROOM_BYTES: u64 = 256 << 10;
/// A longer one is never written, and none is read: it is far beyond the longest commit that
/// proposals in flight can make.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Memory kept for the next commit.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// Where segments lie.
pub(in crate::log) trait Media: Send + 'static {
    /// The segments that are there: the first commit of each, in order.
    fn list(&self) -> io::Result<Vec<u64>>;
    /// The directory they lie in.
    fn path(&self) -> &Path;
    /// Opens a segment; it is the one that is written from now on.
    fn open(&mut self, base: u64) -> io::Result<&File>;
    /// Begins an empty segment; it is the one that is written from now on.
    fn create(&mut self, base: u64) -> io::Result<()>;
    /// Makes durable which segments there are.
    fn sync_names(&mut self) -> io::Result<()>;
    /// Writes to the segment opened or created last.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written to it durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Removes a segment, sooner or later: it may be there again after a power cut.
    fn remove(&mut self, base: u64) -> io::Result<()>;
}

/// A directory of segments.
#[derive(Debug)]
pub(in crate::log) struct Directory {
    path: PathBuf,
    written: Option<File>,
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, written: None }
    }

    pub(super) fn file(&self, base: u64) -> PathBuf {
        segment_path(&self.path, base)
    }

    fn use_file(&mut self, base: u64, options: &mut OpenOptions) -> io::Result<&File> {
        let file = options.read(true).write(true).mode(0o600).open(self.file(base))?;
        Ok(self.written.insert(file))
    }

    fn written(&self) -> io::Result<&File> {
        self.written.as_ref().ok_or_else(|| io::Error::other("no segment was opened"))
    }
}

impl Media for Directory {
    fn list(&self) -> io::Result<Vec<u64>> {
        let mut bases = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let base = name.and_then(|name| name.parse().ok());
            // Commits are counted from 1.
            if let Some(base) = base.filter(|base| *base > 0 && path == self.file(*base)) {
                bases.push(base);
            }
        }
        bases.sort_unstable();
        Ok(bases)
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&mut self, base: u64) -> io::Result<&File> {
        self.use_file(base, &mut OpenOptions::new())
    }

    fn create(&mut self, base: u64) -> io::Result<()> {
        self.use_file(base, OpenOptions::new().create_new(true)).map(|_| ())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.written()?.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.written()?.sync_data()
    }

    fn remove(&mut self, base: u64) -> io::Result<()> {
        fs::remove_file(self.file(base))
    }
}

/// One segment.
#[derive(Debug)]
struct Segment {
    base: u64,
    /// The highest entry ever written to it.
    highest: Option<u64>,
    /// Whether not even its first commit was made.
    is_empty: bool,
}

/// All segments, and the end that is written.
#[derive(Debug)]
pub(super) struct Segments<M> {
    media: M,
    index: Arc<RwLock<Index>>,
    files: Files,
    all: VecDeque<Segment>,
    segment_bytes: u64,
    /// The last commit.
    sequence: u64,
    /// Where in the newest segment the next one goes.
    position: u64,
    /// The length of the newest segment: zeros behind the last commit.
    room: u64,
    vote: Option<Vote>,
    purged: Option<LogId>,
    /// While it is read: the entries up to here were written before what is there.
    owed: Option<u64>,
    buffer: Vec<u8>,
}

/// What a commit changes once it is durable.
enum Change {
    Entry(u64, Place),
    Truncate(Option<u64>),
    Vote(Vote),
    Purge(LogId),
    Last(Option<u64>),
}

impl<M: Media> Segments<M> {
    /// Reads all segments once: a damaged commit is found now, not when it is needed. `promised` is
    /// the commit that must be there.
    pub(super) fn open(media: M, segment_bytes: u64, promised: u64) -> io::Result<Self> {
        let mut opened = Self {
            files: Files::new(media.path()),
            media,
            index: Arc::default(),
            all: VecDeque::new(),
            segment_bytes,
            sequence: 0,
            position: 0,
            room: 0,
            vote: None,
            purged: None,
            owed: None,
            buffer: Vec::new(),
        };
        let (mut tails, bases) = (Vec::new(), opened.media.list()?);
        // One begins when the commit before it was synced: its name promises that much without a mark.
        let promised = promised.max(bases.last().map_or(0, |base| base - 1));
        for base in bases {
            let tail = opened.read(base)?;
            if opened.all.back().is_some_and(|segment| !segment.is_empty) {
                tails.clear();
            }
            tails.push(tail);
        }
        if tails.iter().any(|tail| Frame::is_in(tail, opened.sequence + 1)) {
            return Err(refused(&format!(
                "commit {} is damaged, and there are later ones",
                opened.sequence + 1
            )));
        }
        if opened.sequence < promised {
            return Err(refused(&format!(
                "its newest part is damaged or gone: commit {promised} was acknowledged, {} is the \
                 last one left",
                opened.sequence
            )));
        }
        opened.check()?;
        opened.clear(tails.last().map_or(&[], Vec::as_slice))?;
        Ok(opened)
    }

    /// Reads a segment; answers what lies behind its last whole commit.
    fn read(&mut self, base: u64) -> io::Result<Vec<u8>> {
        let bytes = files::read_at_most(&mut self.media.open(base)?, SEGMENT_BYTES_MAX)?;
        let is_first = self.all.is_empty();
        self.all.push_back(Segment { base, highest: None, is_empty: true });
        let (mut at, mut expected) = (0, base);
        while let Some(frame) = bytes.get(at..).and_then(Frame::read) {
            if frame.sequence != expected {
                break;
            }
            if at == 0 && !is_first && base != self.sequence + 1 {
                // Damaged, or old segments that a power cut brought back in part. What follows says
                // all there is to say about what came before, if nothing of it is needed any more.
                (*self.index.write(), self.vote, self.purged, self.owed) = Default::default();
            }
            let changes = changes(&frame, base, at as u64)?;
            if at == 0 {
                self.check_beginning(base, &changes)?;
            }
            self.sequence = frame.sequence;
            expected = frame.sequence.checked_add(1).ok_or_else(|| {
                refused(&format!(
                    "commit {} is one after which none can be numbered",
                    frame.sequence
                ))
            })?;
            if let Some(segment) = self.all.back_mut() {
                segment.is_empty = false;
            }
            self.apply(changes)?;
            at += frame.len();
        }
        (self.position, self.room) = (at as u64, bytes.len() as u64);
        Ok(bytes.get(at..).unwrap_or_default().to_vec())
    }

    /// Whether a segment says again what those before it said: once they are gone nobody else does.
    fn check_beginning(&self, base: u64, changes: &[Change]) -> io::Result<()> {
        let says = |is: fn(&Change) -> bool| changes.iter().any(is);
        let vote = self.vote.is_none() || says(|change| matches!(change, Change::Vote(_)));
        let purged = self.purged.is_none() || says(|change| matches!(change, Change::Purge(_)));
        if vote && purged {
            return Ok(());
        }
        Err(refused(&format!("the segment of commit {base} does not say what those before it did")))
    }

    /// Whether every entry since the purged ones is there.
    fn check(&self) -> io::Result<()> {
        let first = self.purged.map_or(0, |id| id.index + 1);
        let found = self.index.read().first();
        let begins_late = found.is_some_and(|found| found > first);
        let lacks_all = found.is_none() && self.owed.is_some_and(|owed| owed >= first);
        if begins_late || lacks_all {
            return Err(refused(&format!("entry {first} of the log is missing")));
        }
        Ok(())
    }

    /// Removes what is left of a commit that was in flight: nothing but zeros is written over.
    fn clear(&mut self, tail: &[u8]) -> io::Result<()> {
        if self.all.back().is_some_and(|newest| newest.is_empty) {
            // As good as not there.
            while let Some(empty) = self.all.pop_back_if(|newest| newest.is_empty) {
                self.media.remove(empty.base)?;
            }
            let Some(last) = self.all.back() else { return Ok(()) };
            let base = last.base;
            self.media.open(base)?;
            // The next commit begins a segment, as the one that is gone was about to.
            self.position = self.segment_bytes;
            return Ok(());
        }
        if tail.iter().any(|byte| *byte != 0) {
            self.media.write(self.position, &vec![0; tail.len()])?;
            self.media.sync()?;
        }
        Ok(())
    }

    pub(super) fn index(&self) -> Arc<RwLock<Index>> {
        Arc::clone(&self.index)
    }

    pub(super) fn files(&self) -> Files {
        self.files.clone()
    }

    /// The last commit.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether the last commit is the first of its segment.
    pub(super) fn has_just_begun(&self) -> bool {
        self.all.back().is_some_and(|newest| newest.base == self.sequence)
    }

    /// What the log holds besides its entries.
    pub(super) fn contents(&self) -> io::Result<Contents> {
        let index = self.index.read();
        let last = index.last().map(|(last, place)| super::decode(last, &self.files.read(place)?));
        let last = last.transpose()?.map(|entry| entry.log_id).max(self.purged);
        Ok(Contents { vote: self.vote, purged: self.purged, last })
    }

    /// Makes the jobs durable, all or none of them.
    pub(super) fn commit(&mut self, jobs: &[Job]) -> io::Result<()> {
        self.check_run(jobs)?;
        let begins = self.all.is_empty() || self.position >= self.segment_bytes;
        if begins {
            self.begin()?;
        }
        let Some(newest) = self.all.back() else { return Err(io::ErrorKind::NotFound.into()) };
        let (segment, at) = (newest.base, self.position);
        let mut builder = Builder::new(self.sequence + 1, std::mem::take(&mut self.buffer));
        if begins && let Some(vote) = &self.vote {
            builder.step(Kind::Vote, &record::encode_vote(vote));
        }
        if begins && let Some(purged) = &self.purged {
            builder.step(Kind::Purge, &record::encode_log_id(purged));
        }
        if begins {
            let last = self.index.read().last().map(|(last, _)| last);
            builder.step(Kind::Last, &record::encode_index(last));
        }
        let mut changes = Vec::new();
        for job in jobs {
            match job {
                Job::Append { records, .. } => {
                    for (index, sealed) in records {
                        let place = builder.step(Kind::Entry, sealed);
                        let offset = at + place.start as u64;
                        let place = Place { segment, offset, length: place.len() };
                        changes.push(Change::Entry(*index, place));
                    }
                }
                Job::Vote { vote, .. } => {
                    builder.step(Kind::Vote, &record::encode_vote(vote));
                    changes.push(Change::Vote(*vote));
                }
                Job::Truncate { after, .. } => {
                    builder.step(Kind::Truncate, &record::encode_index(*after));
                    changes.push(Change::Truncate(*after));
                }
                Job::Purge { upto, .. } => {
                    builder.step(Kind::Purge, &record::encode_log_id(upto));
                    changes.push(Change::Purge(*upto));
                }
            }
        }
        let bytes = builder.finish();
        self.write(&bytes)?;
        self.sequence += 1;
        self.buffer = bytes;
        self.buffer.shrink_to(BUFFER_BYTES_MAX);
        self.apply(changes)?;
        self.forget();
        Ok(())
    }

    /// Refuses jobs that would leave a hole in the log: once written, it would never open again.
    fn check_run(&self, jobs: &[Job]) -> io::Result<()> {
        let mut end = self.index.read().last().map(|(last, _)| last.saturating_add(1));
        for job in jobs {
            match job {
                Job::Append { records, .. } => {
                    for (number, _) in records {
                        if end.is_some_and(|end| *number > end) {
                            let text = format!("entry {number} would leave a hole in the log");
                            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
                        }
                        end = Some(number.saturating_add(1));
                    }
                }
                Job::Truncate { after, .. } => {
                    end = end.and_then(|end| after.map(|after| end.min(after.saturating_add(1))));
                }
                Job::Purge { upto, .. } => end = end.filter(|end| *end > upto.index + 1),
                Job::Vote { .. } => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let base = self.sequence + 1;
        self.media.create(base)?;
        if !is_planted(Bug::DirectoryNotSynced) {
            self.media.sync_names()?;
        }
        self.all.push_back(Segment { base, highest: None, is_empty: false });
        (self.position, self.room) = (0, 0);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.position + bytes.len() as u64;
        if end > SEGMENT_BYTES_MAX {
            let text = format!("a segment of the log has at most {SEGMENT_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if end > self.room {
            let room = end.next_multiple_of(ROOM_BYTES.min(self.segment_bytes));
            let zeros = usize::try_from(room - self.room).map_err(io::Error::other)?;
            self.media.write(self.room, &vec![0; zeros])?;
            self.room = room;
        }
        if is_planted(Bug::SyncedLate) {
            self.media.sync()?;
        }
        self.media.write(self.position, bytes)?;
        if !is_planted(Bug::SyncedLate) && !is_planted(Bug::NeverSynced) {
            self.media.sync()?;
        }
        self.position = end;
        Ok(())
    }

    fn apply(&mut self, changes: Vec<Change>) -> io::Result<()> {
        let mut index = self.index.write();
        for change in changes {
            match change {
                Change::Entry(number, place) => {
                    index.append(number, place)?;
                    if let Some(segment) = self.all.back_mut() {
                        segment.highest = segment.highest.max(Some(number));
                    }
                }
                Change::Truncate(after) => {
                    index.truncate(after);
                    self.owed = self.owed.min(after);
                }
                Change::Last(last) => {
                    // What is known of the end says nothing of what is owed before it.
                    if index.last().map(|(known, _)| known) != last {
                        self.owed = last;
                    }
                }
                Change::Vote(vote) => self.vote = Some(vote),
                Change::Purge(upto) => {
                    index.purge(upto.index);
                    self.purged = self.purged.max(Some(upto));
                }
            }
        }
        Ok(())
    }

    /// Removes the oldest segments as long as they hold purged entries only. One that cannot be removed
    /// is tried again: nothing depends on it.
    fn forget(&mut self) {
        let purged = self.purged.map(|id| id.index);
        while self.all.len() > 1
            && let Some(oldest) = self.all.front()
            && oldest.highest <= purged
        {
            if let Err(error) = self.media.remove(oldest.base) {
                tracing::warn!(%error, "an old segment of the log could not be removed");
                return;
            }
            self.files.forget(oldest.base);
            self.all.pop_front();
        }
    }
}

/// What a commit that lies at `at` in this segment says.
fn changes(frame: &Frame<'_>, segment: u64, at: u64) -> io::Result<Vec<Change>> {
    let mut changes = Vec::new();
    let bad = |cause| damaged(&format!("commit {}", frame.sequence), &cause);
    for step in frame.steps() {
        let (kind, place) = step.map_err(bad)?;
        let sealed = frame.record(place.clone());
        changes.push(match kind {
            Kind::Entry => {
                let entry = record::decode_entry(sealed).map_err(bad)?;
                let offset = at + place.start as u64;
                Change::Entry(entry.index(), Place { segment, offset, length: place.len() })
            }
            Kind::Vote => Change::Vote(record::decode_vote(sealed).map_err(bad)?),
            Kind::Truncate => Change::Truncate(record::decode_index(sealed).map_err(bad)?),
            Kind::Purge => Change::Purge(record::decode_log_id(sealed).map_err(bad)?),
            Kind::Last => Change::Last(record::decode_index(sealed).map_err(bad)?),
        });
    }
    Ok(changes)
}
