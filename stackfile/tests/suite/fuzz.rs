//! Stack files and the variables in them, changed in every way: each is read or refused with a
//! message, and what is shown of it can be read again.

use std::path::Path;

use ::fuzz::Fuzz;
use siso_stackfile::SourceFile;

use crate::support::Case;

const WORDS: &[&str] = &[
    "services:",
    "  web:",
    "    image: ",
    "volumes:",
    "networks:",
    "name: ",
    "ports: ",
    "deploy:",
    "replicas: ",
    "resources:",
    "limits:",
    "reservations:",
    "memory: ",
    "cpus: ",
    "<<: *a",
    "&a ",
    "*a",
    "!!str ",
    "!include ",
    "|\n",
    ">-\n",
    "${X}",
    "${X:-y}",
    "${X?no}",
    "${X:+${Y}}",
    "$$",
    "depends_on: ",
    "condition: service_healthy",
    "healthcheck:",
    "interval: ",
    "1h30m",
    "1.5g",
    "80:80",
    "8000-8010:80",
    "[::1]:80:80",
    "/tcp",
    "extends: ",
    "profiles: ",
    "env_file: ",
    "tmpfs: ",
    "read_only: true",
    "x-a: ",
    "---\n",
    "# ",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{1b}[31m",
    "'",
    "\"",
    "[",
    "]",
    "{",
    "}",
    ",",
    ": ",
    "- ",
    "? ",
    "\u{202e}",
];

fn stacks(name: &'static str) -> Fuzz {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Fuzz::new(name)
        .files(&root.join("tests/mistakes"))
        .files(&root.join("../deploy/stacks"))
        .words(WORDS)
}

/// Messages are for a terminal: nothing in them may move its cursor.
#[track_caller]
fn is_plain(text: &str) {
    let bad = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(bad, None, "{text:?}");
}

#[test]
fn any_stack_file_is_read_or_refused_in_plain_words() {
    stacks("stackfile").run(|bytes| {
        let case = Case { files: vec![SourceFile::new("stack.yaml", bytes)], ..Case::default() };
        match case.load() {
            Ok(loaded) => format!("{} services", loaded.stack.services.len()),
            Err(errors) => {
                let text = errors.to_string();
                is_plain(&text);
                text
            }
        }
    });
}

#[test]
fn what_is_shown_of_any_stack_file_is_a_stack_file_that_shows_the_same() {
    stacks("config").run(|bytes| {
        let case = Case { files: vec![SourceFile::new("stack.yaml", bytes)], ..Case::default() };
        let Ok(config) = case.config() else { return "refused".to_owned() };
        let shown = config.to_yaml();
        let again = Case::new(&shown).config();
        let again = again.unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
        assert_eq!(again.to_yaml(), shown);
        "shown".to_owned()
    });
}

#[test]
fn any_variables_are_filled_in_or_refused_in_plain_words() {
    let inputs = [
        "$A ${A} ${A:-x} ${A-x} ${A:?no} ${A?no} ${A:+x} ${A+x} $$A",
        "${A:-${B:-${C}}}",
        "${} ${ } ${1} ${A ${A:} $ $$ ${A:-}}",
        "${A:-'}' \"}\"}",
    ];
    Fuzz::new("interpolation")
        .inputs(inputs.map(|text| text.as_bytes().to_vec()))
        .words(&["${", "}", "$", "$$", "A", "B", ":-", ":?", ":+", "-", "?", "+", ":", "{", "\\"])
        .run(|bytes| {
            let text = String::from_utf8_lossy(bytes).replace(['\'', '\n', '\r'], "");
            let stack = format!("services: {{web: {{image: x, command: ['{text}']}}}}");
            let case =
                Case::new(&stack).variable("A", "one").variable("B", "$A ${A} '").dotenv("C=3");
            match case.load() {
                Ok(loaded) => format!("{} notes", loaded.notes.len()),
                Err(errors) => {
                    let text = errors.to_string();
                    is_plain(&text);
                    text
                }
            }
        });
}
