//! How replicas reach each other: calls to the [`door`](super::door) of a peer, over the one port and
//! with the certificates of the cluster.
//!
//! **Invariant:** every call names whom it is for, and the other side refuses what is for another:
//! an address may come to belong to a scheduler with another log.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Display,
    future::Future,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use openraft::{
    BasicNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    alias::SnapshotOf,
    entry::RaftEntry,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use parking_lot::Mutex;
use proto::{
    transport::{self, Identity},
    v1::{
        AppendReply, AppendRequest, Ballot, BallotReply, BallotRequest, HandOverRequest,
        LogPosition, SnapshotPart, append_reply::Outcome, replica_client::ReplicaClient,
    },
};
use tokio::{sync::watch, time::timeout};
use tonic::{Status, transport::Channel};

use super::{
    record,
    state_machine::SnapshotBytes,
    types::{LogId, Types, Vote, log_id},
};

/// What a scheduler shows its peers; looked at for each call, so that a renewed certificate is used.
pub(crate) type OwnFace = Arc<ArcSwap<Identity>>;

/// To a finished handshake with a peer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Entries beyond this many bytes go into the next message; a single one may be as large as a command.
const APPEND_BYTES: usize = 1 << 20;
/// How long a message with entries may take, on a slow link, and until they are on a slow disk. Heartbeats
/// and votes have the consensus library's own, far shorter limit.
const APPEND_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest message between schedulers: entries up to [`APPEND_BYTES`], the last of them of any size.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// A snapshot goes in parts of this size.
const PART_BYTES: usize = 1 << 20;
/// How long a whole snapshot may take on its way.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_mins(5);

/// Silence of a peer that is worth a word: on a bad link one answer in a few is late.
const SILENCE_TOLD: Duration = Duration::from_secs(2);

/// Why this scheduler may take part no longer, once a peer has said so.
pub(crate) type ShutOut = Arc<watch::Sender<Option<String>>>;

/// In the metadata of a refusal: whoever asked may take part no longer.
pub(crate) const SHUT_OUT: &str = "siso-shut-out";

/// What a refusal says of being shut out, if that is why. Only schedulers of the cluster are asked, so
/// they are believed.
pub(crate) fn shut_out_by(status: &Status) -> Option<String> {
    status.metadata().contains_key(SHUT_OUT).then(|| status.message().to_owned())
}

/// Peers that did not answer the last time: there are several ways to each, and one word is enough.
type Silent = Arc<Mutex<BTreeMap<u64, Silence>>>;

/// Since when a peer has not answered, and whether that was told.
#[derive(Debug, Clone, Copy)]
struct Silence {
    since: Instant,
    told: bool,
}

/// Notes whether a peer answered at `now`; whether that is to be told.
fn note(silent: &mut BTreeMap<u64, Silence>, peer: u64, answered: bool, now: Instant) -> bool {
    match silent.entry(peer) {
        Entry::Occupied(silence) if answered => silence.remove().told,
        Entry::Occupied(mut silence) => {
            let Silence { since, told } = *silence.get();
            let tell = !told && now - since >= SILENCE_TOLD;
            silence.get_mut().told |= tell;
            tell
        }
        Entry::Vacant(vacant) => {
            if !answered {
                vacant.insert(Silence { since: now, told: false });
            }
            false
        }
    }
}

/// Where peers are reached now: the library keeps to the address it first had for one.
pub(super) type Addresses = Arc<Mutex<BTreeMap<u64, String>>>;

/// Ways to schedulers that are no peers yet.
#[derive(Clone)]
pub(super) struct Ways(Option<OwnFace>);

impl Ways {
    /// The way to this address; why there is none.
    pub(super) fn client_at(&self, address: &str) -> Result<ReplicaClient<Channel>, String> {
        let face = self.0.as_ref().ok_or("there is no way to peers")?.load_full();
        transport::watched_channel(&[address.to_owned()], &face, CONNECT_TIMEOUT)
            .map(ReplicaClient::new)
            .map_err(|error| error.to_string())
    }
}

/// Makes the way to one peer.
pub(crate) struct Peers {
    face: Option<OwnFace>,
    silent: Silent,
    addresses: Addresses,
    shut_out: ShutOut,
}

impl Peers {
    /// Peers are shown this face; that one of them shuts this scheduler out is told there.
    pub(crate) fn new(face: OwnFace, shut_out: ShutOut) -> Self {
        let (silent, addresses) = (Silent::default(), Addresses::default());
        Self { face: Some(face), silent, addresses, shut_out }
    }

    pub(super) fn ways(&self) -> Ways {
        Ways(self.face.clone())
    }

    /// To be kept as the members say.
    pub(super) fn addresses(&self) -> Addresses {
        Arc::clone(&self.addresses)
    }

    /// Nobody can be reached.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        let (silent, addresses) = (Silent::default(), Addresses::default());
        Self { face: None, silent, addresses, shut_out: ShutOut::default() }
    }
}

