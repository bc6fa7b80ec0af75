//! The planner itself, as `sisoctl plan --nodes` asks it: whole clusters from nothing, and what a plan costs.

use std::{collections::BTreeMap, path::Path};

use model::{
    Bytes, Generic, GenericName, ImaginedNode, MilliCpu, NodeName, ServiceName, ServiceSpec,
    StackName, StackSpec,
    spec::{Port, Protocol},
    view::PlanView,
};
use packing::{Placement, Problem, check};
use scheduler_core::plan_offline;
use serde_json::{Map, Value};

use crate::{
    clock::Clock,
    draw::Draw,
    instance::{self, Cluster},
    plot,
};

/// Runs of each instance; the fastest counts.
const RUNS: usize = 3;

/// Prints the tables; the plot of costs goes to `figure`.
pub(crate) fn measure(directory: &Path, figure: Option<&Path>) {
    planted(directory);
    cost(figure);
}

fn planted(directory: &Path) {
    println!(
        "\n## The planner: the planted clusters from nothing, with every verdict that is kept\n"
    );
    println!("| set | placed whole | median | slowest |\n|---|---|---|---|");
    for family in ["planted", "planted_c", "planted_h", "planted_x"] {
        let clusters = instance::clusters(&directory.join(format!("cluster/{family}.json")));
        let (mut whole, mut times) = (0, Vec::new());
        for cluster in &clusters {
            let (stack, nodes) = (stack(&cluster.raw), nodes(&cluster.raw));
            let mut fastest = f64::MAX;
            let mut found: Option<PlanView> = None;
            for _ in 0..RUNS {
                let clock = Clock::start();
                let plan = plan_offline(&stack, &nodes, &[]).expect("a plan");
                fastest = fastest.min(clock.milliseconds());
                assert!(found.as_ref().is_none_or(|before| *before == plan), "not the same");
                found = Some(plan);
            }
            let plan = found.expect("some runs");
            let placement = placement(cluster, &plan);
            check(&asked(cluster), &placement).expect("every rule is kept");
            whole += usize::from(plan.unplaced == 0);
            times.push(fastest);
        }
        times.sort_by(f64::total_cmp);
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("| {family} | {whole} of {} | {median:.1} ms | {slowest:.0} ms |", clusters.len());
    }
}

/// What a stack file can ask for of the instance: all but an even spread, which is a wish.
fn asked(cluster: &Cluster) -> Problem {
    let mut problem = cluster.problem.clone();
    for group in &mut problem.groups {
        group.spread = None;
    }
    problem
}

