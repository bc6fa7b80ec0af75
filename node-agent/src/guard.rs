//! The guard: a second process that stops strict singletons whose lease is over when the agent does not,
//! because it hangs, was killed, or was told to stop. Containers outlive the agent; a lease must not.
//!
//! It reads the leases the agent writes ([`LeaseRecord`]) and finds the containers by their label. There is
//! one guard per data directory, whichever agent started it, and it ends by itself when there is nothing
//! left to guard. A machine that sleeps or is frozen freezes it as well, and what it guards.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::Parser;
use model::{NodeId, TaskId, story};
use rustix::{
    fs::FlockOperation,
    io::Errno,
    process::{Flock, FlockType, Signal, kill_process},
};
use tokio::time::{sleep, timeout};

use crate::{
    board::Board,
    config::Config,
    lease::{Awake, LOOK_EVERY, Leases},
    lease_record::LeaseRecord,
    runtime::{Container, ContainerState, Runtime, clock},
};

/// The first word of a guard's command line.
pub const WORD: &str = "guard";
const LOCK: &str = "guard.lock";
/// Looks at the leases between two looks at the engine while every lease is good.
const QUIET_LOOKS: u32 = 10;
/// Looks at the engine that find nothing to guard, in a row, after which the guard ends.
const IDLE_LOOKS: u32 = 3;
/// For a look at the engine: what is guarded must end within seconds of its lease.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// How long a guard of another program may take to end before it is left for the next look.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);
/// More than a [`mark`] has.
const MARK_BYTES_MAX: u64 = 256;
/// Between two looks whether there is a guard.
const KEEP_EVERY: Duration = Duration::from_secs(2);

/// The command line of a guard. The agent starts it; people do not.
#[derive(Debug, Clone, Parser)]
#[command(name = "siso-agent guard", version)]
pub struct GuardConfig {
    /// The agent's directory
    #[arg(long)]
    pub data_dir: PathBuf,
    /// The container engine's address
    #[arg(long)]
    pub docker_host: String,
    /// The cluster the agent is a member of
    #[arg(long)]
    pub cluster: String,
    /// The agent's node
    #[arg(long)]
    pub node: NodeId,
}

