//! The clocks of the machine that go on while it sleeps.

use std::{path::Path, process::Command};

use crate::lease::Awake;

/// The hardware's clock, in seconds. Reading it needs no rights.
const HARDWARE: &str = "/sys/class/rtc/rtc0/since_epoch";
/// Changes with every boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What they show now.
pub fn awake() -> Awake {
    let time = rustix::time::clock_gettime(COUNTS_SLEEP);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    let boot = seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000);
    let hardware = std::fs::read_to_string(Path::new(HARDWARE)).ok();
    Awake { boot, hardware: hardware.and_then(|text| text.trim().parse().ok()) }
}

/// Elsewhere the monotonic clock counts sleep by itself.
#[cfg(target_os = "linux")]
const COUNTS_SLEEP: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const COUNTS_SLEEP: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

/// Which boot of the machine this is; `None` where that cannot be told.
pub fn boot_id() -> Option<String> {
    let told = std::fs::read_to_string(BOOT_ID).ok().or_else(session_of_macos)?;
    Some(told.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Agent and guard have to agree on it, so a name that each makes up for itself will not do.
fn session_of_macos() -> Option<String> {
    if !cfg!(target_os = "macos") {
        return None;
    }
    let told = Command::new("sysctl").args(["-n", "kern.bootsessionuuid"]).output().ok()?;
    told.status.success().then(|| String::from_utf8_lossy(&told.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on() {
        let before = awake();
        let later = awake();
        assert!(before.boot > 0 && later.boot >= before.boot, "{before:?} {later:?}");
        assert_eq!(boot_id(), boot_id());
    }
}
