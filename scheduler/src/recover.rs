//! Going on from what one scheduler knows when a majority of them is lost for good.
//!
//! The directory is made that of a new cluster which knows all this scheduler knew. Nobody's certificate
//! is renewed for it: agents and people are who they were, schedulers from before are shut out by their
//! numbers ([`Cluster::recover`](scheduler_core::Cluster::recover)). The same makes a copy from before usable, whose
//! numbers were given away since.
//!
//! **Invariant:** until everything new is durable nothing old is touched; from then on every start
//! finishes what is left to do, so that there is never half of both.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use model::{Timestamp, token::Hex};
use proto::{
    transport,
    v1::{ProbeRequest, replica_client::ReplicaClient},
};
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    clock,
    config::{self, Config},
    data_dir::{DataDir, DataDirError, Identity},
    files,
    log::{LogError, recovery},
    pki::{Keys, PkiError},
};

/// How long another scheduler may take to show that it is not lost.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// What is new, until all of it is there; then it gets the second name.
const MAKING: &str = "recovery";
const MADE: &str = "recovered";

/// Why a cluster cannot be recovered from a directory. Nothing was changed.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its keys cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// There is nothing in it.
    #[error("{} is not the directory of a scheduler that is a member of a cluster", path.display())]
    NoMember {
        /// The directory.
        path: PathBuf,
    },
    /// It does not need the others.
    #[error(
        "scheduler {scheduler} is the only one of its cluster: there is nothing to recover; start it\nhint: a \
         directory that was put back from a backup is recovered with --from-backup"
    )]
    Alone {
        /// Which.
        scheduler: u64,
    },
    /// It did not vote.
    #[error(
        "scheduler {scheduler} did not vote, so it may not know what the others agreed on: recover from one \
         that did"
    )]
    NoVoter {
        /// Which.
        scheduler: u64,
    },
    /// Another scheduler is not lost.
    #[error(
        "scheduler {scheduler} at {address} answers: it is not lost. Two clusters would run what one \
         should\nhint: with a majority of the schedulers nothing has to be recovered; else stop that one \
         first, it cannot come back after this one was recovered"
    )]
    Alive {
        /// Which.
        scheduler: u64,
        /// Where.
        address: String,
    },
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The new id of the cluster.
    pub cluster: String,
    /// The id it had.
    pub former: String,
    /// The number its scheduler has now.
    pub scheduler: u64,
    /// Those that were left behind, with where they were.
    pub left_behind: Vec<(u64, String)>,
    /// When the last change it knows of was made.
    pub until: Option<Timestamp>,
    /// Where the former log lies.
    pub kept: PathBuf,
}

/// Makes the data directory that of a new cluster of one scheduler, which knows all the old one knew.
/// Refused while another voter answers.
pub async fn recover(config: &Config) -> Result<Recovered, RecoverError> {
    let directory = DataDir::open(&config.data_dir)?;
    finish(&directory)?;
    let none = || RecoverError::NoMember { path: config.data_dir.clone() };
    let identity = directory.identity()?.ok_or_else(none)?;
    // That it votes is noted soon after; its log knows.
    if !directory.log().exists() {
        return Err(none());
    }
    directory.check_identity(&identity, config.form)?;
    let (log, form) = (directory.log(), config.form);
    let read = tokio::task::spawn_blocking(move || recovery::read(&log, form)).await;
    let mut knowledge = read.map_err(broken)??;
    let scheduler = identity.scheduler;
    let own = knowledge.voters.iter().find(|(id, _)| *id == scheduler);
    let address = own.map(|(_, address)| address.clone());
    let address = address.ok_or(RecoverError::NoVoter { scheduler })?;
    let left_behind: Vec<_> =
        knowledge.voters.iter().filter(|(id, _)| *id != scheduler).cloned().collect();
    if left_behind.is_empty() && !config.from_backup {
        return Err(RecoverError::Alone { scheduler });
    }
    let host = config::host(&address);
    let keys = Keys::open(&directory.pki(), &identity.origin, (scheduler, host))?;
    let face = keys.face().load_full();
    for (scheduler, address) in &left_behind {
        if answers(*scheduler, address, &face).await {
            let (scheduler, address) = (*scheduler, address.clone());
            return Err(RecoverError::Alive { scheduler, address });
        }
    }
    let cluster = Hex(&rand::random::<[u8; 16]>()).to_string();
    let number = knowledge.cluster.recover(clock::now(), &cluster);
    let until = knowledge.until;
    let former = identity.cluster.clone();
    let new = Identity {
        cluster: cluster.clone(),
        scheduler: number,
        member: true,
        form: knowledge.cluster.form(),
        ..identity
    };
    let root = config.data_dir.clone();
    let made = tokio::task::spawn_blocking(move || {
        let making = root.join(MAKING);
        let file = |cause| DataDirError::File { path: making.clone(), cause };
        remove_all(&making).map_err(file)?;
        files::make_private_directory(&making).map_err(file)?;
        recovery::write(&making.join("log"), &knowledge, (number, &address))?;
        crate::data_dir::write_identity(&making.join("identity"), &new)?;
        // From here on it counts.
        fs::rename(&making, root.join(MADE)).and_then(|()| sync(&root)).map_err(file)?;
        Ok::<_, RecoverError>(())
    });
    made.await.map_err(broken)??;
    finish(&directory)?;
    let kept = kept(&config.data_dir, &former);
    Ok(Recovered { cluster, former, scheduler: number, left_behind, until, kept })
}

