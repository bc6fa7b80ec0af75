//! `completion`: a script for a shell.

use clap::CommandFactory as _;

use crate::{
    args::{Args, Completion},
    error::Error,
    output::Out,
};

/// Carries out `completion`.
pub fn run(args: &Completion, out: &mut Out) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "sisoctl", &mut script);
    out.data_bytes(&script)
}
