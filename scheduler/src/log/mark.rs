//! The mark: the last commit that was answered to anybody. It lies in a small file of its own.
//!
//! When the newest commit of a log does not read whole, it was cut off while it was written, which is
//! no loss, or it was answered and damaged since, which is one. Nothing in the log tells the two
//! apart, the mark does. It is written after a commit was synced and its jobs were answered, and not
//! synced itself until an orderly end: a crash in between, or a power cut, may leave an older mark,
//! which only promises less.
//!
//! **Invariant:** a mark never promises more than the log holds.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

const MAGIC: &[u8; 8] = b"sisomark";
/// Magic, sequence, and the checksum of both.
const BYTES: usize = MAGIC.len() + 8 + 4;

/// What the mark is written on.
pub(super) trait Paper: std::fmt::Debug + Send {
    /// Writes the whole of it.
    fn write(&self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

impl Paper for File {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, 0)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Mark {
    paper: Box<dyn Paper>,
}

impl Mark {
    /// Opens the mark at `path`, making it when missing, and reads the commit it promises. A missing
    /// or damaged mark promises nothing: the log itself is whole as long as nothing else was lost.
    pub(super) fn open(path: &Path) -> io::Result<(Self, u64)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut bytes = Vec::new();
        file.by_ref().take(BYTES as u64 + 1).read_to_end(&mut bytes)?;
        let promised = decode(&bytes).unwrap_or_else(|| {
            if !bytes.is_empty() {
                tracing::warn!(path = %path.display(), "the log's mark is damaged and not believed");
            }
            0
        });
        Ok((Self::on(file), promised))
    }

    /// A mark on this.
    pub(super) fn on(paper: impl Paper + 'static) -> Self {
        Self { paper: Box::new(paper) }
    }

    /// Promises this commit and all before.
    pub(super) fn raise(&self, sequence: u64) -> io::Result<()> {
        self.paper.write(&encode(sequence))
    }

    /// Makes the promise outlive a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.paper.sync()
    }
}

pub(super) fn encode(sequence: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sequence, own) = rest.split_first_chunk()?;
    let checksum = crc32c::crc32c(bytes.get(..BYTES - 4)?);
    (own == checksum.to_le_bytes()).then(|| u64::from_le_bytes(*sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark");
        for promised in [0, 300, 301] {
            let (mark, read) = Mark::open(&path).unwrap();
            assert_eq!(read, if promised == 301 { 300 } else { 0 });
            mark.raise(promised).unwrap();
            mark.sync().unwrap();
        }
    }

    #[test]
    fn a_mark_with_any_bit_flipped_or_cut_off_anywhere_promises_nothing() {
        let whole = encode(300);
        assert_eq!(decode(&whole), Some(300));
        for position in 0..whole.len() {
            assert_eq!(decode(&whole[..position]), None, "cut after {position} bytes");
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[position] ^= 1 << bit;
                assert_eq!(decode(&flipped), None, "bit {bit} of byte {position}");
            }
        }
        assert_eq!(decode(&[&whole[..], &[0]].concat()), None);
    }

    /// These bytes lie on disks: they must be written and read like this for ever.
    #[test]
    fn a_mark_keeps_its_bytes() {
        let bytes = model::token::Hex(&encode(300)).to_string();
        assert_eq!(bytes, "7369736f6d61726b2c01000000000000b923ccb6");
    }
}
