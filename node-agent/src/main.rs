//! The `siso-agent` program.

use std::{io::Write as _, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Parser as _;
use node_agent::{
    config::{Config, LogFormat},
    guard::{self, GuardConfig},
    runtime::docker::DockerEngine,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Two: the session's heartbeats go on while the other one waits for a disk.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let as_guard = std::env::args().nth(1).is_some_and(|word| word == guard::WORD);
    let done = if as_guard {
        guard_alone(GuardConfig::parse_from(std::env::args().skip(1)))
    } else {
        run(Config::parse())
    };
    if let Err(error) = done {
        // Nothing else is written there at this point.
        let _ = writeln!(std::io::stderr(), "siso-agent: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(config: Config) -> anyhow::Result<()> {
    log(&config)?;
    config.generic().context("--generic")?;
    let bounds = config.bounds();
    if let Some(budget) = bounds.memory_budget.filter(|budget| *budget <= bounds.memory_reserve) {
        let reserve = bounds.memory_reserve;
        anyhow::bail!(
            "--memory-budget {budget} leaves nothing beside --reserve-memory {reserve}: give a larger \
             budget or a smaller reserve"
        );
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let done = runtime.block_on(serve(config));
    // What still waits for the engine does not hold up the end.
    runtime.shutdown_background();
    done
}

/// One thread: it mostly sleeps.
fn guard_alone(config: GuardConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::new("info,bollard=warn,hyper=warn");
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let engine = DockerEngine::new(&config.docker_host, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(guard::run(config, engine))?)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = config.node_name();
    let engine = DockerEngine::new(&config.docker_host, config.registry_logins())?;
    let mut handle = tokio::select! {
        started = node_agent::start(config.clone(), engine) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let (node, cluster, metrics) = (handle.node, &handle.cluster, handle.metrics);
    let mut out = std::io::stdout();
    writeln!(
        out,
        "siso-agent is ready: node {node} ({name}) of cluster {cluster}, metrics on \
         http://{metrics}/metrics"
    )?;
    out.flush()?;
    let guard = guard::keep(config, handle.cluster.clone(), handle.node, Arc::clone(&handle.board));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = guard => {}
        () = handle.ended() => anyhow::bail!("the agent's loop ended by itself"),
    }
    tracing::info!("stopping; containers stay");
    handle.stop().await;
    Ok(())
}

fn log(config: &Config) -> anyhow::Result<()> {
    // The engine's library and the transport say little that helps, and much of it.
    let filter = format!("{},bollard=warn,hyper=warn,h2=warn,rustls=warn", config.log_level);
    let filter = EnvFilter::try_new(filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
