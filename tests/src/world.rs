//! A cluster of real processes in a directory of its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    ctl::{Answer, Ctl},
    daemon::Daemon,
    engine::Engine,
    gate::{Permit, enrol, required},
    http::get,
    ports::own_port,
    programs::program,
    wait::{PATIENT, wait_until},
};

/// What the agent of a test may hand out, and what it keeps back of that: 1 GiB remains.
const MEMORY_BUDGET: &str = "1536MiB";
const MEMORY_RESERVE: &str = "512MiB";
/// The node's name in every world.
const NODE: &str = "mini-1";
/// Whose world applied which stack with volumes to which engine.
static VOLUMES: Mutex<BTreeMap<(String, String), String>> = Mutex::new(BTreeMap::new());

/// One scheduler, at most one agent, and `sisoctl`.
#[derive(Debug)]
pub struct World {
    /// `sisoctl` with this cluster's context.
    pub ctl: Ctl,
    /// The scheduler; runs.
    pub scheduler: Daemon,
    /// The agent, where there is one; runs.
    pub agent: Daemon,
    /// The engine below the agent.
    pub engine: Engine,
    cluster: String,
    directory: TempDir,
    files: AtomicU32,
    _permit: Permit,
}

impl World {
    /// A scheduler and an agent on the machine's engine. `None` when there is no engine and nobody
    /// demands one: the test is skipped, and says so.
    #[track_caller]
    pub fn new(name: &str) -> Option<Self> {
        let engine = required(name, "SISO_REQUIRE_ENGINE", Engine::with_test_image())?;
        let mut world = Self::without_agent(name, engine);
        world.join();
        Some(world)
    }

    /// A scheduler and an agent on this engine.
    #[track_caller]
    pub fn on_engine(name: &str, engine: &Engine) -> Self {
        let mut world = Self::without_agent(name, engine.clone());
        world.join();
        world
    }

    /// A scheduler alone; needs no engine.
    #[track_caller]
    pub fn scheduler_only(name: &str) -> Self {
        Self::without_agent(name, Engine::at(Path::new("/nonexistent/docker.sock")))
    }

    #[track_caller]
    fn without_agent(name: &str, engine: Engine) -> Self {
        let permit = Permit::take();
        let directory = tempfile::Builder::new().prefix("siso-test-").tempdir().expect("tempdir");
        let path = |name: &str| directory.path().join(name);
        let context = path("scheduler/admin.yaml");
        let arguments = arguments(&[
            ("--data-dir", path("scheduler").display().to_string()),
            ("--cluster-name", name.to_owned()),
            ("--listen", format!("127.0.0.1:{}", own_port())),
            ("--metrics-listen", "127.0.0.1:0".to_owned()),
        ]);
        let scheduler =
            Daemon::new("scheduler", program("siso-scheduler"), arguments, directory.path());
        let agent = Daemon::new("agent", program("siso-agent"), Vec::new(), directory.path());
        let ctl = Ctl::new(context, directory.path());
        let cluster = String::new();
        let files = AtomicU32::new(0);
        let mut world =
            Self { ctl, scheduler, agent, engine, cluster, directory, files, _permit: permit };
        world.scheduler.start();
        world.scheduler.wait_ready();
        world.cluster = world.context_value("cluster");
        enrol(&world.cluster);
        world
    }

    /// Makes a token and starts an agent that joins with it.
    #[track_caller]
    fn join(&mut self) {
        let token = self.ctl.run(&["token", "create", "--role", "node"]).expect(0).stdout;
        let file = self.write("agent.token", &token);
        self.agent.arguments = self.agent_arguments("agent", &file);
        self.agent.start();
        self.agent.wait_ready();
        self.wait_node("ready");
    }

    /// A second agent on the same engine, as another node; ends when it is dropped.
    #[track_caller]
    pub fn second_agent(&self, name: &str) -> Daemon {
        let mut agent = self.begin_agent(name);
        agent.wait_ready();
        wait_until(&format!("{name} is ready"), PATIENT, || {
            let nodes = self.ctl.json(&["node", "ls"]);
            let rows = nodes.as_array().expect("a list of nodes");
            let ready = rows.iter().any(|row| row["name"] == name && row["state"] == "ready");
            if ready { Ok(()) } else { Err(nodes.to_string()) }
        });
        agent
    }

    /// The same, right after its start.
    #[track_caller]
    pub fn begin_agent(&self, name: &str) -> Daemon {
        let token = self.ctl.run(&["token", "create", "--role", "node"]).expect(0).stdout;
        let file = self.write(&format!("{name}.token"), &token);
        let mut arguments = self.agent_arguments(&format!("agent-{name}"), &file);
        let at = arguments.iter().position(|argument| argument == "--name").expect("--name");
        name.clone_into(&mut arguments[at + 1]);
        let directory = self.directory.path();
        let mut agent =
            Daemon::new(&format!("agent-{name}"), program("siso-agent"), arguments, directory);
        agent.start();
        agent
    }

