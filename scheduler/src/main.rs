//! The process `siso-scheduler`: reads its command line, runs until it is told to stop.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use scheduler::{Config, Handle, LogFormat, story};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Threads that serve: a scheduler waits most of the time, and must leave the machine to the tasks.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let config = Config::parse();
    scheduler::raise_open_files();
    if let Err(error) = log_to_stderr(&config) {
        return fail(&format!("--log-level {:?}: {error}", config.log_level));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(config)),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => fail(&reason),
    }
}

async fn run(config: Config) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    if config.recover {
        return recover(&config).await;
    }
    let started = tokio::select! {
        started = scheduler::start(config) => started,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let handle = started.map_err(|error| story(&error))?;
    // Whoever waits for this line may have gone away.
    drop(say_ready(&handle));
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = handle.failed() => Some(reason),
    };
    tracing::info!("stopping");
    handle.stop().await;
    failed.map_or(Ok(()), Err)
}

/// Not to be interrupted: what was begun is finished here, or at the next start.
async fn recover(config: &Config) -> Result<(), String> {
    let recovered = scheduler::recover(config).await.map_err(|error| story(&error))?;
    recovered.print(&mut io::stdout()).map_err(|error| error.to_string())
}

fn say_ready(handle: &Handle) -> io::Result<()> {
    let Handle { name, cluster, address, metrics_address, .. } = handle;
    let mut out = io::stdout();
    writeln!(
        out,
        "siso-scheduler ready: cluster {name} ({cluster}) on {address}, metrics on {metrics_address}"
    )?;
    out.flush()
}

fn log_to_stderr(config: &Config) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.log_level).map_err(|error| error.to_string())?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|error| error.to_string())
}

fn fail(reason: &str) -> ExitCode {
    // There is nobody else to tell when standard error is closed.
    drop(writeln!(io::stderr(), "siso-scheduler: {reason}"));
    ExitCode::FAILURE
}
