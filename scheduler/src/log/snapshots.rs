//! Snapshots as files: written beside, read back, then renamed into place; the newest two are kept.
//!
//! **Invariant:** a file with a snapshot's name is whole. What is not, by its checksum, is never
//! loaded; the one before it is, and the log must then reach back to it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use scheduler_core::{Cluster, ClusterImage};

use crate::files;

use super::{
    LogError, codec,
    record::{LogIdRecord, MembershipRecord},
    types::{LogId, Membership, SnapshotMeta, StoredMembership},
};

const MAGIC: &[u8; 8] = b"sisosnap";
/// Magic, checksum, length of the body.
const HEADER_BYTES: usize = MAGIC.len() + 4 + 8;
/// The newest, and one to fall back to.
const KEPT: usize = 2;
const EXTENSION: &str = "snapshot";
const UNFINISHED: &str = "tmp";
const DAMAGED: &str = "damaged";
/// A longer file is no snapshot: four times what is sent between schedulers.
const READ_BYTES_MAX: u64 = 1 << 30;

#[derive(Clone, PartialEq, Message)]
struct SnapshotRecord {
    #[prost(message, optional, tag = "1")]
    last: Option<LogIdRecord>,
    #[prost(message, optional, tag = "2")]
    membership_at: Option<LogIdRecord>,
    #[prost(message, optional, tag = "3")]
    membership: Option<MembershipRecord>,
    #[prost(bytes = "bytes", tag = "4")]
    image: Bytes,
}

/// A cluster and the point of the log it stands for.
pub(super) struct Loaded {
    pub(super) meta: SnapshotMeta,
    pub(super) cluster: Cluster,
}

/// The bytes of a snapshot file: header and body.
pub(super) fn encode(meta: &SnapshotMeta, cluster: &Cluster) -> Bytes {
    write(meta, codec::encode_image(&ClusterImage::from(cluster)).into())
}

/// The bytes of a snapshot file with this image of a cluster in it.
pub(super) fn write(meta: &SnapshotMeta, image: Bytes) -> Bytes {
    let record = SnapshotRecord {
        last: meta.last_log_id.as_ref().map(LogIdRecord::from),
        membership_at: meta.last_membership.log_id().as_ref().map(LogIdRecord::from),
        membership: Some(meta.last_membership.membership().into()),
        image,
    };
    seal(&record.encode_to_vec())
}

/// Header and body.
pub(super) fn seal(body: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes.into()
}

fn body(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let (length, body) = rest.split_first_chunk()?;
    let whole = u64::from_le_bytes(*length) == body.len() as u64
        && u32::from_le_bytes(*checksum) == crc32c::crc32c(body);
    whole.then_some(body)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    files::read_at_most(&mut File::open(path)?, READ_BYTES_MAX)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The point of the log a snapshot stands for, and the cluster, still encoded. Its checksum is right;
/// whether the cluster can be read is not asked, which takes a hundred times as long.
pub(super) fn open(bytes: &[u8]) -> io::Result<(SnapshotMeta, Bytes)> {
    let body = body(bytes).ok_or_else(|| invalid("its checksum does not match".to_owned()))?;
    let record = SnapshotRecord::decode(body).map_err(|cause| invalid(cause.to_string()))?;
    let membership: Membership = record
        .membership
        .ok_or_else(|| invalid("it lacks its members".to_owned()))?
        .try_into()
        .map_err(|cause| invalid(format!("its members are damaged: {cause}")))?;
    let id = |record: Option<&LogIdRecord>| {
        let id = record.map(LogId::try_from).transpose();
        id.map_err(|cause| invalid(format!("what it stands for is damaged: {cause}")))
    };
    let meta = SnapshotMeta {
        last_log_id: id(record.last.as_ref())?,
        last_membership: StoredMembership::new(id(record.membership_at.as_ref())?, membership),
    };
    Ok((meta, record.image))
}

/// The point of the log a whole snapshot stands for.
pub(super) fn meta(bytes: &[u8]) -> io::Result<SnapshotMeta> {
    open(bytes).map(|(meta, _)| meta)
}

/// Reads what [`encode`] wrote; nothing of a damaged snapshot is believed. One of a form above `known`
/// is `Unsupported`: it is whole, and of a newer program.
pub(super) fn decode(bytes: &[u8], known: u32) -> io::Result<Loaded> {
    let (meta, image) = open(bytes)?;
    let image = codec::decode_image_up_to(&image, known).map_err(|cause| match cause {
        codec::BadBytes::Version { .. } => {
            io::Error::new(io::ErrorKind::Unsupported, cause.to_string())
        }
        cause => invalid(cause.to_string()),
    })?;
    let cluster = Cluster::try_from(image).map_err(|cause| invalid(cause.to_string()))?;
    Ok(Loaded { meta, cluster })
}

/// The directory of a replica's snapshots. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct SnapshotFiles {
    directory: PathBuf,
    /// The highest form of a cluster that is read.
    known: u32,
    /// Held while a snapshot is published; whether it was the last one.
    closed: Arc<Mutex<bool>>,
}

