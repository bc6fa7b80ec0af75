//! Becoming a further scheduler of a cluster: first its files, once, then its vote.

use std::{path::Path, sync::Arc, time::Duration};

use model::token::{Hex, JoinToken, Role};
use parking_lot::Mutex;
use proto::{
    transport::{self, TransportError},
    v1::{
        AnnounceRequest, JoinSchedulerReply, JoinSchedulerRequest, enrol_client::EnrolClient,
        replica_client::ReplicaClient,
    },
};
use thiserror::Error;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use crate::{
    data_dir::{DataDir, DataDirError, FIRST_FORM, Identity},
    files,
    log::{LEADER, OwnFace, RaftLog, ReplicatedLog as _, ShutOut, shut_out_by},
    pki::{Authority, Keys, PkiError},
    story,
};

/// To a finished handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the answer to a join may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the answer to an announcement may take: until this scheduler has the whole log.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_mins(3);
/// Before the next attempt.
const RETRY: Duration = Duration::from_secs(1);
/// A token is one line.
const TOKEN_BYTES_MAX: usize = 4096;

/// Why a scheduler cannot join.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The token cannot be read.
    #[error("the token file {path} cannot be read: {cause}")]
    TokenFile {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
    /// The token is for something else.
    #[error(
        "the join token is for joining as {}, not as a scheduler\nhint: make another with \
         `sisoctl token create --role scheduler`",
        .0.as_str()
    )]
    WrongRole(Role),
    /// Whoever answers is not of the token's cluster.
    #[error("no scheduler of the token's cluster was found at {address}")]
    Untrusted {
        /// Where.
        address: String,
        /// Why not.
        #[source]
        cause: TransportError,
    },
    /// The cluster said no.
    #[error("the cluster refused: {}", .0.message())]
    Refused(Status),
    /// The cluster said no to a join that was begun before.
    #[error(
        "the cluster refused: {}\nhint: this directory began to join before, and was interrupted. The same \
         token is good for going on within an hour only; make another with `sisoctl token create --role \
         scheduler`, and start it again",
        said(.0)
    )]
    Interrupted(Status),
}

/// Its words without a hint: there is a better one.
fn said(status: &Status) -> &str {
    status.message().split("\nhint: ").next().unwrap_or_default()
}

/// What goes wrong on the way.
#[derive(Debug, Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// Joins the cluster of the scheduler at `address`; asks until it answers. Interrupted, it goes on at
/// the next start, with the same token.
pub(crate) async fn join(
    directory: &DataDir,
    address: &str,
    token_file: &Path,
    form: u32,
) -> Result<Identity, Failed> {
    let token = read_token(token_file)?;
    let (request_id, began_before) = directory.joining()?;
    let reply = loop {
        match ask(address, &token, (request_id, form)).await {
            Ok(reply) => break reply,
            Err(Ok(JoinError::Refused(status))) if began_before => {
                return Err(JoinError::Interrupted(status).into());
            }
            Err(Ok(refused)) => return Err(refused.into()),
            Err(Err(why)) => {
                tracing::warn!(address, why, "joining was not possible; trying again");
                sleep(RETRY).await;
            }
        }
    };
    if let Some(given) = &reply.authorities {
        Keys::adopt(&directory.pki(), origin_of(&reply), given)?;
    } else {
        let key = (reply.authority_key.as_str(), reply.authority.as_str());
        Authority::adopt(&directory.pki(), origin_of(&reply), key)?;
    }
    let origin = origin_of(&reply).to_owned();
    let JoinSchedulerReply { cluster, name, scheduler, .. } = reply;
    let identity = Identity { cluster, name, scheduler, member: false, origin, form: FIRST_FORM };
    directory.set_identity(&identity)?;
    tracing::info!(cluster = identity.cluster, scheduler, "joined");
    Ok(identity)
}

/// What certificates call the cluster.
fn origin_of(reply: &JoinSchedulerReply) -> &str {
    if reply.origin.is_empty() { &reply.cluster } else { &reply.origin }
}

pub(crate) fn read_token(path: &Path) -> Result<JoinToken, JoinError> {
    let unreadable =
        |cause: String| JoinError::TokenFile { path: path.display().to_string(), cause };
    let text = files::read(path).map_err(|error| unreadable(error.to_string()))?;
    let text = text.ok_or_else(|| unreadable("there is no such file".to_owned()))?;
    if text.len() > TOKEN_BYTES_MAX {
        return Err(unreadable("it is too large for a token".to_owned()));
    }
    let token: JoinToken = text.trim().parse().map_err(|bad| unreadable(format!("{bad}")))?;
    if token.role == Role::Scheduler { Ok(token) } else { Err(JoinError::WrongRole(token.role)) }
}

