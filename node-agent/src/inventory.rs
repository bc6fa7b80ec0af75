//! What this machine offers: what the engine says, less what the person who runs it keeps back.

use std::path::Path;

use model::{Allows, Bytes, Generic, Inventory};

use crate::runtime::EngineFacts;

/// Free disk is reported again when it has changed by this part of the whole: every report is a
/// write in the cluster's log.
const DISK_STEPS: u64 = 50;

/// What a person keeps back, and what is permitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// `--memory-budget`
    pub memory_budget: Option<Bytes>,
    /// `--reserve-memory`
    pub memory_reserve: Bytes,
    /// [`Policy::told`](crate::policy::Policy::told)
    pub allows: Option<Allows>,
    /// `--generic`
    pub generic: Generic,
}

/// What is offered before the engine has answered for the first time.
pub fn unknown(bounds: &Bounds) -> Inventory {
    Inventory {
        memory_budget: bounds.memory_budget,
        memory_reserve: bounds.memory_reserve,
        allows: bounds.allows.clone(),
        generic: bounds.generic.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Inventory::default()
    }
}

/// What is offered while the engine answers.
pub fn of(facts: &EngineFacts, bounds: &Bounds) -> Inventory {
    let (disk, disk_free) = disk(&facts.root);
    Inventory {
        memory: facts.memory,
        cpu: facts.cpu,
        arch: facts.arch.clone(),
        os: facts.os.clone(),
        engine: facts.engine.clone(),
        disk,
        disk_free,
        engine_ready: true,
        ..unknown(bounds)
    }
}

/// Size and free space of the disk below a directory; nothing when it cannot be seen from here, as
/// when the engine runs in a virtual machine.
pub(crate) fn disk(directory: &Path) -> (Bytes, Bytes) {
    match rustix::fs::statvfs(directory) {
        Ok(found) => {
            let bytes = |blocks: u64| Bytes(blocks.saturating_mul(found.f_frsize));
            (bytes(found.f_blocks), bytes(found.f_bavail))
        }
        Err(_) => (Bytes::ZERO, Bytes::ZERO),
    }
}

/// Whether the scheduler should hear of the difference.
pub fn differs(held: &Inventory, news: &Inventory) -> bool {
    let changed = held.disk_free.0.abs_diff(news.disk_free.0);
    let moved = changed > news.disk.0 / DISK_STEPS;
    let steady = Inventory { disk_free: held.disk_free, ..news.clone() };
    moved || steady != *held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_less_disk_is_no_news() {
        let held = Inventory {
            disk: Bytes::gib(100),
            disk_free: Bytes::gib(50),
            engine_ready: true,
            ..Inventory::default()
        };
        let check = |change: fn(&mut Inventory), expected: bool| {
            let mut news = held.clone();
            change(&mut news);
            assert_eq!(differs(&held, &news), expected, "{news:?}");
        };
        check(|_| {}, false);
        check(|news| news.disk_free = Bytes::gib(49), false);
        check(|news| news.disk_free = Bytes::gib(40), true);
        check(|news| news.engine_ready = false, true);
        check(|news| news.memory = Bytes::gib(1), true);
    }

    #[test]
    fn what_is_kept_back_is_told_with_what_there_is() {
        let facts = EngineFacts { memory: Bytes::gib(16), ..EngineFacts::default() };
        let bounds = Bounds {
            memory_budget: Some(Bytes::gib(14)),
            memory_reserve: Bytes::mib(512),
            allows: Some(Allows::default()),
            generic: Generic::NONE,
        };
        let offered = of(&facts, &bounds);
        assert_eq!(offered.allocatable().memory, Bytes(14 * (1 << 30) - (512 << 20)));
        assert!(offered.engine_ready && !unknown(&bounds).engine_ready);
        assert_eq!((&offered.allows, &unknown(&bounds).allows), (&bounds.allows, &bounds.allows));
    }
}
