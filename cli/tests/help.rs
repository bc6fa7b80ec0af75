//! What every verb says about itself: a changed snapshot is a changed interface.

use clap::{ArgAction, CommandFactory as _, Parser as _};
use sisoctl::args::Args;

/// The help of a command and of everything below it, as `--help` prints it in a wide terminal.
fn helps(command: &mut clap::Command, path: &str, found: &mut Vec<(String, String)>) {
    found.push((path.to_owned(), command.render_long_help().to_string()));
    // `help` says what the others say.
    let names = command.get_subcommands().map(|command| command.get_name().to_owned());
    let names: Vec<String> = names.filter(|name| name != "help").collect();
    for name in names {
        if let Some(below) = command.find_subcommand_mut(&name) {
            helps(below, &format!("{path} {name}"), found);
        }
    }
}

#[test]
fn the_help_of_every_verb_is_as_it_was() {
    let mut command = Args::command().term_width(100);
    command.build();
    let mut found = Vec::new();
    helps(&mut command, "sisoctl", &mut found);
    assert!(found.len() > 30, "only {} commands", found.len());
    for (path, text) in found {
        let name = path.replace(' ', "-");
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn the_command_line_has_no_contradiction() {
    Args::command().debug_assert();
}

#[test]
fn help_works_as_a_verb_at_every_level() {
    for (line, said) in [
        ("help", "Usage: sisoctl [OPTIONS] <COMMAND>"),
        ("help apply", "Usage: sisoctl apply "),
        ("help node add", "Usage: sisoctl node add "),
        ("node help add", "Usage: sisoctl node add "),
    ] {
        let line = std::iter::once("sisoctl").chain(line.split_whitespace());
        let told = Args::try_parse_from(line).unwrap_err();
        assert_eq!(told.exit_code(), 0, "{told}");
        assert!(told.to_string().contains(said), "{told}");
    }
}

#[test]
fn a_flag_that_may_be_given_several_times_says_so_once() {
    fn check(command: &clap::Command) {
        for arg in command.get_opts() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let said = help.matches("may be given several times").count();
            let repeats = matches!(arg.get_action(), ArgAction::Append);
            assert_eq!(said, usize::from(repeats), "{} --{}", command.get_name(), arg.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Args::command());
}
