//! What the processes take while nothing happens: memory, processor time.

use std::time::{Duration, Instant};

use crate::{
    figure::{Report, Wanted},
    ground::Ground,
    process::{megabytes, processor_seconds},
    race, say,
};

/// Containers that run meanwhile.
const CONTAINERS: usize = 50;
/// After the last start, before it counts.
const CALM: Duration = Duration::from_secs(20);
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// One process that is watched.
struct Watched {
    name: &'static str,
    pid: u32,
    most: f64,
    resident: Vec<f64>,
    anonymous: Vec<f64>,
    /// Percent of one core, between two looks.
    busy: Vec<f64>,
    last: (Instant, f64),
}

impl Watched {
    fn new(name: &'static str, pid: u32, most: f64) -> Self {
        let last = (Instant::now(), processor_seconds(pid));
        let (resident, anonymous, busy) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, pid, most, resident, anonymous, busy, last }
    }

    fn look(&mut self) {
        self.resident.push(megabytes(self.pid, "VmRSS:"));
        self.anonymous.push(megabytes(self.pid, "RssAnon:"));
        let now = (Instant::now(), processor_seconds(self.pid));
        let passed = (now.0 - self.last.0).as_secs_f64();
        self.busy.push((now.1 - self.last.1) / passed * 100.0);
        self.last = now;
    }

    fn report(&self, report: &mut Report) {
        let what = |figure: &str| format!("{}, {figure}", self.name);
        let most = Some(Wanted::AtMost(self.most));
        report.add("idle", (what("resident"), "MB"), self.resident.clone(), most);
        report.add("idle", (what("of that anonymous"), "MB"), self.anonymous.clone(), None);
        let mean = self.busy.iter().sum::<f64>() / f64::from(count(&self.busy));
        let some = Some(Wanted::AtMost(0.5));
        report.add("idle", (what("processor, mean"), "% of a core"), vec![mean], some);
        if let [first, .., last] = self.resident.as_slice() {
            let grown = (last - first) * 1e3;
            report.add("idle", (what("grown from first to last"), "kB"), vec![grown], None);
        }
    }
}

fn count(samples: &[f64]) -> u32 {
    u32::try_from(samples.len()).unwrap_or(u32::MAX)
}

/// Starts fifty containers and watches.
pub(crate) fn measure(report: &mut Report, minutes: u64) {
    say(&format!("{CONTAINERS} containers and nothing to do, for {minutes} min"));
    let ground = match Ground::with_own_engine("bench-idle") {
        Ok(ground) => ground,
        Err(missing) => return report.remark(format!("idle: not measured, since {missing}")),
    };
    let text = format!("name: idle\n{}", race::stack(CONTAINERS));
    ground.world.apply(&text).expect(0);
    std::thread::sleep(CALM);
    let mut watched = [
        Watched::new("scheduler", ground.world.scheduler.pid(), 20.0),
        Watched::new("agent", ground.world.agent.pid(), 15.0),
    ];
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    while Instant::now() < end {
        std::thread::sleep(INTERVAL);
        watched.iter_mut().for_each(Watched::look);
    }
    for process in &watched {
        process.report(report);
    }
    report.remark(format!("idle: {CONTAINERS} containers on one machine, {minutes} min"));
}
