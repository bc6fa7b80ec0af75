//! Few moves: stuck services and drains, beside a reference of CP-SAT, and beside no moves at all.

use std::{collections::BTreeMap, path::Path};

use packing::{Budget, Moves, Step, check, rescue};
use serde_json::{Map, Value, json};

use crate::{
    clock::Clock,
    instance::{self, Cluster},
};

/// Steps an instance may take.
const STEPS: u64 = 10_000_000;

/// Runs of each instance; the fastest counts.
const RUNS: usize = 5;

#[derive(Debug, Default)]
struct Sums {
    all: usize,
    possible: usize,
    solved: usize,
    without: usize,
    moves: u64,
    reference: u64,
    proven: usize,
    halted: usize,
    by_way: usize,
    times: Vec<f64>,
}

/// Prints the table.
pub(crate) fn measure(directory: &Path, placements: Option<&Path>) {
    let mut kinds: BTreeMap<String, Sums> = BTreeMap::new();
    let mut written = Map::new();
    for cluster in instance::clusters(&directory.join("cluster/defrag.json")) {
        let problem = &cluster.problem;
        let wanted: Vec<usize> = (0..problem.items.len())
            .filter(|item| problem.items[*item].current.is_none())
            .collect();
        let reference = &cluster.raw["ref"];
        let drained = cluster.raw["drained"].as_str();
        let of_drained = |node: &&Value| drained.is_some() && node.as_str() == drained;
        let items = cluster.raw["items"].as_array().expect("items").iter();
        let current = items.flat_map(|item| item["current"].as_array().into_iter().flatten());
        let forced = current.filter(of_drained).count() as u64;
        let mut fastest = f64::MAX;
        let mut found = None;
        for _ in 0..RUNS {
            let clock = Clock::start();
            let moves = rescue(problem, &wanted, Budget::steps(STEPS));
            fastest = fastest.min(clock.milliseconds());
            found = Some(moves);
        }
        let moves = found.expect("some runs");
        check(problem, &moves.placement).expect("every rule is kept");
        let kind = cluster.raw["kind"].as_str().expect("a kind").to_owned();
        let sums = kinds.entry(kind).or_default();
        sums.all += 1;
        let possible = reference["unplaced_memory"] == 0;
        sums.possible += usize::from(possible);
        if possible {
            sums.times.push(fastest);
        }
        if moves.left_out.is_empty() {
            sums.solved += 1;
            sums.without += usize::from(moves.moves == 0);
            sums.moves += moves.moves + forced;
            sums.reference += reference["moves"].as_u64().expect("a number");
            sums.proven += usize::from(moves.fewest);
        }
        let stops = |step: &&Step| matches!(step, Step::Stop { .. });
        sums.halted += moves.sequence.iter().filter(stops).count();
        let whole = wanted.len() - moves.left_out.len() + usize::try_from(moves.moves).unwrap_or(0);
        sums.by_way += moves.sequence.len().saturating_sub(whole);
        written.insert(cluster.name.clone(), json!({ "placements": by_name(&cluster, &moves) }));
    }
    if let Some(folder) = placements {
        let path = folder.join("defrag.placements.json");
        std::fs::write(path, Value::Object(written).to_string()).expect("written");
    }
    print(kinds);
}

fn print(kinds: BTreeMap<String, Sums>) {
    println!("\n## Stuck services and drains\n");
    println!(
        "| set | solved / possible / all | with no move | moves | reference | fewest proven | \
         extra hops, stops | median | slowest |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (kind, mut sums) in kinds {
        sums.times.sort_by(f64::total_cmp);
        println!(
            "| {kind} | {} / {} / {} | {} | {} | {} | {} | {}, {} | {:.2} ms | {:.1} ms |",
            sums.solved,
            sums.possible,
            sums.all,
            sums.without,
            sums.moves,
            sums.reference,
            sums.proven,
            sums.by_way,
            sums.halted,
            sums.times[sums.times.len() / 2],
            sums.times[sums.times.len() - 1],
        );
    }
}

/// The placement as the evaluator of the instances reads it.
fn by_name<'c>(cluster: &'c Cluster, moves: &Moves) -> BTreeMap<&'c str, Vec<Value>> {
    let mut by_name: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (service, bin) in cluster.services.iter().zip(&moves.placement) {
        let node = bin.map_or(Value::Null, |bin| Value::from(cluster.nodes[bin].clone()));
        by_name.entry(service).or_default().push(node);
    }
    by_name
}
