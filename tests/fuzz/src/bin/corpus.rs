//! Takes the archive of a target's inputs apart for the guided fuzzer, and makes it of what that keeps.

use std::{env, fs, io, io::Write as _, path::Path, process::ExitCode};

use fuzz::archive;

const USAGE: &str = "usage: corpus unpack ARCHIVE DIRECTORY | corpus pack ARCHIVE DIRECTORY";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [verb, archive, directory] = &arguments[..] else { return fail(USAGE) };
    let (archive, directory) = (Path::new(archive), Path::new(directory));
    let done = match verb.as_str() {
        "unpack" => unpack(archive, directory),
        "pack" => pack(archive, directory),
        _ => return fail(USAGE),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{}: {error}", archive.display())),
    }
}

fn fail(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{why}");
    ExitCode::FAILURE
}

/// Writes each input to a file of its own.
fn unpack(archive: &Path, directory: &Path) -> io::Result<()> {
    let inputs = archive::read(&fs::read(archive)?).map_err(io::Error::other)?;
    fs::create_dir_all(directory)?;
    for (number, input) in inputs.into_iter().enumerate() {
        fs::write(directory.join(format!("{number:06}")), input)?;
    }
    Ok(())
}

/// Makes the archive of the files, the smaller ones first, as many as fit. Without any it stays as it
/// was.
fn pack(archive: &Path, directory: &Path) -> io::Result<()> {
    let files = fs::read_dir(directory)?;
    let inputs = files.map(|file| fs::read(file?.path())).collect::<io::Result<Vec<_>>>()?;
    let bytes = archive::write(inputs);
    archive::read(&bytes).map_err(io::Error::other)?;
    let beside = archive.with_extension("tmp");
    fs::write(&beside, bytes)?;
    fs::rename(beside, archive)
}
