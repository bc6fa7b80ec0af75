//! Ours: `sisoctl apply`.

use std::path::PathBuf;

use super::{Contestant, SERVICES, STACK, stack};
use crate::ground::Ground;

#[derive(Debug)]
pub(super) struct Siso {
    file: PathBuf,
    cluster: String,
}

impl Siso {
    pub(super) fn new(ground: &Ground) -> Self {
        let file = ground.write("siso.yaml", &format!("name: {STACK}\n{}", stack(SERVICES)));
        Self { file, cluster: ground.world.cluster().to_owned() }
    }

    fn run(ground: &Ground, arguments: &[&str]) {
        let output = ground.sisoctl().args(arguments).output().expect("sisoctl");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "sisoctl {arguments:?}: {said}");
    }
}

impl Contestant for Siso {
    fn name(&self) -> String {
        "siso".to_owned()
    }

    fn up(&self, ground: &Ground) {
        Self::run(ground, &["apply", "--yes", &self.file.display().to_string()]);
    }

    fn label(&self) -> String {
        format!("siso.cluster={}", self.cluster)
    }

    fn again(&self, ground: &Ground) -> Option<()> {
        self.up(ground);
        Some(())
    }

    fn down(&self, ground: &Ground) {
        Self::run(ground, &["stack", "rm", "--yes", STACK]);
    }
}
