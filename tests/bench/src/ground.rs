//! Where everybody is measured: a cluster of one machine on an engine that nobody else uses.

use std::path::PathBuf;

use siso_tests::{OwnEngine, World, program};
use tempfile::TempDir;

/// A cluster, the engine below it, and where that engine keeps its state. Dropped in this order.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) world: World,
    pub(crate) own: OwnEngine,
    scratch: TempDir,
}

impl Ground {
    /// Starts an engine of its own and a cluster on it. The error says what the machine lacks.
    pub(crate) fn with_own_engine(name: &str) -> Result<Self, String> {
        let scratch = tempfile::Builder::new().prefix("siso-bench-").tempdir();
        let scratch = scratch.map_err(|error| error.to_string())?;
        let own = OwnEngine::start_ordinary(scratch.path())?;
        let world = World::on_engine(name, own.engine());
        Ok(Self { world, own, scratch })
    }

    /// Where the engine listens.
    pub(crate) fn socket(&self) -> String {
        self.own.engine().endpoint()
    }

    /// Writes a file beside the engine's.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.scratch.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// `sisoctl` with this cluster's context, ready for arguments.
    pub(crate) fn sisoctl(&self) -> std::process::Command {
        let mut command = std::process::Command::new(program("sisoctl"));
        command.arg("--context-file").arg(&self.world.ctl.context).env("NO_COLOR", "1");
        command
    }
}
