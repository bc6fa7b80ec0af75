//! What commits and segments hold whatever lies in them. An input is a short script: of the bytes of
//! some segments, or of a log's life and the damage that is done to it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use openraft::{EntryPayload, entry::RaftEntry as _, type_config::TypeConfigExt as _};

use super::{
    super::{
        fuzzing::sealed,
        mark::Paper,
        types::{Payload, log_id},
    },
    frame::{Builder, Frame},
    *,
};

/// Small, so that a short life has several segments.
const SEGMENT: u64 = 300;
/// Commits of a life; each costs some system calls.
const COMMITS_MAX: usize = 24;
/// Segments of a directory.
const SEGMENTS_MAX: usize = 8;

/// The bytes of an input, taken one after the other.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(bytes)
    }

    /// One of so many, which may be thousands.
    fn below(&mut self, end: usize) -> Option<usize> {
        let of = [self.byte()?, self.byte().unwrap_or_default()];
        usize::from(u16::from_le_bytes(of)).checked_rem(end)
    }
}

/// The bytes of a commit, made by what the file format says and not by what writes it.
fn commit(sequence: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("an input is short");
    let head = [&b"siso"[..], &length.to_le_bytes(), &sequence.to_le_bytes()].concat();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), body);
    [&head[..], &checksum.to_le_bytes(), body].concat()
}

/// A commit is none, or it is these very bytes when its steps are written again.
pub(in crate::log) fn frame(bytes: &[u8]) -> String {
    if let Some(frame) = Frame::read(bytes) {
        assert!(again(&frame).is_none_or(|again| bytes.starts_with(&again)), "other bytes");
    }
    let mut script = Script(bytes);
    let Some(sequence) = script.number() else { return String::new() };
    let whole = commit(sequence, script.0);
    let frame = Frame::read(&whole).expect("its checksum is right");
    assert_eq!((frame.sequence, frame.len()), (sequence, whole.len()));
    assert!(Frame::is_in(&[b"sis", &whole[..]].concat(), sequence), "it is overlooked");
    match again(&frame) {
        Some(written) => {
            assert_eq!(written, whole);
            format!("{} steps", frame.steps().count())
        }
        None => "steps that are none".to_owned(),
    }
}

/// Writes the steps of a commit again, if all can be read.
fn again(frame: &Frame<'_>) -> Option<Vec<u8>> {
    let mut builder = Builder::new(frame.sequence, Vec::new());
    for step in frame.steps() {
        let (kind, place) = step.ok()?;
        builder.step(kind, frame.record(place));
    }
    Some(builder.finish())
}

/// Segments by the commit that names them.
type Image = BTreeMap<u64, Vec<u8>>;

/// A directory of its own for a directory of segments, without anything that waits for a disk.
#[derive(Debug)]
struct Scratch(Directory);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("siso-fuzz-log-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(Directory::new(path))
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.path());
    }
}

