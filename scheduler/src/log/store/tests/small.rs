//! A small log on a disk in memory, written step by step, and what is read back from any image of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::{
    BasicNode, EntryPayload, entry::RaftEntry as _, storage::IOFlushed,
    type_config::TypeConfigExt as _, vote::RaftLeaderId as _,
};
use tempfile::TempDir;

use super::{
    super::super::types::{Membership, Payload},
    disk::{self, Disk, Image, Notes},
    *,
};

/// Everything a log says when it is opened.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Said {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    pub(super) entries: Vec<RaftEntry>,
}

/// What the log had to hold after one commit.
#[derive(Debug, Clone)]
pub(super) struct Committed {
    /// How much had been asked of the disk by then.
    pub(super) asked: usize,
    pub(super) said: Said,
    pub(super) sequence: u64,
    /// What lay on the disk then.
    pub(super) image: Image,
}

/// A log in the making.
pub(super) struct Small {
    pub(super) notes: Notes,
    path: PathBuf,
    writer: Writer<Disk>,
    store: Store,
    /// One for the log as it was opened, one for each commit since.
    pub(super) history: Vec<Committed>,
    /// Its directory, if nobody gave it one.
    own: Option<TempDir>,
}

/// So that a small log has several segments.
const SMALL_SEGMENT: u64 = 600;

fn id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::alias::LeaderIdOf::<Types>::new(term, 0).to_committed(), index)
}

fn command(term: u64, index: u64) -> RaftEntry {
    let bytes = vec![u8::try_from(index % 251).unwrap(); 40 + usize::try_from(index).unwrap() * 5];
    RaftEntry::new(id(term, index), EntryPayload::Normal(Payload(Bytes::from(bytes))))
}

fn members() -> RaftEntry {
    let nodes = BTreeMap::from([(1, BasicNode::new("127.0.0.1:7400"))]);
    let members = Membership::new(vec![BTreeSet::from([1])], nodes).unwrap();
    RaftEntry::new(id(0, 0), EntryPayload::Membership(members))
}

impl Small {
    /// A log with everything in it that a log can have: a founding, votes, commands, a purged
    /// beginning, an end that was cut off and written anew.
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut small = Self::on(directory.path(), &Image::new(), 0).unwrap();
        small.own = Some(directory);
        small.append(&[members()]);
        small.vote(Vote::new(1, 1));
        small.vote(Vote::new_committed(1, 1));
        for index in 1..12 {
            small.append(&[command(1, index)]);
        }
        small.append(&(12..20).map(|index| command(1, index)).collect::<Vec<_>>());
        small.commit(|done| Job::Purge { upto: id(1, 9), done });
        small.vote(Vote::new(2, 1));
        small.commit(|done| Job::Truncate { after: Some(17), done });
        small.append(&[RaftEntry::new(id(2, 18), EntryPayload::Blank)]);
        for index in 19..24 {
            small.append(&[command(2, index)]);
        }
        small
    }

    /// The log on this image.
    pub(super) fn on(path: &Path, image: &Image, promised: u64) -> io::Result<Self> {
        let disk = Disk::with(path, image);
        let notes = disk.notes();
        let (store, _, writer) = Store::on(disk, SMALL_SEGMENT, Mark::on(notes.clone()), promised)?;
        let (path, history) = (path.to_owned(), Vec::new());
        let mut small = Self { notes, path, writer, store, history, own: None };
        small.note();
        Ok(small)
    }

    fn commit(&mut self, job: impl FnOnce(Done) -> Job) {
        let (done, _) = oneshot::channel();
        self.writer.commit(&[job(done)], &(Box::new(|_, _, _| ()) as Observer)).unwrap();
        self.note();
        self.writer.raise_mark().unwrap();
    }

    pub(super) fn try_commit(&mut self, jobs: &[Job]) -> io::Result<()> {
        self.writer.segments.commit(jobs)
    }

    pub(super) fn vote(&mut self, vote: Vote) {
        self.commit(|done| Job::Vote { vote, done });
    }

    fn append(&mut self, entries: &[RaftEntry]) {
        let records = entries.iter().map(|entry| (entry.index(), record::encode_entry(entry)));
        let records = records.collect();
        let (done, _) = Types::oneshot();
        self.commit(|_| Job::Append { records, done: IOFlushed::signal(done) });
    }

    fn note(&mut self) {
        let contents = self.writer.segments.contents().unwrap();
        let said = said(&self.store, &contents);
        let sequence = self.writer.segments.sequence();
        let (asked, image) = (self.notes.count(), self.image());
        self.history.push(Committed { asked, said, sequence, image });
    }

    /// What it holds at its end.
    pub(super) fn last(&self) -> Committed {
        self.history.last().unwrap().clone()
    }

    /// What lies on the disk.
    pub(super) fn image(&self) -> Image {
        disk::image(&self.path)
    }
}

pub(super) fn said(store: &Store, contents: &Contents) -> Said {
    let entries = store.entries(&(0..=u64::MAX)).unwrap();
    Said { vote: contents.vote, purged: contents.purged, last: contents.last, entries }
}

/// What the log on this image says.
pub(super) fn open(path: &Path, image: &Image, promised: u64) -> io::Result<Said> {
    let small = Small::on(path, image, promised)?;
    Ok(small.last().said)
}
