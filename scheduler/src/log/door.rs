//! What peers ask of this replica.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use openraft::{
    async_runtime::WatchReceiver as _,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest,
        VoteResponse,
    },
};
use parking_lot::{Mutex, RwLock};
use proto::v1::{
    AnnounceReply, AnnounceRequest, AppendReply, AppendRequest, AuthorityKeyReply,
    AuthorityKeyRequest, BallotReply, BallotRequest, HandOverReply, HandOverRequest, InstallReply,
    ProbeReply, ProbeRequest, SnapshotPart,
    append_reply::{Conflict, Outcome},
    replica_server::{self, ReplicaServer},
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    network::{MESSAGE_BYTES_MAX, Ways, ballot, id_of, position, vote_of},
    pace::Pace,
    raft::Raft,
    record, room, snapshots,
    state_machine::State,
    types::Types,
};
use crate::pki::Keys;

/// The largest snapshot that is taken: of a cluster at all its limits it is far smaller.
const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;
/// `HOST:PORT`: a DNS name has at most 253 characters.
const ADDRESS_CHARS_MAX: usize = 260;

/// When the one that leads was last heard: of silence the library tells nothing.
pub(super) type Heard = Arc<Mutex<Option<Instant>>>;

/// This replica, as its peers ask it.
pub(super) struct Own {
    pub(super) number: u64,
    pub(super) raft: Raft,
    pub(super) state: Arc<RwLock<State>>,
    /// Where its log lies.
    pub(super) directory: PathBuf,
    /// How fast its disk is.
    pub(super) pace: Pace,
    /// The highest form of entries it reads.
    pub(super) form: u32,
    pub(super) peers: Ways,
    pub(super) keys: Arc<Keys>,
    pub(super) heard: Heard,
}

/// Serves peers.
#[derive(Clone)]
pub(crate) struct Door {
    pub(super) own: Arc<Own>,
    /// Members change one after the other.
    pub(super) changing: Arc<tokio::sync::Mutex<()>>,
    /// Whether entries are refused because the disk is full.
    full: Arc<AtomicBool>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("own", &self.own.number).finish_non_exhaustive()
    }
}

impl Door {
    pub(super) fn new(own: Own) -> Self {
        Self { own: Arc::new(own), changing: Arc::default(), full: Arc::default() }
    }

