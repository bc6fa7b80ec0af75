//! Siso on hosts: schedulers, agents, and the `sisoctl` of an operator on the same switch.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::Value;
use tempfile::NamedTempFile;

use super::{ENGINE, Host, Hosts};
use crate::{
    ctl::{Answer, Ctl},
    gate::required,
    http::exchange,
    programs::{earlier_program, program},
    wait::{PATIENT, poll_closely, wait_closely, wait_until},
};

/// The unit of a scheduler.
pub const SCHEDULER: &str = "scheduler";
/// The unit of an agent.
pub const AGENT: &str = "agent";
const PORT: u16 = 7400;
const METRICS_PORT: u16 = 7480;
/// What an agent hands out, and what it keeps back of that: 1 GiB remains.
const MEMORY_BUDGET: &str = "1536MiB";
const MEMORY_RESERVE: &str = "512MiB";
/// One that is paused or cut off does not answer.
const GLANCE: Duration = Duration::from_millis(300);

/// What stands where.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// Hosts in all, each with an agent.
    pub hosts: u32,
    /// The first so many of them have a scheduler.
    pub schedulers: u32,
    /// Further flags of every scheduler.
    pub scheduler_flags: Vec<String>,
    /// Further flags of every agent.
    pub agent_flags: Vec<String>,
    /// They begin with the programs of an earlier version.
    pub earlier: bool,
}

impl Shape {
    /// Three hosts with everything on each.
    pub fn three() -> Self {
        Self { hosts: 3, schedulers: 3, ..Self::default() }
    }
}

/// A cluster on hosts of its own.
#[derive(Debug)]
pub struct Cluster {
    /// `sisoctl` of the operator, who knows every scheduler.
    pub ctl: Ctl,
    /// Where it all runs.
    pub hosts: Hosts,
    id: String,
    shape: Shape,
    files: AtomicU32,
}

impl Cluster {
    /// A cluster of this shape, every node ready. `None` when hosts cannot be made here and nobody
    /// demands it: the test is skipped, and says so.
    #[track_caller]
    pub fn up(name: &str, shape: Shape) -> Option<Self> {
        required(name, "SISO_REQUIRE_HOSTS", Hosts::possible())?;
        let hosts = Hosts::up(shape.hosts);
        Some(Self::on(hosts, name, shape))
    }

    /// The same on hosts that are there and have nothing but their engines.
    #[track_caller]
    pub fn on(hosts: Hosts, name: &str, shape: Shape) -> Self {
        assert!((1..=shape.hosts).contains(&shape.schedulers), "{shape:?}");
        fs::create_dir_all(super::operator()).expect("the operator's directory");
        let ctl = Ctl::new(super::operator().join("admin.yaml"), &super::operator());
        let mut cluster = Self { ctl, hosts, id: String::new(), shape, files: AtomicU32::new(0) };
        cluster.found(name);
        for number in 2..=cluster.shape.schedulers {
            cluster.add_scheduler(number);
        }
        for number in 1..=cluster.shape.hosts {
            cluster.add_agent(number);
        }
        for number in 1..=cluster.shape.hosts {
            cluster.wait_node(number, "ready");
        }
        cluster
    }

    /// One that an earlier run kept, with its hosts.
    pub fn existing() -> Option<Self> {
        let hosts = Hosts::existing()?;
        let ctl = Ctl::new(super::operator().join("admin.yaml"), &super::operator());
        let shape = Shape { hosts: hosts.count(), ..Shape::default() };
        let mut cluster =
            Self { ctl, hosts, id: String::new(), shape, files: AtomicU32::new(1 << 16) };
        cluster.id = cluster.context_value("cluster");
        Some(cluster)
    }

    /// Lets it stay when this ends, with its hosts.
    pub fn keep(mut self) {
        self.hosts.keep();
    }