impl Media for Scratch {
    fn list(&self) -> io::Result<Vec<u64>> {
        self.0.list()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn open(&mut self, base: u64) -> io::Result<&File> {
        self.0.open(base)
    }

    fn create(&mut self, base: u64) -> io::Result<()> {
        self.0.create(base)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write(offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, base: u64) -> io::Result<()> {
        self.0.remove(base)
    }
}

/// What is promised is told when the log is opened.
#[derive(Debug)]
struct NoPaper;

impl Paper for NoPaper {
    fn write(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything a log says.
#[derive(Debug, Clone, PartialEq, Default)]
struct Said {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: Vec<RaftEntry>,
}

impl Said {
    /// The index of the entry that comes next.
    fn next(&self) -> Option<u64> {
        let last = self.entries.last().map(RaftEntry::index);
        last.max(self.purged.map(|id| id.index)).map_or(Some(0), |last| last.checked_add(1))
    }
}

/// A log that is open.
struct Log {
    store: Store,
    writer: Writer<Scratch>,
}

impl Log {
    fn open(image: &Image, promised: u64) -> io::Result<Self> {
        let scratch = Scratch::new();
        for (base, bytes) in image {
            fs::write(scratch.0.file(*base), bytes)?;
        }
        let (store, contents, writer) = Store::on(scratch, SEGMENT, Mark::on(NoPaper), promised)?;
        assert!(writer.segments.sequence() >= promised, "less than was promised");
        let log = Self { store, writer };
        let said = log.said();
        assert_eq!((said.vote, said.purged), (contents.vote, contents.purged));
        let last = said.entries.last().map(|entry| entry.log_id);
        assert_eq!(last.max(said.purged), contents.last);
        Ok(log)
    }

    fn sequence(&self) -> u64 {
        self.writer.segments.sequence()
    }

    fn said(&self) -> Said {
        let contents = self.writer.segments.contents().expect("what was checked is read");
        let entries = self.store.entries(&(0..=u64::MAX)).expect("what was checked is read");
        let numbers = entries.windows(2).all(|two| two[0].index() + 1 == two[1].index());
        assert!(numbers, "the entries are no unbroken run");
        Said { vote: contents.vote, purged: contents.purged, entries }
    }

    fn image(&self) -> Image {
        let media = Directory::new(self.store.files.directory().to_owned());
        let bases = media.list().expect("its directory");
        let read = |base| fs::read(media.file(base)).expect("a segment");
        bases.into_iter().map(|base| (base, read(base))).collect()
    }

    fn commit(&mut self, jobs: &[Job]) {
        self.writer.segments.commit(jobs).expect("it is written");
    }
}

fn append(entries: &[RaftEntry]) -> Job {
    let records = entries.iter().map(|entry| (entry.index(), record::encode_entry(entry)));
    let (done, _) = Types::oneshot();
    Job::Append { records: records.collect(), done: IOFlushed::signal(done) }
}

fn vote(vote: Vote) -> Job {
    Job::Vote { vote, done: oneshot::channel().0 }
}

/// A directory of segments is refused, or it opens, says the same when it is opened again, goes on
/// from there, and has that too when it is opened once more.
pub(in crate::log) fn directory(bytes: &[u8]) -> String {
    let mut script = Script(bytes);
    let promised = script.byte().map_or(0, |byte| u64::from(byte % 4));
    let image = segments(&mut script);
    let mut log = match Log::open(&image, promised) {
        Ok(log) => log,
        Err(error) => return error.to_string(),
    };
    let mut said = log.said();
    let opened = Log::open(&log.image(), log.sequence()).expect("it opened before");
    assert_eq!(opened.said(), said, "opened again");
    let entries =
        said.next().map(|next| vec![RaftEntry::new(log_id(1, next), EntryPayload::Blank)]);
    let Some(entries) = entries.filter(|_| log.sequence() < u64::MAX) else {
        return "at the end of numbers".to_owned();
    };
    said.vote = Some(Vote::new(9, 9));
    log.commit(&[vote(Vote::new(9, 9)), append(&entries)]);
    said.entries.extend(entries);
    assert_eq!(log.said(), said, "written to");
    let opened = Log::open(&log.image(), log.sequence()).expect("what was committed opens");
    assert_eq!(opened.said(), said, "opened after it was written to");
    format!("{} segments, it goes on", image.len())
}

/// Segments with anything in them, behind checksums that are right.
fn segments(script: &mut Script<'_>) -> Image {
    let (mut image, mut base, mut sequence) = (Image::new(), 1_u64, 0_u64);
    while let Some(what) = script.byte() {
        let room = image.len() < SEGMENTS_MAX;
        let segment = image.entry(base).or_default();
        match what % 8 {
            0 if room => base = sequence.wrapping_add(1),
            1 if room => base = script.number().unwrap_or_default(),
            2 => sequence = script.number().unwrap_or_default(),
            3 => segment.extend(script.bytes().unwrap_or_default()),
            _ => {
                let mut body = Vec::new();
                for _ in 0..=what >> 6 {
                    let Some(kind) = script.byte() else { break };
                    let record = script.bytes().unwrap_or_default();
                    let record = if kind < 128 { sealed(record) } else { record.to_vec() };
                    let length = u32::try_from(record.len()).expect("an input is short");
                    body.push(kind % 128);
                    body.extend(length.to_le_bytes());
                    body.extend(record);
                }
                sequence = sequence.wrapping_add(1);
                segment.extend(commit(sequence, &body));
            }
        }
    }
    image
}

/// What a log had to hold after one commit.
struct Committed {
    said: Said,
    image: Image,
}

/// A life of commits that a replica could ask for, and one damage. Without any the log says what was
/// committed. A commit that was cut off in the making is there whole or not at all, and everything
/// before it is. Damage to what the mark promises is refused, or nothing of it is missing; without a
/// mark the newest commit may be missing, and nothing else.
pub(in crate::log) fn life(bytes: &[u8]) -> String {
    let mut script = Script(bytes);
    let mut log = Log::open(&Image::new(), 0).expect("an empty log opens");
    let mut said = Said::default();
    let mut history = vec![Committed { said: said.clone(), image: Image::new() }];
    while history.len() <= COMMITS_MAX {
        let Some(what) = script.byte().filter(|what| what % 8 != 7) else { break };
        let mut jobs = vec![job(what, &mut script, &mut said)];
        if what & 8 != 0 {
            jobs.push(job(what >> 4, &mut script, &mut said));
        }
        log.commit(&jobs);
        assert_eq!(log.said(), said, "as it was written");
        history.push(Committed { said: said.clone(), image: log.image() });
    }
    let sequence = log.sequence();
    assert_eq!(sequence, history.len() as u64 - 1);
    drop(log);
    let [.., before, last] = &history[..] else { return "nothing was committed".to_owned() };
    let what = script.byte().unwrap_or_default();
    let opened = |image: &Image, promised| Log::open(image, promised).map(|log| log.said());
    let mut image = last.image.clone();
    let answer = match what % 6 {
        0 => {
            assert_eq!(opened(&image, sequence).ok(), Some(last.said.clone()), "undamaged");
            return "undamaged, said the same".to_owned();
        }
        1 => {
            tear(&mut script, before, last, &mut image);
            let said = opened(&image, sequence - 1).expect("an end that was cut off is no damage");
            assert!(said == before.said || said == last.said, "half a commit: {said:?}");
            return "an end was cut off".to_owned();
        }
        2 | 3 => {
            flip(&mut script, &mut image);
            let promised = if what % 6 == 2 { sequence } else { 0 };
            let said = opened(&image, promised);
            if promised == 0 && said.as_ref().is_ok_and(|said| *said == before.said) {
                return "without a mark the newest commit went".to_owned();
            }
            said
        }
        4 => {
            let bases: Vec<_> = image.keys().copied().collect();
            let base = bases[script.below(bases.len()).unwrap_or_default()];
            let segment = image.entry(base).or_default();
            segment.truncate(script.below(segment.len()).unwrap_or_default());
            opened(&image, sequence)
        }
        _ => {
            let bases: Vec<_> = image.keys().copied().collect();
            image.remove(&bases[script.below(bases.len()).unwrap_or_default()]);
            opened(&image, sequence)
        }
    };
    match answer {
        Ok(said) => {
            assert_eq!(said, last.said, "damaged, and served");
            "damaged, said the same".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

/// Something a replica asks of its log, and what it comes to.
fn job(what: u8, script: &mut Script<'_>, said: &mut Said) -> Job {
    let much = script.byte().unwrap_or_default();
    let next = said.next().unwrap_or_default();
    let term = said.vote.as_ref().map_or(0, |vote| vote.leader_id.term);
    match what % 4 {
        0 => {
            let count = u64::from(much % 4) + 1;
            let size = usize::from(much / 4);
            let entry = |index: u64| {
                let payload = Payload(Bytes::from(vec![much; size]));
                RaftEntry::new(log_id(term, index), EntryPayload::Normal(payload))
            };
            let entries: Vec<_> = (next..next + count).map(entry).collect();
            said.entries.extend(entries.iter().cloned());
            append(&entries)
        }
        1 => {
            let (term, scheduler) = (term + u64::from(much % 4), u64::from(much / 64));
            let new = if much & 16 == 0 {
                Vote::new(term, scheduler)
            } else {
                Vote::new_committed(term, scheduler)
            };
            said.vote = Some(new);
            vote(new)
        }
        2 => {
            let kept = usize::from(much).checked_rem(said.entries.len() + 1).unwrap_or_default();
            said.entries.truncate(kept);
            let last = said.entries.last().map(RaftEntry::index);
            let after = last.max(said.purged.map(|id| id.index));
            Job::Truncate { after, done: oneshot::channel().0 }
        }
        _ => {
            // Up to an entry that is there; or beyond them all, as a snapshot of another replica does.
            let upto = match said.entries.get(usize::from(much)) {
                Some(entry) => entry.log_id,
                None => log_id(term, next + u64::from(much % 3)),
            };
            said.entries.retain(|entry| entry.index() > upto.index);
            said.purged = said.purged.max(Some(upto));
            Job::Purge { upto, done: oneshot::channel().0 }
        }
    }
}

/// The power fails in the middle of the last commit: of what it wrote a part is there, and a part of
/// that is as it was before.
fn tear(script: &mut Script<'_>, before: &Committed, last: &Committed, image: &mut Image) {
    // Old segments go once it is durable.
    *image = before.image.clone();
    for (base, bytes) in &last.image {
        let old = image.entry(*base).or_default();
        let grown = old.len().max(bytes.len());
        old.resize(grown, 0);
        let differs: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] != old[*at]).collect();
        let [first, .., end] = differs[..] else { continue };
        let (from, upto) = (script.below(end - first + 1), script.below(end - first + 1));
        let (from, upto) = (first + from.unwrap_or_default(), first + upto.unwrap_or_default());
        if from <= upto {
            old[from..=upto].copy_from_slice(&bytes[from..=upto]);
        }
        if script.byte().unwrap_or_default() % 2 == 1 {
            old.truncate(upto);
        }
    }
}

/// One bit, anywhere in what was written.
fn flip(script: &mut Script<'_>, image: &mut Image) {
    let count = image.len();
    let number = script.below(count).unwrap_or_default();
    let Some(bytes) = image.values_mut().nth(number) else { return };
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let at = script.below(used.min(bytes.len())).unwrap_or_default();
    let bit = script.byte().unwrap_or_default() % 8;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

/// Inputs from which changes begin, with the number of what reads them.
#[cfg(test)]
pub(in crate::log) fn examples() -> Vec<(u8, Vec<u8>)> {
    let [entry, vote] = [
        record::encode_entry(&RaftEntry::new(log_id(1, 0), EntryPayload::Blank)),
        record::encode_vote(&Vote::new(1, 1)),
    ];
    let step = |kind: u8, sealed: &[u8]| {
        let body = &sealed[4..];
        [&[kind, u8::try_from(body.len()).unwrap()], body].concat()
    };
    let mut frame = 7_u64.to_le_bytes().to_vec();
    for (kind, record) in [(1_u8, &entry), (2, &vote)] {
        frame.push(kind);
        frame.extend(u32::try_from(record.len()).unwrap().to_le_bytes());
        frame.extend(record);
    }
    let commits = [&[68][..], &step(2, &vote), &step(1, &entry)].concat();
    let directory = [&[0][..], &commits].concat();
    // Votes, entries, a purge, a truncation, several segments; then what becomes of it.
    let lived = [1, 17, 0, 15, 0, 255, 0, 255, 8, 200, 3, 3, 2, 2, 4, 255, 0, 255, 1, 2, 0, 9, 7];
    let mut examples = vec![(0, frame), (4, directory)];
    for damage in 0..6 {
        examples.push((5, [&lived[..], &[damage, 1, 0, 30, 0, 1]].concat()));
    }
    examples
}
