//! [`ReplicatedLog`] by openraft.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use model::{RequestId, Revision};
use openraft::{
    BasicNode, ChangeMembers, Config, Instant as _, RaftMetrics, ReadPolicy, SnapshotPolicy,
    async_runtime::WatchReceiver as _,
    errors::{ClientWriteError, LinearizableReadError, RaftError},
};
use parking_lot::{MappedRwLockReadGuard, Mutex, RwLock, RwLockReadGuard};
use scheduler_core::{Applied, Cluster, Command, Entry};
use tokio::{
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use super::{
    BARRIER_TIMEOUT, COMMAND_BYTES_MAX, LogError, PROPOSE_TIMEOUT, ReplicatedLog, Standing, codec,
    door::{self, Door, Heard},
    network::{Addresses, Peers, Ways},
    pace::Pace,
    room,
    snapshots::SnapshotFiles,
    state_machine::{State, StateMachine},
    storage::LogStorage,
    store::Store,
    types::{Payload, Types},
};
use crate::pki::Keys;

/// Proposals in flight; more wait their turn. Bounds the memory they take together.
const PROPOSALS_MAX: usize = 512;
/// A new leader may not know yet that it leads; asking again this soon costs nothing.
const LEADER_RETRY: Duration = Duration::from_millis(5);
/// Entries a peer may lag behind and still count as caught up; also what a new member must reach.
pub(super) const LAG_MAX: u64 = 50;
/// Old entries are removed in steps of at most this many.
const PURGE_STEP: u64 = 256;
/// How long stopping may wait for the writer.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How patient replicas are with each other. Failover takes about `timeout_max` and one more
/// timeout between `timeout_min` and `timeout_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Election {
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// A replica stands for election after at least this long without a leader.
    pub timeout_min: Duration,
    /// And after at most this long.
    pub timeout_max: Duration,
}

/// For schedulers in one building.
pub const ELECTION_LAN: Election = Election {
    heartbeat: Duration::from_millis(100),
    timeout_min: Duration::from_millis(300),
    timeout_max: Duration::from_millis(500),
};

/// For schedulers in different countries.
pub const ELECTION_WAN: Election = Election {
    heartbeat: Duration::from_millis(250),
    timeout_min: Duration::from_secs(1),
    timeout_max: Duration::from_secs(2),
};

/// Where a replica's log lies and how it behaves.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Holds the log and the snapshots; made when missing.
    pub directory: PathBuf,
    /// This replica's id.
    pub id: u64,
    /// How patient it is.
    pub election: Election,
    /// A snapshot is made after this many entries. Twice as many stay in the log besides, so that the
    /// snapshot before the newest can still be used.
    pub snapshot_every: u64,
    /// A file of the log this long, in bytes, is followed by another one.
    pub segment_bytes: u64,
    /// The highest form of entries and snapshots it reads.
    pub form: u32,
}

pub(super) type Raft = openraft::Raft<Types, StateMachine>;

/// One replica of the log.
pub struct RaftLog {
    raft: Raft,
    ways: Ways,
    heard: Heard,
    state: Arc<RwLock<State>>,
    revision: watch::Receiver<Revision>,
    standing: watch::Receiver<Standing>,
    proposals: Semaphore,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    files: SnapshotFiles,
    directory: PathBuf,
    pace: Pace,
    form: u32,
    was_empty: bool,
}

impl std::fmt::Debug for RaftLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftLog")
            .field("standing", &*self.standing.borrow())
            .finish_non_exhaustive()
    }
}

impl RaftLog {
    /// Opens the replica's log and takes part in what the cluster agrees on, with `peers` as the way to
    /// the others. `on_commit` is told how long each durable write took and how many changes it held.
    pub(crate) async fn open(
        settings: &LogSettings,
        peers: Peers,
        on_commit: impl Fn(Duration, usize) + Send + 'static,
    ) -> Result<Self, LogError> {
        let files = SnapshotFiles::open(settings.directory.join("snapshots"), settings.form)?;
        let loaded = files.newest()?;
        let (store, contents, writer) = Store::open(&settings.directory, settings.segment_bytes)?;
        let was_empty = contents.is_empty() && loaded.is_none();
        // A snapshot is made of a log, so there was one: what came after the snapshot is lost.
        if contents.is_empty() && !was_empty {
            return Err(LogError::NoLog { path: settings.directory.clone() });
        }
        let applied = loaded.as_ref().and_then(|loaded| loaded.meta.last_log_id);
        if contents.purged > applied {
            return Err(LogError::Gap {
                applied: applied.map_or(0, |id| id.index),
                purged: contents.purged.map_or(0, |id| id.index),
            });
        }
        let storage = LogStorage::new(store, contents);
        let made_durable = storage.made_durable();
        let pace = Pace::default();
        let noted = pace.clone();
        let observe = move |took, jobs, last: Option<u64>| {
            if noted.note(took, Instant::now()) {
                tracing::warn!(
                    took_ms = took.as_millis(),
                    "the disk is slow: one log commit after the other takes long"
                );
            }
            if let Some(last) = last {
                made_durable(last);
            }
            on_commit(took, jobs);
        };
        let writer = writer
            .start(Box::new(observe))
            .map_err(|cause| LogError::Open { path: settings.directory.clone(), cause })?;
        let machine = StateMachine::new(files.clone(), settings.form, loaded);
        let (state, revision) = (machine.state(), machine.revision());
        let config = Arc::new(config(settings)?);
        let (addresses, ways) = (peers.addresses(), peers.ways());
        let raft = Raft::new(settings.id, config, peers, storage, machine)
            .await
            .map_err(|fatal| LogError::Stopped(fatal.to_string()))?;
        let heard = Heard::default();
        let standing = follow(&raft, (addresses, Arc::clone(&heard)), settings.election);
        let proposals = Semaphore::new(PROPOSALS_MAX);
        let writer = Mutex::new(Some(writer));
        let directory = settings.directory.clone();
        Ok(Self {
            raft,
            ways,
            heard,
            state,
            revision,
            standing,
            proposals,
            writer,
            files,
            directory,
            pace,
            form: settings.form,
            was_empty,
        })
    }

