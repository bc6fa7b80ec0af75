//! Crashes a scheduler as often as asked: `crash --kills 1000 --cuts 100`.
//!
//! Kills come at numbered system calls and need `strace`; power cuts need root, a loop device and
//! `python3` besides. Ends with 1 when an acknowledged write was lost, which it tells in full.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use siso_tests::crash::{Campaign, Fault, LoopDisk};

/// Room for a log and its snapshots, many times over.
const DISK_MIB: u64 = 192;

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
    let (mut kills, mut cuts) = (0, 0);
    let mut words = env::args().skip(1);
    while let Some(flag) = words.next() {
        let count = words.next().and_then(|count| count.parse().ok());
        let count = count.ok_or_else(|| format!("{flag} wants a number"))?;
        match flag.as_str() {
            "--kills" => kills = count,
            "--cuts" => cuts = count,
            _ => return Err(format!("unknown flag {flag}: use --kills N and --cuts N")),
        }
    }
    Fault::possible()?;
    if kills > 0 {
        campaign("kills", kills, Campaign::of_kills);
    }
    if cuts > 0 {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let disk = LoopDisk::new(directory.path(), DISK_MIB)?;
        campaign("power cuts", cuts, || Campaign::of_power_cuts(disk));
    }
    Ok(())
}

fn campaign(what: &str, crashes: usize, new: impl FnOnce() -> Campaign) {
    let began = Instant::now();
    let tally = new().run(crashes);
    let took = began.elapsed().as_secs();
    // Whoever ran this may have stopped reading.
    let _ = writeln!(io::stdout(), "{what}: {tally}; {took} s");
}