fn open(directory: &Path) -> io::Result<File> {
    let path = directory.join(LOCK);
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

/// Which program this process runs: another one once it was replaced, though it has the same path and version.
fn mark() -> io::Result<String> {
    // What runs, wherever its file is by now; elsewhere the file that is there.
    let own = std::fs::metadata("/proc/self/exe");
    let about = own.or_else(|_| std::fs::metadata(std::env::current_exe()?))?;
    Ok(format!("{}:{}:{}:{}", about.dev(), about.ino(), about.len(), about.mtime()))
}

/// Takes the place of the one guard of a directory; `None` while another has it.
fn place(directory: &Path) -> io::Result<Option<File>> {
    let file = open(directory)?;
    match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            // Of a guard without a mark its agent's next program thinks that it is an older one.
            let noted = mark().and_then(|mark| {
                file.set_len(0)?;
                (&file).write_all(mark.as_bytes())
            });
            if let Err(error) = noted {
                tracing::debug!(why = story(&error), "the guard's program is not noted");
            }
            Ok(Some(file))
        }
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a guard watches over a directory. Asked after the leases were written there it may be relied on:
/// a guard that ends reads them once more when it has given its place up.
pub fn watches(directory: &Path) -> io::Result<bool> {
    let whole = Flock::from(FlockType::WriteLock);
    Ok(rustix::process::fcntl_getlk(open(directory)?, &whole)?.is_some())
}

/// Ends the guard of a directory when it is of another program than this one: whoever was upgraded wants what the
/// newer one does when the engine hangs, and reads the leases as they are written now. Its successor comes at once.
async fn end_older(directory: &Path) -> io::Result<()> {
    let whole = Flock::from(FlockType::WriteLock);
    let file = open(directory)?;
    let Some(pid) = rustix::process::fcntl_getlk(&file, &whole)?.and_then(|held| held.pid) else {
        return Ok(());
    };
    let mut noted = String::new();
    (&file).take(MARK_BYTES_MAX).read_to_string(&mut noted)?;
    if noted == mark()? {
        return Ok(());
    }
    tracing::info!(
        process = pid.as_raw_nonzero(),
        "its guard is of another program and is replaced"
    );
    kill_process(pid, Signal::TERM)?;
    let gone = async {
        while watches(directory)? {
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    timeout(LEAVES_WITHIN, gone).await.unwrap_or(Ok(()))
}

/// Keeps a guard beside this agent while it has strict singletons. Ends only with the agent.
pub async fn keep(config: Config, cluster: String, node: NodeId, board: Arc<Board>) {
    let mut told = false;
    board.guarded().await;
    if let Err(error) = end_older(&config.data_dir).await {
        tracing::warn!(why = story(&error), "the guard there is left as it is");
    }
    if clock::awake().hardware.is_none() {
        tracing::warn!(
            "the hardware's clock cannot be read here: if this machine is frozen from outside, as a virtual \
             machine is when its host sleeps, a strict singleton may run on beside its successor when it wakes"
        );
    }
    loop {
        board.guarded().await;
        match start(&config, &cluster, node) {
            Ok(()) => told = false,
            Err(error) if !told => {
                tracing::error!(
                    why = story(&error),
                    "no guard: a strict singleton outlives this agent"
                );
                told = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = sleep(KEEP_EVERY) => {}
            () = board.guard_wanted() => {}
        }
    }
}

/// Starts a guard where there is none.
fn start(config: &Config, cluster: &str, node: NodeId) -> io::Result<()> {
    if watches(&config.data_dir)? {
        return Ok(());
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(WORD).arg("--data-dir").arg(&config.data_dir);
    command.arg("--docker-host").arg(&config.docker_host);
    command.arg("--cluster").arg(cluster).arg("--node").arg(node.to_string());
    // A signal for the agent is none for its guard.
    let mut guard = command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).spawn()?;
    tracing::info!(process = guard.id(), "a guard watches over strict singletons");
    // Whoever ends first, nothing is left of it.
    std::thread::spawn(move || guard.wait());
    Ok(())
}

/// Guards until there is nothing to guard, or the directory is gone.
pub async fn run<R: Runtime>(config: GuardConfig, runtime: R) -> io::Result<()> {
    let record = LeaseRecord::new(&config.data_dir, clock::boot_id());
    let (runtime, sent) = (Arc::new(runtime), BTreeMap::new());
    let mut guard = Guard {
        config,
        runtime,
        record,
        sent,
        blind: false,
        guarded: Vec::new(),
        ending: Arc::default(),
    };
    loop {
        let Some(place) = place(&guard.config.data_dir)? else { return Ok(()) };
        guard.watch().await;
        drop(place);
        // An agent that saw the place taken may have begun something since the last look.
        if !guard.config.data_dir.exists() || guard.leases().first_end().is_none() {
            return Ok(());
        }
    }
}

struct Guard<R> {
    config: GuardConfig,
    runtime: Arc<R>,
    record: LeaseRecord,
    /// The renewals that were read last.
    sent: BTreeMap<TaskId, Awake>,
    /// Whether they could not be read since.
    blind: bool,
    /// What it guards, as the engine last showed it.
    guarded: Vec<Container>,
    /// Containers that are being stopped.
    ending: Arc<Mutex<BTreeSet<String>>>,
}

impl<R: Runtime> Guard<R> {
    /// The leases that the agent wrote down last.
    fn leases(&mut self) -> Leases {
        match self.record.read() {
            Ok(sent) => (self.sent, self.blind) = (sent, false),
            // Those that were good end by themselves.
            Err(error) => {
                if !std::mem::replace(&mut self.blind, true) {
                    tracing::error!(why = story(&error), "the leases cannot be read");
                }
            }
        }
        let mut leases = Leases::restored(self.sent.clone());
        leases.pass(clock::awake());
        leases
    }

    /// Looks on until nothing is there to guard, and no lease to start anything with.
    async fn watch(&mut self) {
        let (mut quiet, mut idle) = (QUIET_LOOKS, 0);
        while idle < IDLE_LOOKS && self.config.data_dir.exists() {
            let leases = self.leases();
            quiet += 1;
            // What has a lease and was not seen yet may be started at any moment.
            let unseen = self.guarded.len() < leases.all().len();
            if leases.first_end().is_none() || leases.any_ended() || unseen || quiet >= QUIET_LOOKS
            {
                quiet = 0;
                match self.look().await {
                    Some(false) if leases.first_end().is_none() => idle += 1,
                    Some(_) => idle = 0,
                    None => {}
                }
            }
            sleep(Duration::from_millis(LOOK_EVERY)).await;
        }
    }

    /// Stops what has no lease; answers whether anything is there to guard, nothing where the engine does
    /// not answer.
    async fn look(&mut self) -> Option<bool> {
        let look = timeout(LOOK_LIMIT, self.runtime.look(&self.config.cluster)).await;
        let answered = matches!(look, Ok(Ok(_)));
        if let Ok(Ok(look)) = look {
            let node = self.config.node;
            let ours = |found: &Container| found.node.is_none_or(|of| of == node);
            let mut guarded = look.containers;
            guarded.retain(|found| ours(found) && found.leased.is_some());
            self.guarded = guarded;
        } else {
            // Whether it runs by now nobody tells.
            self.guarded.iter_mut().for_each(|found| found.state = ContainerState::Lost);
        }
        // Read after the look: what the agent starts has its lease written down before. Where the engine does
        // not answer nothing is started, and what ran when it last did may run on.
        let leases = self.leases();
        for (id, grace_ms) in leases.overdue(&self.guarded) {
            let ending = Arc::clone(&self.ending);
            if !ending.lock().unwrap_or_else(PoisonError::into_inner).insert(id.0.clone()) {
                continue;
            }
            tracing::warn!(container = %id, grace_ms, "its lease is over and the agent did not stop it");
            let runtime = Arc::clone(&self.runtime);
            tokio::spawn(async move {
                let stopped = runtime.stop_within(&id, Duration::from_millis(grace_ms)).await;
                if let Err(error) = stopped {
                    tracing::error!(container = %id, why = story(&error), "not stopped");
                }
                ending.lock().unwrap_or_else(PoisonError::into_inner).remove(&id.0);
            });
        }
        answered.then_some(!self.guarded.is_empty())
    }
}

#[cfg(test)]
mod tests;