/// Asks once. An error that another attempt cannot change is `Ok`.
async fn ask(
    address: &str,
    token: &JoinToken,
    (request_id, form): ([u8; 32], u32),
) -> Result<JoinSchedulerReply, Result<JoinError, String>> {
    let channel = transport::enrol_channel(address, token.authority, CONNECT_TIMEOUT).await;
    let channel = channel.map_err(|cause| match cause {
        TransportError::Untrusted { .. } | TransportError::BadEndpoint(_) => {
            Ok(JoinError::Untrusted { address: address.to_owned(), cause })
        }
        other => Err(other.to_string()),
    })?;
    let request = JoinSchedulerRequest {
        token_secret: Hex(&token.secret).to_string(),
        token_id: token.id.raw(),
        request_id: request_id.to_vec(),
        form,
    };
    let mut client = EnrolClient::new(channel);
    let reply = timeout(JOIN_TIMEOUT, client.join_scheduler(request)).await;
    let reply = reply.map_err(|_| Err("it does not answer".to_owned()))?;
    reply.map(tonic::Response::into_inner).map_err(|status| match status.code() {
        Code::InvalidArgument | Code::PermissionDenied | Code::FailedPrecondition => {
            Ok(JoinError::Refused(status))
        }
        _ => Err(status.message().to_owned()),
    })
}

/// Tells the leader that this scheduler is up and where, until it votes and is reached there.
pub(crate) async fn announce(
    log: Arc<RaftLog>,
    directory: Arc<DataDirIdentity>,
    (advertised, join): (String, Option<String>),
    (face, shut_out): (OwnFace, ShutOut),
) {
    let (mut hint, mut untold) = (None, true);
    loop {
        let standing = log.standing().borrow().clone();
        if standing.failed.is_some() {
            return;
        }
        let own = |(id, address): &(u64, String)| *id == standing.id && *address == advertised;
        if standing.voters.iter().any(own) && !standing.joint {
            let Err(error) = directory.change(|identity| identity.member = true) else { return };
            // Until it is, a log that is lost would not be missed.
            if std::mem::take(&mut untold) {
                let error = story(&error);
                tracing::error!(
                    error,
                    "that this scheduler votes could not be noted; trying again"
                );
            }
            sleep(RETRY).await;
            continue;
        }
        let leader = standing.voters.iter().find(|(id, _)| Some(*id) == standing.leader);
        let told = if standing.leads() {
            log.announce(&advertised).await.map_err(|error| error.to_string())
        } else if let Some(address) =
            leader.map(|(_, address)| address.clone()).or_else(|| hint.take()).or(join.clone())
        {
            tell(&address, &advertised, (&face, &shut_out)).await.map_err(|(why, leader)| {
                hint = leader;
                why
            })
        } else {
            Err("nobody leads".to_owned())
        };
        if let Err(why) = told {
            tracing::info!(why, "this scheduler does not vote yet; trying again");
        }
        sleep(RETRY).await;
    }
}

/// Tells the scheduler at `address`; the error says where the leader is, if it knows.
async fn tell(
    address: &str,
    advertised: &str,
    (face, shut_out): (&OwnFace, &ShutOut),
) -> Result<(), (String, Option<String>)> {
    let endpoint = [address.to_owned()];
    let channel = transport::channel(&endpoint, &face.load(), CONNECT_TIMEOUT)
        .map_err(|error| (error.to_string(), None))?;
    let request = AnnounceRequest { address: advertised.to_owned() };
    let told = timeout(ANNOUNCE_TIMEOUT, ReplicaClient::new(channel).announce(request)).await;
    let told = told.map_err(|_| ("the leader does not answer".to_owned(), None))?;
    told.map(drop).map_err(|status| {
        if let Some(why) = shut_out_by(&status) {
            shut_out.send_if_modified(|known| known.replace(why).is_none());
        }
        let leader = status.metadata().get(LEADER).and_then(|address| address.to_str().ok());
        (status.message().to_owned(), leader.map(str::to_owned))
    })
}

/// The identity in the directory, as what is known of it grows.
pub(crate) struct DataDirIdentity {
    path: std::path::PathBuf,
    identity: Mutex<Identity>,
}

impl DataDirIdentity {
    pub(crate) fn new(directory: &DataDir, identity: &Identity) -> Self {
        Self { path: directory.identity_path(), identity: Mutex::new(identity.clone()) }
    }

    fn change(&self, change: impl FnOnce(&mut Identity)) -> Result<(), DataDirError> {
        let mut held = self.identity.lock();
        let mut changed = held.clone();
        change(&mut changed);
        if changed != *held {
            crate::data_dir::write_identity(&self.path, &changed)?;
            *held = changed;
        }
        Ok(())
    }

    /// Notes the form of the log whenever it rises, so that a program that cannot read it leaves it
    /// alone; and tells when this scheduler may take part no longer.
    pub(crate) async fn keep(self: Arc<Self>, log: Arc<RaftLog>, shut_out: ShutOut) {
        let own = log.standing().borrow().id;
        let mut revision = log.revision();
        let mut failed = false;
        loop {
            revision.mark_unchanged();
            let (form, why) = {
                let cluster = log.cluster();
                (cluster.form(), cluster.why_shut_out(own))
            };
            let noted = self.change(|identity| identity.form = identity.form.max(form));
            match noted {
                Err(error) if !failed => {
                    let error = story(&error);
                    tracing::warn!(error, "the form of the log could not be noted; trying again");
                    failed = true;
                }
                Err(_) => {}
                Ok(()) => failed = false,
            }
            if let Some(why) = why {
                shut_out.send_if_modified(|known| known.replace(why).is_none());
            }
            tokio::select! {
                changed = revision.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = sleep(RETRY), if failed => {}
            }
        }
    }
}
