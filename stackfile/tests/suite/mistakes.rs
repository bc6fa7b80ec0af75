//! The most ordinary mistakes and what is said about each: one file per mistake, one snapshot per
//! file. A change of words is seen in review as a change of these snapshots.

use std::{fs, path::Path};

use crate::support::Case;
use siso_stackfile::SourceFile;

#[test]
fn every_ordinary_mistake_has_a_message_one_would_thank_for() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 40, "only {} mistakes are left in {}", names.len(), folder.display());

    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for name in names {
            let file = format!("{name}.yaml");
            let bytes = fs::read(folder.join(&file)).unwrap();
            let case = Case { files: vec![SourceFile::new(file, bytes)], ..Case::default() };
            insta::assert_snapshot!(name, case.errors());
        }
    });
}
