//! Measures how fast and how small Siso is, beside others on the same machine in the same run.
//!
//! **Invariant:** nothing here judges: a figure that falls short of what is wanted is shown as such, and
//! no test depends on it. Whoever is compared runs on the same engine or disk, in turns, with the same
//! settings. Start at [`Part`]; `tests/bench/run.sh` builds and obtains what is needed.

mod figure;
mod ground;
#[cfg(target_os = "linux")]
mod hosts;
mod idle;
mod join;
mod load;
mod machine;
mod process;
mod race;
mod scale;
mod start;
mod way;

use std::{fs, io::Write as _, path::PathBuf};

use clap::{Parser, ValueEnum};
use figure::Report;

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Seven services from nothing to running, beside the engine alone, Swarm and Compose; what an
    /// unchanged apply and `ps` take.
    Apply,
    /// Durable writes, beside etcd on the same disk.
    Writes,
    /// Sizes of the programs, and how fast they are ready.
    Start,
    /// From a token to a node that is ready, by hand and by `node add`.
    Join,
    /// Memory and processor time with fifty containers and nothing to do.
    Idle,
    /// What many agents and tasks cost one scheduler; the agents are simulated, the wire is not. Only
    /// when asked for.
    Scale,
    /// Leaders killed, paused and cut off, to the next write, beside etcd and Swarm; on hosts of their
    /// own, as those below. Only when asked for.
    Failover,
    /// A host lost, to its services' running elsewhere, beside Swarm. Only when asked for.
    NodeLoss,
    /// A fifth of all packets lost. Only when asked for.
    Loss,
    /// No power anywhere, to everything's running again. Only when asked for.
    Cold,
}

impl Part {
    /// Whether it takes so long that it is measured only when it is asked for.
    fn is_long(self) -> bool {
        matches!(self, Self::Scale | Self::Failover | Self::NodeLoss | Self::Loss | Self::Cold)
    }
}

/// The fewest rounds whose median goes into a document.
const ROUNDS: usize = 7;

/// Measures Siso beside others.
#[derive(Debug, Parser)]
struct Args {
    /// Measures this part only; may be repeated.
    #[arg(long)]
    only: Vec<Part>,
    /// How often each thing is measured; fewer than 7 are too few to be kept, and the table says so.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// How long idle processes are watched.
    #[arg(long, default_value_t = 5)]
    idle_minutes: u64,
    /// Agents that are simulated.
    #[arg(long, default_value_t = 1_000)]
    agents: u32,
    /// Tasks they run together.
    #[arg(long, default_value_t = 20_000)]
    tasks: u32,
    /// How many leaders are lost; a third of them killed, paused and cut off each.
    #[arg(long, default_value_t = 99)]
    faults: usize,
    /// How long packets are lost.
    #[arg(long, default_value_t = 30)]
    lossy_minutes: u64,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: PathBuf,
    /// The program of etcd; without it, writes are measured alone.
    #[arg(long)]
    etcd: Option<PathBuf>,
    /// The program of Compose 2; without it, it is not compared.
    #[arg(long)]
    compose: Option<PathBuf>,
    /// The command line to show as the one that measured.
    #[arg(long, default_value = "siso-bench")]
    shown_as: String,
}

fn main() {
    let args = Args::parse();
    let wanted =
        |part: Part| args.only.contains(&part) || (args.only.is_empty() && !part.is_long());
    let mut report = Report::new(machine::describe(&args.shown_as));
    if args.rounds < ROUNDS {
        report.remark(format!("{} rounds only: to look at, not to be kept", args.rounds));
    }
    if wanted(Part::Start) {
        start::measure(&mut report, args.rounds);
    }
    if wanted(Part::Join) {
        join::measure(&mut report, args.rounds);
    }
    if wanted(Part::Writes) {
        load::measure(&mut report, args.rounds, args.etcd.as_deref());
    }
    if wanted(Part::Apply) {
        race::measure(&mut report, args.rounds, args.compose.as_deref());
    }
    if wanted(Part::Idle) {
        idle::measure(&mut report, args.idle_minutes);
    }
    if wanted(Part::Scale) {
        scale::measure(&mut report, args.agents, args.tasks);
    }
    #[cfg(target_os = "linux")]
    measure_hosts(&args, &mut report);
    let json = format!("{:#}\n", report.json());
    fs::write(&args.json, json).expect("the file for the figures is written");
    say(&format!("the same as JSON: {}", args.json.display()));
    // The table is the data; everything else went to stderr.
    write!(std::io::stdout(), "\n{report}").expect("stdout");
}

#[cfg(target_os = "linux")]
fn measure_hosts(args: &Args, report: &mut Report) {
    let wanted = |part: Part| args.only.contains(&part);
    if wanted(Part::Failover) {
        hosts::failover(report, args.faults, args.etcd.as_deref());
    }
    if wanted(Part::NodeLoss) {
        hosts::node_loss(report, args.rounds);
    }
    if wanted(Part::Cold) {
        hosts::cold(report, args.rounds);
    }
    if wanted(Part::Loss) {
        hosts::loss(report, args.lossy_minutes);
    }
}

/// One line of progress.
fn say(line: &str) {
    // Progress nobody can read is no reason to stop.
    let _ = writeln!(std::io::stderr(), "    {line}");
}
