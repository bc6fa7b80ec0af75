//! The data directory: whose it is, and that only one process uses it.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{files, log::MENDED_BY};

/// Who this scheduler is. Written when it founds a cluster, never changed afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The cluster's id: 32 hexadecimal digits.
    pub(crate) cluster: String,
    /// The cluster's name.
    pub(crate) name: String,
    /// This scheduler's number in the cluster.
    pub(crate) scheduler: u64,
    /// Whether it ever was a member. If so, its log must never be empty again.
    pub(crate) member: bool,
    /// What certificates call the cluster: the id it was founded with.
    pub(crate) origin: String,
    /// The highest form of entries its log may hold. A program that reads less must not touch it.
    pub(crate) form: u32,
}

/// The form of logs whose identity does not say.
pub(crate) const FIRST_FORM: u32 = 1;

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another process runs on it.
    #[error("{} is used by another siso-scheduler", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The identity is there but cannot be read.
    #[error("{} is damaged: restore it from a backup", path.display())]
    DamagedIdentity {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error(
        "{} is of a newer version of siso-scheduler: its log has form {form}, this version reads up to \
         form {known}; nothing was touched\nhint: go on with that version",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The form of its log.
        form: u32,
        /// What this program reads.
        known: u32,
    },
    /// Its scheduler may take part no longer.
    #[error("{why}\nThis was told to {}, which is kept for what is still in it", path.display())]
    ShutOut {
        /// The directory.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// There is a log without an identity.
    #[error(
        "{} holds a log but no identity: a part of it was removed; restore it from a backup, or use \
         an empty directory",
        path.display()
    )]
    NoIdentity {
        /// The directory.
        path: PathBuf,
    },
    /// There is an identity without a log.
    #[error(
        "known id, empty log: {} belongs to scheduler {scheduler} of cluster `{name}`, but its log is \
         gone; a member that forgot what it agreed to must not vote again. {}. Or use an empty one to found a new \
         cluster",
        path.display(),
        MENDED_BY
    )]
    EmptyLog {
        /// The directory.
        path: PathBuf,
        /// Its number.
        scheduler: u64,
        /// Its cluster.
        name: String,
    },
}

/// A directory only this process uses, until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes the directory, making it when missing.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |cause| DataDirError::File { path, cause }
        };
        files::make_private_directory(path).map_err(failed(path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(failed(&lock_path)(cause)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    pub(crate) fn admin(&self) -> PathBuf {
        self.path.join("admin.yaml")
    }

    pub(crate) fn identity_path(&self) -> PathBuf {
        self.path.join("identity")
    }

    /// Who this directory belongs to; `None` when it is new.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, DataDirError> {
        let path = self.identity_path();
        match fs::read_to_string(&path) {
            Ok(text) => parse(&text).map(Some).ok_or(DataDirError::DamagedIdentity { path }),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DataDirError::File { path, cause: error })
            }
            Err(_) if self.log().exists() => {
                Err(DataDirError::NoIdentity { path: self.path.clone() })
            }
            Err(_) => Ok(None),
        }
    }

    /// Remembers who this directory belongs to.
    pub(crate) fn set_identity(&self, identity: &Identity) -> Result<(), DataDirError> {
        write_identity(&self.identity_path(), identity)
    }

    /// Refuses a directory of a newer program, or of a scheduler that may take part no longer.
    pub(crate) fn check_identity(
        &self,
        identity: &Identity,
        known: u32,
    ) -> Result<(), DataDirError> {
        if identity.form > known {
            let (path, form) = (self.path.clone(), identity.form);
            return Err(DataDirError::Newer { path, form, known });
        }
        let path = self.shut_out_path();
        let why = files::read(&path).map_err(|cause| DataDirError::File { path, cause })?;
        why.map_or(Ok(()), |why| {
            Err(DataDirError::ShutOut { path: self.path.clone(), why: why.trim_end().to_owned() })
        })
    }

    /// Where it is kept that, and why, its scheduler may take part no longer.
    pub(crate) fn shut_out_path(&self) -> PathBuf {
        self.path.join("shut-out")
    }

    /// What this directory asks to join with: the same until it has; and whether it asked before.
    pub(crate) fn joining(&self) -> Result<([u8; 32], bool), DataDirError> {
        let path = self.path.join("joining");
        let failed = |cause| DataDirError::File { path: path.clone(), cause };
        let held = files::read(&path).map_err(failed)?;
        if let Some(known) = held.and_then(|text| model::token::unhex(text.trim())) {
            return Ok((known, true));
        }
        let new: [u8; 32] = rand::random();
        files::write_private(&path, &model::token::Hex(&new).to_string()).map_err(failed)?;
        Ok((new, false))
    }

    /// Refuses a log that is empty although it must not be.
    pub(crate) fn check_log(&self, identity: &Identity, empty: bool) -> Result<(), DataDirError> {
        if identity.member && empty {
            return Err(DataDirError::EmptyLog {
                path: self.path.clone(),
                scheduler: identity.scheduler,
                name: identity.name.clone(),
            });
        }
        Ok(())
    }
}

