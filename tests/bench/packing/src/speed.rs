//! Decisions per second: find, place, remove; with the full score, labels and host ports.

use std::{path::Path, time::Instant};

use packing::{Measure, Online};

use crate::{clock::Clock, draw::Draw, instance};

/// Label classes of the nodes.
const CLASSES: usize = 4;

/// Prints the table.
pub(crate) fn measure(directory: &Path) {
    let clusters = instance::clusters(&directory.join("cluster/planted.json"));
    let known: Vec<Vec<u64>> =
        clusters.iter().flat_map(|c| &c.problem.items).map(|item| item.demand.clone()).collect();
    println!("\n## Decisions per second, one core: find, place and remove one, at 85 % load\n");
    println!("| nodes | decisions/s | p99 |\n|---|---|---|");
    for nodes in [10, 100, 1_000, 10_000, 100_000] {
        let best = (0..5).map(|_| once(nodes, &known)).max_by(|a, b| a.0.total_cmp(&b.0));
        let (rate, p99) = best.expect("five runs");
        println!("| {nodes} | {:.2} M | {p99:.1} µs |", rate / 1e6);
    }
}

fn once(nodes: usize, known: &[Vec<u64>]) -> (f64, f64) {
    let mut draw = Draw::new(1);
    let mean = |at: usize| known.iter().map(|one| one[at]).sum::<u64>() / known.len() as u64;
    let means = [mean(0), mean(1), mean(2)];
    let capacity = vec![14_336, 8_000, 204_800];
    let measure = Measure::new(&means, &capacity, packing::BINDING_SLACK);
    let classes: Vec<usize> = (0..nodes).map(|_| draw.below(CLASSES)).collect();
    let mut online = Online::new(&vec![capacity.clone(); nodes], classes, measure);
    let mut ports: Vec<u64> = vec![0; nodes];
    let mut placed: Vec<(usize, usize, u64)> = Vec::new();
    let mut used = 0;
    let ask = |draw: &mut Draw| {
        let port = if draw.below(20) == 0 { 1 << draw.below(64) } else { 0 };
        // One in ten is restricted to the nodes of one label.
        let class = if draw.below(10) == 0 { Some(draw.below(CLASSES)) } else { None };
        (draw.below(known.len()), port, class)
    };
    let cost = |wanted: Option<usize>, class: usize| match wanted {
        Some(wanted) => (wanted == class).then_some(0),
        None => Some([0, 0, 0, 6_000][class]),
    };
    while used < nodes as u64 * 14_336 * 85 / 100 {
        let (item, port, class) = ask(&mut draw);
        let found = online.best(&known[item], |c| cost(class, c), |node| ports[node] & port == 0);
        let Some(node) = found else { break };
        online.put(node, &known[item]);
        ports[node] |= port;
        placed.push((item, node, port));
        used += known[item][0];
    }
    let rounds = 200_000;
    let asks: Vec<_> = (0..rounds).map(|_| (ask(&mut draw), draw.below(placed.len()))).collect();
    let mut turn = |times: Option<&mut Vec<u64>>| {
        let clock = Clock::start();
        let mut each = times;
        for ((item, port, class), gone) in &asks {
            let begun = each.is_some().then(Instant::now);
            let (old, node, held) = placed[*gone];
            online.take(node, &known[old]);
            ports[node] &= !held;
            let found =
                online.best(&known[*item], |c| cost(*class, c), |node| ports[node] & port == 0);
            let (item, node, held) = found.map_or((old, node, held), |node| (*item, node, *port));
            online.put(node, &known[item]);
            ports[node] |= held;
            placed[*gone] = (item, node, held);
            if let (Some(times), Some(begun)) = (each.as_mut(), begun) {
                times.push(begun.elapsed().as_nanos() as u64);
            }
        }
        clock.milliseconds() / 1e3
    };
    let seconds = turn(None);
    let mut times = Vec::with_capacity(rounds);
    turn(Some(&mut times));
    times.sort_unstable();
    (rounds as f64 / seconds, times[rounds * 99 / 100] as f64 / 1e3)
}
