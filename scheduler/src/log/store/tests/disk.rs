//! A directory of segments that notes what is asked of it, so that its power can be cut at any point.

use std::{collections::BTreeMap, fs, io};

use super::{
    super::{
        super::mark::{Paper, decode},
        segments::Media,
    },
    *,
};

/// What was asked of a disk.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Create(u64),
    /// Which segments there are is durable.
    SyncNames,
    /// To which segment, where, what.
    Write(u64, usize, Vec<u8>),
    /// What was written to this segment is durable.
    Sync(u64),
    Remove(u64),
    /// The mark promises this commit.
    Mark(u64),
    SyncMark,
}

/// The content of each segment.
pub(super) type Image = BTreeMap<u64, Vec<u8>>;

#[derive(Debug, Default)]
struct Noted {
    asked: Vec<Asked>,
    fails_next_sync: bool,
}

/// The disk. Its notes can be kept beside.
#[derive(Debug)]
pub(super) struct Disk {
    directory: Directory,
    written: u64,
    notes: Notes,
}

/// What was asked. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Noted>>);

impl Notes {
    /// Everything asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.0.lock().asked.clone()
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().asked.len()
    }

    pub(super) fn fail_next_sync(&self) {
        self.0.lock().fails_next_sync = true;
    }

    fn note(&self, asked: Asked) {
        self.0.lock().asked.push(asked);
    }
}

impl Disk {
    pub(super) fn new(path: &Path) -> Self {
        Self { directory: Directory::new(path.to_owned()), written: 0, notes: Notes::default() }
    }

    /// One that holds this, and nothing else.
    pub(super) fn with(path: &Path, image: &Image) -> Self {
        let disk = Self::new(path);
        for base in disk.list().unwrap() {
            fs::remove_file(disk.directory.file(base)).unwrap();
        }
        for (base, bytes) in image {
            fs::write(disk.directory.file(*base), bytes).unwrap();
        }
        disk
    }

    pub(super) fn notes(&self) -> Notes {
        self.notes.clone()
    }
}

/// What lies in a directory of segments.
pub(super) fn image(path: &Path) -> Image {
    let directory = Directory::new(path.to_owned());
    let bases = directory.list().unwrap();
    bases.into_iter().map(|base| (base, fs::read(directory.file(base)).unwrap())).collect()
}

impl Media for Disk {
    fn list(&self) -> io::Result<Vec<u64>> {
        self.directory.list()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn open(&mut self, base: u64) -> io::Result<&File> {
        self.written = base;
        self.directory.open(base)
    }

    fn create(&mut self, base: u64) -> io::Result<()> {
        self.written = base;
        self.notes.note(Asked::Create(base));
        self.directory.create(base)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.notes.note(Asked::SyncNames);
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        self.notes.note(Asked::Write(self.written, at, bytes.to_vec()));
        self.directory.write(offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.notes.0.lock().fails_next_sync) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.notes.note(Asked::Sync(self.written));
        Ok(())
    }

    fn remove(&mut self, base: u64) -> io::Result<()> {
        self.notes.note(Asked::Remove(base));
        self.directory.remove(base)
    }
}

impl Paper for Notes {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.note(Asked::Mark(decode(bytes).expect("a mark")));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.note(Asked::SyncMark);
        Ok(())
    }
}

/// Writes into the bytes, beyond their end too.
pub(super) fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}