#[allow(clippy::needless_pass_by_value, reason = "the form `map_err` asks for")]
fn broken(error: tokio::task::JoinError) -> RecoverError {
    LogError::Stopped(error.to_string()).into()
}

/// Whether that scheduler is there, whatever it says.
async fn answers(scheduler: u64, address: &str, face: &transport::Identity) -> bool {
    let face = Arc::new(ArcSwap::from_pointee(face.clone()));
    let Ok(channel) = transport::channel(&[address.to_owned()], &face.load(), ALIVE_TIMEOUT) else {
        return false;
    };
    let mut client = ReplicaClient::new(channel);
    match timeout(ALIVE_TIMEOUT, client.probe(ProbeRequest { to: scheduler })).await {
        Ok(Ok(_)) => true,
        // What has a source was said by the transport, not by a scheduler.
        Ok(Err(status)) => std::error::Error::source(&status).is_none(),
        Err(_) => false,
    }
}

/// Finishes a recovery whose new log and identity are there: puts them in the place of the old.
pub(crate) fn finish(directory: &DataDir) -> Result<(), DataDirError> {
    let root = directory.path();
    let made = root.join(MADE);
    let failed = |cause| DataDirError::File { path: made.clone(), cause };
    if !made.try_exists().map_err(failed)? {
        return Ok(());
    }
    let log = directory.log();
    if made.join("log").try_exists().map_err(failed)? {
        // The old identity is replaced last, so it still says which cluster the old log is of.
        if let Some(identity) = directory.identity()?
            && log.try_exists().map_err(failed)?
        {
            fs::rename(&log, kept(root, &identity.cluster)).map_err(failed)?;
        }
        fs::rename(made.join("log"), &log).map_err(failed)?;
        sync(root).map_err(failed)?;
    }
    if made.join("identity").try_exists().map_err(failed)? {
        fs::rename(made.join("identity"), directory.identity_path()).map_err(failed)?;
        sync(root).map_err(failed)?;
    }
    remove_all(&made).map_err(failed)?;
    sync(root).map_err(failed)
}

/// Where the log from before a recovery is kept.
fn kept(root: &Path, former: &str) -> PathBuf {
    root.join(format!("log-of-{former}"))
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

impl Recovered {
    /// Writes it as lines of `key: value`, which `sisoctl` reads.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "cluster: {}\nformer: {}", self.cluster, self.former)?;
        writeln!(out, "scheduler: {}", self.scheduler)?;
        for (id, address) in &self.left_behind {
            writeln!(out, "left-behind: {id} {address}")?;
        }
        if let Some(until) = self.until {
            writeln!(out, "until: {}", until.to_rfc3339())?;
        }
        writeln!(out, "kept: {}", self.kept.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::FIRST_FORM;

    fn identity(cluster: &str) -> Identity {
        let (origin, form) = ("old".to_owned(), FIRST_FORM);
        let cluster = cluster.to_owned();
        Identity { cluster, name: "home".to_owned(), scheduler: 1, member: true, origin, form }
    }

    #[test]
    fn a_recovery_that_was_cut_off_anywhere_is_finished_at_the_next_start() {
        let log = |at: PathBuf, whose: &str| {
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join("whose"), whose).unwrap();
        };
        for done in 0..=3 {
            let parent = tempfile::tempdir().unwrap();
            let root = parent.path();
            let directory = DataDir::open(root).unwrap();
            let made = root.join(MADE);
            fs::create_dir(&made).unwrap();
            log(root.join(if done >= 1 { "log-of-old" } else { "log" }), "old");
            log(if done >= 2 { root.join("log") } else { made.join("log") }, "new");
            let write = |path: PathBuf, cluster| {
                crate::data_dir::write_identity(&path, &identity(cluster)).unwrap();
            };
            if done >= 3 {
                write(directory.identity_path(), "new");
            } else {
                write(directory.identity_path(), "old");
                write(made.join("identity"), "new");
            }
            for _ in 0..2 {
                finish(&directory).unwrap();
                let whose = |at: &str| fs::read_to_string(root.join(at).join("whose")).unwrap();
                assert_eq!((whose("log"), whose("log-of-old")), ("new".into(), "old".into()));
                assert_eq!(directory.identity().unwrap(), Some(identity("new")), "{done} done");
                assert!(!made.exists());
            }
        }
    }
}