/// The way to one peer.
pub(crate) struct Peer {
    target: u64,
    address: String,
    face: Option<OwnFace>,
    silent: Silent,
    addresses: Addresses,
    shut_out: ShutOut,
    /// The connection, and the face it was made with.
    open: Option<(Arc<Identity>, ReplicaClient<Channel>)>,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        let (face, silent) = (self.face.clone(), Arc::clone(&self.silent));
        let (address, addresses) = (node.addr.clone(), Arc::clone(&self.addresses));
        let shut_out = Arc::clone(&self.shut_out);
        Peer { target, address, face, silent, addresses, shut_out, open: None }
    }
}

fn unreachable(why: impl Display) -> Unreachable<Types> {
    Unreachable::new(&io::Error::new(io::ErrorKind::HostUnreachable, why.to_string()))
}

impl Peer {
    fn client(&mut self) -> Result<ReplicaClient<Channel>, Unreachable<Types>> {
        let face = self.face.as_ref().ok_or_else(|| unreachable("there is no way to peers"))?;
        let face = face.load_full();
        if let Some(now) = self.addresses.lock().get(&self.target)
            && *now != self.address
        {
            (self.address, self.open) = (now.clone(), None);
        }
        if let Some((shown, client)) = &self.open
            && Arc::ptr_eq(shown, &face)
        {
            return Ok(client.clone());
        }
        let address = std::slice::from_ref(&self.address);
        let channel =
            transport::watched_channel(address, &face, CONNECT_TIMEOUT).map_err(unreachable)?;
        let client = ReplicaClient::new(channel)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        self.open = Some((face, client.clone()));
        Ok(client)
    }

    /// What a peer answered in time; says when that begins and ends to fail.
    async fn heard<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Unreachable<Types>> {
        let heard = match timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => {
                if let Some(why) = shut_out_by(&status) {
                    self.shut_out.send_if_modified(|known| known.replace(why).is_none());
                }
                Err(status.message().to_owned())
            }
            Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
        };
        let (scheduler, address) = (self.target, &self.address);
        let tell = note(&mut self.silent.lock(), scheduler, heard.is_ok(), Instant::now());
        match heard {
            Ok(answer) => {
                if tell {
                    tracing::info!(scheduler, address, "a scheduler answers again");
                }
                Ok(answer)
            }
            Err(why) => {
                if tell {
                    tracing::warn!(scheduler, address, why, "a scheduler does not answer");
                }
                Err(unreachable(why))
            }
        }
    }

    fn ballot_request(&self, request: &VoteRequest<Types>) -> BallotRequest {
        BallotRequest {
            to: self.target,
            ballot: Some(ballot(&request.vote)),
            last: request.last_log_id.as_ref().map(position),
            handed_over: request.leadership_transfer,
        }
    }

    /// The request for as many of the entries as go into one message, and the last of them.
    fn append_request(
        &self,
        request: &AppendEntriesRequest<Types>,
    ) -> (AppendRequest, Option<LogId>) {
        let (mut entries, mut bytes, mut last) = (Vec::new(), 0, request.prev_log_id);
        for entry in &request.entries {
            if bytes > APPEND_BYTES {
                break;
            }
            let sealed = record::encode_entry(entry);
            bytes += sealed.len();
            entries.push(sealed);
            last = Some(entry.log_id());
        }
        let append = AppendRequest {
            to: self.target,
            ballot: Some(ballot(&request.vote)),
            previous: request.prev_log_id.as_ref().map(position),
            entries,
            committed: request.leader_commit.as_ref().map(position),
        };
        (append, last)
    }

    async fn install(
        &mut self,
        vote: Vote,
        bytes: Bytes,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let mut client = self.client()?;
        let (to, size) = (self.target, bytes.len() as u64);
        let parts = (0..bytes.len().max(1)).step_by(PART_BYTES).map(move |start| {
            let part = bytes.slice(start..bytes.len().min(start + PART_BYTES));
            let ballot = (start == 0).then(|| ballot(&vote));
            SnapshotPart { to, ballot, size, bytes: part.to_vec() }
        });
        let sent = client.install(tokio_stream::iter(parts));
        let reply = self.heard(SNAPSHOT_TIMEOUT, sent).await?;
        Ok(SnapshotResponse::new(vote_of(reply.ballot).map_err(refused)?))
    }
}

