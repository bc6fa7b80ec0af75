//! A disk in memory that notes what is asked of it, so that its power can be cut at any point.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use redb::StorageBackend;

/// What was asked of a disk.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Length(usize),
    Write(usize, Vec<u8>),
    Sync,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    asked: Vec<Asked>,
    fails_next_sync: bool,
}

/// The disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Content>>);

impl Disk {
    pub(super) fn with(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Content { bytes, ..Content::default() })))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().bytes.clone()
    }

    /// Everything asked of it so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.0.lock().asked.clone()
    }

    pub(super) fn asked_count(&self) -> usize {
        self.0.lock().asked.len()
    }

    pub(super) fn fail_next_sync(&self) {
        self.0.lock().fails_next_sync = true;
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let content = self.0.lock();
        let held = content.bytes.get(at(offset)..at(offset).saturating_add(out.len()));
        out.copy_from_slice(held.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let mut content = self.0.lock();
        content.bytes.resize(at(length), 0);
        content.asked.push(Asked::Length(at(length)));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut content = self.0.lock();
        if std::mem::take(&mut content.fails_next_sync) {
            return Err(io::Error::from_raw_os_error(5));
        }
        content.asked.push(Asked::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut content = self.0.lock();
        write(&mut content.bytes, at(offset), data);
        content.asked.push(Asked::Write(at(offset), data.to_vec()));
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
