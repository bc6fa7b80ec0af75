//! draft
mod instance;
use std::{path::PathBuf, time::Instant};
use packing::{Budget, check, pack};
fn main() {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap());
    let steps: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let only = std::env::args().nth(3).unwrap_or_default();
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
