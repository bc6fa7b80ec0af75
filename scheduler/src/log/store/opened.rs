//! The segments that are open for reading: a few at a time, however many there are.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::index::Place;

/// Segments open for reading at one time: peers that catch up read from one or two each. Beyond them
/// only the one that is written is open.
pub(super) const OPEN_MAX: usize = 8;
const EXTENSION: &str = "segment";

/// Where the segment lies that begins with this commit.
pub(super) fn segment_path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.{EXTENSION}"))
}

/// Reads records from segments. Clones share what is open.
#[derive(Debug, Clone)]
pub(super) struct Files {
    directory: PathBuf,
    /// The one that was used last is the last one.
    open: Arc<Mutex<VecDeque<Opened>>>,
}

/// A segment that is open.
type Opened = (u64, Arc<File>);

impl Files {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), open: Arc::default() }
    }

    /// The bytes at this place. `NotFound` when the segment was removed meanwhile.
    pub(super) fn read(&self, place: &Place) -> io::Result<Vec<u8>> {
        let mut record = vec![0; place.length];
        self.file(place.segment)?.read_exact_at(&mut record, place.offset)?;
        Ok(record)
    }

    fn file(&self, base: u64) -> io::Result<Arc<File>> {
        let mut open = self.open.lock();
        if let Some(at) = open.iter().position(|(held, _)| *held == base)
            && let Some(held) = open.remove(at)
        {
            let file = Arc::clone(&held.1);
            open.push_back(held);
            return Ok(file);
        }
        let file = Arc::new(File::open(segment_path(&self.directory, base))?);
        open.push_back((base, Arc::clone(&file)));
        if open.len() > OPEN_MAX {
            open.pop_front();
        }
        Ok(file)
    }

    /// Closes a segment that was removed.
    pub(super) fn forget(&self, base: u64) {
        self.open.lock().retain(|(held, _)| *held != base);
    }

    /// Where they lie.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open.lock().len()
    }
}
