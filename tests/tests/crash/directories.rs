//! Data directories of which something is missing or damaged, or everything.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use siso_tests::{
    Daemon, Found, PATIENT, World,
    crash::{Load, Victim},
    wait_until,
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
        ("log/snapshots", Some("restore the directory from a backup")),
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

const STACK: &str = "
name: kept
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    deploy: { replicas: 2 }
  db:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    volumes: ['data:/data']
volumes:
  data:
";

/// Waits until the agent says that who answers is not of its cluster, and that what runs goes on.
#[track_caller]
fn wait_refused(agent: &Daemon) {
    let words = ["WARN", "does not belong to the cluster", "what runs goes on"];
    wait_until("the agent refuses the other cluster", PATIENT, || {
        let said = agent.output("stderr");
        let told = said.lines().any(|line| words.iter().all(|word| line.contains(word)));
        if told { Ok(()) } else { Err(said) }
    });
}

/// As after `rm -r` of the whole directory: its units start the same line again.
#[test]
fn on_an_empty_directory_a_scheduler_is_another_cluster_and_no_container_notices() {
    let Some(mut world) = World::new("wiped") else { return };
    world.apply(STACK).expect(0);
    let before = world.wait_running("kept", 3);
    let (directory, kept) = (world.path("scheduler"), world.path("kept"));
    world.scheduler.kill9();
    fs::rename(&directory, &kept).expect("its directory is gone");
    world.start_scheduler();
    assert_ne!(world.context_value("cluster"), world.cluster(), "it has taken the old id");
    let said = world.scheduler.output("stderr");
    assert!(said.contains("a new cluster was founded"), "{said}");
    wait_refused(&world.agent);
    for what in ["node", "stack"] {
        assert_eq!(world.ctl.json(&[what, "ls"]), serde_json::json!([]), "it knows of a {what}");
    }
    // Asked for the same there, it has nowhere to run it.
    world.apply_with(&["--detach"], STACK).expect(0);
    assert_eq!(world.running("kept"), before);

    // Nor does it when the agent starts again, with a token of the other cluster besides.
    let token = world.ctl.run(&["token", "create", "--role", "node"]).expect(0).stdout;
    let token = world.write("other.token", &token);
    world.agent.kill9();
    world.agent.arguments = world.agent_arguments("agent", &token);
    world.agent.start();
    world.agent.wait_ready();
    wait_refused(&world.agent);
    let killed = before.keys().next().expect("a container").clone();
    world.engine.kill(&killed);
    let now = wait_until("it is started again by the ledger", PATIENT, || {
        let now = world.running("kept");
        if now.len() == 3 && now[&killed] != before[&killed] {
            Ok(now)
        } else {
            Err(format!("{now:?}"))
        }
    });
    assert!(before.iter().all(|(id, since)| *id == killed || now[id] == *since), "{now:?}");
    assert_eq!(world.ctl.json(&["node", "ls"]), serde_json::json!([]), "it has joined the other");
    assert_eq!(world.engine.volumes(world.cluster()).len(), 1, "its volume is there");

    // What was wiped comes from a backup.
    world.scheduler.kill9();
    fs::remove_dir_all(&directory).expect("the other cluster is gone");
    fs::rename(&kept, &directory).expect("its directory is back");
    world.start_scheduler();
    world.wait_node("ready");
    assert_eq!(world.wait_running("kept", 3), now);
}
