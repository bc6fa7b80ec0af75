//! draft
mod instance;
use std::{path::PathBuf, time::Instant};
use packing::{Budget, check, pack};
fn main() {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap());
    let steps: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let only = std::env::args().nth(3).unwrap_or_default();
    if only == "bpp" { return bpp(&dir, steps) }
    if only == "defrag" { return defrag(&dir, steps) }
    for family in ["planted", "planted_c", "planted_h", "planted_x"] {
        if !only.is_empty() && only != family { continue }
        let mut full = 0;
        for c in instance::clusters(&dir.join(format!("cluster/{family}.json"))) {
            let t = Instant::now();
            let g = pack(&c.problem, Budget::steps(1));
            let tg = t.elapsed();
            let t = Instant::now();
            let a = pack(&c.problem, Budget::steps(steps));
            let t = t.elapsed();
            check(&c.problem, &a.placement).unwrap();
            let lost = |a: &packing::Answer| a.left_out.iter().map(|i| c.problem.items[*i].demand[0]).sum::<u64>();
            let cap: u64 = c.problem.bins.iter().map(|b| b.capacity[0]).sum();
            println!("{:20} greedy {:5.2}% {:8.3} ms  search {:5.3}% {:3} left {:9} steps {:8.3} ms", c.name, 100.0 * lost(&g) as f64 / cap as f64, tg.as_secs_f64()*1e3, 100.0 * lost(&a) as f64 / cap as f64, a.left_out.len(), a.steps, t.as_secs_f64()*1e3);
            full += usize::from(a.left_out.is_empty());
        }
        println!("{family}: {full}");
    }
}

fn on_cpu() -> u64 { std::fs::read_to_string("/proc/thread-self/schedstat").unwrap().split(' ').next().unwrap().parse().unwrap() }
fn defrag(dir: &std::path::Path, steps: u64) {
    use std::collections::BTreeMap;
    let mut sums: BTreeMap<String, (u64, u64, u64, u64, u64)> = BTreeMap::new();
    for c in instance::clusters(&dir.join("cluster/defrag.json")) {
        let p = &c.problem;
        let wanted: Vec<usize> = (0..p.items.len()).filter(|i| p.items[*i].current.is_none()).collect();
        check(p, &p.current()).unwrap();
        let t = on_cpu();
        let m = packing::rescue(p, &wanted, Budget::steps(steps));
        let t = std::time::Duration::from_nanos(on_cpu() - t);
        check(p, &m.placement).unwrap();
        let kind = c.raw["kind"].as_str().unwrap();
        let r = &c.raw["ref"];
        let drained = c.raw["drained"].as_str();
        let forced = c.raw["items"].as_array().unwrap().iter().flat_map(|i| i["current"].as_array().into_iter().flatten()).filter(|n| drained.is_some() && n.as_str() == drained).count() as u64;
        let moves = m.moves + forced;
        let rf = r["moves"].as_u64().unwrap();
        let stops = m.sequence.iter().filter(|s| matches!(s, packing::Step::Stop{..})).count();
        println!("{:36} wanted {:2} left {} moves {} ref {} {} mem {} ref {} fewest {} seq {} stops {} steps {} {:.1} ms", c.name, wanted.len(), m.left_out.len(), moves, rf, if r["unplaced_memory"] == 0 {""} else {"(unsolvable)"}, m.moved, r["moved_memory"], m.fewest, m.sequence.len(), stops, m.steps, t.as_secs_f64()*1e3);
        let s = sums.entry(kind.to_owned()).or_default();
        s.0 += 1;
        if m.left_out.is_empty() { s.1 += 1; s.2 += moves; s.3 += rf; }
        s.4 = s.4.max(t.as_micros() as u64);
    }
    println!("{sums:?}");
}

fn bpp(dir: &std::path::Path, steps: u64) {
    for f in ["falkenauer_u", "falkenauer_t", "scholl_1", "scholl_2", "schwerin_1"] {
        let b = instance::read(&dir.join(format!("bpp/{f}.json")));
        let (mut n, mut opt, mut proven) = (0, 0, 0);
        let mut times = Vec::new();
        for x in b["instances"].as_array().unwrap() {
            let cap = [x["capacity"].as_u64().unwrap()];
            let demands: Vec<Vec<u64>> = x["items"].as_array().unwrap().iter().flat_map(|i| vec![vec![i[0].as_u64().unwrap()]; i[1].as_u64().unwrap() as usize]).collect();
            if std::env::args().nth(4).is_some_and(|f| !x["name"].as_str().unwrap().contains(&f)) { continue }
            let t = on_cpu();
            let a = packing::fewest_bins(&cap, &demands, Budget::steps(steps)).unwrap();
            let t = on_cpu() - t;
            times.push((t as f64 / 1e6, x["name"].as_str().unwrap().to_owned()));
            let ub = x["ub"].as_u64().unwrap() as usize;
            n += 1;
            opt += usize::from(a.bins.len() == ub);
            proven += usize::from(a.is_proven());
            assert!(a.at_least <= ub && a.bins.len() >= ub);
            let mut seen = vec![false; demands.len()];
            for b in &a.bins { assert!(b.iter().map(|i| demands[*i][0]).sum::<u64>() <= cap[0]); for i in b { assert!(!seen[*i]); seen[*i] = true; } }
            assert!(seen.iter().all(|s| *s));
            if !a.is_proven() { eprintln!("{} found {} lb {} opt {} {} ms {}", x["name"], a.bins.len(), a.at_least, ub, a.steps, t as f64 / 1e6); }
        }
        if n == 0 { continue }
        times.sort_by(|a, b| a.partial_cmp(b).unwrap());
        println!("{f:14} {n:4} optimal {opt:4} proven {proven:4} median {:.2} ms p99 {:?} max {:?}", times[n / 2].0, times[n * 99 / 100], times[n - 1]);
    }
}
