//! Where the programs under test are.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

const BUILD: &str = "cargo build --workspace --bins";

/// The path of the program `name`, built beside this test. Cargo does not build the programs of
/// other packages for a test, so a missing one is named, and an old one too.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    // target/PROFILE/deps/TEST, or target/PROFILE/PROGRAM
    let mut directory = test.parent().expect("a test lives below target/");
    if directory.ends_with("deps") {
        directory = directory.parent().expect("target/PROFILE");
    }
    let program = directory.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "{} is missing: {BUILD}", program.display());
    if let Some(source) = newer_source(&program) {
        let _ = writeln!(io::stderr(), "warning: {name} is older than {source}: {BUILD}");
    }
    program
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
