//! A second Docker Engine beside the machine's own, for tests that restart or kill it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    daemon::Daemon,
    engine::{Engine, TEST_IMAGE},
    wait::{PROMPT, poll, wait_until},
};

/// Networks come out of a range nobody else on the machine hands out.
const ADDRESS_POOL: &str = "base=10.213.0.0/16,size=24";

/// A `dockerd` with everything of its own: data, state, socket, addresses, no firewall rules.
#[derive(Debug)]
pub struct OwnEngine {
    daemon: Daemon,
    directory: PathBuf,
    engine: Engine,
}

impl OwnEngine {
    /// Starts one that keeps its state below `directory`. The error says what the machine lacks.
    /// With `live_restore` containers outlive it.
    pub fn start(directory: &Path, live_restore: bool) -> Result<Self, String> {
        let bare = ["--bridge", "none", "--iptables=false", "--ip-masq=false"];
        Self::start_with(directory, live_restore, &bare)
    }

    /// Starts one that is set up as an ordinary one: with its bridge and its firewall rules, in a
    /// network of its own. It may become a swarm of one.
    pub fn start_ordinary(directory: &Path) -> Result<Self, String> {
        Self::start_with(directory, false, &[])
    }

    fn start_with(directory: &Path, live_restore: bool, flags: &[&str]) -> Result<Self, String> {
        let program = find_dockerd()?;
        let origin = Engine::with_test_image()?;
        let path = |name: &str| directory.join(name).display().to_string();
        let socket = directory.join("docker.sock");
        // A containerd that came with the system serves several engines, each in its namespace.
        let namespace = format!("siso-tests-{}", std::process::id());
        // Not the machine's settings.
        let settings = format!("{{\"live-restore\": {live_restore}}}");
        fs::write(path("daemon.json"), settings).expect("the second engine's settings");
        // In a network of its own: an engine without a bridge removes the `docker0` it finds, and the
        // machine's own engine would lose it.
        let arguments = [
            "--net",
            "sh",
            "-c",
            // Without it a swarm would not find itself.
            "ip link set lo up; exec \"$@\"",
            "sh",
            &program.display().to_string(),
            "--config-file",
            &path("daemon.json"),
            "--data-root",
            &path("docker-data"),
            "--exec-root",
            &path("docker-exec"),
            "--pidfile",
            &path("docker.pid"),
            "--host",
            &format!("unix://{}", socket.display()),
            "--containerd-namespace",
            &namespace,
            "--containerd-plugins-namespace",
            &format!("{namespace}-plugins"),
            "--default-address-pool",
            ADDRESS_POOL,
        ];
        let arguments = arguments.iter().chain(flags);
        let arguments = arguments.map(|&argument| argument.to_owned()).collect();
        let mut own = Self {
            daemon: Daemon::new("dockerd", PathBuf::from("unshare"), arguments, directory),
            directory: directory.to_owned(),
            engine: Engine::at(&socket),
        };
        own.start_again();
        own.load(&origin);
        Ok(own)
    }

    /// Copies the test image from the machine's engine.
    fn load(&self, origin: &Engine) {
        let path = format!("/images/{TEST_IMAGE}/get");
        let image = origin.send("GET", &path, "application/json", b"").expect("the test image");
        let load = self.engine.send("POST", "/images/load", "application/x-tar", &image.body);
        load.expect("the test image is loaded");
        assert!(self.engine.has_image(TEST_IMAGE), "{TEST_IMAGE} is not in the second engine");
    }

    /// The engine, to be asked.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Stops it as a service manager does; it takes its containers with it.
    #[track_caller]
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        self.daemon.kill9();
    }

    /// SIGSTOP: it accepts connections and answers nobody.
    #[track_caller]
    pub fn pause(&self) {
        self.daemon.pause();
    }

    /// SIGCONT.
    #[track_caller]
    pub fn resume(&self) {
        self.daemon.resume();
    }

    /// Starts it again and waits until it answers.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.forget_processes();
        self.daemon.start();
        wait_until("the second engine answers", PROMPT, || self.engine.answers());
    }

    /// Leaves the killed engine's record of a container as it is when the engine is killed after it has
    /// started that container and before it has written so down.
    #[track_caller]
    pub fn forget_start(&self, id: &str) {
        let record = self.directory.join("docker-data/containers").join(id).join("config.v2.json");
        let text = fs::read(&record).expect("the engine's record of a container");
        let mut shown: Value = serde_json::from_slice(&text).expect("JSON");
        shown["State"]["Running"] = false.into();
        shown["State"]["Pid"] = 0.into();
        shown["State"]["StartedAt"] = "0001-01-01T00:00:00Z".into();
        fs::write(&record, shown.to_string()).expect("the engine's record of a container");
    }

    /// All of them, since all are ours: with `live_restore` they would outlive the engine.
    fn remove_containers(&self) {
        let ask = |method, path: &str| self.engine.send(method, path, "application/json", b"");
        let listed = ask("GET", "/containers/json?all=1").map(|reply| reply.body);
        let listed: Value = serde_json::from_slice(&listed.unwrap_or_default()).unwrap_or_default();
        for id in listed.as_array().into_iter().flatten().filter_map(|row| row["Id"].as_str()) {
            let _ = ask("DELETE", &format!("/containers/{id}?force=1&v=1"));
        }
    }

    /// One that ended while it started a container leaves that container's keeper behind, with a child
    /// that waits to become the container's command. Known by the directory of this very engine in its
    /// command line.
    fn end_leftover_keepers(&self) {
        let ours = self.directory.join("docker-exec").display().to_string();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
            let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            if line.contains("containerd-shim") && line.contains(&ours) {
                let children = format!("/proc/{process}/task/{process}/children");
                let children = fs::read_to_string(children).unwrap_or_default();
                let line = format!("kill -9 {children} {process}");
                let _ = Command::new("sh").args(["-c", &line]).status();
            }
        }
    }

    /// A killed engine leaves the ids of its processes behind, and the next one would take whoever
    /// has them now for its own.
    fn forget_processes(&self) {
        for file in ["docker.pid", "docker-exec/containerd/containerd.pid"] {
            // Not there after an orderly end.
            let _ = fs::remove_file(self.directory.join(file));
        }
    }
}

impl Drop for OwnEngine {
    /// A stopping engine takes its containers with it; a killed one would leave them behind.
    #[allow(clippy::print_stderr, reason = "libtest shows it with the failed test, and only then")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.daemon.story());
        }
        if self.engine.answers().is_err() {
            self.daemon.kill9();
            self.forget_processes();
            self.daemon.start();
            let _ = poll(PROMPT, || self.engine.answers());
        }
        self.remove_containers();
        self.daemon.stop();
        self.end_leftover_keepers();
        // Every start mounts it once more onto itself, and a killed one does not take that back.
        let data = self.directory.join("docker-data");
        while Command::new("umount")
            .arg(&data)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
        {}
    }
}

/// The engine's program, if this user may run it.
fn find_dockerd() -> Result<PathBuf, String> {
    let run = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if run("id -u").as_deref() != Some("0") {
        return Err("only root can start a second container engine".to_owned());
    }
    let found = run("PATH=$PATH:/usr/sbin command -v dockerd");
    found
        .map(PathBuf::from)
        .ok_or_else(|| "there is no dockerd to start a second engine".to_owned())
}
