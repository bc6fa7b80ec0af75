//! Room on the disk: a change is refused while there is still room for the log, not when there is none
//! any more. A log that cannot be written has to stop; one that refuses goes on answering questions.

use std::path::Path;

use scheduler_core::Command;

use super::LogError;

/// Changes people ask for, and plans, are taken while this much is free: the log, two snapshots and
/// the reports below it fit many times over.
pub(super) const LEAST_FOR_CHANGES: u64 = 32 << 20;
/// Reports of agents and what follows from them are taken down to this: what has ended must be known
/// to have ended. What takes something away may be what frees the disk.
const LEAST_FOR_REPORTS: u64 = 8 << 20;
/// Entries that a leader has taken are taken down to this: below, not even their segment may fit, and a
/// log that cannot be written stops.
pub(super) const LEAST_FOR_ENTRIES: u64 = 4 << 20;

/// What must be free on the disk for this command to be taken.
pub(super) fn least_for(command: &Command) -> u64 {
    match command {
        Command::SetLiveness { .. }
        | Command::UpdateNode { .. }
        | Command::ReportTasks { .. }
        | Command::ConfirmVolumesRemoved { .. }
        | Command::RemoveStack { .. }
        | Command::RemoveNode { .. }
        | Command::RemoveScheduler { .. }
        | Command::AdvanceAuthority { .. }
        | Command::HoldAuthority { .. }
        | Command::RevokeToken { .. } => LEAST_FOR_REPORTS,
        _ => LEAST_FOR_CHANGES,
    }
}

/// How much must be free to take a snapshot of `size` bytes: it is written beside the two before it.
pub(super) fn least_for_snapshot(size: u64) -> u64 {
    LEAST_FOR_ENTRIES.saturating_add(size)
}

/// Whether this leader's disk is so full that another one should lead.
pub(super) fn is_scarce(directory: &Path) -> bool {
    check(directory, LEAST_FOR_CHANGES).is_err()
}

/// Refuses when less than `least` bytes are free where `directory` lies. A disk that does not say is
/// taken to have room: if not, writing tells.
pub(super) fn check(directory: &Path, least: u64) -> Result<(), LogError> {
    let Ok(disk) = rustix::fs::statvfs(directory) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= least {
        return Ok(());
    }
    Err(LogError::DiskFull { path: directory.to_owned(), free, least })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_something_away_is_taken_on_a_nearly_full_disk() {
        let node = model::NodeId::new(1);
        for frees in [
            Command::RemoveNode { node, tasks: true, volumes: true, down_since: None },
            Command::RemoveScheduler { scheduler: 3 },
            Command::RemoveStack { stack: "s".parse().unwrap(), volumes: true },
            Command::RevokeToken { token: model::TokenId::new(1) },
        ] {
            assert_eq!(least_for(&frees), LEAST_FOR_REPORTS, "{frees:?}");
        }
        let name = "s".parse().unwrap();
        let more = Command::RollbackStack { stack: name, to: None };
        assert_eq!(least_for(&more), LEAST_FOR_CHANGES);
    }

    #[test]
    fn too_little_room_is_refused_with_amounts() {
        let directory = tempfile::tempdir().unwrap();
        check(directory.path(), 1).unwrap();
        let refused = check(directory.path(), u64::MAX).unwrap_err().to_string();
        assert!(refused.contains("MiB free") && refused.contains("nothing is lost"), "{refused}");
        check(Path::new("/there/is/no/such/directory"), u64::MAX).unwrap();
    }
}