    /// What peers ask of this replica.
    pub(crate) fn door(&self, keys: Arc<Keys>) -> Door {
        Door::new(door::Own {
            number: *self.raft.node_id(),
            raft: self.raft.clone(),
            state: Arc::clone(&self.state),
            directory: self.directory.clone(),
            pace: self.pace.clone(),
            form: self.form,
            peers: self.ways.clone(),
            keys,
            heard: Arc::clone(&self.heard),
        })
    }

    /// Whether there was neither log nor snapshot when it was opened.
    pub fn was_empty(&self) -> bool {
        self.was_empty
    }

    /// Makes this replica, reached at `address`, the only voter of a new cluster. Done already: fine.
    pub async fn found(&self, address: &str) -> Result<(), LogError> {
        let initialized = self.raft.is_initialized().await.map_err(stopped)?;
        if initialized {
            return Ok(());
        }
        let members = BTreeMap::from([(*self.raft.node_id(), BasicNode::new(address))]);
        self.raft.initialize(members).await.map_err(stopped)
    }

    /// Writes down where this replica is reached now, if that is another place than before. It must
    /// lead.
    pub async fn announce(&self, address: &str) -> Result<(), LogError> {
        let own = *self.raft.node_id();
        let known = |standing: &Standing| {
            standing.voters.iter().any(|(id, known)| *id == own && known == address)
        };
        if known(&self.standing.borrow()) {
            return Ok(());
        }
        let moved = BTreeMap::from([(own, BasicNode::new(address))]);
        let written = self.raft.change_membership(ChangeMembers::SetNodes(moved), true);
        written.await.map_err(stopped)?;
        let shown = self.standing.clone().wait_for(known).await.map(drop);
        shown.map_err(stopped)
    }

    /// Makes a snapshot now, of what is applied now.
    pub async fn snapshot(&self) -> Result<(), LogError> {
        self.raft.trigger().snapshot().await.map_err(stopped)
    }

    /// Stops taking part and closes the files. Nothing is answered afterwards.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the log did not stop by itself");
        }
        let Some(writer) = self.writer.lock().take() else { return };
        let files = self.files.clone();
        let closed = tokio::task::spawn_blocking(move || {
            files.close();
            writer.join()
        });
        if timeout(STOP_TIMEOUT, closed).await.is_err() {
            tracing::warn!("the log's writer did not stop in time");
        }
    }

    async fn write(&self, payload: Payload) -> Result<Applied, LogError> {
        let _turn = self.proposals.acquire().await.map_err(stopped)?;
        loop {
            match self.raft.client_write(payload.clone()).await {
                Ok(response) => return response.data.ok_or(LogError::NoLeader),
                Err(RaftError::Fatal(fatal)) => return Err(stopped(fatal)),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                    match forward.leader_id {
                        Some(leader) if leader != *self.raft.node_id() => {
                            return Err(LogError::NotLeader { leader });
                        }
                        _ => sleep(LEADER_RETRY).await,
                    }
                }
                Err(RaftError::APIError(error)) => return Err(stopped(error)),
            }
        }
    }

    async fn linearize(&self) -> Result<(), LogError> {
        loop {
            match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
                Ok(_) => return Ok(()),
                Err(RaftError::Fatal(fatal)) => return Err(stopped(fatal)),
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                    match forward.leader_id {
                        Some(leader) if leader != *self.raft.node_id() => {
                            return Err(LogError::NotLeader { leader });
                        }
                        _ => sleep(LEADER_RETRY).await,
                    }
                }
                Err(RaftError::APIError(_)) => return Err(LogError::NoLeader),
            }
        }
    }
}

