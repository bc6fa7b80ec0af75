//! The architecture as a test: who may use whom. An edge that is missing here fails; adding one is a
//! decision, recorded in docs/adr/.

#![allow(clippy::unwrap_used, reason = "a panic is how a test answers")]

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::Value;

/// Our own crates each crate may use. Third parties are fenced where a wall depends on it, below.
const MAY_USE: &[(&str, &[&str])] = &[
    ("siso-model", &[]),
    ("siso-packing", &[]),
    ("siso-stackfile", &["siso-model"]),
    ("siso-proto", &["siso-model"]),
    ("siso-core", &["siso-model", "siso-packing"]),
    ("siso-scheduler", &["siso-core", "siso-model", "siso-proto"]),
    ("siso-agent", &["siso-model", "siso-proto"]),
    ("siso-cli", &["siso-core", "siso-model", "siso-proto", "siso-stackfile"]),
    ("siso-tests", &[]),
    ("siso-bench", &["siso-proto", "siso-tests"]),
    ("siso-packing-bench", &["siso-core", "siso-model", "siso-packing", "siso-scheduler"]),
    ("siso-fuzz", &[]),
    // It leads both halves through what may happen to them (ADR 11).
    ("siso-sim", &["siso-agent", "siso-core", "siso-model"]),
];

/// Third parties the pure crates may use at run time: nothing that has a clock, a socket or a file.
const PURE: &[(&str, &[&str])] = &[
    ("siso-model", &["serde", "thiserror"]),
    ("siso-packing", &[]),
    ("siso-core", &["thiserror"]),
];

/// Third parties that exactly one crate may name.
const OWNED: &[(&str, &str)] = &[("openraft", "siso-scheduler"), ("bollard", "siso-agent")];

/// Names that may appear only below these directories of the repository.
const NAMED_ONLY_IN: &[(&str, &[&str])] =
    &[("openraft", &["scheduler/src/log"]), ("bollard", &["node-agent/src/runtime"])];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn dependencies(package: &Value, run_time_only: bool) -> BTreeSet<String> {
    package["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|dependency| !run_time_only || dependency["kind"].is_null())
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn no_crate_reaches_through_a_wall() {
    let packages = packages();
    let named: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    let listed: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, listed, "every crate of the workspace stands in MAY_USE");
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let allowed = MAY_USE.iter().find(|(crate_name, _)| *crate_name == name).unwrap().1;
        for dependency in dependencies(package, true) {
            if dependency.starts_with("siso-") {
                assert!(allowed.contains(&&*dependency), "{name} may not use {dependency}");
            }
        }
    }
}

#[test]
fn pure_crates_use_nothing_that_could_make_two_replicas_differ() {
    for package in &packages() {
        let name = package["name"].as_str().unwrap();
        let Some((_, allowed)) = PURE.iter().find(|(pure, _)| *pure == name) else { continue };
        for dependency in dependencies(package, true) {
            let known = dependency.starts_with("siso-") || allowed.contains(&&*dependency);
            assert!(known, "{name} may not use {dependency}");
        }
    }
}

#[test]
fn the_log_the_store_and_the_engine_each_have_one_owner() {
    for package in &packages() {
        let name = package["name"].as_str().unwrap();
        for (dependency, owner) in OWNED {
            let uses = dependencies(package, true).contains(*dependency);
            assert!(!uses || name == *owner, "{name} may not use {dependency}, only {owner} may");
        }
    }
}

#[test]
fn a_fenced_library_is_named_in_its_room_only() {
    let mut seen = 0;
    for crate_dir in ["scheduler/src", "node-agent/src"] {
        for file in rust_files(&root().join(crate_dir)) {
            let relative = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&file).unwrap();
            for (library, rooms) in NAMED_ONLY_IN {
                let names_it = text.lines().any(|line| {
                    let code = line.split("//").next().unwrap_or_default();
                    code.contains(&format!("{library}::"))
                        || code.contains(&format!("use {library}"))
                });
                if names_it {
                    seen += 1;
                    let inside = rooms.iter().any(|room| relative.starts_with(room));
                    assert!(inside, "{relative} names {library}, which belongs in {rooms:?}");
                }
            }
        }
    }
    assert!(seen > 0, "found no use of any fenced library: this check looks in the wrong place");
}

#[test]
fn bugs_are_planted_by_the_simulation_and_the_stores_own_tests_only() {
    let planters = ["tests/sim/", "scheduler/src/log/store/tests/"];
    let mut seen = 0;
    for room in
        ["model", "packing", "stackfile", "proto", "scheduler", "node-agent", "cli", "tests"]
    {
        for file in rust_files(&root().join(room)) {
            let relative = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&file).unwrap();
            // Put together here so that this file does not find itself.
            if text.contains(&["plant(", "Some"].concat()) {
                seen += 1;
                let may = planters.iter().any(|room| relative.starts_with(room));
                assert!(may, "{relative} plants a bug");
            }
        }
    }
    assert!(seen > 0, "nobody plants a bug: this check looks in the wrong place");
}

fn rust_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
