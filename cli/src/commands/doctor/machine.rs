//! Memory, disks and ports of this machine.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use model::Bytes;
use tokio::{net::TcpStream, time::timeout};

use super::{Finding, engine, engine::EngineInfo};

/// Less than this and no database fits.
const LITTLE_MEMORY: Bytes = Bytes::gib(2);
/// Less than this and the next image does not fit.
const NO_DISK: Bytes = Bytes::gib(1);
/// Less than this and it will soon be full.
const LITTLE_DISK: Bytes = Bytes::gib(10);
/// How long a process of ours may take to show its metrics.
const METRICS_TIMEOUT: Duration = Duration::from_secs(2);
/// What every metric of ours begins with.
const METRIC_PREFIX: &str = "siso_";

/// A scheduler and an agent, each with its port and that of its metrics.
const PROGRAMS: [(&str, u16, u16); 2] =
    [("siso-scheduler", 7400, 7480), ("siso-agent", 7401, 7481)];

/// Looks at this machine.
pub(super) async fn examine(engine: Option<&EngineInfo>, data_dir: Option<&Path>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let offered = engine.map(|engine| Bytes(engine.mem_total));
    findings.push(judge_memory(offered, machine_memory()));
    findings.extend(power());
    if let Some(engine) = engine {
        findings.push(engine_disk(&engine.docker_root_dir));
    }
    let data_dir = data_dir.map_or_else(usual_data_dir, Path::to_owned);
    findings.push(disk("data disk", &data_dir, &data_dir));
    for (program, port, metrics) in PROGRAMS {
        let ours = is_ours(metrics).await;
        for port in [port, metrics] {
            findings.push(judge_port(program, port, is_free(port), ours));
        }
    }
    findings
}

fn judge_memory(engine: Option<Bytes>, machine: Option<Bytes>) -> Finding {
    const CHECK: &str = "memory";
    let Some(engine) = engine else {
        let found =
            machine.map_or("unknown".to_owned(), |machine| format!("{machine} in this machine"));
        return Finding::skip(CHECK, format!("{found}; the engine does not say what it has"));
    };
    let of = machine.map(|machine| format!(" of the machine's {machine}")).unwrap_or_default();
    let detail = format!("the engine has {engine}{of}");
    let more = "give its virtual machine more: `colima stop && colima start --cpu 8 --memory 14 --disk 100`";
    if engine < LITTLE_MEMORY {
        return Finding::warn(CHECK, format!("{detail}, which is little")).fix(more);
    }
    // An engine in a virtual machine that was started with the default size.
    if machine.is_some_and(|machine| engine.0 < machine.0 / 2) {
        return Finding::warn(CHECK, format!("{detail}: more than half is out of its reach"))
            .fix(more);
    }
    Finding::ok(CHECK, detail)
}

fn machine_memory() -> Option<Bytes> {
    if cfg!(target_os = "macos") {
        let output = Command::new("sysctl").args(["-n", "hw.memsize"]).output().ok()?;
        return String::from_utf8(output.stdout).ok()?.trim().parse().ok().map(Bytes);
    }
    memory_of(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// `MemTotal` of `/proc/meminfo`, which counts in KiB.
fn memory_of(text: &str) -> Option<Bytes> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes(kib.saturating_mul(1024)))
}

/// Whether a Mac stays awake and comes back; a Linux machine that serves does not sleep unless it is told to.
fn power() -> Option<Finding> {
    if !cfg!(target_os = "macos") {
        return None;
    }
    let settings = Command::new("pmset").arg("-g").output().ok();
    Some(judge_power(&String::from_utf8_lossy(&settings?.stdout)))
}

/// By what `pmset -g` says: a setting and its number on each line.
fn judge_power(settings: &str) -> Finding {
    const CHECK: &str = "power";
    let setting = |name: &str| -> Option<u32> {
        let mut words = settings.lines().map(str::split_whitespace);
        words.find_map(|mut words| {
            (words.next() == Some(name)).then(|| words.next()?.parse().ok())?
        })
    };
    match (setting("sleep"), setting("autorestart")) {
        (None, _) => Finding::skip(CHECK, "`pmset -g` does not say whether this machine sleeps"),
        (Some(0), Some(0)) => Finding::warn(CHECK, "this machine stays off after a power cut")
            .fix("sudo pmset -a autorestart 1"),
        (Some(0), _) => Finding::ok(CHECK, "this machine does not sleep"),
        (Some(minutes), _) => {
            let detail = format!(
                "this machine sleeps when it was idle for {minutes} min, and all that runs on it"
            );
            Finding::fail(CHECK, detail).fix("sudo pmset -a sleep 0 disksleep 0")
        }
    }
}

fn engine_disk(root: &str) -> Finding {
    let path = Path::new(root);
    // In a virtual machine the directory is not on this machine.
    if cfg!(target_os = "macos") || !path.is_absolute() || fs::symlink_metadata(path).is_err() {
        let detail = format!("the engine keeps its data in {root}, which is not on this machine");
        return Finding::skip("engine disk", detail);
    }
    disk("engine disk", path, path)
}

/// `$XDG_STATE_HOME/siso`, as the quickstart has it.
fn usual_data_dir() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    variable("XDG_STATE_HOME").map(PathBuf::from).or_else(home).unwrap_or_default().join("siso")
}

