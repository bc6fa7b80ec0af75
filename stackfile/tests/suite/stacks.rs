//! The stacks that come with Siso can be applied, and its imagined nodes be planned on.

use std::{fs, path::Path};

use crate::support::Case;
use siso_stackfile::{SourceFile, nodes};

#[test]
fn every_stack_of_the_repository_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/stacks");
    let mut stacks = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let file = SourceFile::new(path.display().to_string(), fs::read(&path).unwrap());
        let is_nodes = file.bytes.windows(7).any(|window| window == b"\nnodes:");
        if is_nodes {
            assert!(!nodes(&file).unwrap_or_else(|error| panic!("{error}")).nodes.is_empty());
            continue;
        }
        let case = Case { files: vec![file], ..Case::default() };
        let loaded = case.load().unwrap_or_else(|error| panic!("{error}"));
        assert!(!loaded.stack.services.is_empty());
        stacks += 1;
    }
    assert!(stacks > 0, "{} holds no stack", folder.display());
}
