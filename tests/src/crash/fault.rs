//! What goes wrong with a process's system calls.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENT, wait_until};

/// A fault, made by `strace` while the process runs. Calls are counted for each thread by itself.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Names of system calls, with commas.
    calls: String,
    effect: String,
    /// Only calls about these paths; all calls when there are none.
    paths: Vec<PathBuf>,
}

impl Fault {
    fn new(calls: &str, effect: String) -> Self {
        Self { calls: calls.to_owned(), effect, paths: Vec::new() }
    }

    /// The same, and only calls about one of these paths count.
    #[must_use]
    pub fn about(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.paths.extend(paths);
        self
    }

    /// The process is killed where a thread makes the `nth` of these calls; the call is not made.
    pub fn kill(calls: &str, nth: u32) -> Self {
        Self::new(calls, format!("signal=SIGKILL:when={nth}"))
    }

    /// The `nth` of these calls fails with `error`, those after it work.
    pub fn error(calls: &str, error: &str, nth: u32) -> Self {
        Self::new(calls, format!("error={error}:when={nth}"))
    }

    /// None of these calls is made, and each is answered as if it had been: `fsync` becomes a lie.
    pub fn skip(calls: &str) -> Self {
        Self::new(calls, "retval=0".to_owned())
    }

    /// Each of these calls takes this much longer.
    pub fn delay(calls: &str, by: Duration) -> Self {
        Self::new(calls, format!("delay_enter={}", by.as_micros()))
    }

    /// What is put before a command line. The traced process stays our own child. Without
    /// `--seccomp-bpf`, with which strace 6.1 counts past the call it was to kill at.
    pub fn wrapper(&self) -> Vec<String> {
        let Self { calls, effect, paths } = self;
        let words = ["strace", "-D", "-f", "-q", "-o", "/dev/null", "-e"];
        let mut wrapper: Vec<_> = words.map(str::to_owned).into();
        wrapper.extend([
            format!("trace={calls}"),
            "-e".to_owned(),
            format!("inject={calls}:{effect}"),
        ]);
        wrapper.extend(paths.iter().flat_map(|path| ["-P".to_owned(), path.display().to_string()]));
        wrapper
    }

    /// Makes it happen to a process that runs already, until what is answered is dropped.
    #[track_caller]
    pub fn strike(&self, pid: u32) -> Struck {
        let mut words = self.wrapper();
        // Our own child, to be ended; detached it would be nobody's.
        words.retain(|word| word != "-D");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["-p", &pid.to_string()]);
        let tracer = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let struck = Struck(tracer.spawn().expect("strace"));
        wait_until(&format!("{self} happens to every thread of {pid}"), PATIENT, || {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).map_err(|it| it.to_string())?;
            for thread in threads.flatten() {
                let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
                if status.contains("TracerPid:\t0\n") {
                    return Err(format!("{} is not traced", thread.path().display()));
                }
            }
            Ok(())
        });
        struck
    }

    /// Whether faults can be made on this machine; else what it lacks.
    pub fn possible() -> Result<(), String> {
        let probe = Self::error("mkdir", "EIO", 1).wrapper();
        let status = Command::new(&probe[0])
            .args(&probe[1..])
            .args(["mkdir", "/tmp/never-made"])
            .stderr(Stdio::null())
            .status();
        match status {
            Ok(status) if !status.success() => Ok(()),
            Ok(_) => Err("strace injects no faults here".to_owned()),
            Err(error) => Err(format!("strace is needed ({error})")),
        }
    }
}

/// A fault that happens to a process that ran before.
#[derive(Debug)]
pub struct Struck(Child);

impl Drop for Struck {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.calls, self.effect)?;
        match &self.paths[..] {
            [] => Ok(()),
            [path, ..] => write!(f, " of {}", path.display()),
        }
    }
}
