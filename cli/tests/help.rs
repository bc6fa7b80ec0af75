//! What every verb says about itself: a changed snapshot is a changed interface.

use clap::CommandFactory as _;
use sisoctl::args::Args;

/// The help of a command and of everything below it, as `--help` prints it in a wide terminal.
fn helps(command: &mut clap::Command, path: &str, found: &mut Vec<(String, String)>) {
    found.push((path.to_owned(), command.render_long_help().to_string()));
    let names: Vec<String> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
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
