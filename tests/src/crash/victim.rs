//! A scheduler that suffers, alone: no engine, no agent.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    acknowledged::{self, Found},
    crash::Fault,
    ctl::{Answer, Ctl},
    daemon::Daemon,
    ports::own_port,
    programs::program,
};

/// Snapshots as often as can be: they are part of what crashes.
const SNAPSHOT_EVERY: &str = "10";
/// A few dozen commits: segments begin and go between any two crashes.
const SEGMENT_BYTES: &str = "8192";
/// More entries, and more commits, than a round of writes has: files are numbered by one or the other.
const ROUND_MAX: u64 = 600;

/// A scheduler with a data directory, and `sisoctl` to speak with it.
#[derive(Debug)]
pub struct Victim {
    /// The scheduler; does not run yet.
    pub scheduler: Daemon,
    /// `sisoctl` with its context.
    pub ctl: Ctl,
    data: PathBuf,
    directory: TempDir,
}

impl Victim {
    /// A new one whose data directory lies in a directory of its own.
    #[track_caller]
    pub fn new() -> Self {
        Self::build(None)
    }

    /// A new one with its data below this path.
    #[track_caller]
    pub fn on(disk: &Path) -> Self {
        Self::build(Some(disk))
    }

    #[track_caller]
    fn build(disk: Option<&Path>) -> Self {
        let directory = tempfile::Builder::new().prefix("siso-crash-").tempdir().expect("tempdir");
        let data = disk.unwrap_or(directory.path()).join("scheduler");
        let flags = [
            ("--data-dir", data.display().to_string()),
            ("--cluster-name", "victim".to_owned()),
            ("--listen", format!("127.0.0.1:{}", own_port())),
            ("--metrics-listen", "127.0.0.1:0".to_owned()),
            ("--snapshot-every", SNAPSHOT_EVERY.to_owned()),
            ("--segment-bytes", SEGMENT_BYTES.to_owned()),
        ];
        let arguments =
            flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect();
        let scheduler =
            Daemon::new("scheduler", program("siso-scheduler"), arguments, directory.path());
        let ctl = Ctl::new(data.join("admin.yaml"), directory.path());
        Self { scheduler, ctl, data, directory }
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The numbered files of a directory of its log that are there, or begin within a round of writes.
    #[track_caller]
    pub fn numbered(&self, directory: &str, extension: &str) -> Vec<PathBuf> {
        let directory = self.data.join("log").join(directory);
        let listed = fs::read_dir(&directory).expect("a directory of the log").flatten();
        let numbers =
            listed.filter_map(|entry| entry.path().file_stem()?.to_str()?.parse::<u64>().ok());
        let oldest = numbers.min().unwrap_or(0);
        let path = |number| directory.join(format!("{number:020}.{extension}"));
        (oldest..oldest + ROUND_MAX).map(path).collect()
    }

    /// A path beside the data directory, gone with this victim.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts it, with a fault that will happen to it.
    #[track_caller]
    pub fn start_with(&mut self, fault: &Fault) {
        self.scheduler.wrapper = fault.wrapper();
        self.scheduler.start();
    }

    /// Starts it without a fault and waits until it serves.
    #[track_caller]
    pub fn start(&mut self) {
        self.scheduler.wrapper.clear();
        self.scheduler.start();
        if let Err(status) = self.scheduler.ready_or_ended() {
            panic!("it does not start any more: {status}\n{}", self.scheduler.story());
        }
    }

    /// Starts it without a fault; it must refuse, and say this.
    #[track_caller]
    pub fn refuses(&mut self, says: &str) {
        self.scheduler.wrapper.clear();
        self.scheduler.start();
        let Err(status) = self.scheduler.ready_or_ended() else {
            panic!("it starts, and was to refuse with {says:?}\n{}", self.scheduler.story());
        };
        let said = self.scheduler.output("stderr");
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(says), "{says:?} is not in {said}");
        assert!(!said.contains("panicked"), "{said}");
    }

    /// Asks for one service in a stack of this name.
    #[track_caller]
    pub fn apply(&self, stack: &str) -> Answer {
        let text = format!(
            "name: {stack}\nservices:\n  web:\n    image: siso/test:1\n    mem_limit: 16m\n"
        );
        self.ctl.run_with_input(&["apply", "--yes", "--detach", "-"], text.as_bytes())
    }

    /// Asks for this many replicas in a stack.
    #[track_caller]
    pub fn scale(&self, stack: &str, replicas: u64) -> Answer {
        self.ctl.run(&["scale", "--detach", &format!("{stack}/web={replicas}")])
    }

    /// The replicas each stack was given, one after the other; the whole answer when there is none.
    #[track_caller]
    pub fn replicas(&self) -> Result<BTreeMap<String, Found>, Box<Answer>> {
        acknowledged::replicas(&self.ctl)
    }
}

impl Default for Victim {
    fn default() -> Self {
        Self::new()
    }
}
