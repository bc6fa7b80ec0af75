//! `sim`: runs worlds by their seeds, or one of them with its trace.

use std::{io::Write as _, process::ExitCode, time::Instant};

use anyhow::{Context as _, bail};
use model::planted::Bug;
use siso_sim::World;

const USAGE: &str = "\
Runs simulated clusters and checks that every rule holds.

  sim --seed N [--trace]      one world, with what happened in it
  sim --seeds N [--from N]    many worlds, from seed 1 or that one on
  … --leases                  worlds of strict singletons alone
  … --bug NAME                with a planted bug, in a debug build
";

/// What is asked for.
#[derive(Debug)]
struct Args {
    world: fn(u64, bool) -> World,
    seed: Option<u64>,
    seeds: u64,
    from: u64,
    trace: bool,
}

fn args() -> anyhow::Result<Args> {
    let mut args = Args { seed: None, seeds: 0, from: 1, trace: false, world: World::new };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut number = || -> anyhow::Result<u64> {
            let text = given.next().with_context(|| format!("{name} needs a number"))?;
            text.parse().with_context(|| format!("{name} {text}: not a number"))
        };
        match name.as_str() {
            "--seed" => args.seed = Some(number()?),
            "--seeds" => args.seeds = number()?,
            "--from" => args.from = number()?,
            "--trace" => args.trace = true,
            "--leases" => args.world = World::of_leases,
            "--bug" => plant_named(&given.next().unwrap_or_default())?,
            other => bail!("unknown argument {other}\n\n{USAGE}"),
        }
    }
    if args.seed.is_none() && args.seeds == 0 {
        bail!("{USAGE}");
    }
    Ok(args)
}

/// For the whole run.
fn plant_named(name: &str) -> anyhow::Result<()> {
    let known = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    let bug = known.with_context(|| format!("--bug {name}: one of {:?}", Bug::ALL))?;
    #[cfg(debug_assertions)]
    model::planted::plant(Some(bug));
    #[cfg(not(debug_assertions))]
    bail!("--bug {bug:?}: bugs are planted in a debug build only");
    #[cfg(debug_assertions)]
    Ok(())
}

fn main() -> anyhow::Result<ExitCode> {
    let args = args()?;
    let mut out = std::io::stdout().lock();
    if let Some(seed) = args.seed {
        let mut world = (args.world)(seed, args.trace);
        let ended = world.run();
        for line in world.lines() {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "seed {seed}: {ended:#?}")?;
        return Ok(if ended.broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let began = Instant::now();
    let (mut broken, mut steps, mut millis, mut acknowledged) = (0_u64, 0, 0, 0);
    for seed in args.from..args.from + args.seeds {
        let ended = (args.world)(seed, false).run();
        (steps, millis) = (steps + ended.steps, millis + ended.millis);
        acknowledged += ended.acknowledged;
        if let Some(why) = ended.broken {
            broken += 1;
            writeln!(out, "seed {seed}, step {}: {why}", ended.steps)?;
        }
    }
    let (count, hours) = (args.seeds, millis / 3_600_000);
    let seconds = began.elapsed().as_secs_f64();
    writeln!(
        out,
        "{count} seeds, {broken} broken: {steps} steps, {hours} virtual hours, {acknowledged} changes \
         acknowledged to people, in {seconds:.1} s"
    )?;
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
