//! The mark: how far the log was durable when that was last answered to anybody, and, after an orderly
//! end, the checksum of the whole store. It lies in a small file of its own.
//!
//! After a crash the store goes back to the commit before when its newest one does not read whole.
//! That is right for a commit that was cut off, and wrong for one that was answered and damaged
//! since; nothing in the store tells the two apart, the mark does. It is written after a commit was
//! synced and before its jobs are answered, and not synced itself: a power cut may leave an older
//! mark, which only promises less. After an orderly end the store is opened without a look at its
//! own checksums, and may take what it finds there for granted; the seal is looked at first.
//!
//! **Invariant:** a mark never promises more than the log holds, and is sealed only while nobody
//! writes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

const MAGIC: &[u8; 8] = b"sisomark";
/// Magic, entries, term, the seal's length and checksum, and the checksum of all that.
const BYTES: usize = MAGIC.len() + 8 + 8 + 8 + 4 + 4;
/// Read at a time for a checksum.
const CHUNK: usize = 64 << 10;

/// What a log was answered to hold, at least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Promised {
    /// Every entry below this index.
    pub(super) entries: u64,
    /// A vote of this term or a later one.
    pub(super) term: u64,
}

/// A file as it was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    length: u64,
    checksum: u32,
}

impl Seal {
    /// The seal of this file, which nobody writes to.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let (mut length, mut checksum) = (0, 0);
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = file.read(&mut chunk)?;
            let Some(read) = chunk.get(..read).filter(|read| !read.is_empty()) else {
                return Ok(Self { length, checksum });
            };
            checksum = crc32c::crc32c_append(checksum, read);
            length += read.len() as u64;
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
}

impl Mark {
    /// Opens the mark at `path`, making it when missing, and reads it. A missing or damaged mark
    /// promises nothing: the log itself is whole as long as nothing else was lost.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Promised, Option<Seal>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut bytes = Vec::new();
        file.by_ref().take(BYTES as u64 + 1).read_to_end(&mut bytes)?;
        let (promised, seal) = decode(&bytes).unwrap_or_else(|| {
            if !bytes.is_empty() {
                tracing::warn!(path = %path.display(), "the log's mark is damaged and not believed");
            }
            (Promised::default(), None)
        });
        Ok((Self { file }, promised, seal))
    }

    /// Promises more, or the same.
    pub(super) fn raise(&self, promised: Promised) -> io::Result<()> {
        self.file.write_all_at(&encode(promised, None), 0)
    }

    /// Promises less, or breaks the seal, durably: to be called before the log is changed so.
    pub(super) fn lower(&self, promised: Promised) -> io::Result<()> {
        self.raise(promised)?;
        self.file.sync_data()
    }

    /// Says how the log was left.
    pub(super) fn seal(&self, promised: Promised, seal: Seal) -> io::Result<()> {
        self.file.write_all_at(&encode(promised, Some(seal)), 0)?;
        self.file.sync_data()
    }
}

fn encode(promised: Promised, seal: Option<Seal>) -> Vec<u8> {
    let Seal { length, checksum } = seal.unwrap_or(Seal { length: 0, checksum: 0 });
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&promised.entries.to_le_bytes());
    bytes.extend_from_slice(&promised.term.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(Promised, Option<Seal>)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (entries, rest) = rest.split_first_chunk()?;
    let (term, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (checksum, own) = rest.split_first_chunk()?;
    if own != crc32c::crc32c(bytes.get(..BYTES - 4)?).to_le_bytes() {
        return None;
    }
    let promised =
        Promised { entries: u64::from_le_bytes(*entries), term: u64::from_le_bytes(*term) };
    let length = u64::from_le_bytes(*length);
    // No store is empty.
    let seal = (length > 0).then(|| Seal { length, checksum: u32::from_le_bytes(*checksum) });
    Some((promised, seal))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISED: Promised = Promised { entries: 300, term: 7 };
    const SEAL: Seal = Seal { length: 2, checksum: 3 };

    #[test]
    fn a_mark_reads_back_and_may_be_lowered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.mark");
        let read = || {
            let (_, promised, seal) = Mark::open(&path).unwrap();
            (promised, seal)
        };
        assert_eq!(read(), (Promised::default(), None));
        let (mark, _, _) = Mark::open(&path).unwrap();
        mark.raise(PROMISED).unwrap();
        assert_eq!(read(), (PROMISED, None));
        mark.seal(PROMISED, SEAL).unwrap();
        assert_eq!(read(), (PROMISED, Some(SEAL)));
        let lower = Promised { entries: 2, ..PROMISED };
        mark.lower(lower).unwrap();
        assert_eq!(read(), (lower, None));
    }

    #[test]
    fn a_mark_with_any_bit_flipped_or_cut_off_anywhere_promises_nothing() {
        let whole = encode(PROMISED, Some(SEAL));
        assert_eq!(decode(&whole), Some((PROMISED, Some(SEAL))));
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
        let bytes = model::token::Hex(&encode(PROMISED, Some(SEAL))).to_string();
        assert_eq!(
            bytes,
            "7369736f6d61726b2c010000000000000700000000000000020000000000000003000000430a72fc"
        );
    }

    #[test]
    fn a_seal_fits_the_file_it_was_made_of_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..=255).cycle().take(CHUNK + 100).collect();
        std::fs::write(&path, &content).unwrap();
        let seal = Seal::of(&path).unwrap();
        assert_eq!(seal, Seal { length: content.len() as u64, checksum: crc32c::crc32c(&content) });
        std::fs::write(&path, &content[1..]).unwrap();
        assert_ne!(Seal::of(&path).unwrap(), seal);
    }
}
