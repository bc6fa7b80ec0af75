//! The leases in a file, for the guard and for the agent's next life. A process that is killed knows
//! nothing any more, and its containers run on.
//!
//! The file has its full length from the beginning and is written over in place: a disk that is full
//! must not end what has a lease. It is not synced, for it counts in the boot it was written in only.
//! It is `SISOLEA1`, the length and CRC-32C of what follows (little-endian), and a protobuf message.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use model::{
    TaskId,
    planted::{Bug, is_planted},
};
use prost::Message as _;

use crate::{lease::Awake, ledger::MAX_TASKS};

const MAGIC: &[u8; 8] = b"SISOLEA1";
const HEADER: usize = 16;
/// A lease takes at most 40 bytes.
const LENGTH: usize = HEADER + 128 + MAX_TASKS * 40;
const FILE: &str = "leases";
const PRIVATE: u32 = 0o600;
/// How often it is read before what it says counts as damaged, and the time between: a second in all. Whoever writes may
/// lose its processor amidst that, longer than it takes to write, where a virtual machine shares those of a busy host.
const READS: usize = 250;
const WRITTEN_WITHIN: Duration = Duration::from_millis(4);

/// The file's message. Field numbers are never reused.
#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(string, tag = "1")]
    boot: String,
    #[prost(message, repeated, tag = "2")]
    leases: Vec<LeaseEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LeaseEntry {
    #[prost(uint64, tag = "1")]
    task: u64,
    #[prost(uint64, tag = "2")]
    boot: u64,
    #[prost(uint64, optional, tag = "3")]
    hardware: Option<u64>,
}

/// The file of one agent, in one boot of its machine.
#[derive(Debug, Clone)]
pub struct LeaseRecord {
    path: PathBuf,
    boot: String,
}

impl LeaseRecord {
    /// The file in this directory. `boot` names the boot of the machine; where nobody can tell, nothing
    /// that was written before is believed.
    pub fn new(directory: &Path, boot: Option<String>) -> Self {
        let unknown = || format!("process {}", std::process::id());
        Self { path: directory.join(FILE), boot: boot.unwrap_or_else(unknown) }
    }

    /// Writes when the renewal of each lease was sent.
    pub fn write(&self, sent: &BTreeMap<TaskId, Awake>) -> io::Result<()> {
        let mut bytes = encode(&self.boot, sent);
        bytes.resize(LENGTH.max(bytes.len()), 0);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(PRIVATE);
        file.open(&self.path)?.write_all_at(&bytes, 0)
    }

    /// Gives the file its full length: later on the disk may have no room for it.
    pub fn reserve(&self) -> io::Result<()> {
        self.write(&self.read()?)
    }

    /// The renewals that were written in this boot. What is damaged is no lease; a file that is not there
    /// has none.
    ///
    /// # Errors
    /// The system's, where the file cannot be read: nothing is known then.
    pub fn read(&self) -> io::Result<BTreeMap<TaskId, Awake>> {
        for _ in 0..READS {
            let bytes = match std::fs::read(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                read => read?,
            };
            if let Some(found) = decode(&self.boot, &bytes) {
                return Ok(found);
            }
            // It may have been read while it was written over.
            std::thread::sleep(WRITTEN_WITHIN);
        }
        Ok(BTreeMap::new())
    }
}

/// The file's content.
pub fn encode(boot: &str, sent: &BTreeMap<TaskId, Awake>) -> Vec<u8> {
    let entry = |(task, at): (&TaskId, &Awake)| LeaseEntry {
        task: task.raw(),
        boot: at.boot,
        hardware: at.hardware,
    };
    let record = Record { boot: boot.to_owned(), leases: sent.iter().map(entry).collect() };
    let body = record.encode_to_vec();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// What [`encode`] wrote in this boot.
pub fn decode(boot: &str, bytes: &[u8]) -> Option<BTreeMap<TaskId, Awake>> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let field = |from: usize| -> Option<u32> {
        Some(u32::from_le_bytes(header.get(from..from + 4)?.try_into().ok()?))
    };
    let body = rest.get(..usize::try_from(field(8)?).ok()?)?;
    if !header.starts_with(MAGIC) || crc32c::crc32c(body) != field(12)? {
        return None;
    }
    let record = Record::decode(body).ok()?;
    if record.boot != boot && !is_planted(Bug::LeaseOutlivesReboot) {
        return None;
    }
    let lease = |entry: LeaseEntry| {
        (TaskId::new(entry.task), Awake { boot: entry.boot, hardware: entry.hardware })
    };
    Some(record.leases.into_iter().map(lease).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> BTreeMap<TaskId, Awake> {
        let at = |boot, hardware| Awake { boot, hardware };
        [(TaskId::new(1), at(5, Some(7))), (TaskId::new(9), at(u64::MAX, None))].into()
    }

    #[test]
    fn leases_are_found_again_in_the_same_boot_only() {
        let directory = tempfile::tempdir().unwrap();
        let of = |boot: &str| LeaseRecord::new(directory.path(), Some(boot.to_owned()));
        let read = |boot: &str| of(boot).read().unwrap();
        assert_eq!(read("a"), BTreeMap::new());
        of("a").write(&leases()).unwrap();
        assert_eq!(read("a"), leases());
        assert_eq!(read("b"), BTreeMap::new());
        of("a").write(&BTreeMap::new()).unwrap();
        assert_eq!(read("a"), BTreeMap::new(), "what is shorter covers what was longer");
    }

    #[test]
    fn a_record_is_whole_to_whoever_reads_while_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let record = LeaseRecord::new(directory.path(), Some("a".to_owned()));
        record.write(&leases()).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Each as long as the whole file, and other bytes each time.
                for number in 0.. {
                    let at = Awake { boot: number, hardware: Some(number) };
                    let many = (0..MAX_TASKS as u64).map(|task| (TaskId::new(task + 1), at));
                    record.write(&many.collect()).unwrap();
                    if over.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                }
            });
            for _ in 0..200 {
                assert!(!record.read().unwrap().is_empty());
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_record_that_cannot_be_read_is_not_taken_for_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(FILE)).unwrap();
        LeaseRecord::new(directory.path(), None).read().unwrap_err();
    }

    #[test]
    fn a_full_record_has_the_length_of_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let record = LeaseRecord::new(directory.path(), Some("0".repeat(36)));
        let length = || std::fs::metadata(directory.path().join(FILE)).unwrap().len();
        record.write(&BTreeMap::new()).unwrap();
        let empty = length();
        let full = (0..MAX_TASKS as u64).map(|n| {
            (TaskId::new(u64::MAX - n), Awake { boot: u64::MAX, hardware: Some(u64::MAX) })
        });
        record.write(&full.collect()).unwrap();
        assert_eq!(length(), empty);
        assert_eq!(record.read().unwrap().len(), MAX_TASKS);
    }

    #[test]
    fn a_record_with_any_bit_flipped_or_any_end_cut_off_is_none() {
        let bytes = encode("boot", &leases());
        for at in 0..bytes.len() {
            assert_eq!(decode("boot", &bytes[..at]), None, "cut off at {at}");
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(decode("boot", &changed), None, "bit {bit} of byte {at}");
            }
        }
    }
}
