//! A long-running process under test: started, killed, paused and started again with the same
//! command line.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use crate::wait::{PATIENT, PROMPT, poll_closely, wait_closely, wait_until};

/// What is shown of a log when its test fails.
const SHOWN_LINES: usize = 60;
/// Of a process that was started a thousand times only the last starts are of interest.
const SHOWN_STARTS: u32 = 4;
/// Between the last word of a killed process and its end.
const SOON: Duration = Duration::from_millis(50);

/// One process and the files its output goes to.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    program: PathBuf,
    /// The command line of every start from now on.
    pub arguments: Vec<String>,
    /// What stands before it: a program, with its arguments, that becomes this one.
    pub wrapper: Vec<String>,
    directory: PathBuf,
    child: Option<Child>,
    starts: u32,
}

impl Daemon {
    /// A process that does not run yet; its output goes to files in `directory`.
    pub fn new(name: &str, program: PathBuf, arguments: Vec<String>, directory: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program,
            arguments,
            wrapper: Vec::new(),
            directory: directory.to_owned(),
            child: None,
            starts: 0,
        }
    }

    /// The program it runs.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Starts it. Every start has its own log files, so a ready line is never an old one.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        self.starts += 1;
        let log = |stream| File::create(self.log(stream)).expect("a log file");
        let program = self.program.display().to_string();
        let mut words = self.wrapper.iter().chain([&program]).chain(&self.arguments);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).current_dir(&self.directory);
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("SISO_")) {
            command.env_remove(key);
        }
        // Cargo's, for tests; the loader would look for every library there first, and system calls are
        // counted.
        command.env_remove("LD_LIBRARY_PATH");
        // As in the service units.
        command.env("MALLOC_ARENA_MAX", "1");
        command.stdin(Stdio::null()).stdout(log("stdout")).stderr(log("stderr"));
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("start {}: {error}", self.name)));
    }

    /// Waits for the one line a process prints when it is ready, and returns it.
    #[track_caller]
    pub fn wait_ready(&mut self) -> String {
        let outcome = self.ready_or_ended();
        outcome.unwrap_or_else(|status| panic!("{} ended before it was ready: {status}", self.name))
    }

    /// Waits until it is ready, or has ended.
    #[track_caller]
    pub fn ready_or_ended(&mut self) -> Result<String, ExitStatus> {
        let stdout = self.log("stdout");
        let child = self.child.as_mut().expect("a started process");
        let outcome = wait_closely(&format!("{} is ready", self.name), PROMPT, || {
            if let Some(status) = child.try_wait().expect("its state") {
                return Ok(Err(status));
            }
            let printed = fs::read_to_string(&stdout).unwrap_or_default();
            match printed.split_once('\n') {
                Some((line, _)) => Ok(Ok(line.to_owned())),
                None => Err(format!("{printed:?} on stdout")),
            }
        });
        if outcome.is_err() {
            self.child = None;
        }
        outcome
    }

    /// Its exit status, when it has ended by now.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("its state")?;
        self.child = None;
        Some(status)
    }

    /// What this start has written to `stdout` or `stderr`.
    pub fn output(&self, stream: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.log(stream)).unwrap_or_default()).into_owned()
    }

    /// The process's id.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name)).id()
    }

    /// Its process, while it has one that nobody has waited for.
    pub fn runs(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its exit status, also when it is about to end: its last connections are gone before it is.
    pub fn ended_soon(&mut self) -> Option<ExitStatus> {
        poll_closely(SOON, || self.ended().ok_or_else(String::new)).ok()
    }

    /// SIGKILL: no chance to say goodbye.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; the one thing that counts is that it is gone.
            let _ = child.kill();
            child.wait().expect("the end of a killed process");
        }
    }

    /// SIGTERM, and its exit status.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_ended()
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait_ended(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let child = self.child.as_mut().expect("a started process");
        let status = wait_until(&what, PATIENT, || {
            child.try_wait().expect("its state").ok_or_else(|| "it runs".to_owned())
        });
        self.child = None;
        status
    }

    /// SIGSTOP: it stands still, its connections stay.
    #[track_caller]
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    #[track_caller]
    pub fn resume(&self) {
        self.signal("CONT");
    }

    #[track_caller]
    fn signal(&self, signal: &str) {
        // The shell's own `kill`: a program of that name is not everywhere.
        let line = format!("kill -{signal} {}", self.pid());
        let status = Command::new("sh").args(["-c", &line]).status().expect("sh");
        assert!(status.success(), "{line}: {status}");
    }

    fn log(&self, stream: &str) -> PathBuf {
        self.directory.join(format!("{}.{}.{stream}", self.name, self.starts))
    }

    /// The ends of all its logs, for whoever looks into a failure.
    pub fn story(&self) -> String {
        let mut story = String::new();
        for start in self.starts.saturating_sub(SHOWN_STARTS - 1).max(1)..=self.starts {
            for stream in ["stdout", "stderr"] {
                let file = self.directory.join(format!("{}.{start}.{stream}", self.name));
                let text =
                    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
                let lines: Vec<_> = text.lines().collect();
                let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
                if !shown.is_empty() {
                    story += &["--- ", &self.name, ", start ", &start.to_string()].concat();
                    story += &[", ", stream, "\n", &shown, "\n"].concat();
                }
            }
        }
        story
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
    }
}
