//! `sisoctl` as a person or a script calls it.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::wait::{PROMPT, wait_until};

/// No command of a test takes this long: one that does hangs.
const COMMAND_BOUND: Duration = Duration::from_mins(3);
/// With less room than this, in bytes, what a command prints may be cut off, and schedulers take no changes.
const ROOM: u64 = 64 << 20;
/// How often a running command is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Panics where the disk below `directory` is so full that a test would fail with no word of why.
#[track_caller]
fn has_room(directory: &Path) {
    let disk = rustix::fs::statvfs(directory).expect("the disk of what is printed");
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let (free_mib, at) = (free >> 20, directory.display());
    assert!(
        free >= ROOM,
        "the disk is full: {free_mib} MiB are free at {at}; make room, or set TMPDIR"
    );
}

/// `sisoctl` with a context.
#[derive(Debug)]
pub struct Ctl {
    program: PathBuf,
    /// The context file given to every command.
    pub context: PathBuf,
    /// Set for every command besides what it is given anyway.
    pub environment: Vec<(String, String)>,
    /// The most address space a command gets, in bytes.
    room: Option<u64>,
    directory: PathBuf,
    runs: AtomicU32,
}

/// What one command did.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The command line, for messages.
    pub line: String,
    /// Its exit code; −1 when a signal ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
}

