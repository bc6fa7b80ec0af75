//! `config`: the normalised stack.

use crate::{
    args::{Config, ConfigFormat},
    error::Error,
    output::{Out, safe},
    stack_input::{StackInput, say_notes},
};

/// Carries out `config`.
pub fn run(args: &Config, out: &mut Out) -> Result<(), Error> {
    let input = StackInput::read(&args.stack)?;
    let config = stackfile::config(&input.request()).map_err(Error::Stack)?;
    say_notes(out, &config.notes);
    let by_output = if out.is_json() { ConfigFormat::Json } else { ConfigFormat::Yaml };
    match args.format.unwrap_or(by_output) {
        ConfigFormat::Json => out.data(&safe::json(&config.to_json())),
        // A stack file again: nothing in it may be altered unless a terminal shows it.
        ConfigFormat::Yaml if out.look.stdout_terminal => out.data(&safe::lines(&config.to_yaml())),
        ConfigFormat::Yaml => out.data(&config.to_yaml()),
    }
}