/// A peer that refuses is as good as one that cannot be reached: it is asked again later.
#[allow(clippy::needless_pass_by_value, reason = "the form `map_err` asks for")]
fn refused(status: Status) -> Unreachable<Types> {
    unreachable(status.message())
}

pub(super) fn ballot(vote: &Vote) -> Ballot {
    let leader = &vote.leader_id;
    Ballot { term: leader.term, scheduler: leader.voted_for, committed: vote.committed }
}

pub(super) fn vote_of(ballot: Option<Ballot>) -> Result<Vote, Status> {
    let ballot = ballot.ok_or_else(|| Status::invalid_argument("ballot: missing"))?;
    let Ballot { term, scheduler, committed } = ballot;
    Ok(if committed { Vote::new_committed(term, scheduler) } else { Vote::new(term, scheduler) })
}

pub(super) fn position(id: &LogId) -> LogPosition {
    LogPosition { term: id.leader_id.term, index: id.index }
}

pub(super) fn id_of(position: LogPosition) -> LogId {
    log_id(position.term, position.index)
}

/// What a peer answered to entries of which `all` is the last.
fn append_reply(
    reply: AppendReply,
    all: Option<LogId>,
) -> Result<AppendEntriesResponse<Types>, Status> {
    match reply.outcome {
        Some(Outcome::Matching(upto)) => Ok(match all {
            Some(all) if position(&all) != upto => {
                AppendEntriesResponse::PartialSuccess(Some(id_of(upto)))
            }
            _ => AppendEntriesResponse::Success,
        }),
        Some(Outcome::Conflict(_)) => Ok(AppendEntriesResponse::Conflict),
        Some(Outcome::Later(ballot)) => {
            Ok(AppendEntriesResponse::HigherVote(vote_of(Some(ballot))?))
        }
        None => Err(Status::invalid_argument("outcome: missing")),
    }
}

fn ballot_reply(reply: BallotReply) -> Result<VoteResponse<Types>, Status> {
    let last = reply.last.map(id_of);
    Ok(VoteResponse::new(vote_of(reply.ballot)?, last, reply.granted))
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotBytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let mut client = self.client()?;
        let (append, sent) = self.append_request(&request);
        let limit = if append.entries.is_empty() { option.hard_ttl() } else { APPEND_TIMEOUT };
        let reply = self.heard(limit, client.append(append)).await?;
        Ok(match append_reply(reply, sent).map_err(refused)? {
            AppendEntriesResponse::Success
                if sent < request.entries.last().map(RaftEntry::log_id) =>
            {
                AppendEntriesResponse::PartialSuccess(sent)
            }
            response => response,
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let mut client = self.client()?;
        let asked = client.vote(self.ballot_request(&request));
        let reply = self.heard(option.hard_ttl(), asked).await?;
        Ok(ballot_reply(reply).map_err(refused)?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let mut client = self.client()?;
        let asked = client.pre_vote(self.ballot_request(&request));
        let reply = self.heard(option.hard_ttl(), asked).await?;
        Ok(ballot_reply(reply).map_err(refused)?)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let mut client = self.client()?;
        let told = client.hand_over(HandOverRequest {
            to: self.target,
            from: Some(ballot(request.from_leader())),
            last: request.last_log_id().map(position),
            successor: *request.to_node_id(),
        });
        let reply = self.heard(option.hard_ttl(), told).await?;
        if reply.accepted { Ok(Ok(())) } else { Err(unreachable("it does not take over").into()) }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotBytes>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            sent = self.install(vote, snapshot.snapshot) => sent,
            closed = cancel => Err(closed.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_late_now_and_then_is_not_told_of() {
        let (mut silent, began) = (BTreeMap::new(), Instant::now());
        let mut at = |millis, answered| {
            note(&mut silent, 2, answered, began + Duration::from_millis(millis))
        };
        for moment in 0..20 {
            assert!(!at(moment * 100, moment % 3 == 0), "{moment}");
        }
        assert!(!at(2_000, true));
        assert!(!at(2_100, false) && !at(4_000, false));
        assert!(at(4_100, false) && !at(4_200, false), "once");
        assert!(at(5_000, true) && !at(5_100, true), "and once that it answers");
    }
}