fn placement(cluster: &Cluster, plan: &PlanView) -> Placement {
    let index: BTreeMap<&str, usize> =
        cluster.nodes.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    let at: BTreeMap<(&str, u32), usize> = plan
        .placements
        .iter()
        .filter_map(|one| Some(((one.service.as_str(), one.replica), index[one.node.as_deref()?])))
        .collect();
    let mut replicas: BTreeMap<&str, u32> = BTreeMap::new();
    let each = cluster.services.iter().map(|service| {
        let replica = replicas.entry(service).or_default();
        *replica += 1;
        at.get(&(service.as_str(), *replica)).copied()
    });
    each.collect()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

/// Disk is a generic resource.
fn disk(value: &Value) -> Generic {
    let amount = Some(number(value, "disk")).filter(|amount| *amount > 0);
    let kind = GenericName::new("disk").expect("a name");
    Generic::new(amount.map(|amount| (kind, amount)).into_iter().collect()).expect("an amount")
}

fn nodes(raw: &Value) -> Vec<ImaginedNode> {
    let nodes = raw["nodes"].as_array().expect("nodes").iter();
    let node = |node: &Value| {
        let nothing = Map::new();
        let labels = node["labels"].as_object().unwrap_or(&nothing);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        ImaginedNode {
            name: NodeName::new(node["name"].as_str().expect("a name")).expect("a name"),
            memory: Bytes::mib(number(node, "memory")),
            cpus: MilliCpu(number(node, "cpu_milli")),
            labels: labels.iter().map(|(key, value)| (key.clone(), text(value))).collect(),
            arch: None,
            generic: disk(node),
        }
    };
    nodes.map(node).collect()
}

fn stack(raw: &Value) -> StackSpec {
    let items = raw["items"].as_array().expect("items").iter();
    let service = |item: &Value| {
        let name = ServiceName::new(item["name"].as_str().expect("a name")).expect("a name");
        (name, service(item))
    };
    StackSpec {
        name: StackName::new("planted").expect("a name"),
        services: items.map(service).collect(),
        volumes: BTreeMap::new(),
        networks: BTreeMap::new(),
    }
}

fn service(item: &Value) -> ServiceSpec {
    let mut spec = sized(number(item, "memory"), number(item, "cpu_milli"));
    spec.resources.generic = disk(item);
    spec.replicas = number(item, "replicas").max(1) as u32;
    let nothing = Map::new();
    let require = item["require"].as_object().unwrap_or(&nothing).iter();
    let labels = require
        .map(|(key, value)| format!("node.labels.{key} == {}", value.as_str().expect("a text")));
    let node = item["node"].as_str().map(|node| format!("node.hostname == {node}"));
    let constraints = labels.chain(node).map(|text| text.parse().expect("a constraint"));
    spec.placement.constraints = constraints.collect();
    let most = item["max_per_node"].as_u64().map(|most| most as u32);
    spec.placement.max_replicas_per_node = most;
    spec.placement.spread = item["spread"]["key"].as_str().map(str::to_owned).into_iter().collect();
    let ports = item["host_ports"].as_array().into_iter().flatten();
    let port = |port: &Value| Port {
        host_ip: None,
        published: port.as_u64().map(|port| port as u16),
        target: 80,
        protocol: Protocol::Tcp,
    };
    spec.ports = ports.map(port).collect();
    spec
}

fn sized(mib: u64, cpu: u64) -> ServiceSpec {
    let mut spec = ServiceSpec::new("x");
    spec.resources.reserved.memory = Bytes::mib(mib);
    spec.resources.memory_limit = Bytes::mib(mib);
    spec.resources.reserved.cpu = MilliCpu(cpu);
    spec
}

/// So many services and nodes that nine tenths of all memory are asked for, a tenth of it with a label.
fn drawn(services: usize, machines: usize) -> (StackSpec, Vec<ImaginedNode>) {
    let mut draw = Draw::new(1);
    let mean = (16 * 1024 * machines as u64 * 9 / 10) / services as u64;
    let memory = mean.clamp(16, 8 * 1024);
    let stack = StackSpec {
        name: StackName::new("drawn").expect("a name"),
        services: (0..services)
            .map(|index| {
                let some = memory * (30 + draw.below(140) as u64) / 100;
                let mut spec = sized(some, 50 + 50 * draw.below(3) as u64);
                if index % 10 == 0 {
                    let zone = format!("node.labels.zone == z{}", index / 10 % 4);
                    spec.placement.constraints = vec![zone.parse().expect("a constraint")];
                }
                (ServiceName::new(format!("s{index:06}")).expect("a name"), spec)
            })
            .collect(),
        volumes: BTreeMap::new(),
        networks: BTreeMap::new(),
    };
    let node = |index: usize| ImaginedNode {
        name: NodeName::new(format!("n{index:06}")).expect("a name"),
        memory: Bytes::gib(16),
        cpus: MilliCpu::cores(8),
        labels: [("zone".to_owned(), format!("z{}", index % 4))].into(),
        arch: None,
        generic: Generic::default(),
    };
    (stack, (0..machines).map(node).collect())
}

/// The same with a hundred replicas of each service, a hundredth as large.
fn replicated(services: usize, machines: usize) -> (StackSpec, Vec<ImaginedNode>) {
    let (mut stack, nodes) = drawn(services, machines);
    for spec in stack.services.values_mut() {
        spec.replicas = 100;
        let memory = Bytes(spec.resources.reserved.memory.0 / 100);
        (spec.resources.reserved.memory, spec.resources.memory_limit) = (memory, memory);
    }
    (stack, nodes)
}

fn timed((stack, nodes): &(StackSpec, Vec<ImaginedNode>)) -> (f64, u32) {
    let mut fastest = f64::MAX;
    let mut unplaced = 0;
    for _ in 0..RUNS {
        let clock = Clock::start();
        unplaced = plan_offline(stack, nodes, &[]).expect("a plan").unplaced;
        fastest = fastest.min(clock.milliseconds());
    }
    (fastest, unplaced)
}

fn cost(figure: Option<&Path>) {
    println!("\n## What a plan costs: all services from nothing, one core\n");
    println!("| services | nodes | milliseconds | without a place |\n|---|---|---|---|");
    let mut lines: Vec<plot::Line> = Vec::new();
    for machines in [20, 1_000] {
        let mut line =
            plot::Line { name: format!("{machines} nodes, by services"), points: Vec::new() };
        for services in [10, 100, 1_000, 10_000] {
            line.points.push((services as f64, row(services, machines)));
        }
        lines.push(line);
    }
    let mut line = plot::Line { name: "1000 services, by nodes".to_owned(), points: Vec::new() };
    for machines in [10, 100, 1_000, 10_000, 100_000] {
        line.points.push((machines as f64, row(1_000, machines)));
    }
    lines.push(line);
    println!("\n200 services of 100 replicas:\n");
    println!("| tasks | nodes | milliseconds | without a place |\n|---|---|---|---|");
    for machines in [20, 1_000, 10_000] {
        let (time, unplaced) = timed(&replicated(200, machines));
        println!("| 20000 | {machines} | {time:.1} | {unplaced} |");
    }
    if let Some(path) = figure {
        std::fs::write(path, plot::svg(&lines, ("services or nodes", "milliseconds")))
            .expect("written");
    }
}

fn row(services: usize, machines: usize) -> f64 {
    let (time, unplaced) = timed(&drawn(services, machines));
    println!("| {services} | {machines} | {time:.1} | {unplaced} |");
    time
}