    /// The command line of an agent with its own data directory.
    pub fn agent_arguments(&self, data: &str, token_file: &str) -> Vec<String> {
        arguments(&[
            ("--data-dir", self.path(data).display().to_string()),
            ("--scheduler", self.endpoint()),
            ("--token-file", token_file.to_owned()),
            ("--name", NODE.to_owned()),
            ("--label", "role=test".to_owned()),
            ("--listen", "127.0.0.1:0".to_owned()),
            ("--metrics-listen", "127.0.0.1:0".to_owned()),
            ("--docker-host", self.engine.endpoint()),
            ("--memory-budget", MEMORY_BUDGET.to_owned()),
            ("--reserve-memory", MEMORY_RESERVE.to_owned()),
        ])
    }

    /// A further scheduler, which joins through the first; it does not run yet.
    #[track_caller]
    pub fn further_scheduler(&self, name: &str) -> Daemon {
        let token = self.ctl.run(&["token", "create", "--role", "scheduler"]).expect(0).stdout;
        let token = self.write(&format!("{name}.token"), &token);
        let arguments = arguments(&[
            ("--data-dir", self.path(name).display().to_string()),
            ("--listen", format!("127.0.0.1:{}", own_port())),
            ("--metrics-listen", "127.0.0.1:0".to_owned()),
            ("--join", self.endpoint()),
            ("--token-file", token),
        ]);
        Daemon::new(name, program("siso-scheduler"), arguments, self.directory.path())
    }

    /// `sisoctl` with the context that another scheduler wrote.
    pub fn ctl_of(&self, scheduler: &str) -> Ctl {
        Ctl::new(
            self.path(&format!("{scheduler}/admin.yaml")),
            &self.path(&format!("{scheduler}-ctl")),
        )
    }

    /// The cluster's id, as its containers carry it.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// `HOST:PORT` of the scheduler.
    #[track_caller]
    pub fn endpoint(&self) -> String {
        let text = fs::read_to_string(&self.ctl.context).expect("the context file");
        let listed = text.split("endpoints:").nth(1).expect("endpoints");
        let first = listed.split_whitespace().find(|word| word.contains(':')).expect("an endpoint");
        first.trim_matches(|c: char| "[],\"'".contains(c)).to_owned()
    }

    /// A one-line value of the context file.
    #[track_caller]
    pub fn context_value(&self, key: &str) -> String {
        let text = fs::read_to_string(&self.ctl.context).expect("the context file");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
        let value = line.unwrap_or_else(|| panic!("no {key} in {text}")).trim();
        value.trim_matches(|c: char| "\"'".contains(c)).to_owned()
    }

    /// Where the scheduler answers `/healthz` and `/metrics`.
    #[track_caller]
    pub fn scheduler_metrics(&self) -> String {
        metrics_address(&self.scheduler)
    }

    /// Where the agent answers `/healthz` and `/metrics`.
    #[track_caller]
    pub fn agent_metrics(&self) -> String {
        metrics_address(&self.agent)
    }

