//! Becoming a member, once, and staying one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{
    NodeName, Timestamp, story,
    token::{BadToken, Hex, JoinToken, Role},
};
use proto::{
    transport::{self, TransportError},
    v1::{JoinRequest, RenewRequest, agent_client::AgentClient, enrol_client::EnrolClient},
};
use thiserror::Error;
use tokio::{sync::watch, time::sleep};
use tonic::{Code, Status};

use crate::{
    authorities::{Told, Want},
    backoff::Backoff,
    file,
    identity::{Candidate, IdentityError, Member},
    schedulers::Schedulers,
    session::CONNECT_LIMIT,
};

/// A token is one line.
const TOKEN_BYTES: u64 = 4096;
/// How long a join or renewal may take once connected.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// How often the clock is looked at for a renewal: clocks may be set, and machines sleep.
const RENEWAL_LOOK: Duration = Duration::from_mins(1);

/// What a machine joins with.
#[derive(Debug, Clone)]
pub struct Joining {
    /// Schedulers, `HOST:PORT`.
    pub schedulers: Vec<String>,
    /// Where the token is.
    pub token_file: Option<PathBuf>,
    /// The node's name.
    pub name: NodeName,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where people can reach it.
    pub address: String,
}

/// Why a machine cannot become a member.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// No token was given.
    #[error(
        "this machine is no member of a cluster yet: give it a join token with --token-file \
         (`sisoctl token create --role node` makes one)"
    )]
    NoToken,
    /// The token's file cannot be read.
    #[error("the token file {} cannot be read", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// There is no such file.
    #[error("there is no token file {}: `sisoctl token create --role node` makes a token", path.display())]
    NoTokenFile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It does not hold a token.
    #[error(transparent)]
    BadToken(#[from] BadToken),
    /// It is for something else.
    #[error(
        "the join token is for joining as a {}, not as a node: `sisoctl token create --role node` makes one",
        .0.as_str()
    )]
    WrongRole(Role),
    /// The scheduler at this address is not the one the token names.
    #[error("no scheduler of the token's cluster was found")]
    Untrusted(#[source] TransportError),
    /// The scheduler said no.
    #[error("the cluster refused: {}", .0.message())]
    Refused(Status),
    /// The key or certificate cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The member whose directory this is, or becomes by joining now. Tries again until a scheduler
/// answers; only an answer that cannot change ends it.
pub async fn member(directory: &Path, joining: &Joining) -> Result<Member, EnrolError> {
    if let Some(member) = Member::load(directory)? {
        return Ok(member);
    }
    let token = read_token(joining.token_file.as_deref())?;
    let candidate = Candidate::of(directory)?;
    let mut backoff = Backoff::default();
    loop {
        for scheduler in &joining.schedulers {
            match join(scheduler, &token, joining, &candidate).await {
                Ok(member) => {
                    member.store(directory)?;
                    tracing::info!(cluster = member.cluster, node = %member.node, "joined");
                    return Ok(member);
                }
                Err(Attempted::Final(error)) => return Err(error),
                Err(Attempted::Again(why)) => {
                    tracing::warn!(scheduler, why, "joining was not possible; trying again");
                }
            }
        }
        sleep(backoff.next()).await;
    }
}

fn read_token(path: Option<&Path>) -> Result<JoinToken, EnrolError> {
    let path = path.ok_or(EnrolError::NoToken)?;
    let unreadable = |cause| EnrolError::TokenFile { path: path.to_owned(), cause };
    let absent = || EnrolError::NoTokenFile { path: path.to_owned() };
    let bytes = file::read(path, TOKEN_BYTES).map_err(unreadable)?.ok_or_else(absent)?;
    let token: JoinToken = String::from_utf8_lossy(&bytes).parse()?;
    if token.role != Role::Node {
        return Err(EnrolError::WrongRole(token.role));
    }
    Ok(token)
}

/// How an attempt to join failed.
enum Attempted {
    Again(String),
    Final(EnrolError),
}

async fn join(
    scheduler: &str,
    token: &JoinToken,
    joining: &Joining,
    candidate: &Candidate,
) -> Result<Member, Attempted> {
    let channel = transport::enrol_channel(scheduler, token.authority, CONNECT_LIMIT).await;
    let channel = channel.map_err(|error| match error {
        TransportError::Untrusted { .. }
        | TransportError::BadEndpoint(_)
        | TransportError::NoEndpoint => Attempted::Final(EnrolError::Untrusted(error)),
        other => Attempted::Again(story(&other)),
    })?;
    let mut request = tonic::Request::new(JoinRequest {
        token_secret: Hex(&token.secret).to_string(),
        token_id: token.id.raw(),
        csr: candidate.request.clone(),
        name: joining.name.to_string(),
        labels: joining.labels.clone().into_iter().collect(),
        address: joining.address.clone(),
    });
    request.set_timeout(REQUEST_LIMIT);
    let reply = EnrolClient::new(channel).join(request).await.map_err(|status| {
        if is_final(status.code()) {
            Attempted::Final(EnrolError::Refused(status))
        } else {
            Attempted::Again(status.message().to_owned())
        }
    })?;
    let reply = reply.into_inner();
    let identity = transport::Identity {
        authorities: reply.authorities,
        certificate: reply.certificate,
        key: candidate.key.clone(),
    };
    Member::new(identity).map_err(|error| Attempted::Final(error.into()))
}

/// Whether asking again would be answered the same.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
    )
}

