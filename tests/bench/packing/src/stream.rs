//! One after the other: how full a fleet is when it first says no, and what it refuses under churn.

use std::{cmp::Reverse, collections::BinaryHeap, fs, path::Path};

use crate::{
    draw::Draw,
    instance,
    policy::{ALL, Fleet, Policy},
};

/// Replays of each stream.
const REPLAYS: u64 = 5;

/// A demand: memory and CPU.
type Pair = [u64; 2];

fn column(path: &Path, names: [&str; 2]) -> Vec<Pair> {
    let text = fs::read_to_string(path).expect("the trace is there");
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let at = names.map(|name| header.iter().position(|other| *other == name).expect("a column"));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            at.map(|at| fields[at].parse().unwrap_or(0))
        })
        .collect()
}

/// The demands of the services of the planted clusters.
fn services(directory: &Path) -> Vec<Pair> {
    let clusters = instance::clusters(&directory.join("cluster/planted.json"));
    let items = clusters.iter().flat_map(|cluster| &cluster.problem.items);
    items.map(|item| [item.demand[0], item.demand[1]]).collect()
}

struct Stream {
    name: &'static str,
    capacity: Vec<Pair>,
    arrivals: Vec<(usize, Pair)>,
}

fn streams(directory: &Path, seed: u64) -> Vec<Stream> {
    let mut draw = Draw::new(seed);
    let known = services(directory);
    let mut minis = |count: usize| {
        let mut arrivals = Vec::new();
        let mut service = 0;
        while arrivals.len() < count * 60 {
            let [memory, cpu] = known[draw.below(known.len())];
            let factor = [100, 100, 100, 100, 75, 125, 90, 110][draw.below(8)];
            let demand = [memory * factor / 100, cpu.min(2_500)];
            let replicas = [1, 1, 1, 1, 1, 1, 1, 1, 2, 3][draw.below(10)];
            arrivals.extend(std::iter::repeat_n((service, demand), replicas));
            service += 1;
        }
        arrivals
    };
    let mut found = vec![
        Stream { name: "10 Minis", capacity: vec![[14_336, 8_000]; 10], arrivals: minis(10) },
        Stream { name: "100 Minis", capacity: vec![[14_336, 8_000]; 100], arrivals: minis(100) },
    ];
    let mixed = instance::clusters(&directory.join("cluster/planted_h.json"));
    let kinds: Vec<Pair> = mixed
        .iter()
        .flat_map(|cluster| &cluster.problem.bins)
        .map(|bin| [bin.capacity[0], bin.capacity[1]])
        .collect();
    let arrivals = minis(100);
    let mut draw = Draw::new(seed + 50);
    let capacity = (0..40).map(|_| kinds[draw.below(kinds.len())]).collect();
    found.push(Stream { name: "40 mixed", capacity, arrivals });
    let pods =
        column(&directory.join("traces/openb_pod_list_default.csv"), ["memory_mib", "cpu_milli"]);
    let pods: Vec<Pair> = pods.into_iter().filter(|pod| pod[0] > 0).collect();
    let mut nodes =
        column(&directory.join("traces/openb_node_list_all_node.csv"), ["memory_mib", "cpu_milli"]);
    draw.shuffle(&mut nodes);
    nodes.truncate(190);
    let arrivals = (0..30_000).map(|service| (service, pods[draw.below(pods.len())])).collect();
    found.push(Stream { name: "openb, 190 nodes", capacity: nodes, arrivals });
    found
}

/// The load, in percent of the binding resource, at which the first is refused.
fn first_refusal(stream: &Stream, policy: Policy, seed: u64) -> f64 {
    let mut fleet = Fleet::new(policy, &stream.capacity, seed);
    let total: Pair = std::array::from_fn(|at| stream.capacity.iter().map(|one| one[at]).sum());
    let mut offered: Pair = [0, 0];
    for (service, demand) in &stream.arrivals {
        let fits = |one: &Pair| one.iter().zip(demand).all(|(most, one)| one <= most);
        // Larger than every machine: no failure of packing.
        if !stream.capacity.iter().any(fits) {
            continue;
        }
        for (sum, one) in offered.iter_mut().zip(demand) {
            *sum += one;
        }
        if fleet.place(*service, *demand).is_none() {
            break;
        }
    }
    let load = |at: usize| 100.0 * offered[at] as f64 / total[at] as f64;
    load(0).max(load(1))
}

/// Memory refused under arrivals and departures, in percent of what was asked for.
fn churn(known: &[Pair], load: f64, policy: Policy, seed: u64) -> f64 {
    const NODES: usize = 50;
    const ARRIVALS: usize = 12_000;
    const WARM_UP: usize = 4_000;
    let mut draw = Draw::new(seed);
    let mut fleet = Fleet::new(policy, &[[14_336, 8_000]; NODES], seed);
    let mean = known.iter().map(|one| one[0] as f64).sum::<f64>() / known.len() as f64;
    let life = (0.5 * 1.5 * 1.5_f64).exp();
    let rate = load * NODES as f64 * 14_336.0 / (mean * life);
    let (mut now, mut asked, mut refused) = (0.0, 0, 0);
    // Ends, the earliest first, in millionths.
    let mut ends: BinaryHeap<Reverse<(u64, usize, usize, Pair)>> = BinaryHeap::new();
    for arrival in 0..ARRIVALS {
        now += draw.exponential(rate);
        let [memory, cpu] = known[draw.below(known.len())];
        let demand = [memory, (cpu / 2).min(2_000)];
        let end = now + draw.normal(1.5).exp();
        while let Some(Reverse((at, service, node, demand))) = ends.peek().copied() {
            if at as f64 / 1e6 > now {
                break;
            }
            ends.pop();
            fleet.remove(service, node, demand);
        }
        let placed = fleet.place(arrival, demand);
        if let Some(node) = placed {
            ends.push(Reverse(((end * 1e6) as u64, arrival, node, demand)));
        }
        if arrival > WARM_UP {
            asked += memory;
            refused += if placed.is_none() { memory } else { 0 };
        }
    }
    100.0 * refused as f64 / asked as f64
}

/// Prints both tables.
pub(crate) fn measure(directory: &Path) {
    let sets: Vec<Vec<Stream>> =
        (0..REPLAYS).map(|seed| streams(directory, 7_000 + seed)).collect();
    let names: Vec<&str> = sets[0].iter().map(|stream| stream.name).collect();
    println!("\n## First refusal: percent of the binding resource, mean of {REPLAYS} replays\n");
    println!("| policy | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for policy in ALL {
        let mean = |index: usize| {
            let all =
                sets.iter().zip(0..).map(|(set, seed)| first_refusal(&set[index], policy, seed));
            format!("{:.1}", all.sum::<f64>() / REPLAYS as f64)
        };
        let row: Vec<String> = (0..names.len()).map(mean).collect();
        println!("| {} | {} |", policy.name(), row.join(" | "));
    }
    let known = services(directory);
    println!("\n## Churn on 50 Minis: percent of the memory asked for that was refused\n");
    println!("| policy | 85 % load | 92 % | 98 % |\n|---|---|---|---|");
    for policy in ALL {
        let row = [0.85, 0.92, 0.98].map(|load| {
            let all = (0..REPLAYS).map(|seed| churn(&known, load, policy, 9_000 + seed));
            format!("{:.2}", all.sum::<f64>() / REPLAYS as f64)
        });
        println!("| {} | {} |", policy.name(), row.join(" | "));
    }
}