/// The disk that holds, or will hold, `path`: that of its nearest directory that is there.
fn disk(check: &'static str, path: &Path, shown: &Path) -> Finding {
    match rustix::fs::statvfs(path) {
        Ok(stat) => {
            let free = Bytes(stat.f_bavail.saturating_mul(stat.f_frsize));
            let size = Bytes(stat.f_blocks.saturating_mul(stat.f_frsize));
            judge_disk(check, shown, free, size)
        }
        Err(rustix::io::Errno::NOENT) => match path.parent() {
            Some(parent) => disk(check, parent, shown),
            None => Finding::skip(check, format!("{} is not there", shown.display())),
        },
        Err(error) => Finding::skip(check, format!("cannot look at {}: {error}", shown.display())),
    }
}

fn judge_disk(check: &'static str, path: &Path, free: Bytes, size: Bytes) -> Finding {
    let detail = format!("{free} of {size} free for {}", path.display());
    let fix = "remove what is not needed: `docker system df`, `docker image prune`";
    if free < NO_DISK {
        Finding::fail(check, detail).fix(fix)
    } else if free < LITTLE_DISK {
        Finding::warn(check, detail).fix(fix)
    } else {
        Finding::ok(check, detail)
    }
}

fn is_free(port: u16) -> Result<(), ErrorKind> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map(drop).map_err(|error| error.kind())
}

/// Whether a process of ours shows its metrics there.
async fn is_ours(port: u16) -> bool {
    let asked = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        engine::get(stream, "/metrics").await.ok()
    };
    let answer = timeout(METRICS_TIMEOUT, asked).await.ok().flatten();
    answer.is_some_and(|text| String::from_utf8_lossy(&text).contains(METRIC_PREFIX))
}

fn judge_port(program: &str, port: u16, free: Result<(), ErrorKind>, ours: bool) -> Finding {
    let check = match port {
        7400 => "port 7400",
        7401 => "port 7401",
        7480 => "port 7480",
        _ => "port 7481",
    };
    match free {
        Ok(()) => Finding::ok(check, format!("free for {program}")),
        Err(ErrorKind::AddrInUse) if ours => Finding::ok(check, format!("{program} has it")),
        Err(ErrorKind::AddrInUse) => {
            let flag = if port < 7480 { "--listen" } else { "--metrics-listen" };
            Finding::warn(check, "another program has it")
                .fix(format!("end that program, or start {program} with `{flag} HOST:PORT`"))
        }
        Err(kind) => Finding::skip(check, format!("cannot tell: {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn memory_is_compared_with_the_machines() {
        let gib = |count: Option<u64>| count.map(Bytes::gib);
        for (engine, machine, expected) in [
            (Some(14), Some(16), Verdict::Ok),
            (Some(14), None, Verdict::Ok),
            (Some(7), Some(16), Verdict::Warn),
            (Some(1), Some(1), Verdict::Warn),
            (None, Some(16), Verdict::Skip),
        ] {
            assert_eq!(judge_memory(gib(engine), gib(machine)).result, expected);
        }
    }

    #[test]
    fn a_mac_that_sleeps_or_stays_off_is_told_how_not_to() {
        let told = |sleep: &str, autorestart: &str| {
            let settings = format!(
                "System-wide power settings:\nCurrently in use:\n standby              0\n \
                 autorestart          {autorestart}\n displaysleep         10\n sleep                {sleep}\n"
            );
            let finding = judge_power(&settings);
            (finding.result, finding.fix.unwrap_or_default())
        };
        assert_eq!(told("0", "1"), (Verdict::Ok, String::new()));
        let (verdict, fix) = told("1 (sleep prevented by powerd)", "1");
        assert_eq!((verdict, &*fix), (Verdict::Fail, "sudo pmset -a sleep 0 disksleep 0"));
        assert_eq!(told("0", "0"), (Verdict::Warn, "sudo pmset -a autorestart 1".to_owned()));
        assert_eq!(judge_power("").result, Verdict::Skip);
    }

    #[test]
    fn memory_is_read_from_the_kernels_words() {
        assert_eq!(memory_of("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(Bytes::mib(16)));
        assert_eq!(memory_of("nothing"), None);
    }

    #[test]
    fn a_disk_warns_before_it_is_full() {
        for (free, expected) in [(50, Verdict::Ok), (9, Verdict::Warn), (0, Verdict::Fail)] {
            let finding =
                judge_disk("data disk", Path::new("/x"), Bytes::gib(free), Bytes::gib(100));
            assert_eq!(finding.result, expected);
            assert_eq!(finding.fix.is_some(), expected != Verdict::Ok);
        }
    }

    #[test]
    fn a_directory_to_be_is_judged_by_the_disk_it_will_be_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("not/yet/there");
        let finding = disk("data disk", &path, &path);
        assert!(finding.detail.contains("free for"), "{finding:?}");
    }

    #[test]
    fn a_port_may_be_free_or_ours() {
        for (free, ours, expected) in [
            (Ok(()), false, Verdict::Ok),
            (Err(ErrorKind::AddrInUse), true, Verdict::Ok),
            (Err(ErrorKind::AddrInUse), false, Verdict::Warn),
            (Err(ErrorKind::PermissionDenied), false, Verdict::Skip),
        ] {
            assert_eq!(judge_port("siso-agent", 7401, free, ours).result, expected);
        }
    }
}