impl SnapshotFiles {
    pub(super) fn open(directory: PathBuf, known: u32) -> Result<Self, LogError> {
        let open = |cause| LogError::Open { path: directory.clone(), cause };
        files::make_private_directory(&directory).map_err(open)?;
        // Each that was not finished has another name.
        for path in with_extension(&directory, UNFINISHED).map_err(open)? {
            fs::remove_file(path).map_err(open)?;
        }
        Ok(Self { directory, known, closed: Arc::default() })
    }

    /// Where they lie.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Waits for a snapshot that is being published; after it there is none. The directory may
    /// become somebody else's.
    pub(super) fn close(&self) {
        *self.closed.lock() = true;
    }

    /// The newest first. The name is the index, so that the order of names is the order of time.
    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = with_extension(&self.directory, EXTENSION)?;
        paths.sort_unstable_by(|a, b| b.cmp(a));
        Ok(paths)
    }

    /// The newest snapshot that is whole; `None` when there is no file at all.
    pub(super) fn newest(&self) -> Result<Option<Loaded>, LogError> {
        let open = |cause| LogError::Open { path: self.directory.clone(), cause };
        let paths = self.paths().map_err(open)?;
        for (damaged, path) in paths.iter().enumerate() {
            match read(path).and_then(|bytes| decode(&bytes, self.known)) {
                Ok(loaded) => {
                    self.set_aside(&paths[..damaged]).map_err(open)?;
                    return Ok(Some(loaded));
                }
                Err(cause) if cause.kind() == io::ErrorKind::Unsupported => {
                    return Err(LogError::Newer { path: path.clone(), cause });
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "a snapshot is damaged");
                }
            }
        }
        match paths.into_iter().next() {
            Some(path) => Err(LogError::NoWholeSnapshot { path }),
            None => Ok(None),
        }
    }

    /// Takes damaged snapshots out of the way, or each would count as one of those kept. One may be looked at
    /// afterwards, the newest of these or of those before.
    fn set_aside(&self, damaged: &[PathBuf]) -> io::Result<()> {
        for path in damaged {
            fs::rename(path, path.with_extension(DAMAGED))?;
        }
        let mut aside = with_extension(&self.directory, DAMAGED)?;
        aside.sort_unstable();
        aside.pop();
        aside.iter().try_for_each(fs::remove_file)
    }

    /// The bytes of the newest whole snapshot, to be sent to a peer.
    pub(super) fn newest_bytes(&self) -> io::Result<Option<(SnapshotMeta, Bytes)>> {
        for path in self.paths()? {
            let bytes = read(&path)?;
            // It was proven to load before it got its name; its checksum says it is still the same.
            if let Ok(meta) = meta(&bytes) {
                return Ok(Some((meta, bytes.into())));
            }
        }
        Ok(None)
    }

    /// Loads a snapshot, once, and publishes what loads.
    pub(super) fn adopt(&self, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<Cluster> {
        let Loaded { cluster, .. } = decode(bytes, self.known)?;
        self.publish(meta, bytes)?;
        Ok(cluster)
    }

    /// Makes the snapshot durable, publishes it, and forgets the oldest. It must be one that loads.
    fn publish(&self, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<()> {
        let closed = self.closed.lock();
        if *closed {
            return Err(io::Error::other("the log is closed"));
        }
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let path = self.directory.join(format!("{index:020}.{EXTENSION}"));
        let beside = path.with_extension(UNFINISHED);
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        if fs::read(&beside)? != bytes {
            return Err(invalid("the disk gives back something else than was written".to_owned()));
        }
        fs::rename(&beside, &path)?;
        sync_directory(&self.directory)?;
        for old in self.paths()?.into_iter().skip(KEPT) {
            fs::remove_file(old)?;
        }
        Ok(())
    }
}

fn with_extension(directory: &Path, wanted: &str) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == wanted) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Makes the names in the directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use model::token::Role;
    use scheduler_core::{Command, Entry};

    use super::*;

    #[test]
    fn a_snapshot_with_any_bit_flipped_or_cut_off_anywhere_is_none() {
        let mut cluster = Cluster::new();
        let (secret_hash, expires_at) = ([7; 32], model::Timestamp(9));
        for command in [
            Command::Found { id: "ab".repeat(16), name: "home".to_owned() },
            Command::CreateToken { role: Role::Node, secret_hash, expires_at },
        ] {
            let applied = cluster.apply(&Entry { at: model::Timestamp(5), request: None, command });
            applied.result.unwrap();
        }
        let whole = encode(&SnapshotMeta::default(), &cluster);
        let decode = |bytes: &[u8]| decode(bytes, codec::ENTRY_VERSION);
        assert_eq!(decode(&whole).unwrap().cluster, cluster);
        for position in 0..whole.len() {
            assert!(decode(&whole[..position]).is_err(), "cut after {position} bytes");
            for bit in 0..8 {
                let mut flipped = whole.to_vec();
                flipped[position] ^= 1 << bit;
                assert!(decode(&flipped).is_err(), "bit {bit} of byte {position}");
            }
        }
    }

    fn at(index: u64, form: u32) -> (SnapshotMeta, Bytes, Cluster) {
        let mut cluster = Cluster::new();
        let command = Command::RaiseForm { form };
        cluster.apply(&Entry { at: model::Timestamp(5), request: None, command }).result.unwrap();
        let last_log_id = Some(super::super::types::log_id(1, index));
        let meta = SnapshotMeta { last_log_id, ..SnapshotMeta::default() };
        let bytes = encode(&meta, &cluster);
        (meta, bytes, cluster)
    }

    #[test]
    fn what_a_snapshot_stands_for_is_read_without_the_cluster_in_it() {
        let (stands_for, bytes, cluster) = at(7, 2);
        // A reader that cannot read the cluster at all can say for which entry it stands.
        assert_eq!(decode(&bytes, 1).err().unwrap().kind(), io::ErrorKind::Unsupported);
        assert_eq!(meta(&bytes).unwrap(), stands_for);
        assert_eq!(decode(&bytes, 2).unwrap().cluster, cluster);
    }

    #[test]
    fn a_snapshot_that_does_not_load_is_never_published() {
        let directory = tempfile::tempdir().unwrap();
        let files = SnapshotFiles::open(directory.path().to_owned(), 1).unwrap();
        let (stands_for, bytes, _) = at(7, 2);
        assert!(files.adopt(&stands_for, &bytes).is_err());
        assert!(files.paths().unwrap().is_empty());
    }

    #[test]
    fn what_was_not_finished_is_gone_after_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let open = || SnapshotFiles::open(directory.path().to_owned(), 2).unwrap();
        let (stands_for, bytes, _) = at(7, 2);
        open().adopt(&stands_for, &bytes).unwrap();
        for index in 8..20 {
            let left = directory.path().join(format!("{index:020}.{UNFINISHED}"));
            fs::write(left, &bytes[..index]).unwrap();
        }
        let files = open();
        assert_eq!(with_extension(directory.path(), UNFINISHED).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(files.newest().unwrap().unwrap().meta, stands_for);
    }

    #[test]
    fn of_damaged_snapshots_one_is_left_however_often_the_disk_spoils_the_newest() {
        let directory = tempfile::tempdir().unwrap();
        let files = SnapshotFiles::open(directory.path().to_owned(), 2).unwrap();
        let (first, bytes, _) = at(7, 2);
        files.adopt(&first, &bytes).unwrap();
        for index in 8..12 {
            let path = directory.path().join(format!("{index:020}.{EXTENSION}"));
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            assert_eq!(files.newest().unwrap().unwrap().meta, first);
            let aside = with_extension(directory.path(), DAMAGED).unwrap();
            assert_eq!(aside, [path.with_extension(DAMAGED)]);
        }
    }

    #[test]
    fn a_snapshot_of_a_newer_program_is_refused_and_nothing_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let names = || {
            let entries = fs::read_dir(directory.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let open = |known| SnapshotFiles::open(directory.path().to_owned(), known).unwrap();
        for index in [7, 9] {
            let (stands_for, bytes, _) = at(index, 2);
            open(2).adopt(&stands_for, &bytes).unwrap();
        }
        let before = names();
        let Err(refused) = open(1).newest() else { panic!("it is read") };
        assert!(matches!(refused, LogError::Newer { .. }), "{refused}");
        assert_eq!(names(), before);
        assert!(open(2).newest().unwrap().is_some());
    }
}
