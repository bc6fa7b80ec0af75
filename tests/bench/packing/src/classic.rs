//! The classic sets: as few identical bins as possible.

use std::path::Path;

use packing::{Budget, Fewest, fewest_bins};

use crate::{clock::Clock, draw::Draw, instance};

/// Steps an instance may take: about a second.
const STEPS: u64 = 150_000_000;

/// Runs of each instance; the fastest counts.
const RUNS: usize = 3;

/// Prints both tables.
pub(crate) fn measure(directory: &Path) {
    println!("\n## One dimension\n");
    println!(
        "| set | instances | optimal | proven | median | slowest | FFD optimal | best fit, as they come |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for path in bundles(&directory.join("bpp")) {
        let bundle = instance::read(&path);
        let family = bundle["family"].as_str().expect("a family");
        let instances = bundle["instances"].as_array().expect("instances");
        let (mut optimal, mut proven, mut ffd, mut online) = (0, 0, 0, 0);
        let mut times = Vec::new();
        for one in instances {
            let capacity = one["capacity"].as_u64().expect("a capacity");
            let items = one["items"].as_array().expect("items").iter();
            let sizes: Vec<u64> = items
                .flat_map(|item| {
                    let count = item[1].as_u64().expect("a count") as usize;
                    vec![item[0].as_u64().expect("a size"); count]
                })
                .collect();
            let demands: Vec<Vec<u64>> = sizes.iter().map(|size| vec![*size]).collect();
            let (found, time) = fastest(&[capacity], &demands);
            check(&[capacity], &demands, &found);
            let (lb, ub) =
                (one["lb"].as_u64().unwrap() as usize, one["ub"].as_u64().unwrap() as usize);
            assert!(
                found.at_least <= ub && found.bins.len() >= lb,
                "{} is impossible",
                one["name"]
            );
            // By construction the optimum of these is their lower bound.
            let optimum = if family == "ai" { lb } else { ub };
            optimal += usize::from(found.bins.len() <= optimum);
            proven += usize::from(found.is_proven());
            if found.bins.len() > optimum {
                eprintln!("{}: {} bins, optimum {optimum}", one["name"], found.bins.len());
            }
            times.push(time);
            let mut sorted = sizes.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            ffd += usize::from(first_fit(&sorted, capacity) <= optimum);
            let mut shuffled = sizes;
            Draw::new(1).shuffle(&mut shuffled);
            online += usize::from(best_fit(&shuffled, capacity) <= optimum);
        }
        times.sort_by(f64::total_cmp);
        println!(
            "| {family} | {} | {optimal} | {proven} | {:.2} ms | {:.1} ms | {ffd} | {online} |",
            times.len(),
            times[times.len() / 2],
            times[times.len() - 1],
        );
    }
    vectors(directory);
}

fn vectors(directory: &Path) {
    println!("\n## Three dimensions (up to 250 items)\n");
    println!("| set | instances | bins | lower bound | best published heuristic | median |");
    println!("|---|---|---|---|---|---|");
    for path in bundles(&directory.join("vbp")) {
        let bundle = instance::read(&path);
        let (mut bins, mut bound, mut published, mut times) = (0, 0, 0, Vec::new());
        for one in bundle["instances"].as_array().expect("instances") {
            let list = |value: &serde_json::Value| -> Vec<u64> {
                value.as_array().expect("a list").iter().map(|n| n.as_u64().unwrap()).collect()
            };
            let capacity = list(&one["caps"]);
            let mut demands = Vec::new();
            for item in one["items"].as_array().expect("items") {
                let mut demand = list(item);
                let count = demand.pop().expect("a count") as usize;
                demands.extend(vec![demand; count]);
            }
            if demands.len() > 251 {
                continue;
            }
            let clock = Clock::start();
            let found = fewest_bins(&capacity, &demands, Budget::steps(STEPS / 5)).expect("fits");
            times.push(clock.milliseconds());
            check(&capacity, &demands, &found);
            bins += found.bins.len();
            bound += one["opt"].as_u64().or(one["lb"].as_u64()).unwrap_or(0) as usize;
            published += one["best"].as_u64().expect("a number") as usize;
        }
        times.sort_by(f64::total_cmp);
        println!(
            "| {} | {} | {bins} | {bound} | {published} | {:.0} ms |",
            bundle["family"].as_str().expect("a family"),
            times.len(),
            times[times.len() / 2],
        );
    }
}

fn bundles(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
    paths.sort();
    paths
}

fn fastest(capacity: &[u64], demands: &[Vec<u64>]) -> (Fewest, f64) {
    let mut best: Option<(Fewest, f64)> = None;
    for _ in 0..RUNS {
        let clock = Clock::start();
        let found = fewest_bins(capacity, demands, Budget::steps(STEPS)).expect("every item fits");
        let time = clock.milliseconds();
        let before = best.as_ref().map_or(f64::MAX, |(_, before)| *before);
        best = Some((found, time.min(before)));
        if time > 200.0 {
            break;
        }
    }
    best.expect("some runs")
}

fn check(capacity: &[u64], demands: &[Vec<u64>], found: &Fewest) {
    let mut seen = vec![false; demands.len()];
    for bin in &found.bins {
        for (resource, most) in capacity.iter().enumerate() {
            let sum: u64 = bin.iter().map(|item| demands[*item][resource]).sum();
            assert!(sum <= *most, "a bin is over its capacity");
        }
        for item in bin {
            assert!(!std::mem::replace(&mut seen[*item], true), "an item is packed twice");
        }
    }
    assert!(seen.into_iter().all(|packed| packed), "an item is not packed");
}

fn first_fit(sizes: &[u64], capacity: u64) -> usize {
    let mut free: Vec<u64> = Vec::new();
    for size in sizes {
        match free.iter_mut().find(|free| **free >= *size) {
            Some(free) => *free -= size,
            None => free.push(capacity - size),
        }
    }
    free.len()
}

fn best_fit(sizes: &[u64], capacity: u64) -> usize {
    let mut free: Vec<u64> = Vec::new();
    for size in sizes {
        match free.iter_mut().filter(|free| **free >= *size).min() {
            Some(free) => *free -= size,
            None => free.push(capacity - size),
        }
    }
    free.len()
}
