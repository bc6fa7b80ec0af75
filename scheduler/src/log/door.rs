//! What peers ask of this replica, and schedulers that want to become one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use openraft::{
    BasicNode, ChangeMembers,
    async_runtime::WatchReceiver as _,
    errors::{ClientWriteError, RaftError},
    raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse},
};
use proto::v1::{
    AnnounceReply, AnnounceRequest, AppendReply, AppendRequest, Ballot, BallotReply, BallotRequest,
    InstallReply, SnapshotPart,
    append_reply::{Conflict, Outcome},
    replica_server::{self, ReplicaServer},
};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};

use super::{
    network::{MESSAGE_BYTES_MAX, Ways, ballot, id_of, position, vote_of},
    raft::{LAG_MAX, Raft},
    record, snapshots,
    types::Types,
};

/// The largest snapshot that is taken: of a cluster at all its limits it is far smaller.
const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;
/// How long a new scheduler may take to get all of the log.
const ADMIT_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a majority may take to agree to other members.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a scheduler that announced itself may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at how far a new scheduler has come.
const LAG_LOOK: Duration = Duration::from_millis(20);
/// `HOST:PORT`: a DNS name has at most 253 characters.
const ADDRESS_CHARS_MAX: usize = 260;
/// In the metadata of a refusal: where the leader is.
pub(crate) const LEADER: &str = "siso-leader";

/// Serves peers.
#[derive(Clone)]
pub(crate) struct Door {
    own: u64,
    raft: Raft,
    peers: Ways,
    /// Members change one after the other.
    changing: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Door {
    pub(super) fn new(own: u64, raft: Raft, peers: Ways) -> Self {
        Self { own, raft, peers, changing: Arc::default() }
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

    /// Lets a scheduler vote, or notes that it has another address now. `Ok` when both are settled.
    async fn admit(&self, id: u64, address: String) -> Result<(), Status> {
        let _turn = self.changing.try_lock().map_err(|_| {
            Status::unavailable("the schedulers are changing already; it is tried again")
        })?;
        let node = BasicNode::new(&address);
        let known = self.raft.metrics().borrow_watched().membership_config.membership().clone();
        let at_its_address = known.get_node(&id).is_some_and(|held| *held == node);
        let votes = known.voter_ids().any(|voter| voter == id);
        if known.get_joint_config().len() > 1 {
            // A change that was cut off; until it is finished the voters of before are needed too.
            self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await?;
        }
        if at_its_address && votes {
            return Ok(());
        }
        check_reachable(&known, &address)?;
        self.check_answers(id, &address).await?;
        if known.get_node(&id).is_some() {
            if !at_its_address {
                self.change(ChangeMembers::SetNodes([(id, node)].into())).await?;
            }
        } else {
            self.raft.add_learner(id, node, false).await.map_err(refusal)?;
        }
        if votes {
            return Ok(());
        }
        let caught_up = timeout(ADMIT_TIMEOUT, self.caught_up(id)).await;
        caught_up.map_err(|_| Status::deadline_exceeded("it has not got the whole log yet"))??;
        self.change(ChangeMembers::AddVoterIds([id].into())).await?;
        tracing::info!(scheduler = id, address, "a scheduler votes");
        Ok(())
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>) -> Result<(), Status> {
        let changed = timeout(CHANGE_TIMEOUT, self.raft.change_membership(change, true)).await;
        changed
            .map_err(|_| Status::deadline_exceeded("no majority agrees to the change"))?
            .map(drop)
            .map_err(refusal)
    }

    /// Returns once a learner has nearly all of the log: a voter that has not would hold up every write.
    async fn caught_up(&self, id: u64) -> Result<(), Status> {
        loop {
            {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                let Some(replication) = &metrics.replication else {
                    return Err(Status::unavailable("this scheduler does not lead any more"));
                };
                let matched = replication.get(&id).and_then(Option::as_ref);
                let last = metrics.last_log_index.unwrap_or_default();
                if matched.is_some_and(|matched| matched.index + LAG_MAX >= last) {
                    return Ok(());
                }
            }
            sleep(LAG_LOOK).await;
        }
    }

    /// Whether that scheduler, and no other, answers there. What is asked changes nothing.
    async fn check_answers(&self, id: u64, address: &str) -> Result<(), Status> {
        let failed = |why: String| {
            let text = format!(
                "scheduler {id} cannot be reached at {address}: {why}\nhint: start it with --advertise \
                 HOST:PORT as the others reach it"
            );
            Status::failed_precondition(text)
        };
        let mut client = self.peers.client_at(address).map_err(failed)?;
        let ask = BallotRequest { to: id, ballot: Some(Ballot::default()), ..Default::default() };
        match timeout(ANSWER_TIMEOUT, client.pre_vote(ask)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(failed(status.message().to_owned())),
            Err(_) => Err(failed("no answer".to_owned())),
        }
    }
}

/// Schedulers on several machines need addresses that mean the same everywhere.
fn check_reachable(
    members: &openraft::Membership<u64, BasicNode>,
    address: &str,
) -> Result<(), Status> {
    let own_only = |address: &str| {
        let host = crate::config::host(address);
        let ip = host.parse::<std::net::IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
    };
    let joining = own_only(address);
    match members.nodes().find(|(_, node)| own_only(&node.addr) != joining) {
        None => Ok(()),
        Some((id, node)) => {
            let (id, there) =
                if joining { (None, address) } else { (Some(id), node.addr.as_str()) };
            let who =
                id.map_or_else(|| "this scheduler".to_owned(), |id| format!("scheduler {id}"));
            Err(Status::failed_precondition(format!(
                "{who} is announced at {there}, which only its own machine can reach\nhint: start it with \
                 --advertise HOST:PORT as the others reach it"
            )))
        }
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
        if address.chars().count() > ADDRESS_CHARS_MAX {
            return Err(Status::invalid_argument("address: it is too long"));
        }
        // In a task of its own: a change that was begun is finished, whoever waits for it.
        let this = self.clone();
        let admitted = tokio::spawn(async move { this.admit(id, address).await });
        admitted.await.map_err(|error| Status::internal(error.to_string()))??;
        Ok(Response::new(AnnounceReply {}))
    }
}
