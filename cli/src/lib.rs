//! `sisoctl`, the program people and scripts use: reads what they want, asks the cluster, and tells
//! them in words or JSON.
//!
//! **Invariant:** data goes to standard output, everything else to standard error, and foreign text
//! reaches a terminal only through [`output`], which makes it harmless. Start at [`args`], then
//! [`commands`].

#![warn(missing_docs)]

pub mod args;
pub mod client;
pub mod commands;
pub mod context;
pub mod endpoints;
pub mod error;
pub mod offline;
pub mod output;
pub mod renewal;
pub mod signals;
pub mod stack_input;
pub mod terminal;
#[cfg(test)]
mod testing;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Format};
use commands::Outcome;
use error::Error;
use output::{Look, Out};

/// The exit code of a command that told what it found wrong.
const FOUND: u8 = 3;

/// Carries out the command line of this process.
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    let global = args.global.clone();
    let look = Look::of_process(global.output, global.quiet, global.no_color);
    let mut out = Out::of_process(look);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(until_interrupted(args, &mut out));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Error::cluster(format!("cannot start: {error}"))),
    };
    match ended {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(FOUND),
        Ok(Outcome::Remote(code)) => ExitCode::from(code),
        Err(error) => {
            error.report(&mut out);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Answers a command line that asks for help, or that is not understood.
fn refuse(error: &clap::Error) -> ExitCode {
    match args::habit(error) {
        Some((verb, instead)) => {
            let mut out = Out::of_process(Look::of_process(Format::Text, false, false));
            Error::input(format!("sisoctl has no verb `{verb}`")).hint(instead).report(&mut out);
        }
        // Help goes to standard output, mistakes to standard error; a closed stream is no news.
        None => drop(error.print()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

async fn until_interrupted(args: Args, out: &mut Out) -> Result<Outcome, Error> {
    tokio::select! {
        // A command that has more to say about its end than this is asked first.
        biased;
        ended = commands::run(args.command, &args.global, out) => ended,
        () = signals::interrupt() => Err(Error::interrupted()),
    }
}
