//! The inputs a target keeps, in one file: hundreds of small ones would drown whoever looks at the
//! repository.
//!
//! ```text
//! "siso inputs 1\n" | FNV-1a of the rest: u64 | (length: u32 | input)…       numbers little-endian
//! ```
//!
//! **Invariant:** an archive reads back whole or not at all, and is never empty: a corpus that went
//! unnoticed would be no corpus.

use std::collections::BTreeSet;

const MAGIC: &[u8] = b"siso inputs 1\n";
/// The longest archive: what a person still clones without noticing.
pub const ARCHIVE_BYTES_MAX: usize = 100_000;

/// The inputs of an archive.
///
/// # Errors
///
/// In words, when it is not one, is damaged, is too long, or holds nothing.
pub fn read(archive: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    if archive.len() > ARCHIVE_BYTES_MAX {
        return Err("it is longer than an archive may be");
    }
    let rest = archive.strip_prefix(MAGIC).ok_or("it is no archive of inputs")?;
    let (own, mut rest) = rest.split_first_chunk().ok_or("it is cut off")?;
    if u64::from_le_bytes(*own) != super::hash(rest) {
        return Err("it is damaged: its checksum does not match");
    }
    let mut inputs = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk().ok_or("it is cut off")?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (input, behind) = behind.split_at_checked(length).ok_or("it is cut off")?;
        inputs.push(input.to_vec());
        rest = behind;
    }
    if inputs.is_empty() { Err("it holds no inputs") } else { Ok(inputs) }
}

/// The archive of these: each once, the shorter ones first, as many as fit. The order they come in
/// does not matter.
pub fn write(inputs: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let inputs: BTreeSet<_> = inputs.into_iter().map(|input| (input.len(), input)).collect();
    let room = ARCHIVE_BYTES_MAX - MAGIC.len() - size_of::<u64>();
    let mut body = Vec::new();
    for (length, input) in inputs {
        let Ok(head) = u32::try_from(length) else { break };
        if body.len() + size_of::<u32>() + length > room {
            break;
        }
        body.extend(head.to_le_bytes());
        body.extend(input);
    }
    [MAGIC, &super::hash(&body).to_le_bytes(), &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        write([&b"second"[..], b"", b"first", b"first"].map(<[u8]>::to_vec))
    }

    #[test]
    fn what_is_kept_reads_back_each_once_and_the_shorter_first() {
        assert_eq!(read(&archive()).unwrap(), [&b""[..], b"first", b"second"]);
        let many = write((0..200_u32).map(|number| vec![u8::try_from(number).unwrap(); 1_000]));
        assert_eq!(read(&many).unwrap().len(), 99, "as many as fit");
    }

    #[test]
    fn an_archive_that_is_empty_or_damaged_anywhere_is_refused() {
        assert_eq!(read(&write([])), Err("it holds no inputs"));
        assert_eq!(read(&[]), Err("it is no archive of inputs"));
        let whole = archive();
        for position in 0..whole.len() {
            assert!(read(&whole[..position]).is_err(), "cut off after {position}");
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[position] ^= 1 << bit;
                assert!(read(&flipped).is_err(), "bit {bit} of byte {position}");
            }
        }
        assert!(read(&[&whole[..], &[0; 4]].concat()).is_err(), "something behind it");
    }
}
