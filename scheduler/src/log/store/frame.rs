//! The bytes of one commit: a header with a checksum, and the steps that were made together.
//!
//! ```text
//! "siso" | length of the body: u32 | sequence: u64 | CRC32C of the rest: u32 | body
//! body: (kind: u8 | length: u32 | record)…            all numbers little-endian
//! ```
//!
//! **Invariant:** a commit reads back whole or not at all, and only as the number it was written as.

use std::ops::Range;

use super::super::record::BadRecord;

const MAGIC: &[u8; 4] = b"siso";
const CHECKSUM_BYTES: usize = 4;
/// Magic, length, sequence, checksum.
const HEADER_BYTES: usize = MAGIC.len() + 4 + 8 + CHECKSUM_BYTES;
/// Kind and length.
const STEP_BYTES: usize = 1 + 4;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Appends an entry.
    Entry,
    /// Replaces the vote.
    Vote,
    /// Forgets the entries up to a log id.
    Purge,
    /// Removes the entries after an index, or all of them.
    Truncate,
    /// Says which entry was the last when a segment began.
    Last,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Entry, Self::Vote, Self::Purge, Self::Truncate, Self::Last];

    /// As it lies on disks for ever.
    fn code(self) -> u8 {
        match self {
            Self::Entry => 1,
            Self::Vote => 2,
            Self::Purge => 3,
            Self::Truncate => 4,
            Self::Last => 5,
        }
    }
}

/// A commit in the making.
#[derive(Debug)]
pub(super) struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// `bytes` is room to write in; what it holds is thrown away.
    pub(super) fn new(sequence: u64, mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(&[0; CHECKSUM_BYTES]);
        Self { bytes }
    }

    /// Adds a step and says where its record lies within the commit.
    pub(super) fn step(&mut self, kind: Kind, record: &[u8]) -> Range<usize> {
        self.bytes.push(kind.code());
        self.bytes.extend_from_slice(&length(record.len()).to_le_bytes());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        start..self.bytes.len()
    }

    /// The bytes to be written.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        let body = length(bytes.len() - HEADER_BYTES).to_le_bytes();
        for (at, byte) in (MAGIC.len()..).zip(body) {
            bytes[at] = byte;
        }
        let checksum = checksum(&bytes).to_le_bytes();
        for (at, byte) in (HEADER_BYTES - CHECKSUM_BYTES..).zip(checksum) {
            bytes[at] = byte;
        }
        bytes
    }
}

/// Of everything but itself.
fn checksum(bytes: &[u8]) -> u32 {
    let before = bytes.get(..HEADER_BYTES - CHECKSUM_BYTES).unwrap_or_default();
    let after = bytes.get(HEADER_BYTES..).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c(before), after)
}

fn length(bytes: usize) -> u32 {
    // The writer ends a commit long before.
    u32::try_from(bytes).expect("a commit is smaller than 4 GiB")
}

/// A commit as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) sequence: u64,
    /// All its bytes.
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The commit that begins here, if there is one and all of it is as it was written.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (own, _) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let bytes = bytes.get(..HEADER_BYTES.checked_add(length)?)?;
        let whole = checksum(bytes) == u32::from_le_bytes(*own);
        whole.then(|| Self { sequence: u64::from_le_bytes(*sequence), bytes })
    }

    /// Whether a whole commit numbered `after` or later begins anywhere in these bytes.
    pub(super) fn is_in(bytes: &[u8], after: u64) -> bool {
        let starts = (0..bytes.len()).filter_map(|at| bytes.get(at..));
        starts.filter_map(Frame::read).any(|frame| frame.sequence >= after)
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Its steps in order: what they do, and where their records lie within the commit.
    pub(super) fn steps(&self) -> impl Iterator<Item = Result<(Kind, Range<usize>), BadRecord>> {
        let mut at = HEADER_BYTES;
        std::iter::from_fn(move || {
            let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
            let step = step(rest).map(|(kind, length)| {
                let start = at + STEP_BYTES;
                at = start + length;
                (kind, start..at)
            });
            if step.is_none() {
                at = self.bytes.len();
            }
            Some(step.ok_or(BadRecord::Missing("a step that can be read")))
        })
    }

    /// The record in this place.
    pub(super) fn record(&self, place: Range<usize>) -> &'a [u8] {
        self.bytes.get(place).unwrap_or_default()
    }
}

fn step(rest: &[u8]) -> Option<(Kind, usize)> {
    let (&code, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.code() == code)?;
    (length <= rest.len()).then_some((kind, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit() -> Vec<u8> {
        let mut builder = Builder::new(7, vec![9; 100]);
        for kind in Kind::ALL {
            builder.step(kind, &vec![0xAB; usize::from(kind.code()) - 1]);
        }
        builder.finish()
    }

    #[test]
    fn a_commit_reads_back() {
        let bytes = commit();
        let longer = [&bytes[..], b"siso and more"].concat();
        let frame = Frame::read(&longer).unwrap();
        assert_eq!((frame.sequence, frame.len()), (7, bytes.len()));
        let steps: Vec<_> = frame.steps().map(Result::unwrap).collect();
        let kinds: Vec<_> = steps.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, Kind::ALL);
        for (kind, place) in steps {
            assert_eq!(frame.record(place), vec![0xAB; usize::from(kind.code()) - 1]);
        }
    }

    #[test]
    fn a_commit_with_any_bit_flipped_or_cut_off_anywhere_is_none() {
        let whole = commit();
        for position in 0..whole.len() {
            assert_eq!(Frame::read(&whole[..position]), None, "cut after {position} bytes");
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[position] ^= 1 << bit;
                assert_eq!(Frame::read(&flipped), None, "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn a_later_commit_is_found_wherever_it_begins() {
        let bytes = [&[0, 1, 2][..], b"sisosisosi", &commit(), &[3]].concat();
        assert!(Frame::is_in(&bytes, 7) && Frame::is_in(&bytes, 6));
        assert!(!Frame::is_in(&bytes, 8) && !Frame::is_in(&bytes[..20], 0));
    }

    #[test]
    fn a_step_nobody_knows_is_no_step() {
        let mut builder = Builder::new(1, Vec::new());
        let place = builder.step(Kind::Vote, b"vote");
        builder.bytes[place.start - STEP_BYTES] = 9;
        let bytes = builder.finish();
        let frame = Frame::read(&bytes).unwrap();
        assert!(matches!(frame.steps().collect::<Vec<_>>()[..], [Err(_)]));
    }

    /// These bytes lie on disks: they must be written and read like this for ever.
    #[test]
    fn a_commit_keeps_its_bytes() {
        let bytes = model::token::Hex(&commit()).to_string();
        assert_eq!(
            bytes,
            "7369736f2300000007000000000000008ef38b50\
             01000000000201000000ab0302000000abab0403000000ababab0504000000abababab"
        );
    }
}
