//! From a command line to a running scheduler, and back.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use model::token::Hex;
use scheduler_core::{Command, Rejection, cluster::FOUNDER};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};

use crate::{
    admin::Context,
    api,
    config::{self, Config},
    data_dir::{DataDir, DataDirError, FIRST_FORM, Identity},
    dispatch::Dispatch,
    files,
    join::{self, DataDirIdentity, JoinError},
    leader, listener,
    log::{LogError, LogSettings, Peers, RaftLog, ReplicatedLog, ShutOut, Standing},
    metrics::Figures,
    operators,
    pki::{Authority, Keys, PkiError},
    places::Places,
    probes, recover,
    refusals::Refusals,
    story,
};

/// How long a lone scheduler may take to lead itself: a slow disk, a long log.
const LEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// How long open calls may take to end when the scheduler stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the age of the own certificate is looked at.
const CERTIFICATE_CHECK: Duration = Duration::from_hours(12);
/// HTTP/2 pings: find a silent other side within 10 s.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Calls at one time on one connection.
const CALLS_PER_CONNECTION: u32 = 256;
/// Headers of one call.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Why a scheduler does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The command line asks for something impossible.
    #[error("{0}")]
    Config(String),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Keys and certificates cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The context file cannot be written.
    #[error("cannot write {}", path.display())]
    Context {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The directory belongs to another cluster than its log.
    #[error(
        "the log is of cluster {found}, the directory of cluster {expected}: files were mixed up"
    )]
    OtherCluster {
        /// The log's.
        found: String,
        /// The directory's.
        expected: String,
    },
    /// It cannot become a further scheduler.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The founding was refused.
    #[error("the cluster cannot be founded: {0}")]
    Refused(#[source] Rejection),
}

