//! One host: its disk, its first process, its units.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::Signal;

use super::{
    net, process,
    tool::{must, run},
};
use crate::{
    engine::Engine,
    wait::{PATIENT, PROMPT, wait_closely, wait_until},
};

/// Room for an engine, a log and its snapshots.
const DISK_MIB: u64 = 768;
/// The unit that is the engine.
pub const ENGINE: &str = "engine";
/// Out of a range nobody else hands out.
const ADDRESS_POOL: &str = "base=10.213.0.0/16,size=24";
/// Holds the disk while everything that runs on it is ended, then shuts it down without flushing: what
/// was not synced is gone. The request's number is that of `FS_IOC_SHUTDOWN`.
const CUT: &str = "\
import fcntl, os, signal, struct, sys
disk = os.open(sys.argv[1], os.O_RDONLY)
print('held', flush=True)
sys.stdin.readline()
os.kill(int(sys.argv[2]), signal.SIGKILL)
fcntl.ioctl(disk, 0x8004587d, struct.pack('I', 2))
";
/// Where distributions keep the library that shifts a process's clock.
const CLOCK_LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// A machine of its own, as far as those who run on it can tell.
#[derive(Debug)]
pub struct Host {
    number: u32,
    directory: PathBuf,
    /// What started the first process; gone when it is.
    cradle: Option<Child>,
}

impl Host {
    /// A host whose network is there; it does not run yet.
    #[track_caller]
    pub(super) fn new(base: &Path, number: u32) -> Self {
        let host = Self::existing(base, number);
        for name in ["units", "held", "pids", "logs", "files"] {
            fs::create_dir_all(host.directory.join(name)).expect("a directory of the host");
        }
        let image = host.directory.join("disk.img");
        fs::File::create(&image).and_then(|file| file.set_len(DISK_MIB << 20)).expect("a disk");
        must("mkfs.ext4", &["-q", "-F", "-m", "0", &image.display().to_string()]);
        fs::write(host.directory.join("daemon.json"), "{}").expect("the engine's settings");
        host
    }

    /// One that was made before.
    pub(super) fn existing(base: &Path, number: u32) -> Self {
        Self { number, directory: base.join(number.to_string()), cradle: None }
    }