impl ReplicatedLog for RaftLog {
    fn propose(
        &self,
        request: Option<RequestId>,
        command: Command,
    ) -> BoxFuture<'_, Result<Applied, LogError>> {
        let least = room::least_for(&command);
        let needed = codec::form_of(&command);
        let raises = matches!(command, Command::RaiseForm { .. });
        let entry = Entry { at: crate::clock::now(), request, command };
        let bytes = codec::encode_entry(&entry);
        async move {
            room::check(&self.directory, least)?;
            let agreed = self.state.read().cluster.form();
            if needed > agreed && !raises {
                return Err(LogError::NotYet { needed, agreed });
            }
            if bytes.len() > COMMAND_BYTES_MAX {
                return Err(LogError::TooLarge { size: bytes.len() });
            }
            let write = self.write(Payload(Bytes::from(bytes)));
            timeout(PROPOSE_TIMEOUT, write).await.unwrap_or(Err(LogError::TimedOut))
        }
        .boxed()
    }

    fn barrier(&self) -> BoxFuture<'_, Result<(), LogError>> {
        async {
            let linearize = timeout(BARRIER_TIMEOUT, self.linearize());
            let late = || match self.standing.borrow().leader {
                Some(_) => Err(LogError::Late),
                None => Err(LogError::NoLeader),
            };
            linearize.await.unwrap_or_else(|_| late())
        }
        .boxed()
    }

    fn revision(&self) -> watch::Receiver<Revision> {
        self.revision.clone()
    }

    fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    fn cluster(&self) -> MappedRwLockReadGuard<'_, Cluster> {
        RwLockReadGuard::map(self.state.read(), |state| &state.cluster)
    }
}

fn stopped(error: impl std::fmt::Display) -> LogError {
    LogError::Stopped(error.to_string())
}

fn config(settings: &LogSettings) -> Result<Config, LogError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: "siso".to_owned(),
        heartbeat_interval: millis(settings.election.heartbeat),
        election_timeout_min: millis(settings.election.timeout_min),
        election_timeout_max: millis(settings.election.timeout_max),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(settings.snapshot_every),
        max_in_snapshot_log_to_keep: settings.snapshot_every.saturating_mul(2),
        purge_batch_size: settings.snapshot_every.min(PURGE_STEP),
        replication_lag_threshold: LAG_MAX,
        enable_pre_vote: Some(true),
        // After a restart the state machine is behind and does not know how far; a new election finds
        // out before anything is read.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
    .validate()
    .map_err(|error| LogError::Settings(error.to_string()))
}

/// Follows the library's own figures, by one receiver for good: each new one would begin as changed.
/// A lone leader needs no clock, neither to hear of others nor to be heard: it stops, and an idle
/// cluster of one costs nothing.
fn follow(
    raft: &Raft,
    (addresses, heard): (Addresses, Heard),
    election: Election,
) -> watch::Receiver<Standing> {
    let mut metrics = raft.metrics();
    // Another leader may have been elected by then.
    let trusted = election.timeout_max * 2;
    let now = move |metrics: &RaftMetrics<Types>| {
        let heard = heard.lock().is_some_and(|heard| heard.elapsed() < trusted);
        standing(metrics, heard, trusted)
    };
    let (sender, receiver) = watch::channel(now(&metrics.borrow_watched()));
    let raft = raft.clone();
    tokio::spawn(async move {
        loop {
            let news = now(&metrics.borrow_watched());
            let failed = news.failed.is_some();
            *addresses.lock() = everyone(&metrics.borrow_watched());
            let alone = news.leads() && news.voters.len() == 1;
            raft.runtime_config().tick(!alone);
            // Many wait for a change of role, nobody for a count: they would all wake at every write.
            sender.send_if_modified(|known| {
                let tells = !known.is_same_role(&news);
                *known = news;
                tells
            });
            if failed {
                return;
            }
            // That the others are silent is no news the library tells of.
            let changed = if alone {
                metrics.changed().await
            } else {
                timeout(election.timeout_max, metrics.changed()).await.unwrap_or(Ok(()))
            };
            if changed.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Where all members are, those that do not vote yet included.
fn everyone(metrics: &RaftMetrics<Types>) -> BTreeMap<u64, String> {
    let members = metrics.membership_config.membership().nodes();
    members.map(|(id, node)| (*id, node.addr.clone())).collect()
}

/// `trusted` is how long a leader of several counts as one after a majority last followed it; one that
/// follows has `heard` its leader within that time, or not.
fn standing(metrics: &RaftMetrics<Types>, heard: bool, trusted: Duration) -> Standing {
    let voters = metrics.membership_config.membership();
    let joint = voters.get_joint_config().len() > 1;
    let several = voters.voter_ids().nth(1).is_some();
    let followed = metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() < trusted);
    let leads = metrics.current_leader == Some(metrics.id);
    let cut_off = leads && several && !followed;
    let address = |id| voters.get_node(&id).map_or_else(String::new, |node| node.addr.clone());
    Standing {
        id: metrics.id,
        term: metrics.current_term,
        leader: metrics.current_leader.filter(|_| !cut_off),
        heard: if leads { !cut_off } else { heard },
        joint,
        voters: voters.voter_ids().map(|id| (id, address(id))).collect(),
        last: metrics.last_log_index.unwrap_or_default(),
        applied: metrics.last_applied.map_or(0, |id| id.index),
        snapshot: metrics.snapshot.map_or(0, |id| id.index),
        purged: metrics.purged.map_or(0, |id| id.index),
        failed: metrics.running_state.as_ref().err().map(ToString::to_string),
    }
}