    #[track_caller]
    fn found(&mut self, name: &str) {
        self.install_scheduler(1, &["--cluster-name".to_owned(), name.to_owned()]);
        self.take_context(1);
        self.id = self.context_value("cluster");
    }

    fn install_scheduler(&self, number: u32, further: &[String]) {
        let host = self.hosts.host(number);
        let mut arguments = flags(&[
            ("--data-dir", host.on_disk(SCHEDULER).display().to_string()),
            ("--listen", format!("0.0.0.0:{PORT}")),
            ("--advertise", endpoint(host)),
            ("--metrics-listen", format!("0.0.0.0:{METRICS_PORT}")),
        ]);
        arguments.extend(further.iter().chain(&self.shape.scheduler_flags).cloned());
        host.install(SCHEDULER, &self.program("siso-scheduler"), &arguments);
    }

    /// The context that this host's scheduler has written, once it names every scheduler there is.
    #[track_caller]
    fn take_context(&self, number: u32) {
        let host = self.hosts.host(number);
        let text = wait_until("there is a context file that names all", PATIENT, || {
            let text = host.read("scheduler/admin.yaml").unwrap_or_default();
            // A key ends the file, and is written last.
            let whole = text.contains("-----END PRIVATE KEY-----");
            let all = (1..=number).all(|one| text.contains(&endpoint(self.hosts.host(one))));
            if whole && all { Ok(text) } else { Err(host.story(SCHEDULER)) }
        });
        write_secret(&self.ctl.context, &text);
    }

    /// How many hosts have a scheduler: the first so many.
    pub fn schedulers(&self) -> u32 {
        self.shape.schedulers
    }

    /// One more scheduler, on the next host that has none.
    #[track_caller]
    pub fn grow(&mut self) {
        self.shape.schedulers += 1;
        self.add_scheduler(self.shape.schedulers);
    }

    /// One less, that on the last host that has one: it is removed, and ends by itself.
    #[track_caller]
    pub fn shrink(&mut self) {
        let number = self.shape.schedulers;
        let name = endpoint(self.hosts.host(number));
        let listed = self.ctl.json(&["scheduler", "ls"]);
        let mut rows = listed.as_array().into_iter().flatten();
        let row = rows.find(|row| row["address"] == name.as_str());
        let id = row.map_or_else(|| panic!("{listed}"), |row| row["id"].to_string());
        self.hosts.host(number).hold(SCHEDULER);
        wait_until(&format!("scheduler {id} is removed"), PATIENT, || {
            // One that leads hands over, and says to ask again.
            let answer = self.ctl.run(&["scheduler", "rm", &id, "--yes"]);
            if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
        });
        self.shape.schedulers -= 1;
        wait_until(&format!("scheduler {id} ends"), PATIENT, || {
            let host = self.hosts.host(number);
            host.process_of(SCHEDULER).map_or(Ok(()), |_| Err(host.story(SCHEDULER)))
        });
    }

    #[track_caller]
    fn add_scheduler(&self, number: u32) {
        let token = self.token("scheduler");
        let host = self.hosts.host(number);
        let token = host.write("scheduler.token", &token);
        let join = flags(&[("--join", endpoint(self.hosts.host(1))), ("--token-file", token)]);
        self.install_scheduler(number, &join);
        self.take_context(number);
        wait_until(&format!("{number} schedulers vote"), PATIENT, || {
            let status = self.ctl.json(&["status"]);
            let voters = status["schedulers"].as_array().map_or(0, Vec::len);
            if u32::try_from(voters) == Ok(number) { Ok(()) } else { Err(status.to_string()) }
        });
    }

