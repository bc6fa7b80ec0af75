//! `DIR/admin.yaml`: the context file with which `sisoctl` reaches this cluster.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::token::Role;
use tokio::time::sleep;

use crate::{
    StartError,
    api::Office,
    data_dir::{DataDir, Identity},
    files,
    log::ReplicatedLog,
    pki::{ADMIN_LIFE, Holder, KeyAndCertificate, Keys, OwnIdentity, PkiError},
    story,
};

/// Before what the disk did not take is written again.
const RETRY: Duration = Duration::from_secs(5);

/// The context file of the operator that schedulers write for, as this scheduler keeps it.
pub(crate) struct Context {
    path: PathBuf,
    cluster: String,
    /// Where its key and certificate lie.
    pki: PathBuf,
    /// Where this scheduler is reached, and the one it joined through.
    own: String,
    join: Option<String>,
}

impl Context {
    pub(crate) fn new(
        directory: &DataDir,
        identity: &Identity,
        own: &str,
        join: Option<String>,
    ) -> Self {
        let (path, cluster) = (directory.admin(), identity.cluster.clone());
        Self { path, cluster, pki: directory.pki(), own: own.to_owned(), join }
    }

    /// Writes the file for the operator it is for now, with the voters as its endpoints, this scheduler first.
    pub(crate) fn write(&self, keys: &Keys, log: &dyn ReplicatedLog) -> Result<(), StartError> {
        let (voters, operator) =
            (log.standing().borrow().voters.clone(), log.cluster().own_operator());
        let none = || PkiError::Issue("the authority's key is not here".to_owned());
        // While another one takes its place, whoever uses the file has it renewed, as every copy of it.
        let authority = keys.presented().ok_or_else(none)?;
        let holder = Holder { role: Role::Admin, id: operator };
        let admin = OwnIdentity::new(&self.pki, "admin", holder, Vec::new());
        let (admin, _) = admin.current(&authority, ADMIN_LIFE)?;
        let mut endpoints = vec![self.own.clone()];
        // Before it votes it knows of no other.
        let through = self.join.iter().filter(|_| voters.is_empty());
        for other in voters.iter().map(|(_, address)| address).chain(through) {
            if !endpoints.contains(other) {
                endpoints.push(other.clone());
            }
        }
        write_context(&self.path, &self.cluster, &endpoints, &keys.trusted_pem(), &admin)
            .map_err(|cause| StartError::Context { path: self.path.clone(), cause })
    }

    /// Writes it anew whenever the voters, the authorities or the operator it is for have changed. What the disk
    /// does not take is tried again until it does.
    pub(crate) async fn keep(self, office: Arc<Office>) {
        let (mut standing, mut changes) = (office.log.standing(), office.keys.changes());
        let mut revision = office.log.revision();
        let mut written = standing.borrow().voters.clone();
        let mut operator = office.log.cluster().own_operator();
        let mut failed = false;
        loop {
            let goes_on = tokio::select! {
                news = standing.wait_for(|standing| standing.voters != written) => news.is_ok(),
                news = changes.changed() => news.is_ok(),
                () = sleep(RETRY), if failed => true,
                news = revision.changed() => {
                    if news.is_ok() && office.log.cluster().own_operator() == operator {
                        continue;
                    }
                    news.is_ok()
                }
            };
            if !goes_on {
                return;
            }
            let voters = standing.borrow().voters.clone();
            operator = office.log.cluster().own_operator();
            match self.write(&office.keys, &*office.log) {
                Err(error) if !failed => {
                    tracing::warn!(error = story(&error), "the context file could not be written");
                    failed = true;
                }
                Err(_) => {}
                Ok(()) => failed = false,
            }
            written = voters;
        }
    }
}

/// The text of a context file. Names and addresses hold nothing that would end a quoted text.
fn text(
    cluster: &str,
    endpoints: &[String],
    authorities: &str,
    identity: &KeyAndCertificate,
) -> String {
    let mut text = format!("cluster: \"{cluster}\"\nendpoints:\n");
    let blocks = [
        ("authorities", authorities),
        ("certificate", &identity.certificate),
        ("key", &identity.key),
    ];
    // Writing to a string cannot fail.
    for endpoint in endpoints {
        let _ = writeln!(text, "  - \"{endpoint}\"");
    }
    for (key, block) in blocks {
        let _ = writeln!(text, "{key}: |");
        for line in block.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// Writes the context file, readable by its owner only, unless it says the same already.
fn write_context(
    path: &Path,
    cluster: &str,
    endpoints: &[String],
    authorities: &str,
    identity: &KeyAndCertificate,
) -> io::Result<()> {
    let text = text(cluster, endpoints, authorities, identity);
    if std::fs::read_to_string(path).is_ok_and(|held| held == text) {
        return Ok(());
    }
    files::write_private(path, &text)
}
