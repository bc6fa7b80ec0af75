//! What the processes take while nothing happens: memory, processor time.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    figure::{Report, Wanted},
    ground::Ground,
    race, say,
};

/// Containers that run meanwhile.
const CONTAINERS: usize = 50;
/// After the last start, before it counts.
const CALM: Duration = Duration::from_secs(20);
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Ticks of the kernel's clock per second, as it counts for everybody who asks.
const TICKS: f64 = 100.0;

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
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        self.resident.push(megabytes(&status, "VmRSS:"));
        self.anonymous.push(megabytes(&status, "RssAnon:"));
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

fn megabytes(status: &str, key: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    kib * 1024.0 / 1e6
}

/// User and system time together.
fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name, in parentheses, may contain anything.
    let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    let fields: Vec<&str> = after.split(' ').collect();
    let ticks = |index: usize| -> f64 {
        fields.get(index).and_then(|field| field.parse().ok()).unwrap_or(f64::NAN)
    };
    (ticks(11) + ticks(12)) / TICKS
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
