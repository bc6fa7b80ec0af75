//! The container engine as a witness: what really runs, asked past everything under test.

use std::{
    collections::BTreeMap,
    env,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::http::{Reply, SILENCE, exchange};

/// A static busybox: a shell and everything else, 2 MB.
pub const TEST_IMAGE: &str = "siso/test:1";

/// How often containers of a cluster are looked for before its clean-up leaves the rest to the next run.
const SWEEPS: usize = 5;
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The size of a block of a tar archive, and where it says how large the file is.
const TAR_BLOCK: usize = 512;
const TAR_SIZE: std::ops::Range<usize> = 124..136;
/// The label that says which cluster a container, network or volume belongs to.
const CLUSTER_LABEL: &str = "siso.cluster";

/// A container engine, reached over its socket.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

impl Engine {
    /// The engine at this socket.
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// The machine's engine, if it answers.
    pub fn of_this_machine() -> Result<Self, String> {
        let engine = Self::at(&machine_socket());
        engine.answers()?;
        Ok(engine)
    }

    /// The machine's engine, if it answers, with [`TEST_IMAGE`] in it.
    #[track_caller]
    pub fn with_test_image() -> Result<Self, String> {
        let engine = Self::of_this_machine()?;
        engine.obtain(&[(TEST_IMAGE, "test")]);
        Ok(engine)
    }

    /// Whether it answers a ping.
    pub fn answers(&self) -> Result<(), String> {
        match self.ask("GET", "/_ping") {
            Ok(reply) if reply.status == 200 => Ok(()),
            Ok(reply) => Err(format!("the container engine answers {}", reply.status)),
            Err(error) => {
                Err(format!("no container engine answers at {} ({error})", self.socket.display()))
            }
        }
    }

    /// Whether it has this image.
    pub fn has_image(&self, image: &str) -> bool {
        self.ask("GET", &format!("/images/{image}/json")).is_ok_and(|reply| reply.status == 200)
    }

    /// Obtains images that are missing, by the names `deploy/images/build.sh` gives them.
    #[track_caller]
    pub fn obtain(&self, images: &[(&str, &str)]) {
        /// One test builds, the others wait for it.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = images.iter().filter(|(image, _)| !self.has_image(image));
        let missing: Vec<_> = missing.map(|(_, name)| *name).collect();
        if missing.is_empty() {
            return;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/images/build.sh");
        let output = Command::new(script).args(&missing).output().expect("build.sh starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "deploy/images/build.sh {missing:?}: {said}");
    }

    /// Where it listens, as `siso-agent --docker-host` wants it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn ask(&self, method: &str, path: &str) -> std::io::Result<Reply> {
        self.send(method, path, "application/json", b"")
    }

    /// Sends one request on a connection of its own.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let stream = self.connect()?;
        stream.set_read_timeout(Some(SILENCE))?;
        exchange(stream, method, path, kind, body)
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(&self.socket)
    }

    /// The answer to a request that must succeed.
    #[track_caller]
    fn must(&self, method: &str, path: &str) -> Value {
        let reply = self.ask(method, path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let text = reply.text();
        assert!(reply.status < 400, "{method} {path}: {} {text}", reply.status);
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Every container of a cluster, running or not, as the engine lists it.
    #[track_caller]
    pub fn containers(&self, cluster: &str) -> Vec<Value> {
        self.must("GET", &all_of(cluster)).as_array().expect("a list of containers").clone()
    }

    /// The same for whoever cleans up: nothing when the engine does not answer.
    pub(crate) fn listed(&self, cluster: &str) -> Vec<Value> {
        let listed = || {
            let reply = self.ask("GET", &all_of(cluster)).ok()?;
            serde_json::from_str::<Value>(&reply.text()).ok()?.as_array().cloned()
        };
        if cluster.is_empty() { Vec::new() } else { listed().unwrap_or_default() }
    }

    /// The running containers of one stack: id and when each started.
    #[track_caller]
    pub fn running(&self, cluster: &str, stack: &str) -> BTreeMap<String, String> {
        self.containers(cluster)
            .iter()
            .filter(|container| container["Labels"]["siso.stack"] == stack)
            .filter(|container| container["State"] == "running")
            .map(|container| {
                let id = container["Id"].as_str().expect("its id").to_owned();
                let started = self.inspect(&id)["State"]["StartedAt"].as_str().map(str::to_owned);
                (id, started.unwrap_or_default())
            })
            .collect()
    }

    /// One container in full; null when it is gone.
    pub fn inspect(&self, id: &str) -> Value {
        match self.ask("GET", &format!("/containers/{id}/json")) {
            Ok(reply) if reply.status == 200 => {
                serde_json::from_str(&reply.text()).expect("JSON of a container")
            }
            _ => Value::Null,
        }
    }

    /// The content of a file in a container, running or not; nothing when it is not there.
    pub fn file(&self, id: &str, path: &str) -> Option<String> {
        let reply = self.ask("GET", &format!("/containers/{id}/archive?path={path}")).ok()?;
        // An archive of one file: a block about it, then the file.
        let (about, rest) = reply.body.split_at_checked(TAR_BLOCK)?;
        let size = std::str::from_utf8(about.get(TAR_SIZE)?).ok()?;
        let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).ok()?;
        (reply.status == 200).then(|| String::from_utf8_lossy(&rest[..size]).into_owned())
    }

    /// Makes a container that is nobody's, started or not, with these labels; its id.
    #[track_caller]
    pub fn make_stranger(&self, name: &str, labels: &Value, started: bool) -> String {
        let command = ["sleep", "1000000"];
        let body = json!({"Image": TEST_IMAGE, "Cmd": command, "Labels": labels}).to_string();
        let path = format!("/containers/create?name={name}");
        let made = self.send("POST", &path, "application/json", body.as_bytes());
        let made: Value = serde_json::from_str(&made.expect("an answer").text()).expect("JSON");
        let id = made["Id"].as_str().unwrap_or_else(|| panic!("{name}: {made}")).to_owned();
        if started {
            self.must("POST", &format!("/containers/{id}/start"));
        }
        id
    }

    /// The command lines of the processes in a container.
    #[track_caller]
    pub fn processes(&self, id: &str) -> Vec<String> {
        let shown = self.must("GET", &format!("/containers/{id}/top?ps_args=-eo%20pid,args"));
        let rows = shown["Processes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let line = |row: &Value| row.as_array()?.last()?.as_str().map(str::to_owned);
        rows.iter().filter_map(line).collect()
    }

    /// SIGKILL to the first process of a container.
    #[track_caller]
    pub fn kill(&self, id: &str) {
        self.must("POST", &format!("/containers/{id}/kill"));
    }

    /// The same to one that may be gone by now; whether it was hit.
    pub fn try_kill(&self, id: &str) -> bool {
        self.ask("POST", &format!("/containers/{id}/kill")).is_ok_and(|reply| reply.status < 300)
    }

    /// Removes a container as a person does by hand.
    #[track_caller]
    pub fn remove_container(&self, id: &str) {
        self.must("DELETE", &format!("/containers/{id}?force=1"));
    }

    /// Removes a volume with its data as a person does by hand.
    #[track_caller]
    pub fn remove_volume(&self, name: &str) {
        self.must("DELETE", &format!("/volumes/{name}"));
    }

    /// Runs a command in a container and waits for its end; past the agent.
    #[track_caller]
    pub fn exec(&self, id: &str, command: &[&str]) {
        let body = json!({"Cmd": command, "AttachStdout": true}).to_string();
        let kind = "application/json";
        let made = self.send("POST", &format!("/containers/{id}/exec"), kind, body.as_bytes());
        let made: Value = serde_json::from_str(&made.expect("exec").text()).expect("JSON");
        let exec = made["Id"].as_str().unwrap_or_else(|| panic!("exec in {id}: {made}")).to_owned();
        let start = json!({"Detach": false, "Tty": false}).to_string();
        self.send("POST", &format!("/exec/{exec}/start"), kind, start.as_bytes()).expect("exec");
        let ended = self.must("GET", &format!("/exec/{exec}/json"));
        assert_eq!(ended["ExitCode"], 0, "{command:?} in {id}");
    }

    /// The names of a cluster's volumes.
    #[track_caller]
    pub fn volumes(&self, cluster: &str) -> Vec<String> {
        let listed = self.must("GET", &format!("/volumes?filters={}", by_cluster(cluster)));
        names(&listed["Volumes"], "Name")
    }

    /// The names of a cluster's networks.
    #[track_caller]
    pub fn networks(&self, cluster: &str) -> Vec<String> {
        let listed = self.must("GET", &format!("/networks?filters={}", by_cluster(cluster)));
        names(&listed, "Name")
    }

    /// Removes everything that carries the cluster's label, and nothing else. Runs in drops: what
    /// does not work is left.
    pub fn sweep(&self, cluster: &str) {
        if cluster.is_empty() || self.answers().is_err() {
            return;
        }
        let filter = by_cluster(cluster);
        let list = |path: &str| {
            let reply = self.ask("GET", &format!("{path}filters={filter}")).ok();
            reply.and_then(|reply| serde_json::from_slice(&reply.body).ok()).unwrap_or(Value::Null)
        };
        // What a killed agent asked for last may still be on its way into being.
        for _ in 0..SWEEPS {
            let found = names(&list("/containers/json?all=1&"), "Id");
            for id in &found {
                let _ = self.ask("DELETE", &format!("/containers/{id}?force=1&v=1"));
            }
            if found.is_empty() {
                break;
            }
        }
        // By id: other clusters may have networks of the same name.
        for network in names(&list("/networks?"), "Id") {
            let _ = self.ask("DELETE", &format!("/networks/{network}"));
        }
        for volume in names(&list("/volumes?")["Volumes"], "Name") {
            let _ = self.ask("DELETE", &format!("/volumes/{volume}"));
        }
    }
}

fn names(list: &Value, key: &str) -> Vec<String> {
    let rows = list.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter_map(|row| row[key].as_str()).map(str::to_owned).collect()
}

fn all_of(cluster: &str) -> String {
    format!("/containers/json?all=1&filters={}", by_cluster(cluster))
}

fn by_cluster(cluster: &str) -> String {
    assert!(!cluster.is_empty(), "a filter without a cluster would find everybody's");
    percent(&json!({"label": [format!("{CLUSTER_LABEL}={cluster}")]}).to_string())
}

pub(crate) fn percent(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Where the docker client would look.
fn machine_socket() -> PathBuf {
    let from_environment = env::var("DOCKER_HOST").ok();
    let endpoint = from_environment.or_else(|| {
        let format = "{{.Endpoints.docker.Host}}";
        let output =
            Command::new("docker").args(["context", "inspect", "--format", format]).output();
        output.ok().and_then(|output| String::from_utf8(output.stdout).ok())
    });
    let path = endpoint.as_deref().map(str::trim).and_then(|host| host.strip_prefix("unix://"));
    PathBuf::from(path.unwrap_or(DEFAULT_SOCKET))
}
