//! Where the programs under test are.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

const BUILD: &str = "cargo build --workspace --bins";
/// With `1`, programs that are older than their sources are tested all the same.
const OLD_VARIABLE: &str = "SISO_OLD_PROGRAMS";

/// The path of the program `name`, built beside this test. Cargo does not build the programs of
/// other packages for a test, so one that is missing or older than its sources is refused.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    current_program(name).unwrap_or_else(|why| panic!("{why}"))
}

/// The same; the error names what to run.
pub fn current_program(name: &str) -> Result<PathBuf, String> {
    let test = env::current_exe().map_err(|error| format!("the path of this test: {error}"))?;
    // target/PROFILE/deps/TEST, or target/PROFILE/PROGRAM
    let mut directory = test.parent().unwrap_or(Path::new("/"));
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(directory);
    }
    let program = directory.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    if !program.is_file() {
        return Err(format!("{} is missing: {BUILD}", program.display()));
    }
    let old = env::var(OLD_VARIABLE).is_ok_and(|value| value == "1");
    match newer_source(&program) {
        Some(source) if old => {
            // A warning must be seen without being asked for.
            let _ = writeln!(io::stderr(), "warning: {name} is older than {source}: {BUILD}");
        }
        Some(source) => {
            return Err(format!(
                "{} is older than {source}: {BUILD} ({OLD_VARIABLE}=1 tests it all the same)",
                program.display()
            ));
        }
        None => {}
    }
    Ok(program)
}

/// The path of the program `name` of an earlier version.
#[track_caller]
pub fn earlier_program(name: &str) -> PathBuf {
    built_earlier().unwrap_or_else(|why| panic!("{why}")).join(name)
}

/// Whether there are programs of an earlier version; the error names what makes them.
pub fn has_earlier_programs() -> Result<(), String> {
    built_earlier().map(drop)
}

/// `target/earlier`, where `tests/earlier.sh` puts them.
fn built_earlier() -> Result<PathBuf, String> {
    let test = env::current_exe().map_err(|error| format!("the path of this test: {error}"))?;
    let beside = test.ancestors().map(|above| above.join("earlier"));
    let mut built = beside.filter(|directory| directory.join("commit").is_file());
    built.next().ok_or_else(|| "programs of an earlier version: tests/earlier.sh".to_owned())
}

/// A source file that changed since the program was linked, from the list cargo leaves beside it.
fn newer_source(program: &Path) -> Option<String> {
    let built = fs::metadata(program).ok()?.modified().ok()?;
    let listing = fs::read_to_string(program.with_extension("d")).ok()?;
    let (_, sources) = listing.split_once(": ")?;
    let newer = |source: &&str| {
        fs::metadata(source).and_then(|file| file.modified()).is_ok_and(|changed| changed > built)
    };
    sources.split_whitespace().find(newer).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_program_older_than_one_of_its_sources_is_found_out_by_that_source() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (program, listing) = (path("siso"), path("siso.d"));
        let (old, new) = (path("old.rs"), path("new.rs"));
        let now = SystemTime::now();
        for (file, age) in [(&program, 100), (&old, 200), (&new, 300)] {
            let file = fs::File::create(file).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
        }
        assert_eq!(newer_source(&program), None, "without a list nothing is known");
        let line = format!("{}: {} {}\n", program.display(), old.display(), new.display());
        fs::write(&listing, line).unwrap();
        assert_eq!(newer_source(&program), None);
        fs::File::options().write(true).open(&new).unwrap().set_modified(now).unwrap();
        assert_eq!(newer_source(&program), Some(new.display().to_string()));
    }
}
