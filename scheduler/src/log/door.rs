//! What peers ask of this replica, and schedulers that want to become one.

use std::{sync::Arc, time::Duration};

use openraft::{
    BasicNode, ChangeMembers,
    async_runtime::WatchReceiver as _,
    errors::{ClientWriteError, RaftError},
    raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse},
};
use proto::v1::{
    AnnounceReply, AnnounceRequest, AppendReply, AppendRequest, BallotReply, BallotRequest,
    InstallReply, SnapshotPart,
    append_reply::{Conflict, Outcome},
    replica_server::{self, ReplicaServer},
};
use tokio::{sync::Mutex, time::timeout};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};

use super::{
    network::{MESSAGE_BYTES_MAX, ballot, id_of, position, vote_of},
    raft::Raft,
    record, snapshots,
    types::Types,
};

/// The largest snapshot that is taken: of a cluster at all its limits it is far smaller.
const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;
/// How long a new scheduler may take to get all of the log.
const ADMIT_TIMEOUT: Duration = Duration::from_mins(2);
/// In the metadata of a refusal: where the leader is.
pub(crate) const LEADER: &str = "siso-leader";

/// Serves peers.
#[derive(Clone)]
pub(crate) struct Door {
    own: u64,
    raft: Raft,
    /// Members change one after the other.
    changing: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Door {
    pub(super) fn new(own: u64, raft: Raft) -> Self {
        Self { own, raft, changing: Arc::default() }
    }

    /// The service, within its limits.
    pub(crate) fn service(self) -> ReplicaServer<Self> {
        ReplicaServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn check_for(&self, to: u64) -> Result<(), Status> {
        if to == self.own {
            return Ok(());
        }
        let text = format!("this is scheduler {}, not scheduler {to}", self.own);
        Err(Status::failed_precondition(text))
    }

    fn vote_request(&self, request: BallotRequest) -> Result<VoteRequest<Types>, Status> {
        self.check_for(request.to)?;
        let mut vote = VoteRequest::new(vote_of(request.ballot)?, request.last.map(id_of));
        vote.leadership_transfer = request.handed_over;
        Ok(vote)
    }

    /// Lets a scheduler vote, or notes that it has another address now.
    async fn admit(&self, id: u64, address: &str) -> Result<(), Status> {
        let _turn = self.changing.lock().await;
        let node = BasicNode::new(address);
        let known = self.raft.metrics().borrow_watched().membership_config.membership().clone();
        if known.get_node(&id).is_some_and(|held| *held == node)
            && known.voter_ids().any(|voter| voter == id)
        {
            return Ok(());
        }
        if known.get_node(&id).is_some() {
            let moved = ChangeMembers::SetNodes([(id, node)].into());
            self.raft.change_membership(moved, true).await.map_err(refusal)?;
        } else {
            self.raft.add_learner(id, node, true).await.map_err(refusal)?;
        }
        let vote = ChangeMembers::AddVoterIds([id].into());
        self.raft.change_membership(vote, true).await.map_err(refusal)?;
        tracing::info!(scheduler = id, address, "a scheduler votes");
        Ok(())
    }
}

/// Why members cannot be changed; who can when this scheduler does not lead.
fn refusal(error: RaftError<Types, ClientWriteError<Types>>) -> Status {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            let mut status = Status::failed_precondition("another scheduler leads");
            let address =
                forward.leader_node.and_then(|node| MetadataValue::try_from(node.addr).ok());
            if let Some(address) = address {
                status.metadata_mut().insert(LEADER, address);
            }
            status
        }
        other => Status::unavailable(other.to_string()),
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
        let response = self.raft.append_entries(append).await.map_err(stopped)?;
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
        let response = self.raft.vote(vote).await.map_err(stopped)?;
        Ok(Response::new(ballot_reply(&response)))
    }

    async fn pre_vote(
        &self,
        request: Request<BallotRequest>,
    ) -> Result<Response<BallotReply>, Status> {
        let vote = self.vote_request(request.into_inner())?;
        let response = self.raft.pre_vote(vote).await.map_err(stopped)?;
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
        let mut bytes = first.bytes;
        while bytes.len() < size {
            let Some(part) = parts.message().await? else { break };
            bytes.extend_from_slice(&part.bytes);
        }
        let bytes = bytes::Bytes::from(bytes);
        let loaded = snapshots::decode(&bytes)
            .map_err(|bad| Status::invalid_argument(format!("the snapshot is damaged: {bad}")))?;
        let snapshot = openraft::alias::SnapshotOf::<Types, bytes::Bytes> {
            meta: loaded.meta,
            snapshot: bytes,
        };
        let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(Response::new(InstallReply { ballot: Some(ballot(&response.vote)) }))
    }

    async fn announce(
        &self,
        request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceReply>, Status> {
        let id = crate::api::scheduler(&request)?;
        let address = request.into_inner().address;
        let admitted = timeout(ADMIT_TIMEOUT, self.admit(id, &address)).await;
        admitted.map_err(|_| Status::deadline_exceeded("it has not got the whole log yet"))??;
        Ok(Response::new(AnnounceReply {}))
    }
}
