//! The stories in `scripts/`, each with what it shows as a snapshot.

use std::{fs, path::Path};

#[test]
fn the_stories_end_as_they_did() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut names: Vec<_> = fs::read_dir(&directory)
        .expect("the scripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    names.sort();
    assert!(names.len() >= 6, "{names:?}");
    for path in names {
        let script = fs::read_to_string(&path).expect("a script");
        let told = siso_sim::script::tell(&script);
        let told = told.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&directory);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, told));
    }
}