    /// A path in this world's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file of this world and returns its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file of the test");
        path.display().to_string()
    }

    /// Applies a stack file and follows it to its end.
    #[track_caller]
    #[must_use = "an answer nobody looks at proves nothing"]
    pub fn apply(&self, stack: &str) -> Answer {
        self.apply_with(&[], stack)
    }

    /// Applies a stack file with further flags.
    #[track_caller]
    #[must_use = "an answer nobody looks at proves nothing"]
    pub fn apply_with(&self, flags: &[&str], stack: &str) -> Answer {
        self.claim_volumes(stack);
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let file = self.write(&format!("stack-{number}.yaml"), stack);
        let mut arguments = vec!["apply", "--yes", &file];
        arguments.extend_from_slice(flags);
        self.ctl.run(&arguments)
    }

    /// An engine knows volumes by their names alone: two tests whose stacks share a name would share
    /// data, when they happen to run at the same time.
    #[track_caller]
    fn claim_volumes(&self, stack: &str) {
        if !stack.lines().any(|line| line == "volumes:") {
            return;
        }
        let name = stack.lines().find_map(|line| line.strip_prefix("name: ")).unwrap_or_default();
        let place = (self.engine.endpoint(), name.to_owned());
        let mut claimed = VOLUMES.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = claimed.entry(place).or_insert_with(|| self.cluster.clone());
        assert_eq!(*owner, self.cluster, "two tests use the stack {name:?} with volumes");
    }

    /// The rows of `ps` for one stack.
    #[track_caller]
    pub fn tasks(&self, stack: &str) -> Vec<Value> {
        self.ctl.json(&["ps", stack]).as_array().expect("a list of tasks").clone()
    }

    /// The running containers of a stack as the engine sees them: id and start time.
    #[track_caller]
    pub fn running(&self, stack: &str) -> BTreeMap<String, String> {
        self.engine.running(&self.cluster, stack)
    }

    /// The one running container of a service.
    #[track_caller]
    pub fn container(&self, stack: &str, service: &str) -> String {
        let found: Vec<_> = self
            .engine
            .containers(&self.cluster)
            .into_iter()
            .filter(|container| container["State"] == "running")
            .filter(|container| container["Labels"]["siso.stack"] == stack)
            .filter(|container| container["Labels"]["siso.service"] == service)
            .collect();
        assert_eq!(found.len(), 1, "running containers of {stack}/{service}: {found:#?}");
        found[0]["Id"].as_str().expect("its id").to_owned()
    }

    /// Waits until exactly `count` containers of the stack run and `ps` calls as many tasks ready.
    #[track_caller]
    pub fn wait_running(&self, stack: &str, count: usize) -> BTreeMap<String, String> {
        wait_until(&format!("{count} containers of {stack} run"), PATIENT, || {
            let running = self.running(stack);
            let tasks = self.tasks(stack);
            let ready = tasks.iter().filter(|task| task["ready"] == true).count();
            if running.len() == count && ready == count {
                Ok(running)
            } else {
                Err(format!("{running:?}, {ready} ready of {tasks:#?}"))
            }
        })
    }

    /// Waits until the node is in this state.
    #[track_caller]
    pub fn wait_node(&self, state: &str) {
        wait_until(&format!("{NODE} is {state}"), PATIENT, || {
            let nodes = self.ctl.json(&["node", "ls"]);
            if nodes[0]["state"] == state { Ok(()) } else { Err(nodes.to_string()) }
        });
    }

    /// Waits until the agent says that it has, or has not, a session with the scheduler.
    #[track_caller]
    pub fn wait_session(&self, open: bool) {
        let address = self.agent_metrics();
        let line = format!("siso_agent_scheduler_connected {}\n", u8::from(open));
        wait_until(&format!("the agent says {line}"), PATIENT, || {
            let metrics = get(&address, "/metrics").map_err(|error| error.to_string())?.text();
            if metrics.contains(&line) { Ok(()) } else { Err(metrics) }
        });
    }

    /// Waits until `stack/service` has this in its row of `ps`.
    #[track_caller]
    pub fn wait_task(&self, stack: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("a task of {stack} {what}"), PATIENT, || {
            let tasks = self.tasks(stack);
            let found = tasks.iter().find(|task| holds(task));
            found.cloned().ok_or_else(|| format!("{tasks:#?}"))
        })
    }

    /// The events so far.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        self.ctl.json(&["events"]).as_array().expect("a list of events").clone()
    }

    /// What the status complains about, but for the disk of whoever runs this: it may be nearly full,
    /// which is none of the cluster's faults.
    #[track_caller]
    pub fn problems(&self) -> Vec<Value> {
        let status = self.ctl.json(&["status"]);
        let mut problems = status["problems"].as_array().expect("a list of problems").clone();
        let of_disk = |problem: &Value| {
            problem["what"].as_str().is_some_and(|what| what.starts_with("the disk"))
        };
        problems.retain(|problem| !of_disk(problem));
        problems
    }

    /// Starts the scheduler again and waits until it serves.
    #[track_caller]
    pub fn start_scheduler(&mut self) {
        self.scheduler.start();
        self.scheduler.wait_ready();
    }

    /// Starts the agent again and waits until the scheduler sees it.
    #[track_caller]
    pub fn start_agent(&mut self) {
        self.agent.start();
        self.agent.wait_ready();
        self.wait_node("ready");
    }

    #[allow(clippy::print_stderr, reason = "libtest shows it with the failed test, and only then")]
    fn tell_story(&self) {
        eprintln!("{}{}", self.scheduler.story(), self.agent.story());
        for container in self.engine.listed(&self.cluster) {
            eprintln!("{} {} {}", container["Names"], container["State"], container["Status"]);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_story();
        }
        self.agent.kill9();
        self.scheduler.kill9();
        self.engine.sweep(&self.cluster);
    }
}

/// Of the addresses a process names when it starts, the one that speaks plain HTTP.
#[track_caller]
fn metrics_address(daemon: &Daemon) -> String {
    let named = daemon.output("stdout") + &daemon.output("stderr");
    let separators = |c: char| !(c.is_ascii_digit() || c == '.' || c == ':');
    let addresses = named.split(separators).filter(|word| word.starts_with("127.0.0.1:"));
    let mut healthy =
        addresses.filter(|address| get(address, "/healthz").is_ok_and(|reply| reply.status == 200));
    healthy.next().unwrap_or_else(|| panic!("no address answers /healthz: {named}")).to_owned()
}

fn arguments(flags: &[(&str, String)]) -> Vec<String> {
    flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect()
}
