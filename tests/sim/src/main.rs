//! `sim`: runs worlds by their seeds, or one of them with its trace.

use std::{io::Write as _, process::ExitCode, time::Instant};

use anyhow::{Context as _, bail};
use siso_sim::World;

const USAGE: &str = "\
Runs simulated clusters and checks that every rule holds.

  sim --seed N [--trace]      one world, with what happened in it
  sim --seeds N [--from N]    many worlds, from seed 1 or that one on
";

/// What is asked for.
#[derive(Debug, Default)]
struct Args {
    seed: Option<u64>,
    seeds: u64,
    from: u64,
    trace: bool,
}

fn args() -> anyhow::Result<Args> {
    let mut args = Args { from: 1, ..Args::default() };
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
            other => bail!("unknown argument {other}\n\n{USAGE}"),
        }
    }
    if args.seed.is_none() && args.seeds == 0 {
        bail!("{USAGE}");
    }
    Ok(args)
}

fn main() -> anyhow::Result<ExitCode> {
    let args = args()?;
    let mut out = std::io::stdout().lock();
    if let Some(seed) = args.seed {
        let mut world = World::new(seed, args.trace);
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
        let ended = World::new(seed, false).run();
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
        "{count} seeds, {broken} broken: {steps} steps, {hours} virtual hours, {acknowledged} answers \
         to people, in {seconds:.1} s"
    )?;
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
