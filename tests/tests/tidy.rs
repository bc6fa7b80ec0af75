//! House rules a compiler does not hold: file length, forbidden leftovers, documents that must tell
//! the truth.

#![allow(clippy::unwrap_used, reason = "a panic is how a test answers")]

use std::{path::Path, process::Command};

/// Longer files are rooms that want a wall.
const MAX_LINES: usize = 600;
/// Anything larger is data and belongs elsewhere.
const MAX_FILE_BYTES: u64 = 1_000_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The files git tracks or would track.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files failed");
    let listing = String::from_utf8(output.stdout).unwrap();
    let present = |name: &&str| root().join(name).is_file();
    listing.lines().filter(present).map(str::to_owned).collect()
}

fn handwritten_rust() -> Vec<(String, String)> {
    let rust: Vec<_> = files()
        .into_iter()
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "rs"))
        .filter(|name| !name.contains("/gen/"))
        .map(|name| {
            let text = std::fs::read_to_string(root().join(&name)).unwrap();
            (name, text)
        })
        .collect();
    assert!(rust.len() > 50, "found only {} Rust files", rust.len());
    rust
}

#[test]
fn no_file_is_longer_than_a_room_should_be() {
    for (name, text) in handwritten_rust() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{name} has {lines} lines, {MAX_LINES} at most");
    }
}

#[test]
fn no_stub_and_no_ignored_test_is_left() {
    // Put together here so that this file does not find itself.
    let leftovers =
        [["to", "do!("], ["unimpl", "emented!("], ["#[ig", "nore"], ["FIX", "ME"], ["db", "g!("]]
            .map(|parts| parts.concat());
    for (name, text) in handwritten_rust() {
        for leftover in &leftovers {
            assert!(!text.contains(leftover.as_str()), "{name} contains {leftover}");
        }
    }
}

#[test]
fn no_file_is_large() {
    for name in files() {
        let bytes = std::fs::metadata(root().join(&name)).unwrap().len();
        assert!(bytes <= MAX_FILE_BYTES, "{name} has {bytes} bytes");
    }
}

#[test]
fn every_document_has_one_title() {
    for name in files() {
        if Path::new(&name).extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(root().join(&name)).unwrap();
        let mut fenced = false;
        let titles = text
            .lines()
            .filter(|line| {
                fenced ^= line.trim_start().starts_with("```");
                !fenced && line.starts_with("# ")
            })
            .count();
        assert_eq!(titles, 1, "{name} has {titles} titles");
    }
}

#[test]
fn the_map_names_every_crate_and_the_tests_that_hold_its_invariants_exist() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert!(map.lines().count() <= 250, "ARCHITECTURE.md is to be read in one sitting");
    for room in [
        "model/",
        "stackfile/",
        "proto/",
        "scheduler/core/",
        "scheduler/",
        "node-agent/",
        "cli/",
        "tests/sim/",
    ] {
        assert!(map.contains(&format!("`{room}`")), "ARCHITECTURE.md does not name {room}");
    }
    let code: String = handwritten_rust().into_iter().map(|(_, text)| text).collect();
    let held = holders(&map);
    assert!(held.len() >= 20, "ARCHITECTURE.md names only {held:?}, which hold its invariants");
    for test in held {
        assert!(code.contains(&format!("fn {test}(")), "no test is named {test}");
    }
}

/// Every name in every sentence that begins with "Held by", also where it goes on in the next lines.
fn holders(map: &str) -> Vec<&str> {
    let sentences = map.split("Held by").skip(1);
    let named = sentences.flat_map(|text| {
        let sentence = text.split("\n\n").next().unwrap_or(text);
        let end = sentence.match_indices('.').find(|(at, _)| {
            // Not a full stop within a name in backticks.
            sentence.get(..*at).is_some_and(|before| before.matches('`').count() % 2 == 0)
        });
        let sentence = end.map_or(sentence, |(at, _)| sentence.get(..at).unwrap_or(sentence));
        sentence.split('`').skip(1).step_by(2)
    });
    named.collect()
}

#[test]
fn every_name_that_follows_held_by_is_looked_for() {
    let map = "**One.** It is. Held by `a_first`, `a_second` and\n`a_third.rs`. Not by `x`.\n\n\
               **Two.**\nHeld by\n`a_fourth`\n\nand `y`";
    assert_eq!(holders(map), ["a_first", "a_second", "a_third.rs", "a_fourth"]);
}

#[test]
fn the_tests_that_the_table_of_attacks_names_exist() {
    let text = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, table) = text.split_once("\n## Attacks").expect("the table of attacks");
    let code: String = handwritten_rust().into_iter().map(|(_, text)| text).collect();
    let mut rows = 0;
    for line in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let tests = line.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test is named: {line}");
        for test in named {
            assert!(code.contains(&format!("fn {test}(")), "no test is named {test}");
        }
        rows += 1;
    }
    assert!(rows >= 20, "docs/security.md names only {rows} attacks");
}