/// A running scheduler.
pub struct Handle {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where others reach it.
    pub advertised: String,
    /// Where `/healthz` and `/metrics` answer.
    pub metrics_address: SocketAddr,
    /// The cluster's id.
    pub cluster: String,
    /// The cluster's name.
    pub name: String,
    log: Arc<RaftLog>,
    shut_out: watch::Receiver<Option<String>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    // Last: the directory is given free when everything that uses it is gone.
    directory: DataDir,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Handle {
    /// Where the context file of the first admin lies.
    pub fn admin_file(&self) -> PathBuf {
        self.directory.admin()
    }

    /// Returns why, when this scheduler can no longer do its work: its log is broken, or it may take part
    /// no longer, which its directory remembers.
    pub async fn failed(&self) -> String {
        let (mut standing, mut shut_out) = (self.log.standing(), self.shut_out.clone());
        let told = async {
            let told = shut_out.wait_for(Option::is_some).await;
            match told.ok().and_then(|why| why.clone()) {
                Some(why) => why,
                // Whoever could tell has ended, as with a broken log: nobody was shut out by that.
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! {
            broken = standing.wait_for(|standing| standing.failed.is_some()) => {
                let why = broken.ok().and_then(|standing| standing.failed.clone());
                let why = why.unwrap_or_else(|| "it has ended".to_owned());
                return format!("the log has stopped: {why}");
            }
            why = told => why,
        };
        let path = self.directory.shut_out_path();
        if let Err(error) = files::write_private(&path, &why) {
            tracing::warn!(path = %path.display(), %error, "the reason could not be kept");
        }
        why
    }

    /// Ends open calls, closes the log and gives the data directory free.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended =
            timeout(STOP_TIMEOUT, async { while self.tasks.join_next().await.is_some() {} });
        if ended.await.is_err() {
            tracing::warn!("some calls did not end in time");
            self.tasks.shutdown().await;
        }
        self.log.stop().await;
    }

    /// Makes a snapshot of the cluster now, whatever the number of changes.
    pub async fn snapshot(&self) -> Result<(), LogError> {
        self.log.snapshot().await
    }

    /// The log itself, for whoever runs a scheduler in its own process: what is proposed there is agreed on
    /// like anything else, and nobody has been asked whether it may.
    pub fn log(&self) -> Arc<dyn ReplicatedLog> {
        Arc::clone(&self.log) as _
    }

    /// What this scheduler's log is at the moment.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.log.standing()
    }
}

/// Starts a scheduler: founds a cluster on an empty data directory, or joins one, and goes on where it
/// was on another. Returns when it answers: a lone scheduler when it leads, one of several as soon as it
/// can be asked, whoever leads.
pub async fn start(config: Config) -> Result<Handle, StartError> {
    check(&config)?;
    let thresholds = config.thresholds()?;
    let directory = DataDir::open(&config.data_dir)?;
    recover::finish(&directory)?;
    let identity = identity(&directory, &config).await?;
    directory.check_identity(&identity, config.form)?;
    let (listener, address) = listen(config.listen).await?;
    let (metrics_listener, metrics_address) = listen(config.metrics_listen).await?;
    let advertised = advertised(&config, address);
    let keys = keys(&config, &directory, &identity, &advertised)?;
    let figures = Arc::new(Figures::default());
    let shut_out = ShutOut::default();
    let peers = Peers::new(keys.face(), Arc::clone(&shut_out));
    let log = open_log(&config, &directory, &identity, (peers, &figures)).await?;
    let identity = take_part(&log, &directory, identity, &advertised).await?;
    let context = Context::new(&directory, &identity, &advertised, config.join.clone());
    context.write(&keys, &*log)?;

    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let replicated: Arc<dyn ReplicatedLog> = Arc::clone(&log) as _;
    let refusals = Refusals::new(Arc::clone(&figures));
    let (known, told) = (Arc::clone(&replicated), refusals.clone());
    let dispatch = Arc::new(Dispatch::new(known, thresholds, told, stop.clone()));
    let office = Arc::new(api::Office {
        log: replicated,
        dispatch: Arc::clone(&dispatch),
        keys: Arc::clone(&keys),
        rotating: tokio::sync::Mutex::default(),
        cluster: identity.cluster.clone(),
        origin: identity.origin.clone(),
        name: identity.name.clone(),
        door: log.door(Arc::clone(&keys)),
        streams: api::Streams::default(),
        places: Arc::new(Places::new(config.agent_connections)),
        refusals,
    });
    raise_own_form(&office, &identity).await;
    let (known, origin) = (Arc::clone(&office.log), identity.origin.clone());
    let forward = Arc::new(api::Forward::new(known, origin, Arc::clone(&keys), stop.clone()));
    let layers = (api::CountLayer(Arc::clone(&figures)), api::ForwardLayer(forward));
    let connections = connections(listener, &office, &stop, &mut tasks);
    tasks.spawn(serve(api::routes(&office), layers, connections, stop.clone()));
    let noted = Arc::new(DataDirIdentity::new(&directory, &identity));
    let reached = (advertised.clone(), config.join.clone());
    let ways = (keys.face(), Arc::clone(&shut_out));
    let announced = join::announce(Arc::clone(&log), Arc::clone(&noted), reached, ways);
    tasks.spawn(quietly(&stop, announced));
    tasks.spawn(quietly(&stop, noted.keep(Arc::clone(&log), Arc::clone(&shut_out))));
    for chore in chores(&office, context, keys) {
        tasks.spawn(quietly(&stop, chore));
    }
    let told = (Arc::clone(&dispatch), Arc::clone(&figures), Arc::clone(&office.places));
    let host = config::host(&advertised).to_owned();
    tasks.spawn(probes::serve(metrics_listener, host, told, stop.clone()));
    tasks.spawn(leader::run(dispatch, figures, config.needs_every));
    let (Identity { cluster, name, .. }, shut_out) = (identity, shut_out.subscribe());
    Ok(Handle {
        address,
        advertised,
        metrics_address,
        cluster,
        name,
        log,
        shut_out,
        stop,
        tasks,
        directory,
    })
}

/// Where others are told that they reach this scheduler.
fn advertised(config: &Config, address: SocketAddr) -> String {
    let advertised = config::advertised(address, config.advertise.as_deref());
    if config.advertise.is_none() && address.ip().is_unspecified() {
        tracing::info!(
            "only this machine is told a way here, {advertised}: --advertise HOST:PORT says where others reach it"
        );
    }
    advertised
}

/// The connections that pass the door.
fn connections(
    listener: TcpListener,
    office: &Arc<api::Office>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> tokio_stream::wrappers::ReceiverStream<io::Result<listener::Connection>> {
    let (removed, following) = operators::follow(Arc::clone(&office.log));
    tasks.spawn(quietly(stop, following));
    let members = (office.origin.clone(), Arc::clone(&office.places));
    let known = (removed, office.refusals.clone());
    listener::accept(listener, Arc::clone(&office.keys), members, known, stop.clone())
}

/// What goes on beside the calls, for as long as the scheduler runs.
fn chores(
    office: &Arc<api::Office>,
    context: Context,
    keys: Arc<Keys>,
) -> [BoxFuture<'static, ()>; 5] {
    let (door, log) = (&office.door, || Arc::clone(&office.log));
    [
        door.clone().look_after(log()).boxed(),
        door.clone().follow_authorities(log()).boxed(),
        door.clone().advance_authorities(log()).boxed(),
        context.keep(Arc::clone(office)).boxed(),
        renew(keys).boxed(),
    ]
}

/// A lone scheduler asks nobody which entries may be written; with others it takes until they have
/// answered.
async fn raise_own_form(office: &api::Office, identity: &Identity) {
    let leads = office.log.standing().borrow().leads();
    if identity.member && leads {
        drop(office.door.raise_form(&*office.log).await);
    }
}

/// The keys in the directory; those of a cluster that is being founded are made.
fn keys(
    config: &Config,
    directory: &DataDir,
    identity: &Identity,
    advertised: &str,
) -> Result<Arc<Keys>, StartError> {
    let (pki, origin) = (directory.pki(), &identity.origin);
    if !identity.member && identity.scheduler == FOUNDER {
        Authority::found(&pki, origin)?;
    }
    let keys = Keys::open(&pki, origin, (identity.scheduler, config::host(advertised)))?;
    check_token(config, &keys)?;
    Ok(Arc::new(keys))
}

/// Runs until the scheduler stops.
fn quietly(
    stop: &CancellationToken,
    task: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    stop.clone().run_until_cancelled_owned(task).map(drop)
}

fn check(config: &Config) -> Result<(), StartError> {
    let name = &config.cluster_name;
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let label = (1..=model::name::LABEL_MAX).contains(&name.len()) && name.bytes().all(plain);
    if !label {
        let text = format!("--cluster-name {name:?}: use 1 to 63 of a-z, 0-9 and `-`");
        return Err(StartError::Config(text));
    }
    if let Some(advertise) = &config.advertise {
        let port = advertise.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if config::host(advertise).is_empty() || port.is_none_or(|port| port == 0) {
            let text = format!("--advertise {advertise:?}: HOST:PORT is needed, like mini-1:7400");
            return Err(StartError::Config(text));
        }
    }
    Ok(())
}

/// Refuses a directory of another cluster than the one it is told to join, if the token is still there
/// to tell.
fn check_token(config: &Config, keys: &Keys) -> Result<(), StartError> {
    let (Some(_), Some(file)) = (&config.join, &config.token_file) else { return Ok(()) };
    let Ok(token) = join::read_token(file) else { return Ok(()) };
    if keys.knows(&token.authority) {
        return Ok(());
    }
    Err(StartError::Config(format!(
        "--join: {} is the directory of another cluster than the token's; give it a directory of its own",
        config.data_dir.display()
    )))
}

/// Who this directory belongs to; a new one joins a cluster, or begins to found one.
async fn identity(directory: &DataDir, config: &Config) -> Result<Identity, StartError> {
    if let Some(identity) = directory.identity()? {
        return Ok(identity);
    }
    if let Some(address) = &config.join {
        let Some(token) = &config.token_file else {
            return Err(StartError::Config(
                "--join: a token is needed, in --token-file".to_owned(),
            ));
        };
        if config.advertise.is_none() && config.listen.ip().is_unspecified() {
            return Err(StartError::Config(
                "--join: the others have to reach this scheduler, and it listens on every address: say \
                 where they do with --advertise HOST:PORT"
                    .to_owned(),
            ));
        }
        return join::join(directory, address, token, config.form).await.map_err(|failed| {
            match failed {
                join::Failed::Join(error) => error.into(),
                join::Failed::DataDir(error) => error.into(),
                join::Failed::Pki(error) => error.into(),
            }
        });
    }
    let cluster = Hex(&rand::random::<[u8; 16]>()).to_string();
    let name = config.cluster_name.clone();
    let (origin, form) = (cluster.clone(), FIRST_FORM);
    let identity = Identity { cluster, name, scheduler: FOUNDER, member: false, origin, form };
    directory.set_identity(&identity)?;
    Ok(identity)
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |cause| StartError::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn open_log(
    config: &Config,
    directory: &DataDir,
    identity: &Identity,
    (peers, figures): (Peers, &Arc<Figures>),
) -> Result<Arc<RaftLog>, StartError> {
    let settings = LogSettings {
        directory: directory.log(),
        id: identity.scheduler,
        election: config.election.election(),
        snapshot_every: config.snapshot_every,
        segment_bytes: config.segment_bytes,
        form: config.form,
    };
    let figures = Arc::clone(figures);
    let observe = move |took, jobs| figures.committed(took, jobs);
    let log = RaftLog::open(&settings, peers, observe).await?;
    if let Err(refused) = directory.check_log(identity, log.was_empty()) {
        log.stop().await;
        return Err(refused.into());
    }
    Ok(Arc::new(log))
}

/// Waits until a lone scheduler leads, and founds its cluster if there is none yet. Interrupted, it goes
/// on at the next start. One of several has nothing to wait for: the others may be what it waits for.
async fn take_part(
    log: &RaftLog,
    directory: &DataDir,
    identity: Identity,
    advertised: &str,
) -> Result<Identity, StartError> {
    if identity.scheduler != FOUNDER && !identity.member {
        return Ok(identity);
    }
    if !identity.member {
        log.found(advertised).await?;
    }
    let mut standing = log.standing();
    let known = standing.wait_for(|standing| {
        standing.leads() || standing.failed.is_some() || standing.voters.len() > 1
    });
    let Ok(Ok(standing)) =
        timeout(LEAD_TIMEOUT, known).await.map(|known| known.map(|at| at.clone()))
    else {
        return Err(LogError::NoLeader.into());
    };
    if let Some(failed) = standing.failed {
        return Err(LogError::Stopped(failed).into());
    }
    if standing.voters.len() > 1 {
        let found = log.cluster().id().to_owned();
        if !found.is_empty() && found != identity.cluster {
            return Err(StartError::OtherCluster { found, expected: identity.cluster });
        }
        return Ok(identity);
    }
    log.barrier().await?;
    log.announce(advertised).await?;
    let found = log.cluster().id().to_owned();
    if found.is_empty() {
        let (id, name) = (identity.cluster.clone(), identity.name.clone());
        let applied = log.propose(None, Command::Found { id, name }).await?;
        if let Err(rejection) = applied.result {
            return Err(StartError::Refused(rejection));
        }
    } else if found != identity.cluster {
        return Err(StartError::OtherCluster { found, expected: identity.cluster });
    }
    if identity.member {
        return Ok(identity);
    }
    let identity = Identity { member: true, ..identity };
    directory.set_identity(&identity)?;
    let (id, name, path) = (&identity.cluster, &identity.name, directory.path().display());
    tracing::info!(
        id,
        name,
        directory = %path,
        "a new cluster was founded: nobody of an older one belongs to it, whatever its name"
    );
    Ok(identity)
}

async fn serve(
    services: Routes,
    (count, forward): (api::CountLayer, api::ForwardLayer),
    connections: tokio_stream::wrappers::ReceiverStream<io::Result<listener::Connection>>,
    stop: CancellationToken,
) {
    let served = Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .http2_max_header_list_size(Some(HEADER_BYTES_MAX))
        .max_concurrent_streams(Some(CALLS_PER_CONNECTION))
        .layer(count)
        .layer(forward)
        .add_routes(services)
        .serve_with_incoming_shutdown(connections, stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(error = story(&error), "the server ended");
    }
}

/// Makes a new certificate when half of the life of the own one is over; new connections get it.
async fn renew(keys: Arc<Keys>) {
    loop {
        sleep(CERTIFICATE_CHECK).await;
        if let Err(error) = keys.refresh() {
            tracing::error!(error = story(&error), "the own certificate cannot be renewed");
        }
    }
}