    #[track_caller]
    fn add_agent(&self, number: u32) {
        let host = self.hosts.host(number);
        let token = host.write("agent.token", &self.token("node"));
        let schedulers = (1..=self.shape.schedulers).map(|one| endpoint(self.hosts.host(one)));
        let mut arguments = flags(&[
            ("--data-dir", host.on_disk(AGENT).display().to_string()),
            ("--scheduler", schedulers.collect::<Vec<_>>().join(",")),
            ("--token-file", token),
            ("--name", host.name()),
            ("--label", format!("host={number}")),
            ("--listen", "0.0.0.0:7401".to_owned()),
            ("--metrics-listen", "0.0.0.0:7481".to_owned()),
            ("--docker-host", host.engine().endpoint()),
            ("--memory-budget", MEMORY_BUDGET.to_owned()),
            ("--reserve-memory", MEMORY_RESERVE.to_owned()),
        ]);
        arguments.extend(self.shape.agent_flags.iter().cloned());
        host.install(AGENT, &self.program("siso-agent"), &arguments);
    }

    #[track_caller]
    fn program(&self, name: &str) -> PathBuf {
        if self.shape.earlier { earlier_program(name) } else { program(name) }
    }

    #[track_caller]
    fn token(&self, role: &str) -> String {
        self.ctl.run(&["token", "create", "--role", role]).expect(0).stdout
    }

