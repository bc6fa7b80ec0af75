//! The replica's log as openraft wants it: [`Store`] below, the newest entries in memory above.
//!
//! **Invariant:** an entry handed to `append` can be read from that moment on, long before the writer
//! has made it durable; what is durable is what the callbacks say.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use openraft::{
    EntryPayload, LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry as _,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    record,
    store::{Contents, Done, Job, Store},
    types::{LogId, RaftEntry, Types, Vote},
};

/// Durable entries kept in memory besides: every entry is applied, and sent to peers, soon after it
/// was written, and should not be read back from the disk for that.
const TAIL_BYTES: usize = 1 << 20;

/// The newest entries, an unbroken run up to the end of the log.
#[derive(Debug, Default)]
struct Tail {
    entries: BTreeMap<u64, RaftEntry>,
    bytes: usize,
    /// Entries up to here are durable and may be dropped.
    durable: Option<u64>,
}

fn size(entry: &RaftEntry) -> usize {
    size_of::<RaftEntry>()
        + match &entry.payload {
            EntryPayload::Normal(payload) => payload.0.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        }
}

impl Tail {
    fn push(&mut self, entry: RaftEntry) {
        self.bytes += size(&entry);
        if let Some(replaced) = self.entries.insert(entry.index(), entry) {
            self.bytes -= size(&replaced);
        }
    }

    fn made_durable(&mut self, upto: u64) {
        self.durable = self.durable.max(Some(upto));
        while self.bytes > TAIL_BYTES {
            let Some(oldest) = self.entries.first_entry() else { return };
            if Some(*oldest.key()) > self.durable {
                return;
            }
            self.bytes -= size(&oldest.remove());
        }
    }

    fn truncate(&mut self, after: Option<u64>) {
        let cut = match after {
            Some(after) => self.entries.split_off(&after.saturating_add(1)),
            None => std::mem::take(&mut self.entries),
        };
        self.bytes -= cut.values().map(size).sum::<usize>();
        self.durable = self.durable.min(after);
    }

    fn purge(&mut self, upto: u64) {
        let kept = self.entries.split_off(&upto.saturating_add(1));
        let purged = std::mem::replace(&mut self.entries, kept);
        self.bytes -= purged.values().map(size).sum::<usize>();
    }
}

/// One replica's log. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStorage {
    store: Store,
    tail: Arc<Mutex<Tail>>,
    known: Arc<Mutex<Contents>>,
}

impl LogStorage {
    pub(super) fn new(store: Store, known: Contents) -> Self {
        Self { store, tail: Arc::default(), known: Arc::new(Mutex::new(known)) }
    }

    /// To be called after each commit with the last entry it made durable.
    pub(super) fn made_durable(&self) -> impl Fn(u64) + Send + use<> {
        let tail = Arc::clone(&self.tail);
        move |upto| tail.lock().made_durable(upto)
    }

    async fn write(&self, job: impl FnOnce(Done) -> Job) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.store.submit(job(done)).await?;
        written.await.map_err(|_| io::Error::other("the log's writer has stopped"))?
    }
}

impl RaftLogReader<Types> for LogStorage {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<RaftEntry>> {
        let first = match range.start_bound() {
            Bound::Included(&first) => first,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let last = match range.end_bound() {
            Bound::Included(&last) => last,
            Bound::Excluded(&0) => return Ok(Vec::new()),
            Bound::Excluded(&end) => end - 1,
            Bound::Unbounded => u64::MAX,
        };
        if first > last {
            return Ok(Vec::new());
        }
        let recent: Vec<RaftEntry> =
            self.tail.lock().entries.range(first..=last).map(|(_, entry)| entry.clone()).collect();
        let missing_upto = match recent.first() {
            Some(entry) if entry.index() == first => return Ok(recent),
            Some(entry) => entry.index() - 1,
            None => last,
        };
        let mut entries = self.store.entries(&(first..=missing_upto))?;
        entries.extend(recent);
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.known.lock().vote)
    }
}

impl RaftLogStorage<Types> for LogStorage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let known = self.known.lock();
        Ok(LogState { last_purged_log_id: known.purged, last_log_id: known.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write(|done| Job::Vote { vote: *vote, done }).await?;
        self.known.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        {
            let mut tail = self.tail.lock();
            let mut known = self.known.lock();
            for entry in entries {
                records.push((entry.index(), record::encode_entry(&entry)));
                known.last = Some(entry.log_id);
                tail.push(entry);
            }
        }
        self.store.submit(Job::Append { records, done: callback }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let after = last_log_id.map(|id| id.index);
        self.tail.lock().truncate(after);
        {
            let mut known = self.known.lock();
            known.last = known.last.min(last_log_id).max(known.purged);
        }
        self.write(|done| Job::Truncate { after, done }).await?;
        // Commits that were in flight have been counted by now, those of removed entries too.
        self.tail.lock().truncate(after);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.tail.lock().purge(upto.index);
        {
            let mut known = self.known.lock();
            known.purged = known.purged.max(Some(upto));
            known.last = known.last.max(Some(upto));
        }
        self.write(|done| Job::Purge { upto, done }).await
    }
}
