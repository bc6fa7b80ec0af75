//! The checks are checked: a bug is planted, and some seed must find it; without it the same seed
//! passes. What was found is the table of docs/reliability.md.

#![cfg(debug_assertions)]
#![allow(clippy::print_stdout, reason = "the table is for a person, on request")]

use std::{
    collections::BTreeMap,
    fs,
    num::NonZero,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use model::planted::{Bug, plant};
use siso_sim::World;

/// Seeds tried before a bug counts as one that the simulation does not see.
const SEEDS: u64 = 1_000;

/// Seeds known to find bugs that the first ones do not: tried first, so that the test is quick. Where
/// the world has changed they may find nothing; then all are tried.
const HINTS: [u64; 7] = [22, 24, 26, 35, 49, 71, 215];

/// The most characters of a broken rule in the table.
const RULE_CHARS: usize = 107;
/// The first two lines of the table in docs/reliability.md.
const TABLE_HEAD: &str = "| planted | seed | after steps | what was seen |\n|---|---|---|---|\n";

/// Worlds of strict singletons alone that are tried after the quick ones.
const LEASE_SEEDS: u64 = 400;
/// Those of them that are tried first.
const LEASE_HINTS: [u64; 7] = [3, 14, 18, 29, 65, 68, 304];

/// Words of the rule that is there for this mistake. Another may be broken first in some worlds.
const fn rule(bug: Bug) -> &'static str {
    match bug {
        Bug::AcknowledgedBeforeDurable => "was acknowledged and is lost",
        Bug::StalePlanAccepted => "was taken after one at",
        Bug::EpochForgotten => "twice or out of order",
        Bug::FreedOnRequest => "MiB run there",
        Bug::ReservationIgnored => "MiB, it offers",
        Bug::LimitReserved => "has no node, it fits",
        Bug::VerdictSkipped => "verdicts, there are",
        Bug::HomeForgotten => "has a second home on",
        Bug::StatusMovesBack => "went back to",
        Bug::RequestDoneTwice => "the same request was answered",
        Bug::SnapshotForgets | Bug::RemovedReturns => "differs after",
        Bug::WritersSideBySide
        | Bug::LostBeforeItsEnd
        | Bug::WaitKeptByNewLeader
        | Bug::LeaseFromAnswer
        | Bug::RenewedWithoutMajority
        | Bug::ClockStopsInSleep
        | Bug::LeaseOutlivesReboot
        | Bug::LeaseForgotten => "run side by side",
        Bug::StatusForgotten => "is still there",
        Bug::AdoptedByName => "still has",
        Bug::SweptWhileDisconnected => "which is wanted",
        Bug::OlderSetAccepted => "went back to Generation",
        Bug::BackoffLost => "times within 10 s",
        Bug::LedgerNotWritten => "its ledger holds",
        Bug::FailedLookMeansAbsent => "restarts of",
        Bug::HoldDownForgotten => "which flaps",
        Bug::HomeLeftWhenDown => "lives on",
        Bug::DownAtOneMiss => "without a heartbeat",
        Bug::InterruptionIsFailure => "was given up for",
        Bug::TokenGoodTwice => "let two schedulers join",
        Bug::FailureUntold => "and says nothing",
        Bug::PolicyForgotten => "and has to run always",
        Bug::TakenForItsSuccessor => "for a container of",
        Bug::WaitByWallClock => "its deadline",
        Bug::GenericIgnored => "gpu, it offers",
        Bug::MovedBeforeReady => "for a successor that does not serve",
        Bug::LeaseEndsEarly => "of its lease left",
    }
}

/// The world that finds the bug by its rule, after how many steps, and in which words.
fn hunt(bug: Bug) -> Option<(String, u64, String)> {
    type Make = fn(u64, bool) -> World;
    let quick = 1..=8;
    let any = |seeds: Vec<u64>| seeds.into_iter().map(|seed| (seed, World::new as Make, ""));
    let leases = LEASE_HINTS
        .into_iter()
        .chain(1..=LEASE_SEEDS)
        .map(|seed| (seed, World::of_leases as Make, "--leases "));
    // Only in some worlds somebody moves tasks.
    let last = if bug == Bug::MovedBeforeReady { 20 } else { 0 };
    let moving = 1..=last;
    let moving = moving.map(|number: u64| number * 8 + 7);
    let first = any(quick.clone().chain(HINTS).chain(moving).collect());
    for (seed, world, kind) in first.chain(leases).chain(any((quick.end() + 1..=SEEDS).collect())) {
        plant(Some(bug));
        let ended = world(seed, false).run();
        plant(None);
        if let Some(words) = ended.broken.filter(|words| words.contains(rule(bug))) {
            let honest = world(seed, false).run();
            assert_eq!(honest.broken, None, "{kind}seed {seed} is broken without {bug:?}");
            return Some((format!("{kind}{seed}"), ended.steps, words));
        }
    }
    None
}

/// A line of the table, cut to what a page holds.
fn row(bug: Bug, seed: &str, steps: u64, rule: &str) -> String {
    let mut shown: String = rule.chars().take(RULE_CHARS).collect();
    if shown.len() < rule.len() {
        shown.push('…');
    }
    let seed = if seed.starts_with('-') { format!("`{seed}`") } else { seed.to_owned() };
    format!("| {} | {seed} | {steps} | {shown} |", bug.words())
}

/// The document has these rows; `SISO_GOLDEN=1` writes them.
fn check_table(rows: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md");
    let text = fs::read_to_string(&path).expect("the document");
    let (before, rest) = text.split_once(TABLE_HEAD).expect("the head of the table");
    let (held, after) = rest.split_once("\n\n").expect("the end of the table");
    if std::env::var_os("SISO_GOLDEN").is_some() {
        fs::write(&path, [before, TABLE_HEAD, rows, "\n\n", after].concat()).expect("the document");
    } else {
        assert!(
            held == rows,
            "docs/reliability.md has another table; SISO_GOLDEN=1 writes it anew"
        );
    }
}

/// With `SISO_BUG` only those whose name begins so.
#[test]
fn every_planted_bug_is_found() {
    let named = std::env::var("SISO_BUG").unwrap_or_default();
    let wanted = |bug: &Bug| format!("{bug:?}").starts_with(&named);
    let bugs: Vec<Bug> = Bug::ALL.into_iter().filter(wanted).collect();
    // Each thread has the bug that was planted in it.
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let hunts = || {
        while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let row = hunt(*bug).map(|(seed, steps, rule)| row(*bug, &seed, steps, &rule));
            found.lock().expect("what was found").insert(*bug, row);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(hunts))));
    let mut found = found.into_inner().expect("what was found");
    let (mut missed, mut rows) = (Vec::new(), Vec::new());
    for bug in bugs {
        match found.remove(&bug).flatten() {
            Some(row) => rows.push(row),
            None => missed.push(bug),
        }
    }
    println!("{}", rows.join("\n"));
    assert_eq!(missed, [], "these are found by none of the first {SEEDS} seeds");
    if named.is_empty() {
        check_table(&rows.join("\n"));
    }
}