    fn context_value(&self, key: &str) -> String {
        let text = fs::read_to_string(&self.ctl.context).expect("the context file");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).trim().trim_matches('"').to_owned()
    }

    /// The cluster's id, as its containers carry it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `HOST:PORT` of each scheduler, by the number of its host.
    pub fn endpoints(&self) -> BTreeMap<u32, String> {
        let hosts = (1..=self.shape.schedulers).map(|number| self.hosts.host(number));
        hosts.map(|host| (host.number(), endpoint(host))).collect()
    }

    /// `sisoctl` that knows only the scheduler on this host, and learns of no other.
    pub fn ctl_of(&self, number: u32) -> Ctl {
        let text = fs::read_to_string(&self.ctl.context).expect("the context file");
        let others = |line: &&str| {
            !line.starts_with("  - ") || line.contains(&endpoint(self.hosts.host(number)))
        };
        let kept: Vec<_> = text.lines().filter(others).collect();
        let path = super::operator().join(format!("only-{number}.yaml"));
        write_secret(&path, &(kept.join("\n") + "\n"));
        // Where it would keep what it learns of the others.
        fs::create_dir_all(path.with_extension("schedulers")).expect("a directory");
        Ctl::new(path, &super::operator().join(format!("only-{number}")))
    }

    /// What a scheduler says of itself under this name in its metrics; nothing when it does not answer.
    pub fn figure(&self, number: u32, name: &str) -> Option<u64> {
        let address = format!("{}:{METRICS_PORT}", self.hosts.host(number).address());
        let stream = TcpStream::connect_timeout(&address.parse().ok()?, GLANCE).ok()?;
        stream.set_read_timeout(Some(GLANCE)).ok()?;
        let text = exchange(stream, "GET", "/metrics", "", b"").ok()?.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// The host whose scheduler leads, among those that are not `passed`, once one does.
    #[track_caller]
    pub fn leader_but(&self, passed: &[u32]) -> u32 {
        wait_closely("a scheduler leads", PATIENT, || {
            let asked = (1..=self.shape.schedulers).filter(|number| !passed.contains(number));
            let mut leads =
                asked.filter(|number| self.figure(*number, "siso_raft_leading") == Some(1));
            leads.next().ok_or_else(|| format!("nobody but {passed:?}"))
        })
    }

    /// The host whose scheduler leads, once one does.
    #[track_caller]
    pub fn leader(&self) -> u32 {
        self.leader_but(&[])
    }

    /// Applies a stack file and follows it to its end.
    #[track_caller]
    #[must_use = "an answer nobody looks at proves nothing"]
    pub fn apply(&self, stack: &str) -> Answer {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let file = super::operator().join(format!("stack-{number}.yaml"));
        fs::write(&file, stack).expect("a stack file");
        self.ctl.run(&["apply", "--yes", &file.display().to_string()])
    }

    /// The rows of `ps` for a stack; the whole answer when there is none.
    pub fn tasks(&self, stack: &str) -> Result<Vec<Value>, String> {
        let answer = self.ctl.run(&["-o", "json", "ps", stack]);
        match answer.code {
            0 => Ok(answer.json().as_array().cloned().unwrap_or_default()),
            _ => Err(answer.to_string()),
        }
    }

    /// Waits until a row of `ps` is so.
    #[track_caller]
    pub fn wait_task(&self, stack: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("a task of {stack} {what}"), PATIENT, || {
            let tasks = self.tasks(stack)?;
            let found = tasks.iter().find(|task| holds(task)).cloned();
            found.ok_or_else(|| format!("{tasks:#?}"))
        })
    }

    /// The state of a host as a node; the whole answer when there is none.
    pub fn node_state(&self, number: u32) -> Result<String, String> {
        let answer = self.ctl.run(&["-o", "json", "node", "ls"]);
        if answer.code != 0 {
            return Err(answer.to_string());
        }
        let (nodes, name) = (answer.json(), self.hosts.host(number).name());
        let row = nodes.as_array().into_iter().flatten().find(|row| row["name"] == name.as_str());
        row.and_then(|row| row["state"].as_str().map(str::to_owned))
            .ok_or_else(|| nodes.to_string())
    }

    /// Waits until a host is in this state as a node.
    #[track_caller]
    pub fn wait_node(&self, number: u32, state: &str) {
        wait_until(&format!("host-{number} is {state}"), PATIENT, || {
            let found = self.node_state(number)?;
            if found == state { Ok(()) } else { Err(found + &self.hosts.host(number).story(AGENT)) }
        });
    }

    /// The containers of a stack that run, on every host whose engine answers: id, and where and since
    /// when.
    #[track_caller]
    pub fn running(&self, stack: &str) -> BTreeMap<String, (u32, String)> {
        let up = self.hosts.all().filter(|host| host.engine().answers().is_ok());
        up.flat_map(|host| {
            let found = host.engine().running(&self.id, stack);
            found.into_iter().map(|(id, since)| (id, (host.number(), since)))
        })
        .collect()
    }

    /// Waits until exactly `count` containers of the stack run, and `ps` calls as many tasks ready.
    #[track_caller]
    pub fn wait_running(&self, stack: &str, count: usize) -> BTreeMap<String, (u32, String)> {
        wait_until(&format!("{count} containers of {stack} run"), PATIENT, || {
            let (running, tasks) = (self.running(stack), self.tasks(stack)?);
            let ready = tasks.iter().filter(|task| task["ready"] == true).count();
            if running.len() == count && ready == count {
                Ok(running)
            } else {
                Err(format!("{running:?}, {ready} ready of {tasks:#?}"))
            }
        })
    }

    /// Whether something holds within `bound`; for what may also not come.
    pub fn comes(&self, bound: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        poll_closely(bound, || if holds(self) { Ok(()) } else { Err(String::new()) }).is_ok()
    }

    #[allow(clippy::print_stderr, reason = "libtest shows it with the failed test, and only then")]
    fn tell_story(&self) {
        for host in self.hosts.all() {
            for unit in ["first", ENGINE, SCHEDULER, AGENT] {
                eprint!("{}", host.story(unit));
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_story();
        }
    }
}

/// Contexts hold a key, and `sisoctl` says so when others can read it.
/// In one step: clients that were given the path before may read it at any time.
fn write_secret(path: &Path, text: &str) {
    let mut file = NamedTempFile::new_in(path.parent().expect("a directory")).expect("a context");
    file.write_all(text.as_bytes()).expect("a context");
    file.persist(path).expect("a context");
}

fn endpoint(host: &Host) -> String {
    format!("{}:{PORT}", host.address())
}

fn flags(flags: &[(&str, String)]) -> Vec<String> {
    flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect()
}
