//! Figures for Prometheus: counted where things happen, gathered from the cluster when asked.

use std::{collections::BTreeMap, time::Duration};

use model::{Bytes, Liveness, NodeId, TaskState};
use prometheus_client::{
    encoding::text::encode_registry,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use scheduler_core::Cluster;

use crate::{log::Standing, places::Places};

/// Every state is shown, those that no task is in as well: a graph needs its zeros.
const STATES: [TaskState; 9] = [
    TaskState::Pending,
    TaskState::Assigned,
    TaskState::Preparing,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Stopping,
    TaskState::Stopped,
    TaskState::Failed,
    TaskState::Lost,
];

type Labels = Vec<(&'static str, String)>;

/// What this process has counted since it started.
#[derive(Debug)]
pub(crate) struct Figures {
    registry: Registry,
    commits: Histogram,
    commit_jobs: Counter,
    plans: Histogram,
    requests: Family<Labels, Counter>,
    refusals: Family<Labels, Counter>,
}

impl Default for Figures {
    fn default() -> Self {
        // From 0.1 ms, a good disk, to 3.3 s, one that is about to fail.
        let seconds = || Histogram::new(exponential_buckets(0.0001, 2.0, 16));
        let mut figures = Self {
            registry: Registry::default(),
            commits: seconds(),
            commit_jobs: Counter::default(),
            plans: seconds(),
            requests: Family::default(),
            refusals: Family::default(),
        };
        figures.register();
        figures
    }
}

impl Figures {
    fn register(&mut self) {
        let registry = &mut self.registry;
        let seconds = || Unit::Seconds;
        let help = "How long a durable write of the log took, the sync included";
        let commits = self.commits.clone();
        registry.register_with_unit("siso_log_commit_duration", help, seconds(), commits);
        let help = "Writes of the log that went into commits";
        registry.register("siso_log_commit_jobs", help, self.commit_jobs.clone());
        let help = "How long planning took";
        registry.register_with_unit("siso_plan_duration", help, seconds(), self.plans.clone());
        let help = "gRPC requests answered, by method and status code";
        registry.register("siso_grpc_requests", help, self.requests.clone());
        let help = "Connections, calls, joins and reports refused because of who asked";
        registry.register("siso_refusals", help, self.refusals.clone());
    }

    /// A commit of the log took this long and held so many writes.
    pub(crate) fn committed(&self, took: Duration, jobs: usize) {
        self.commits.observe(took.as_secs_f64());
        self.commit_jobs.inc_by(u64::try_from(jobs).unwrap_or(u64::MAX));
    }

    /// A plan took this long.
    pub(crate) fn planned(&self, took: Duration) {
        self.plans.observe(took.as_secs_f64());
    }

    /// A request of this method was answered with this code.
    pub(crate) fn answered(&self, method: &str, code: i32) {
        let labels = vec![("method", method.to_owned()), ("code", code.to_string())];
        self.requests.get_or_create(&labels).inc();
    }

    /// Somebody was refused this.
    pub(crate) fn refused(&self, what: &'static str) {
        self.refusals.get_or_create(&vec![("what", what.to_owned())]).inc();
    }

    /// Everything, in Prometheus' text format.
    pub(crate) fn text(
        &self,
        cluster: &Cluster,
        standing: &Standing,
        (sessions, places): (usize, &Places),
    ) -> String {
        let mut text = String::new();
        let mut moment = gauges(cluster, standing, sessions);
        of_places(&mut moment, places);
        // Writing to a string cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &moment);
        prometheus(&text)
    }
}

fn number(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// The state of the moment, in a registry of its own: nothing that is gone is remembered.
fn gauges(cluster: &Cluster, standing: &Standing, sessions: usize) -> Registry {
    let mut registry = Registry::default();
    let mut single = |name: &str, help: &str, value: i64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    single("siso_raft_leading", "1 when this scheduler leads", i64::from(standing.leads()));
    single(
        "siso_raft_leader_known",
        "1 when it knows who leads",
        i64::from(standing.leader.is_some()),
    );
    single("siso_raft_term", "The term it knows", number(standing.term));
    single("siso_raft_last_log_index", "The last entry in its log", number(standing.last));
    single("siso_raft_applied_index", "The last entry it has applied", number(standing.applied));
    single("siso_raft_snapshot_index", "Where its newest snapshot ends", number(standing.snapshot));
    single(
        "siso_raft_purged_index",
        "The last entry removed from its log",
        number(standing.purged),
    );
    single("siso_cluster_revision", "The cluster's revision", number(cluster.revision().0));
    single("siso_sessions", "Agents that are connected", number(sessions));
    let build = Family::<Labels, Gauge>::default();
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    registry.register("siso_build_info", "The version of this scheduler", build);
    of_tasks(&mut registry, cluster);
    of_nodes(&mut registry, cluster);
    registry
}

fn of_places(registry: &mut Registry, places: &Places) {
    let (taken, most) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    for (kind, now, max) in places.taken() {
        let label = vec![("kind", kind.as_str().to_owned())];
        taken.get_or_create(&label).set(number(now));
        most.get_or_create(&label).set(number(max));
    }
    registry.register("siso_connections", "Connections by who is on the other side", taken);
    registry.register("siso_connections_max", "How many of them there may be", most);
}

fn of_tasks(registry: &mut Registry, cluster: &Cluster) {
    let tasks = Family::<Labels, Gauge>::default();
    for state in STATES {
        tasks.get_or_create(&vec![("state", state.as_str().to_owned())]).set(0);
    }
    for task in cluster.tasks().values() {
        let state = task.status.state.as_str().to_owned();
        tasks.get_or_create(&vec![("state", state)]).inc();
    }
    registry.register("siso_tasks", "Tasks by state", tasks);
}

fn of_nodes(registry: &mut Registry, cluster: &Cluster) {
    let mut reserved: BTreeMap<NodeId, Bytes> = BTreeMap::new();
    for task in cluster.tasks().values().filter(|task| task.holds_resources()) {
        let Some(node) = task.node else { continue };
        let sum = reserved.entry(node).or_default();
        *sum = sum.saturating_add(task.spec.resources.reserved.memory);
    }
    let nodes = Family::<Labels, Gauge>::default();
    for state in [Liveness::Ready, Liveness::Unreachable, Liveness::Down] {
        nodes.get_or_create(&vec![("state", state.as_str().to_owned())]).set(0);
    }
    let allocatable_memory = Family::<Labels, Gauge>::default();
    let reserved_memory = Family::<Labels, Gauge>::default();
    for node in cluster.nodes().values() {
        nodes.get_or_create(&vec![("state", node.liveness.as_str().to_owned())]).inc();
        let label = vec![("node", node.name.to_string())];
        let allocatable = node.inventory.allocatable().memory;
        allocatable_memory.get_or_create(&label).set(number(allocatable.0));
        let sum = reserved.get(&node.id).copied().unwrap_or_default();
        reserved_memory.get_or_create(&label).set(number(sum.0));
    }
    registry.register("siso_nodes", "Nodes by state", nodes);
    let help = "Memory of the node that may be reserved";
    let name = "siso_node_memory_allocatable";
    registry.register_with_unit(name, help, Unit::Bytes, allocatable_memory);
    let help = "Memory of the node that is reserved";
    registry.register_with_unit("siso_node_memory_reserved", help, Unit::Bytes, reserved_memory);
}

/// Turns `OpenMetrics` into the older text format that every Prometheus reads: counters are declared
/// by the name their samples have, and there are no units.
fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help: Option<&str> = None;
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = Some(described);
            continue;
        }
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let declared = line.strip_prefix("# TYPE ").and_then(|declared| declared.split_once(' '));
        let Some((name, kind)) = declared else {
            text.extend([line, "\n"]);
            continue;
        };
        let suffix = if kind == "counter" { "_total" } else { "" };
        if let Some((_, words)) = help.take().and_then(|help| help.split_once(' ')) {
            text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
        }
        text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    fn sample() -> String {
        let figures = Figures::default();
        figures.committed(Duration::from_millis(3), 2);
        figures.planned(Duration::from_micros(50));
        figures.answered("Control/ListTasks", 0);
        figures.text(&Cluster::new(), &Standing::default(), (1, &Places::new(3)))
    }

    #[test]
    fn counters_are_declared_by_the_name_of_their_samples() {
        let text = sample();
        assert!(text.contains("# TYPE siso_grpc_requests_total counter\n"), "{text}");
        assert!(
            text.contains("siso_grpc_requests_total{method=\"Control/ListTasks\",code=\"0\"} 1\n"),
            "{text}"
        );
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
    }

    /// Runs only where `promtool` is; the whole test run installs it and asks for it.
    #[test]
    fn promtool_finds_nothing_to_complain_about() {
        let child = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                let required = std::env::var_os("SISO_REQUIRE_PROMTOOL").is_some();
                assert!(!required, "promtool is required and cannot be run: {error}");
                return;
            }
        };
        child.stdin.take().unwrap().write_all(sample().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}\n{}", sample());
    }
}