    /// The service, within its limits.
    pub(crate) fn service(self) -> ReplicaServer<Self> {
        ReplicaServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn check_for(&self, to: u64) -> Result<(), Status> {
        let own = self.own.number;
        if to == own {
            return Ok(());
        }
        let text = format!("this is scheduler {own}, not scheduler {to}");
        Err(Status::failed_precondition(text))
    }

    /// Why nothing is taken that needs so much room on the disk. What was not written is not
    /// acknowledged; the leader asks again, and it is taken when there is room.
    pub(super) fn trouble(&self, least: u64) -> Option<String> {
        room::check(&self.own.directory, least).err().map(|full| full.to_string())
    }

    /// Refuses entries while the disk is full: a log that could not be written would have to stop. Says
    /// when that begins and ends.
    fn check_room(&self, least: u64) -> Result<(), Status> {
        let trouble = self.trouble(least);
        match (&trouble, self.full.swap(trouble.is_some(), Ordering::Relaxed)) {
            (Some(why), false) => {
                tracing::error!(why, "the disk is full: no entries are taken from the leader");
            }
            (None, true) => tracing::info!("there is room on the disk again: entries are taken"),
            _ => {}
        }
        trouble.map_or(Ok(()), |why| Err(Status::resource_exhausted(why)))
    }

    /// How this replica is, `last` being the last entry in its log.
    pub(super) fn own_probe(&self, last: u64) -> ProbeReply {
        let (authority_step, authority_ready) = self.own.keys.stand();
        let slow = self.own.pace.slow(Instant::now());
        ProbeReply {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            form: self.own.form,
            last,
            trouble: self.trouble(room::LEAST_FOR_CHANGES),
            authority_step,
            authority_ready,
            slow_commit_ms: slow.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    fn vote_request(&self, request: BallotRequest) -> Result<VoteRequest<Types>, Status> {
        self.check_for(request.to)?;
        let mut vote = VoteRequest::new(vote_of(request.ballot)?, request.last.map(id_of));
        vote.leadership_transfer = request.handed_over;
        Ok(vote)
    }
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this scheduler has stopped: {error}"))
}

fn ballot_reply(response: &VoteResponse<Types>) -> BallotReply {
    BallotReply {
        ballot: Some(ballot(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(position),
    }
}

#[tonic::async_trait]
impl replica_server::Replica for Door {
    async fn append(
        &self,
        request: Request<AppendRequest>,
    ) -> Result<Response<AppendReply>, Status> {
        let request = request.into_inner();
        self.check_for(request.to)?;
        if !request.entries.is_empty() {
            self.check_room(room::LEAST_FOR_ENTRIES)?;
        }
        let decoded = request.entries.iter().map(|sealed| record::decode_entry(sealed));
        let entries = decoded
            .collect::<Result<Vec<_>, _>>()
            .map_err(|bad| Status::invalid_argument(format!("an entry is damaged: {bad}")))?;
        let last = entries.last().map(|entry| entry.log_id);
        let previous = request.previous.map(id_of);
        let append = AppendEntriesRequest {
            vote: vote_of(request.ballot)?,
            prev_log_id: previous,
            entries,
            leader_commit: request.committed.map(id_of),
        };
        let response = self.own.raft.append_entries(append).await.map_err(stopped)?;
        if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
            *self.own.heard.lock() = Some(Instant::now());
        }
        let outcome = match response {
            AppendEntriesResponse::Success => {
                Outcome::Matching(last.or(previous).as_ref().map(position).unwrap_or_default())
            }
            AppendEntriesResponse::PartialSuccess(upto) => {
                Outcome::Matching(upto.as_ref().map(position).unwrap_or_default())
            }
            AppendEntriesResponse::Conflict => Outcome::Conflict(Conflict {}),
            AppendEntriesResponse::HigherVote(vote) => Outcome::Later(ballot(&vote)),
        };
        Ok(Response::new(AppendReply { outcome: Some(outcome) }))
    }

    async fn vote(&self, request: Request<BallotRequest>) -> Result<Response<BallotReply>, Status> {
        let vote = self.vote_request(request.into_inner())?;
        let response = self.own.raft.vote(vote).await.map_err(stopped)?;
        Ok(Response::new(ballot_reply(&response)))
    }

    async fn pre_vote(
        &self,
        request: Request<BallotRequest>,
    ) -> Result<Response<BallotReply>, Status> {
        let vote = self.vote_request(request.into_inner())?;
        let response = self.own.raft.pre_vote(vote).await.map_err(stopped)?;
        Ok(Response::new(ballot_reply(&response)))
    }

    async fn install(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<InstallReply>, Status> {
        let mut parts = request.into_inner();
        let first = parts.message().await?;
        let first = first.ok_or_else(|| Status::invalid_argument("a snapshot without parts"))?;
        self.check_for(first.to)?;
        let vote = vote_of(first.ballot)?;
        let size = usize::try_from(first.size.min(SNAPSHOT_BYTES_MAX + 1)).unwrap_or(usize::MAX);
        if first.size > SNAPSHOT_BYTES_MAX {
            let text = format!("a snapshot has at most {SNAPSHOT_BYTES_MAX} bytes");
            return Err(Status::resource_exhausted(text));
        }
        self.check_room(room::least_for_snapshot(first.size))?;
        let mut bytes = first.bytes;
        while bytes.len() < size {
            let Some(part) = parts.message().await? else { break };
            bytes.extend_from_slice(&part.bytes);
        }
        let bytes = bytes::Bytes::from(bytes);
        // What is in it is read once, where it is installed.
        let meta = snapshots::meta(&bytes)
            .map_err(|bad| Status::invalid_argument(format!("the snapshot is damaged: {bad}")))?;
        let snapshot = openraft::alias::SnapshotOf::<Types, bytes::Bytes> { meta, snapshot: bytes };
        let response =
            self.own.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(Response::new(InstallReply { ballot: Some(ballot(&response.vote)) }))
    }

    async fn announce(
        &self,
        request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceReply>, Status> {
        let id = crate::api::scheduler(&request)?;
        let address = request.into_inner().address;
        if address.chars().count() > ADDRESS_CHARS_MAX {
            return Err(Status::invalid_argument("address: it is too long"));
        }
        // In a task of its own: a change that was begun is finished, whoever waits for it.
        let this = self.clone();
        let admitted = tokio::spawn(async move { this.admit(id, address).await });
        admitted.await.map_err(|error| Status::internal(error.to_string()))??;
        Ok(Response::new(AnnounceReply {}))
    }

    async fn hand_over(
        &self,
        request: Request<HandOverRequest>,
    ) -> Result<Response<HandOverReply>, Status> {
        let HandOverRequest { to, from, last, successor } = request.into_inner();
        self.check_for(to)?;
        let told = TransferLeaderRequest::new(vote_of(from)?, successor, last.map(id_of));
        let taken = self.own.raft.handle_transfer_leader(told).await.map_err(stopped)?;
        if let Err(why) = &taken {
            tracing::info!(%why, "leadership was not taken over");
        }
        Ok(Response::new(HandOverReply { accepted: taken.is_ok() }))
    }

    async fn probe(&self, request: Request<ProbeRequest>) -> Result<Response<ProbeReply>, Status> {
        self.check_for(request.into_inner().to)?;
        let last = self.own.raft.metrics().borrow_watched().last_log_index.unwrap_or_default();
        Ok(Response::new(self.own_probe(last)))
    }

    async fn authority_key(
        &self,
        request: Request<AuthorityKeyRequest>,
    ) -> Result<Response<AuthorityKeyReply>, Status> {
        let scheduler = crate::api::scheduler(&request)?;
        if self.members().get_node(&scheduler).is_none() {
            let text = format!("scheduler {scheduler} is no member of the cluster");
            return Err(Status::permission_denied(text));
        }
        let key = self.own.keys.key_of(&request.get_ref().sha256);
        let key = key.ok_or_else(|| Status::not_found("this scheduler does not hold that key"))?;
        tracing::info!(scheduler, "was given the key of an authority");
        Ok(Response::new(AuthorityKeyReply { key }))
    }
}
