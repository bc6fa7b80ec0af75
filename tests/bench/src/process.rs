//! What a process takes of the machine, as the kernel counts it.

use std::fs;

/// Ticks of the kernel's clock per second, as it counts for everybody who asks.
const TICKS: f64 = 100.0;

/// A line of `/proc/PID/status` that is an amount of memory, in megabytes.
pub(crate) fn megabytes(pid: u32, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    kib * 1024.0 / 1e6
}

/// User and system time together.
pub(crate) fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name, in parentheses, may contain anything.
    let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    let fields: Vec<&str> = after.split(' ').collect();
    let ticks = |index: usize| -> f64 {
        fields.get(index).and_then(|field| field.parse().ok()).unwrap_or(f64::NAN)
    };
    (ticks(11) + ticks(12)) / TICKS
}
