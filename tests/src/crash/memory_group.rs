//! A control group of our own whose memory runs out on request (version 1). Needs root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::wait::{PROMPT, wait_until};

const ROOT: &str = "/sys/fs/cgroup/memory";
/// What the group may use: several times what a daemon does.
const LIMIT_BYTES: u64 = 96 << 20;
/// Takes nearly all of it, is spared by the kernel, and waits.
const HOG: &str = "held = bytearray(88 << 20); import time; time.sleep(600)";
/// Joins the group named first and becomes the rest; who joined is the first to be killed.
const JOIN: &str =
    "echo $$ > \"$1/cgroup.procs\"; echo \"$2\" > /proc/self/oom_score_adj; shift 2; exec \"$@\"";

/// The group; gone, with what ate its memory, when it is dropped.
#[derive(Debug)]
pub struct MemoryGroup {
    path: PathBuf,
    hog: Option<Child>,
}

impl MemoryGroup {
    /// Makes one. The error says what the machine lacks.
    pub fn new(name: &str) -> Result<Self, String> {
        let path = Path::new(ROOT).join(format!("siso-{name}-{}", std::process::id()));
        let lacks = |what: &str, error| format!("{what}: {error} (control groups of version 1)");
        fs::create_dir(&path).map_err(|error| lacks(ROOT, error))?;
        let group = Self { path, hog: None };
        let limit = group.path.join("memory.limit_in_bytes");
        fs::write(limit, LIMIT_BYTES.to_string()).map_err(|error| lacks("its limit", error))?;
        Ok(group)
    }

    fn joining(&self, score: &str) -> Vec<String> {
        let path = self.path.display().to_string();
        ["sh", "-c", JOIN, "sh", &path, score].map(str::to_owned).into()
    }

    /// What stands before the command line of a process that is to run in it.
    pub fn wrapper(&self) -> Vec<String> {
        self.joining("1000")
    }

    /// Uses up its memory: the kernel kills what runs in it.
    #[track_caller]
    pub fn run_out(&mut self) {
        let words = self.joining("-1000");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["python3", "-c", HOG]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.hog = Some(command.spawn().expect("sh"));
    }

    /// Gives the memory back.
    pub fn relieve(&mut self) {
        if let Some(mut hog) = self.hog.take() {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }

    /// How often the kernel killed something for its memory.
    pub fn kills(&self) -> u64 {
        let text = fs::read_to_string(self.path.join("memory.oom_control")).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse().ok()).unwrap_or_default()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        self.relieve();
        if std::thread::panicking() {
            let _ = fs::remove_dir(&self.path);
            return;
        }
        // Whoever left it last may not be gone yet.
        wait_until("the control group is empty", PROMPT, || {
            fs::remove_dir(&self.path).map_err(|error| error.to_string())
        });
    }
}
