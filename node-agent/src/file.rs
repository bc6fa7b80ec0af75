//! Files that are whole or not there: written anew, synced, renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Readable and writable by the agent's user only.
const PRIVATE: u32 = 0o600;

/// Replaces a file durably: after this returns, a power cut leaves the new content; if it fails, the
/// old. An error of a sync is not tried again: the system may have dropped the data.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path)?;
    File::open(parent)?.sync_all()
}

/// A file's content; `None` when there is none. Refuses one larger than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let size = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if size > most {
        let message = format!("{size} bytes, {most} at most");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    fs::read(path).map(Some)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Whoever could put a link into the directory must not have it written through.
    #[test]
    fn a_link_in_the_place_of_an_agents_file_is_replaced_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (victim, path) = (directory.path().join("victim"), directory.path().join("ledger"));
        for link in [path.clone(), path.with_extension("new")] {
            fs::write(&victim, "untouched").unwrap();
            let _ = fs::remove_file(&link);
            symlink(&victim, &link).unwrap();
            replace(&path, b"whole").unwrap();
            assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
            assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
            assert!(!path.is_symlink());
        }
    }
}