    /// Its number, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("host-{}", self.number)
    }

    /// Its address on the switch.
    pub fn address(&self) -> String {
        net::address(self.number)
    }

    /// A path on its disk, as its processes know it.
    pub fn on_disk(&self, name: &str) -> PathBuf {
        self.directory.join("disk").join(name)
    }

    /// A path on its disk as this machine knows it, while it runs.
    fn seen_from_outside(&self, name: &str) -> Option<PathBuf> {
        let first = self.first()?;
        Some(PathBuf::from(format!("/proc/{first}/root{}", self.on_disk(name).display())))
    }

    /// Writes everything to its disk.
    #[track_caller]
    pub(super) fn sync(&self) {
        let disk = self.seen_from_outside("").expect("it runs");
        must("sync", &["-f", &disk.display().to_string()]);
    }

    /// The content of a file on its disk, while it runs.
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.seen_from_outside(name)?).ok()
    }

    /// The size of its disk and what of it is free, in bytes, while it runs.
    #[track_caller]
    pub fn room(&self) -> (u64, u64) {
        let disk = self.seen_from_outside("").expect("it runs");
        let of = rustix::fs::statvfs(&disk).expect("its disk");
        (of.f_blocks * of.f_frsize, of.f_bavail * of.f_frsize)
    }

    /// Writes a file its processes find at the path this returns; a power cut does not touch it.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory.join("files").join(name);
        fs::write(&path, text).expect("a file of the host");
        path.display().to_string()
    }

    /// Its engine, to be asked from outside.
    pub fn engine(&self) -> Engine {
        Engine::at(&self.directory.join("docker.sock"))
    }

    /// Starts its first process, which starts its units, and waits until its disk is there.
    #[track_caller]
    pub fn boot(&mut self) {
        assert!(self.first().is_none(), "{} runs already", self.name());
        for old in fs::read_dir(self.directory.join("pids")).expect("its processes").flatten() {
            fs::remove_file(old.path()).expect("ids of processes that are gone");
        }
        let script = self.directory.with_file_name("init.sh");
        let spaces = ["--mount", "--pid", "--fork", "--uts", "--ipc", "--propagation", "private"];
        let child = Command::new("nsenter")
            .arg(format!("--net={}", net::path(&self.number.to_string())))
            .arg("unshare")
            .args(spaces)
            // Out of reach of the terminal's signals.
            .args([
                "setsid",
                "bash",
                "-c",
                "read -r id _ </proc/self/stat; echo $id >\"$1/pids/first\"; exec \"$0\" \"$@\"",
            ])
            .arg(&script)
            .arg(&self.directory)
            .arg(self.name())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.directory.join("logs/first")).expect("a log"))
            .spawn();
        self.cradle = Some(child.expect("nsenter"));
        let booted = self.directory.join("pids/booted");
        wait_closely(&format!("{} boots", self.name()), PROMPT, || {
            if booted.is_file() { Ok(()) } else { Err(self.story("first")) }
        });
    }

    /// Its first process, as this machine numbers it, while it runs.
    fn first(&self) -> Option<u32> {
        let process = self.written("first")?;
        let line = fs::read(format!("/proc/{process}/cmdline")).ok()?;
        let own = self.directory.display().to_string();
        line.split(|byte| *byte == 0).any(|word| word == own.as_bytes()).then_some(process)
    }

    fn written(&self, name: &str) -> Option<u32> {
        fs::read_to_string(self.directory.join("pids").join(name)).ok()?.trim().parse().ok()
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.first().is_some()
    }

    /// Cuts its power: all its processes end at once, and what was not synced is lost.
    #[track_caller]
    pub fn power_cut(&mut self) {
        Self::cut_together(&mut [self]);
    }

    /// Cuts the power of several at the same time.
    #[track_caller]
    pub fn cut_together(hosts: &mut [&mut Self]) {
        let hold = |host: &&mut Self| {
            let running = host.first().zip(host.seen_from_outside(""));
            let (first, disk) = running.unwrap_or_else(|| panic!("{} does not run", host.name()));
            let mut child = Command::new("python3")
                .args(["-c", CUT, &disk.display().to_string(), &first.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("python3");
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().expect("its stdout"))
                .read_line(&mut line)
                .expect("its word");
            assert_eq!(line, "held\n", "the disk of {}", host.name());
            child
        };
        let mut waiting: Vec<Child> = hosts.iter().map(hold).collect();
        for child in &mut waiting {
            child.stdin.take().expect("its stdin").write_all(b"\n").expect("it waits");
        }
        for child in &mut waiting {
            assert!(child.wait().expect("its end").success(), "the power is cut");
        }
        for host in hosts {
            host.wait_gone();
        }
    }

    /// Ends everything on it at once; what was written stays.
    #[track_caller]
    pub fn end(&mut self) {
        if let Some(first) = self.first() {
            process::signal(first, Signal::KILL);
        }
        self.wait_gone();
    }

    fn wait_gone(&mut self) {
        if let Some(mut cradle) = self.cradle.take() {
            cradle.wait().expect("the end of its first process");
        }
        let image = self.directory.join("disk.img").display().to_string();
        wait_closely(&format!("the disk of {} is let go of", self.name()), PROMPT, || {
            if self.is_up() {
                return Err("it runs".to_owned());
            }
            match run("losetup", &["-j", &image])?.trim() {
                "" => Ok(()),
                used => Err(used.to_owned()),
            }
        });
    }

    /// Makes its engine start with it, and waits until it answers.
    #[track_caller]
    pub fn install_engine(&self) {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let arguments = [
            "--config-file",
            &path("daemon.json"),
            "--data-root",
            &path("disk/docker"),
            "--exec-root",
            "/run/docker",
            "--pidfile",
            "/run/docker.pid",
            "--host",
            &format!("unix://{}", path("docker.sock")),
            "--cgroup-parent",
            &format!("/{}/{}", super::CGROUP, self.number),
            "--default-address-pool",
            ADDRESS_POOL,
        ];
        self.install(ENGINE, Path::new("dockerd"), &arguments.map(str::to_owned));
    }

    /// Waits until its engine answers.
    #[track_caller]
    pub fn wait_engine(&self) {
        let engine = self.engine();
        wait_until(&format!("the engine of {} answers", self.name()), PATIENT, || {
            engine.answers().map_err(|error| error + &self.story(ENGINE))
        });
    }

    /// Has a program run from now on and after every start, started again when it ends.
    #[track_caller]
    pub fn install(&self, unit: &str, program: &Path, arguments: &[String]) {
        let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
        let words: Vec<_> = arguments.iter().map(quoted).collect();
        let (directory, program) = (self.directory.display(), program.display());
        let library = CLOCK_LIBRARIES.iter().find(|path| Path::new(path).exists()).unwrap_or(&"");
        let text = format!(
            "#!/bin/bash\n\
             read -r id _ <'{directory}/outside/self/stat'\n\
             echo \"$id\" >'{directory}/pids/{unit}'\n\
             export MALLOC_ARENA_MAX=1\n\
             if [[ -e '{directory}/clock' ]]; then\n\
             export LD_PRELOAD='{library}' FAKETIME_TIMESTAMP_FILE='{directory}/clock'\n\
             export FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1\n\
             fi\n\
             exec '{program}' {}\n",
            words.join(" ")
        );
        let (new, path) =
            (self.directory.join("unit.new"), self.directory.join("units").join(unit));
        fs::write(&new, text).expect("a unit");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("a program");
        fs::rename(new, path).expect("a unit");
    }

    /// Puts another program in the place of a unit's, as an upgrade does: its next start runs a copy, under
    /// the same path each time; what runs now keeps the file it was started from.
    #[track_caller]
    pub fn replace(&self, unit: &str, program: &Path) {
        let own = self.directory.join("files").join(unit);
        let new = own.with_extension("new");
        fs::copy(program, &new).expect("a copy of the program");
        fs::rename(&new, &own).expect("the program's place");
        let path = self.directory.join("units").join(unit);
        let text = fs::read_to_string(&path).expect("a unit");
        let (head, tail) = text.rsplit_once("exec '").expect("it starts a program");
        let (_, arguments) = tail.split_once('\'').expect("its path ends");
        fs::write(&path, format!("{head}exec '{}'{arguments}", own.display())).expect("a unit");
    }

    /// Whether clocks can be shifted here.
    pub fn has_clocks() -> Result<(), String> {
        let found = CLOCK_LIBRARIES.iter().any(|path| Path::new(path).exists());
        found.then_some(()).ok_or_else(|| "libfaketime is needed (package faketime)".to_owned())
    }

    /// Shifts the clock that its units read, such as `+30d`; one that runs since before the first shift
    /// is to be started again. Times that only pass, and the engine's containers, are not touched.
    pub fn set_clock(&self, shift: &str) -> Result<(), String> {
        Self::has_clocks()?;
        let (new, path) = (self.directory.join("clock.new"), self.directory.join("clock"));
        fs::write(&new, format!("{shift}\n")).map_err(|error| error.to_string())?;
        fs::rename(new, path).map_err(|error| error.to_string())
    }

    /// The process of a unit, as this machine numbers it, while it runs.
    pub fn process_of(&self, unit: &str) -> Option<u32> {
        let (process, first) = (self.written(unit)?, self.first()?);
        process::are_together(process, first).then_some(process)
    }

    #[track_caller]
    fn signal(&self, unit: &str, signal: Signal) {
        let process = self.process_of(unit);
        let process = process.unwrap_or_else(|| panic!("{unit} does not run on {}", self.name()));
        assert!(process::signal(process, signal), "{unit} has ended on {}", self.name());
    }

    /// SIGKILL; it is not started again until [`start`](Self::start).
    #[track_caller]
    pub fn kill(&self, unit: &str) {
        self.hold(unit);
        self.signal(unit, Signal::KILL);
    }

    /// SIGKILL; it is started again as service managers do.
    #[track_caller]
    pub fn crash(&self, unit: &str) {
        self.signal(unit, Signal::KILL);
    }

    /// SIGTERM, and waits for its end.
    #[track_caller]
    pub fn stop(&self, unit: &str) {
        self.hold(unit);
        self.signal(unit, Signal::TERM);
        wait_closely(&format!("{unit} ends on {}", self.name()), PATIENT, || {
            self.process_of(unit).map_or(Ok(()), |process| Err(format!("{process} runs")))
        });
    }

    /// It is not started again when it ends, nor when the host starts.
    #[track_caller]
    pub fn hold(&self, unit: &str) {
        fs::write(self.directory.join("held").join(unit), "").expect("a unit is held");
    }

    /// Has it run again.
    #[track_caller]
    pub fn start(&self, unit: &str) {
        // It may not have been held.
        let _ = fs::remove_file(self.directory.join("held").join(unit));
    }

    /// SIGSTOP to a unit: it stands still, its connections stay.
    #[track_caller]
    pub fn pause(&self, unit: &str) {
        self.signal(unit, Signal::STOP);
    }

    /// SIGCONT to a unit.
    #[track_caller]
    pub fn resume(&self, unit: &str) {
        self.signal(unit, Signal::CONT);
    }

    /// SIGSTOP to everything on it, containers included.
    #[track_caller]
    pub fn freeze(&self) {
        // What started between two looks is stopped by the next one.
        for _ in 0..2 {
            self.everybody(Signal::STOP);
        }
    }

    /// SIGCONT to everything on it.
    #[track_caller]
    pub fn thaw(&self) {
        self.everybody(Signal::CONT);
    }

    fn everybody(&self, signal: Signal) {
        let first = self.first().unwrap_or_else(|| panic!("{} does not run", self.name()));
        for process in process::family(first) {
            process::signal(process, signal);
        }
    }

    /// The end of what a unit has written.
    pub fn story(&self, unit: &str) -> String {
        const SHOWN_LINES: usize = 60;
        let log = fs::read(self.directory.join("logs").join(unit)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<_> = log.lines().collect();
        let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
        format!("--- {}, {unit}\n{shown}\n", self.name())
    }
}
