//! Data directories of which something is missing or damaged.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use siso_tests::{
    Found,
    crash::{Load, Victim},
};

/// Bytes damaged in each file, evenly spread. Every byte of them is tried in the rooms that read them.
const DAMAGED_BYTES: u64 = 4;

/// A directory as it was left, to be had again and again.
struct Original {
    victim: Victim,
    kept: PathBuf,
    replicas: BTreeMap<String, Found>,
}

impl Original {
    /// One with snapshots and a purged log, left in order or not.
    #[track_caller]
    fn new(in_order: bool) -> Self {
        let mut victim = Victim::new();
        victim.start();
        let load = Load::on(&victim);
        assert_eq!(load.write(&mut victim, 25), (50, None), "writes are acknowledged");
        let replicas = victim.replicas().expect("an answer");
        if in_order {
            assert!(victim.scheduler.stop().success());
        } else {
            victim.scheduler.kill9();
        }
        let kept = victim.beside("kept");
        copy(victim.data(), &kept);
        Self { victim, kept, replicas }
    }

    /// Puts everything back as it was.
    fn restore(&self) {
        fs::remove_dir_all(self.victim.data()).expect("removed");
        copy(&self.kept, self.victim.data());
    }

    /// What it says after this was done to its directory; `None` when it starts with everything.
    #[track_caller]
    fn refusal(&mut self, what: &str) -> Option<String> {
        let scheduler = &mut self.victim.scheduler;
        scheduler.start();
        let Err(status) = scheduler.ready_or_ended() else {
            let found = self.victim.replicas().unwrap_or_else(|answer| panic!("{what}: {answer}"));
            assert_eq!(found, self.replicas, "{what}: something else is served");
            self.victim.scheduler.kill9();
            return None;
        };
        let said = self.victim.scheduler.output("stderr");
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        Some(said)
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(status.success(), "{} to {}", from.display(), to.display());
}

/// The files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("one").path());
    let mut files: Vec<_> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[test]
fn a_directory_of_which_something_is_gone_is_refused_or_serves_everything() {
    let mut original = Original::new(false);
    for (gone, says) in [
        ("identity", Some("holds a log but no identity")),
        ("log", Some("known id, empty log")),
        ("log/segments", Some("acknowledged")),
        ("log/snapshots", Some("must come from a backup")),
        ("pki", Some("authority is lost")),
        ("pki/ca.key", Some("authority is lost")),
        ("pki/ca.crt", Some("authority is lost")),
        ("pki/scheduler.key", None),
        ("pki/scheduler.crt", None),
        ("pki/admin.key", None),
        ("admin.yaml", None),
        ("lock", None),
        ("log/mark", None),
    ] {
        original.restore();
        remove(&original.victim.data().join(gone));
        let said = original.refusal(gone);
        match says {
            None => assert_eq!(said, None, "without {gone}"),
            Some(says) => {
                let said = said.unwrap_or_else(|| panic!("it starts without {gone}"));
                assert!(said.contains(says), "without {gone}: {said}");
            }
        }
    }
}

/// The log and its mark gone together leave snapshots that know of nothing later.
#[test]
fn snapshots_alone_do_not_make_a_log() {
    let mut original = Original::new(false);
    for gone in ["log/segments", "log/mark"] {
        remove(&original.victim.data().join(gone));
    }
    let said = original.refusal("no log, no mark").expect("a refusal");
    assert!(said.contains("known id, empty log"), "{said}");
}

#[test]
fn an_older_log_in_the_place_of_the_newest_is_refused() {
    let mut original = Original::new(true);
    let log = original.victim.data().join("log/segments");
    let older = original.victim.beside("older");
    copy(&log, &older);
    original.victim.start();
    original.victim.scale("w0s0", 33).expect(0);
    original.victim.scheduler.kill9();
    remove(&log);
    copy(&older, &log);
    original.victim.refuses("acknowledged");
}

#[test]
fn a_directory_in_which_a_bit_flipped_or_a_file_was_cut_off_is_refused_or_serves_everything() {
    for in_order in [true, false] {
        let mut original = Original::new(in_order);
        let kept = original.kept.clone();
        let (mut refused, mut served) = (0, 0);
        for path in files(&kept) {
            let name = path.strip_prefix(&kept).expect("below it").to_owned();
            let whole = fs::read(&path).expect("its bytes");
            let length = whole.len() as u64;
            for number in 0..DAMAGED_BYTES.min(length) {
                let at = usize::try_from(length * (2 * number + 1) / (2 * DAMAGED_BYTES))
                    .expect("small");
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << number;
                for (what, damaged) in [("flipped", &flipped[..]), ("cut off", &whole[..at])] {
                    // Both of the same place: half as many starts would not find less.
                    if what == "cut off" && number % 2 == 1 {
                        continue;
                    }
                    original.restore();
                    let target = original.victim.data().join(&name);
                    fs::write(&target, damaged).expect("damage");
                    match original.refusal(&format!("{} {what} at {at}", name.display())) {
                        Some(_) => refused += 1,
                        None => served += 1,
                    }
                }
            }
        }
        assert!(refused >= 8 && served >= 8, "{refused} refused, {served} served");
    }
}