/// Writes an identity where [`DataDir::identity`] reads it.
pub(crate) fn write_identity(path: &Path, identity: &Identity) -> Result<(), DataDirError> {
    files::write_private(path, &print(identity))
        .map_err(|cause| DataDirError::File { path: path.to_owned(), cause })
}

/// The text without its last line, which holds its checksum. Files of the first version end here.
fn print_unsealed(identity: &Identity) -> String {
    let Identity { cluster, name, scheduler, member, origin, form } = identity;
    // What is as in the first version is left out: that one refuses lines it does not know. They come
    // first, so that what was cut off is never taken for one without them.
    let origin = if origin == cluster { String::new() } else { format!("origin: {origin}\n") };
    let form = if *form == FIRST_FORM { String::new() } else { format!("form: {form}\n") };
    format!(
        "{origin}{form}cluster: {cluster}\nname: {name}\nscheduler: {scheduler}\nmember: {member}\n"
    )
}

fn print(identity: &Identity) -> String {
    let text = print_unsealed(identity);
    let checksum = crc32c::crc32c(text.as_bytes());
    format!("{text}checksum: {checksum:08x}\n")
}

fn parse(text: &str) -> Option<Identity> {
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::to_owned)
    };
    let cluster = value("cluster")?;
    let identity = Identity {
        origin: value("origin").unwrap_or_else(|| cluster.clone()),
        form: value("form").map_or(Some(FIRST_FORM), |form| form.parse().ok())?,
        cluster,
        name: value("name")?,
        scheduler: value("scheduler")?.parse().ok()?,
        member: value("member")?.parse().ok()?,
    };
    (text == print(&identity) || text == print_unsealed(&identity)).then_some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let cluster = "ab".repeat(16);
        let (origin, form) = (cluster.clone(), FIRST_FORM);
        Identity { cluster, name: "home".into(), scheduler: 1, member: true, origin, form }
    }

    #[test]
    fn an_identity_reads_back_and_damage_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        assert_eq!(dir.identity().unwrap(), None);
        dir.set_identity(&identity()).unwrap();
        assert_eq!(dir.identity().unwrap(), Some(identity()));
        fs::write(dir.identity_path(), "cluster: ab\n").unwrap();
        assert!(matches!(dir.identity(), Err(DataDirError::DamagedIdentity { .. })));
    }

    #[test]
    fn an_identity_with_any_bit_flipped_or_cut_off_anywhere_is_none() {
        let recovered = Identity { origin: "0a".into(), form: 2, ..identity() };
        for identity in [identity(), recovered] {
            check_damage(&identity);
        }
    }

    fn check_damage(identity: &Identity) {
        let text = print(identity);
        assert_eq!(parse(&text).as_ref(), Some(identity));
        for position in 0..text.len() {
            let cut = parse(&text[..position]);
            // Cut off before its checksum it is one of the first version, and whole.
            assert!(cut.is_none() || cut.as_ref() == Some(identity), "cut after {position} bytes");
            for bit in 0..8 {
                let mut flipped = text.clone().into_bytes();
                flipped[position] ^= 1 << bit;
                let read = String::from_utf8(flipped).ok().and_then(|text| parse(&text));
                assert_eq!(read, None, "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn an_identity_of_the_first_version_is_read() {
        let text = "cluster: 0a\nname: home\nscheduler: 1\nmember: true\n";
        let expected = Identity { cluster: "0a".into(), origin: "0a".into(), ..identity() };
        assert_eq!(parse(text), Some(expected));
    }

    #[test]
    fn a_directory_of_a_newer_version_or_of_a_scheduler_that_was_shut_out_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        let newer = Identity { form: 3, ..identity() };
        let refused = dir.check_identity(&newer, 2).unwrap_err().to_string();
        assert!(refused.contains("reads up to form 2; nothing was touched"), "{refused}");
        dir.check_identity(&newer, 3).unwrap();
        fs::write(dir.shut_out_path(), "scheduler 2 was removed\n").unwrap();
        let refused = dir.check_identity(&newer, 3).unwrap_err().to_string();
        assert!(refused.starts_with("scheduler 2 was removed\n"), "{refused}");
    }

    #[test]
    fn a_directory_has_one_user_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let first = DataDir::open(parent.path()).unwrap();
        assert!(matches!(DataDir::open(parent.path()), Err(DataDirError::InUse { .. })));
        drop(first);
        DataDir::open(parent.path()).unwrap();
    }

    #[test]
    fn half_a_directory_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        fs::create_dir(dir.log()).unwrap();
        assert!(matches!(dir.identity(), Err(DataDirError::NoIdentity { .. })));
        let refused = dir.check_log(&identity(), true).unwrap_err().to_string();
        assert!(refused.starts_with("known id, empty log"), "{refused}");
        dir.check_log(&identity(), false).unwrap();
        dir.check_log(&Identity { member: false, ..identity() }, true).unwrap();
    }
}
