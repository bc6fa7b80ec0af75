//! Makes one machine match its assignments: joins a cluster, receives what to run, compares it with
//! what the container engine shows, performs the difference and reports what it sees.
//!
//! **Invariant:** containers of others are never touched, and losing the scheduler, the engine or
//! this process changes nothing that runs. Start at [`reconcile`], then [`mod@agent`].

pub mod agent;
pub mod attempt;
mod authorities;
mod backoff;
pub mod board;
pub mod config;
pub mod enrol;
mod file;
pub mod guard;
pub mod histogram;
pub mod identity;
pub mod images;
pub mod inventory;
pub mod lease;
pub mod lease_record;
pub mod ledger;
mod metrics;
pub mod outbox;
pub mod perform;
pub mod policy;
pub mod ports;
pub mod reconcile;
mod relay;
pub mod runtime;
mod schedulers;
mod session;
pub mod status;
#[cfg(test)]
mod testing;
mod watch;

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use model::{NodeId, story};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch as watched},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use agent::{Agent, Parts};
use board::Board;
use config::Config;
use enrol::{EnrolError, Joining};
use identity::Member;
use images::{Fetched, Sweeper};
use lease_record::LeaseRecord;
use ledger::{Held, Ledger, LedgerError};
use perform::Tools;
use relay::Relays;
use runtime::Runtime;
use schedulers::Schedulers;

const LOCK: &str = "lock";
/// How long commands of people may take to end when the agent stops.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The data directory holds a key.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// Why an agent does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("the data directory {} cannot be used", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Another agent uses it.
    #[error("another agent uses the data directory {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The address for metrics cannot be used.
    #[error("cannot listen on {address} (--metrics-listen)")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// It is no member and cannot become one.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
}

/// A running agent.
#[derive(Debug)]
pub struct Handle {
    /// The cluster it is a member of.
    pub cluster: String,
    /// Its node.
    pub node: NodeId,
    /// Where `/healthz` and `/metrics` answer.
    pub metrics: SocketAddr,
    /// What it shows while it runs.
    pub board: Arc<Board>,
    stop: CancellationToken,
    agent: JoinHandle<()>,
    rooms: TaskTracker,
    _lock: File,
}

impl Handle {
    /// Stops the agent; containers stay as they are.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.agent.await {
            tracing::error!(%error, "the agent's loop broke");
        }
        self.rooms.close();
        if timeout(LAST_WORDS, self.rooms.wait()).await.is_err() {
            tracing::warn!("the agent stops although not everything has ended");
        }
    }

    /// Returns when the agent's loop has ended, which it does only when it is broken.
    pub async fn ended(&mut self) {
        if let Err(error) = (&mut self.agent).await {
            tracing::error!(%error, "the agent's loop broke");
        }
    }
}

/// Starts an agent on this engine: joins first when it is no member yet, for which it waits until a
/// scheduler answers.
pub async fn start<R: Runtime>(config: Config, runtime: R) -> Result<Handle, StartError> {
    let directory = config.data_dir.clone();
    let lock = open_directory(&directory)?;
    let address = config.metrics_listen;
    let metrics = |cause| StartError::Metrics { address, cause };
    let listener = TcpListener::bind(address).await.map_err(metrics)?;
    let bound = listener.local_addr().map_err(metrics)?;
    let names = config.names();
    let joining = Joining {
        schedulers: config.scheduler.clone(),
        token_file: config.token_file.clone(),
        name: config.node_name(),
        labels: config.labels(),
        address: config.address(),
    };
    let member = enrol::member(&directory, &joining).await?;
    let (ledger, held) = open_ledger(&directory, &member);
    let bounds = config.bounds();
    let offered = held.as_ref().and_then(|held| held.inventory.clone());
    let offered = offered.unwrap_or_else(|| inventory::unknown(&bounds));
    let (allows, generic) = (bounds.allows.clone(), bounds.generic.clone());
    let offered =
        model::Inventory { engine_ready: false, ledger_error: None, allows, generic, ..offered };
    let board = Arc::new(Board::new(offered));
    let policy = config.policy();
    let rooms = Rooms {
        runtime: Arc::new(runtime),
        board: Arc::clone(&board),
        stop: CancellationToken::new(),
        tracker: TaskTracker::new(),
        member: watched::Sender::new(member.clone()),
    };
    rooms.keep(metrics::serve(listener, names, Arc::clone(&board), rooms.stop.clone()));
    let schedulers = Arc::new(Schedulers::load(&directory, joining.schedulers));
    let told = watched::Sender::new(None);
    let stays = (Arc::clone(&schedulers), rooms.member.clone(), told.subscribe());
    rooms.keep(enrol::stay_member(directory, stays.0, stays.1, stays.2));
    rooms.keep(session::run(session::Session {
        schedulers,
        turn: 0,
        address: joining.address,
        member: rooms.member.subscribe(),
        told,
        board: Arc::clone(&board),
        relays: rooms.relays(),
    }));
    let fetched = Arc::new(Fetched::load(&config.data_dir));
    rooms.keep(rooms.sweeper(&fetched).run());
    let tools = Tools::new(
        Arc::clone(&rooms.runtime),
        policy,
        (member.cluster.clone(), member.node),
        Arc::clone(&board),
    )
    .remembering(fetched);
    let record = LeaseRecord::new(&config.data_dir, runtime::clock::boot_id());
    if let Err(error) = record.reserve() {
        tracing::error!(%error, "leases cannot be written: no strict singleton is started here");
    }
    let agent = rooms.agent(tools, &member, (ledger, held, record), bounds);
    let Rooms { stop, tracker, .. } = rooms;
    let (cluster, node) = (member.cluster, member.node);
    Ok(Handle { cluster, node, metrics: bound, board, stop, agent, rooms: tracker, _lock: lock })
}

