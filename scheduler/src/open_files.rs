//! How many files and connections the system lets this process have open.
//!
//! **Invariant:** connections never take the last ones: a log that cannot open a file stops.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than all connections and files together ever need.
const WANTED: u64 = 4096;
/// Kept for files: the log, snapshots, certificates, and what libraries open.
const KEPT_FOR_FILES: u64 = 128;

/// Asks for enough of them, as far as this process may. To be called once, at start.
pub fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if current.is_some_and(|current| current < wanted) {
        // Fewer are not enough for a thousand strangers, but for a cluster.
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
}

/// Of `wanted` connections, how many there may be.
pub(crate) fn connections(wanted: usize) -> usize {
    at_most(wanted, getrlimit(Resource::Nofile).current)
}

fn at_most(wanted: usize, files: Option<u64>) -> usize {
    let Some(files) = files else { return wanted };
    let left = files.saturating_sub(KEPT_FOR_FILES).max(files / 2);
    wanted.min(usize::try_from(left).unwrap_or(wanted)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_back_from_connections() {
        for (files, expected) in
            [(None, 1024), (Some(4096), 1024), (Some(1024), 896), (Some(64), 32), (Some(0), 1)]
        {
            assert_eq!(at_most(1024, files), expected, "{files:?}");
        }
    }
}