/// Renews the certificate from half of its life on, for as long as the agent runs; and trusts whom it is
/// told to trust, once that is on the disk.
pub(crate) async fn stay_member(
    directory: PathBuf,
    schedulers: Arc<Schedulers>,
    member: watch::Sender<Member>,
    mut told: watch::Receiver<Option<Told>>,
) {
    let mut backoff = Backoff::default();
    loop {
        let held = member.borrow().clone();
        let told_now = told.borrow_and_update().clone();
        let want = told_now.as_ref().map_or(Want::Nothing, |told| told.want(&held));
        if let (Want::Trust, Some(told_now)) = (want, &told_now) {
            match held.trusting(told_now.pem()).store(&directory) {
                Ok(()) => {
                    tracing::info!("other authorities are trusted from now on");
                    member.send_replace(held.trusting(told_now.pem()));
                }
                Err(error) => {
                    tracing::error!(error = story(&error), "cannot keep whom to trust");
                    sleep(backoff.next()).await;
                }
            }
            continue;
        }
        if now() < held.renew_at() && want != Want::Renew {
            tokio::select! {
                () = sleep(RENEWAL_LOOK) => {}
                Ok(()) = told.changed() => {}
            }
            continue;
        }
        match renew(&schedulers.from(0), &held).await {
            Ok(renewed) => match renewed.store(&directory) {
                Ok(()) => {
                    tracing::info!(until = renewed.valid_until.0, "the certificate was renewed");
                    let wants_more =
                        told_now.is_some_and(|told| told.want(&renewed) == Want::Renew);
                    member.send_replace(renewed);
                    if wants_more {
                        sleep(backoff.next()).await;
                    } else {
                        backoff = Backoff::default();
                    }
                }
                Err(error) => {
                    tracing::error!(error = story(&error), "cannot keep a certificate");
                    sleep(RENEWAL_LOOK).await;
                }
            },
            Err(why) => {
                tracing::warn!(why, "the certificate could not be renewed; trying again");
                sleep(backoff.next()).await;
            }
        }
    }
}

/// A new certificate for the same node, with a new key; why not, in words.
pub async fn renew(schedulers: &[String], held: &Member) -> Result<Member, String> {
    let candidate = Candidate::generate().map_err(|error| story(&error))?;
    let channel = transport::channel(schedulers, &held.identity, CONNECT_LIMIT);
    let mut client = AgentClient::new(channel.map_err(|error| story(&error))?);
    let mut request = tonic::Request::new(RenewRequest { csr: candidate.request.clone() });
    request.set_timeout(REQUEST_LIMIT);
    let reply = client.renew(request).await.map_err(|status| status.message().to_owned())?;
    let reply = reply.into_inner();
    let identity = transport::Identity {
        authorities: reply.authorities,
        certificate: reply.certificate,
        key: candidate.key,
    };
    let renewed = Member::new(identity).map_err(|error| story(&error))?;
    if (&renewed.cluster, renewed.node) != (&held.cluster, held.node) {
        return Err(format!("the new certificate is of {}", renewed.node));
    }
    Ok(renewed)
}

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