/// What every room is given, and how it ends.
struct Rooms<R> {
    runtime: Arc<R>,
    board: Arc<Board>,
    stop: CancellationToken,
    tracker: TaskTracker,
    member: watched::Sender<Member>,
}

impl<R: Runtime> Rooms<R> {
    /// Runs a room until the agent stops.
    fn keep(&self, room: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled(room).await;
        });
    }

    fn relays(&self) -> Relays<R> {
        let (runtime, board) = (Arc::clone(&self.runtime), Arc::clone(&self.board));
        Relays::new(runtime, board, self.stop.clone(), self.tracker.clone())
    }

    fn sweeper(&self, fetched: &Arc<Fetched>) -> Sweeper<R> {
        let (runtime, board) = (Arc::clone(&self.runtime), Arc::clone(&self.board));
        Sweeper { runtime, board, fetched: Arc::clone(fetched) }
    }

    /// Runs the agent's loop and the watch that wakes it.
    fn agent(
        &self,
        tools: Tools<R>,
        member: &Member,
        (ledger, held, record): (Ledger, Option<Held>, LeaseRecord),
        bounds: inventory::Bounds,
    ) -> JoinHandle<()> {
        let (wakes, woken) = mpsc::channel(agent::WAKES);
        let stamp = Arc::new(AtomicU64::new(0));
        let ask = watched::Sender::new(0);
        let watch = watch::Watch {
            runtime: Arc::clone(&self.runtime),
            cluster: member.cluster.clone(),
            board: Arc::clone(&self.board),
            bounds,
            stamp: Arc::clone(&stamp),
            wakes: wakes.clone(),
            asked: ask.subscribe(),
        };
        self.keep(watch.run());
        let parts = Parts { tools, node: member.node, ledger, held, record, stamp, wakes, ask };
        let agent = Agent::new(parts);
        tokio::spawn(agent.run(woken, self.stop.clone()))
    }
}

/// Makes the data directory where it is missing and takes it for this process alone.
fn open_directory(path: &Path) -> Result<File, StartError> {
    let unusable = |cause| StartError::DataDir { path: path.to_owned(), cause };
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(path).map_err(unusable)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK));
    let file = file.map_err(unusable)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            Err(StartError::InUse { path: path.to_owned() })
        }
        Err(error) => Err(unusable(error.into())),
    }
}

/// What the ledger holds, if it is whole and this agent's. Without it nothing is started or swept
/// until a scheduler has said what is to run.
fn open_ledger(directory: &Path, member: &Member) -> (Ledger, Option<Held>) {
    let (ledger, held) = Ledger::open(directory);
    match held {
        Ok(Some(held)) => match ledger::check((&member.cluster, member.node), None, &held.set) {
            Ok(()) => return (ledger, Some(held)),
            Err(refused) => tracing::error!(%refused, "the ledger is ignored"),
        },
        Ok(None) => {}
        Err(error) => {
            tracing::error!(
                why = story(&error),
                "THE LEDGER CANNOT BE USED: what runs goes on, nothing is started or removed \
                 until a scheduler has said what is to run"
            );
            if matches!(error, LedgerError::Damaged { .. })
                && let Err(error) = ledger.put_aside()
            {
                tracing::error!(why = story(&error), "the damaged ledger cannot be put aside");
            }
        }
    }
    (ledger, None)
}
