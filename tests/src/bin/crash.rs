//! Crashes a scheduler as often as asked: `crash --kills 1000 --cuts 100`, or an agent and an engine:
//! `crash --agent-kills 200 --engine-restarts 20`.
//!
//! Kills come at numbered system calls and need `strace`; power cuts need root, a loop device and
//! `python3` besides; agents run on a container engine of their own, which needs root and `dockerd`.
//! Ends with 101 when something was lost, ran twice or was started needlessly, which it tells in full.

use std::{
    env,
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use siso_tests::{
    crash::{AgentKills, Campaign, EngineRestarts, Fault, LoopDisk},
    current_program,
};

/// Room for a log and its snapshots, many times over.
const DISK_MIB: u64 = 192;
const FLAGS: &str = "use --kills N, --cuts N, --agent-kills N and --engine-restarts N";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // There is nobody else to tell.
            let _ = writeln!(io::stderr(), "crash: {why}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (mut kills, mut cuts, mut agent_kills, mut engine_restarts) = (0, 0, 0, 0);
    let mut words = env::args().skip(1);
    while let Some(flag) = words.next() {
        let count = words.next().and_then(|count| count.parse().ok());
        let count = count.ok_or_else(|| format!("{flag} wants a number"))?;
        match flag.as_str() {
            "--kills" => kills = count,
            "--cuts" => cuts = count,
            "--agent-kills" => agent_kills = count,
            "--engine-restarts" => engine_restarts = count,
            _ => return Err(format!("unknown flag {flag}: {FLAGS}")),
        }
    }
    // Figures of programs that are not these sources would be worth nothing.
    for name in ["siso-scheduler", "siso-agent", "sisoctl"] {
        current_program(name)?;
    }
    Fault::possible()?;
    if kills > 0 {
        tell("kills", || Campaign::of_kills().run(kills));
    }
    if cuts > 0 {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let disk = LoopDisk::new(directory.path(), DISK_MIB)?;
        tell("power cuts", || Campaign::of_power_cuts(disk).run(cuts));
    }
    if agent_kills > 0 {
        let mut campaign = AgentKills::start("agent-kills")?;
        tell("agent kills", || campaign.run(agent_kills));
    }
    // Half of them on an engine that lets containers outlive it, half on one that does not.
    let halves = [(true, engine_restarts / 2), (false, engine_restarts.div_ceil(2))];
    for (live, restarts) in halves.into_iter().filter(|(_, restarts)| *restarts > 0) {
        let what = if live { "containers outlive it" } else { "containers end with it" };
        let mut campaign = EngineRestarts::start("engine-restarts", live)?;
        tell(&format!("engine restarts, {what}"), || campaign.run(restarts));
    }
    Ok(())
}

fn tell<T: Display>(what: &str, run: impl FnOnce() -> T) {
    let began = Instant::now();
    let tally = run();
    let took = began.elapsed().as_secs();
    // Whoever ran this may have stopped reading.
    let _ = writeln!(io::stdout(), "{what}: {tally}; {took} s");
}
