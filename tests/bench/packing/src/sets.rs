//! Whole stacks at once: the planted clusters, beside greed by the formulas of others.

use std::path::Path;

use packing::{Answer, Budget, check, pack};
use serde_json::{Map, Value, json};

use crate::{
    clock::Clock,
    instance::{self, Cluster},
    joint,
    policy::ALL,
};

/// Steps an instance may take: about a second on one core.
const STEPS: u64 = 200_000_000;

/// Runs of each instance; the fastest counts.
const RUNS: usize = 5;

/// Prints the table, and writes the placements for whoever checks them.
pub(crate) fn measure(directory: &Path, placements: Option<&Path>) {
    println!("\n## Planted clusters: everything can be placed\n");
    println!(
        "| set | placed whole | within 10 ms | 100 ms | 1 s | median | slowest | steps, most |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for family in ["planted", "planted_c", "planted_h", "planted_x"] {
        let clusters = instance::clusters(&directory.join(format!("cluster/{family}.json")));
        let (mut whole, mut times, mut steps) = (0, Vec::new(), 0);
        let mut written = Map::new();
        for cluster in &clusters {
            let mut fastest = f64::MAX;
            let mut answer: Option<Answer> = None;
            for _ in 0..RUNS {
                let clock = Clock::start();
                let found = pack(&cluster.problem, Budget::steps(STEPS));
                fastest = fastest.min(clock.milliseconds());
                assert!(answer.as_ref().is_none_or(|before| *before == found), "not the same");
                answer = Some(found);
            }
            let answer = answer.expect("some runs");
            check(&cluster.problem, &answer.placement).expect("every rule is kept");
            if answer.left_out.is_empty() {
                whole += 1;
                times.push(fastest);
            }
            steps = steps.max(answer.steps);
            written
                .insert(cluster.name.clone(), json!({ "placements": by_name(cluster, &answer) }));
        }
        times.sort_by(f64::total_cmp);
        let within = |most: f64| times.iter().filter(|time| **time <= most).count();
        println!(
            "| {family} | {whole}/{} | {} | {} | {} | {:.2} ms | {:.1} ms | {steps} |",
            clusters.len(),
            within(10.0),
            within(100.0),
            within(1_000.0),
            times.get(times.len() / 2).copied().unwrap_or(f64::NAN),
            times.last().copied().unwrap_or(f64::NAN),
        );
        if let Some(folder) = placements {
            let path = folder.join(format!("{family}.placements.json"));
            std::fs::write(path, Value::Object(written).to_string()).expect("written");
        }
    }
    println!("\n### Beside greed: memory left out, percent of all (clusters placed whole)\n");
    println!(
        "| policy, in order of arrival | planted | planted_c | planted_h | planted_x |\n|---|---|---|---|---|"
    );
    for policy in ALL {
        let row = ["planted", "planted_c", "planted_h", "planted_x"].map(|family| {
            let clusters = instance::clusters(&directory.join(format!("cluster/{family}.json")));
            let (mut lost, mut whole) = (0.0, 0);
            for cluster in &clusters {
                let left_out = joint::greedy(&cluster.problem, policy);
                lost += left_out;
                whole += usize::from(left_out == 0.0);
            }
            format!("{:.2} ({whole})", 100.0 * lost / clusters.len() as f64)
        });
        println!("| {} | {} |", policy.name(), row.join(" | "));
    }
}

/// The placement as the evaluator of the instances reads it.
fn by_name(cluster: &Cluster, answer: &Answer) -> Value {
    let mut placed = Map::new();
    for (service, bin) in cluster.services.iter().zip(&answer.placement) {
        let node = bin.map_or(Value::Null, |bin| Value::from(cluster.nodes[bin].clone()));
        let list = placed.entry(service.clone()).or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut().expect("a list").push(node);
    }
    Value::Object(placed)
}
