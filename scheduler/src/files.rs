//! Files and directories only their owner may read, written whole or not at all. Keys lie in them,
//! and the environment of services, which holds passwords more often than it should.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

/// What the name of a file ends with before it is renamed into its place.
const BESIDE: &str = "tmp";

/// Makes the directory, and those above it, with mode 0700; leaves alone what is there.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes `text` to `path` with mode 0600: beside first, synced, then renamed over what was there.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    write_all_private(&[(path, text)])
}

/// The same for several files of one directory. None is replaced before all are written: what the disk does not
/// take changes nothing. Who is ended amidst may leave some that are new and some that are not.
pub(crate) fn write_all_private(files: &[(&Path, &str)]) -> io::Result<()> {
    for (path, text) in files {
        write_beside(&path.with_added_extension(BESIDE), text)?;
    }
    for (path, _) in files {
        fs::rename(path.with_added_extension(BESIDE), path)?;
    }
    let directory = files.last().and_then(|(path, _)| path.parent());
    directory.map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn write_beside(beside: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The text of the file; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// All of what is left in the file, of which no more is read than it may have.
pub(crate) fn read_at_most(file: &mut impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let text = format!("it has more than the {most} bytes that one of its kind may have");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn private_files_are_replaced_whole() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("new");
        make_private_directory(&directory).unwrap();
        make_private_directory(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        let path = directory.join("file");
        assert_eq!(read(&path).unwrap(), None);
        write_private(&path, "one").unwrap();
        // Left behind by a process that was killed.
        fs::write(path.with_added_extension(BESIDE), "half").unwrap();
        write_private(&path, "two").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn of_several_files_none_is_replaced_when_one_cannot_be_written() {
        let parent = tempfile::tempdir().unwrap();
        let [key, certificate] = ["own.key", "own.crt"].map(|name| parent.path().join(name));
        let write = |text| write_all_private(&[(&key, text), (&certificate, text)]);
        let held = || [&key, &certificate].map(|path| read(path).unwrap().unwrap());
        write("old").unwrap();
        let beside = certificate.with_added_extension(BESIDE);
        fs::create_dir(&beside).unwrap();
        write("new").unwrap_err();
        assert_eq!(held(), ["old", "old"]);
        fs::remove_dir(&beside).unwrap();
        write("new").unwrap();
        assert_eq!(held(), ["new", "new"]);
    }

    /// Whoever could put a link into the directory must not have it written through.
    #[test]
    fn a_link_in_the_place_of_a_file_is_replaced_and_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let (victim, path) = (parent.path().join("victim"), parent.path().join("file"));
        for link in [path.clone(), path.with_added_extension(BESIDE)] {
            fs::write(&victim, "untouched").unwrap();
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&victim, &link).unwrap();
            write_private(&path, "secret").unwrap();
            assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
            assert_eq!(fs::read_to_string(&path).unwrap(), "secret");
            assert!(!path.is_symlink());
        }
    }

    #[test]
    fn of_a_file_that_is_too_long_no_more_is_read_than_it_may_have() {
        assert_eq!(read_at_most(&mut &b"four"[..], 4).unwrap(), b"four");
        let refused = read_at_most(&mut io::repeat(0), 4).unwrap_err();
        assert!(refused.to_string().contains("more than the 4 bytes"), "{refused}");
    }
}
