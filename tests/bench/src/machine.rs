//! Where and of what the figures are.

use std::{env, fs, path::Path, process::Command};

use serde_json::{Value, json};

/// The first line a command prints; empty when it fails.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program).args(arguments).current_dir(root).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// The value of a line `key: value`.
fn value_of(text: &str, key: &str) -> String {
    let line = text.lines().find(|line| line.split(':').next().map(str::trim) == Some(key));
    let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
    value.unwrap_or("unknown").to_owned()
}

/// The machine, the commit and the command of this run.
pub(crate) fn describe(command: &str) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let processor = value_of(&read("/proc/cpuinfo"), "model name");
    let memory = value_of(&read("/proc/meminfo"), "MemTotal");
    let gib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 20;
    let system = read("/etc/os-release");
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let system = system.unwrap_or("an unknown system").trim_matches('"');
    let kernel = read("/proc/sys/kernel/osrelease");
    let scratch = env::temp_dir();
    let disk = first_line("stat", &["-f", "-c", "%T", &scratch.display().to_string()]);
    let commit = first_line("git", &["describe", "--always", "--dirty", "--abbrev=9"]);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    json!({
        "machine": format!("{cores} cores ({processor}), {gib} GiB, {system}, Linux {}", kernel.trim()),
        "disk": format!("{disk} at {}", scratch.display()),
        "load before": load,
        "commit": commit,
        "date": first_line("date", &["+%Y-%m-%d"]),
        "command": command,
    })
}