impl Answer {
    /// The same answer; panics unless it ended with `code`.
    #[track_caller]
    #[allow(clippy::return_self_not_must_use, reason = "the check is the use")]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON ({error}): {self}"))
    }

    /// The same answer; panics unless stderr contains every one of `words`.
    #[track_caller]
    #[allow(clippy::return_self_not_must_use, reason = "the check is the use")]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "stderr does not say {word:?}: {self}");
        }
        self
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, code, stdout, stderr } = self;
        write!(f, "`{line}` ended with {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

impl Ctl {
    pub(crate) fn new(context: PathBuf, directory: &Path) -> Self {
        let program = crate::programs::program("sisoctl");
        fs::create_dir_all(directory).expect("a directory for its output");
        let (directory, runs) = (directory.to_owned(), AtomicU32::new(0));
        Self { program, context, environment: Vec::new(), room: None, directory, runs }
    }

    /// `sisoctl` for what needs no cluster.
    #[track_caller]
    pub fn offline(directory: &Path) -> Self {
        Self::new(directory.join("there-is-no-context.yaml"), directory)
    }

    /// The same program and directory with another context file.
    #[must_use]
    pub fn with_context(&self, context: &str) -> Self {
        Self::new(PathBuf::from(context), &self.directory.join("as-another"))
    }

    /// The same whose commands get no more address space than this, in bytes.
    #[must_use]
    pub fn within(&self, bytes: u64) -> Self {
        let bounded = Self::new(self.context.clone(), &self.directory.join("bounded"));
        Self { room: Some(bytes), ..bounded }
    }

    /// Runs a command to its end.
    #[track_caller]
    #[must_use = "an answer nobody looks at proves nothing"]
    pub fn run(&self, arguments: &[&str]) -> Answer {
        self.start(arguments, None).finish()
    }

    /// Runs a command that reads `input`.
    #[track_caller]
    #[must_use = "an answer nobody looks at proves nothing"]
    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Answer {
        self.start(arguments, Some(input)).finish()
    }

    /// Runs a command that must succeed and returns its JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut with_output = vec!["-o", "json"];
        with_output.extend_from_slice(arguments);
        self.run(&with_output).expect(0).json()
    }

    /// Runs a command on a terminal of its own and returns what it showed there.
    #[track_caller]
    #[must_use = "an answer nobody looks at proves nothing"]
    pub fn run_on_a_terminal(&self, arguments: &str) -> String {
        let (program, context) = (self.program.display(), self.context.display());
        let line = format!("'{program}' --context-file '{context}' {arguments}");
        let output = Command::new("script").args(["-qec", &line, "/dev/null"]).output();
        String::from_utf8_lossy(&output.expect("script, of util-linux").stdout).into_owned()
    }

    /// Starts a command and leaves it running.
    #[track_caller]
    pub fn spawn(&self, arguments: &[&str]) -> Follower {
        self.start(arguments, None)
    }

    /// Starts a command, leaves it running, and gives it `input` over and over for as long as it takes
    /// any.
    #[track_caller]
    pub fn spawn_fed(&self, arguments: &[&str], input: &'static [u8]) -> Follower {
        let mut follower = self.start_with(arguments, true);
        let mut stdin = follower.child.stdin.take().expect("a pipe");
        thread::spawn(move || while stdin.write_all(input).is_ok() {});
        follower
    }

    #[track_caller]
    fn start(&self, arguments: &[&str], input: Option<&[u8]>) -> Follower {
        let mut follower = self.start_with(arguments, input.is_some());
        if let (Some(input), Some(mut stdin)) = (input, follower.child.stdin.take()) {
            // A command that does not read its input is judged by its answer.
            let _ = stdin.write_all(input);
        }
        follower
    }

    #[track_caller]
    fn start_with(&self, arguments: &[&str], has_input: bool) -> Follower {
        has_room(&self.directory);
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let file = |stream| self.directory.join(format!("sisoctl.{run}.{stream}"));
        let mut command = match self.room {
            None => Command::new(&self.program),
            Some(bytes) => {
                let mut bounded = Command::new("prlimit");
                bounded.arg(format!("--as={bytes}")).arg(&self.program);
                bounded
            }
        };
        command.arg("--context-file").arg(&self.context).args(arguments);
        command.current_dir(&self.directory).env("HOME", &self.directory).env("NO_COLOR", "1");
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("SISO_")) {
            command.env_remove(key);
        }
        command.env_remove("XDG_CONFIG_HOME");
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        let create = |stream| File::create(file(stream)).expect("an output file");
        command.stdout(create("stdout")).stderr(create("stderr"));
        command.stdin(if has_input { Stdio::piped() } else { Stdio::null() });
        let child = command.spawn().expect("sisoctl starts");
        Follower {
            line: format!("sisoctl {}", arguments.join(" ")),
            child,
            stdout: file("stdout"),
            stderr: file("stderr"),
        }
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Follower {
    line: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Follower {
    /// Waits until its stdout contains `words`.
    #[track_caller]
    pub fn wait_for(&self, words: &str) {
        wait_until(&format!("`{}` prints {words:?}", self.line), PROMPT, || {
            let printed = read(&self.stdout);
            if printed.contains(words) { Ok(()) } else { Err(printed + &read(&self.stderr)) }
        });
    }

    /// The first line of its stdout, once it is there.
    #[track_caller]
    pub fn first_line(&self) -> String {
        wait_until(&format!("`{}` prints a line", self.line), PROMPT, || {
            let printed = read(&self.stdout);
            let line = printed.split_once('\n').map(|(line, _)| line.to_owned());
            line.ok_or_else(|| printed + &read(&self.stderr))
        })
    }

    /// What it has said on stderr so far.
    pub fn said(&self) -> String {
        read(&self.stderr)
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(self) -> Answer {
        self.finish_unless(|| false).expect("nobody gave up")
    }

    /// Waits for its end, or kills it when somebody gives up.
    #[track_caller]
    pub fn finish_unless(mut self, given_up: impl Fn() -> bool) -> Option<Answer> {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                break status;
            }
            if given_up() {
                return None;
            }
            let waited = began.elapsed();
            assert!(waited < COMMAND_BOUND, "still running: {}", self.answer(-1));
            thread::sleep(INTERVAL);
        };
        let answer = self.answer(status.code().unwrap_or(-1));
        // Some tests run ten thousand commands; what was read is not needed any more.
        for file in [&self.stdout, &self.stderr] {
            let _ = fs::remove_file(file);
        }
        Some(answer)
    }

    /// SIGINT, as Ctrl-C sends it.
    #[track_caller]
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// SIGSTOP, as Ctrl-Z does to what ignores SIGTSTP: it stands still with its connections open.
    #[track_caller]
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT: it goes on.
    #[track_caller]
    pub fn resume(&self) {
        self.signal("CONT");
    }

    #[track_caller]
    fn signal(&self, signal: &str) {
        let line = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &line]).status().expect("sh");
        assert!(status.success(), "{line}: {status}");
    }

    fn answer(&self, code: i32) -> Answer {
        Answer {
            line: self.line.clone(),
            code,
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Both fail once it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}
