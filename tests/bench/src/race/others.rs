//! Those who do the same on one engine: Swarm and Compose, by their own programs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Contestant, SERVICES, STACK, stack};
use crate::ground::Ground;

/// Runs a command on the ground's engine; the error is what it said.
fn run(ground: &Ground, program: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .env("DOCKER_HOST", ground.socket())
        .env("DOCKER_CLI_HINTS", "false")
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[track_caller]
fn must(ground: &Ground, program: &Path, arguments: &[&str]) {
    run(ground, program, arguments).unwrap_or_else(|error| panic!("{error}"));
}

/// `docker stack deploy` on an engine that is a swarm of one.
#[derive(Debug)]
pub(super) struct Swarm {
    file: PathBuf,
}

impl Swarm {
    pub(super) fn new(ground: &Ground) -> Result<Self, String> {
        let init = ["swarm", "init", "--advertise-addr", "127.0.0.1"];
        run(ground, Path::new("docker"), &init)?;
        // The version tells its reader which keys to expect.
        let text = format!("version: \"3.8\"\n{}", stack(SERVICES));
        Ok(Self { file: ground.write("swarm.yaml", &text) })
    }
}

impl Contestant for Swarm {
    fn name(&self) -> String {
        "docker stack deploy".to_owned()
    }

    fn up(&self, ground: &Ground) {
        let file = self.file.display().to_string();
        // The images are here; nobody is to be asked about them.
        let deploy = ["stack", "deploy", "--resolve-image", "never", "-c", &file, STACK];
        must(ground, Path::new("docker"), &deploy);
    }

    fn label(&self) -> String {
        format!("com.docker.stack.namespace={STACK}")
    }

    fn again(&self, ground: &Ground) -> Option<()> {
        self.up(ground);
        Some(())
    }

    fn down(&self, ground: &Ground) {
        must(ground, Path::new("docker"), &["stack", "rm", STACK]);
    }
}

/// `docker-compose up`.
#[derive(Debug)]
pub(super) struct Compose {
    program: PathBuf,
    file: PathBuf,
}

impl Compose {
    pub(super) fn new(program: &Path, ground: &Ground) -> Self {
        let file = ground.write("compose.yaml", &stack(SERVICES));
        Self { program: program.to_owned(), file }
    }

    fn run(&self, ground: &Ground, arguments: &[&str]) {
        let file = self.file.display().to_string();
        let all = [&["-p", STACK, "-f", &file], arguments].concat();
        must(ground, &self.program, &all);
    }
}

impl Contestant for Compose {
    fn name(&self) -> String {
        "Compose 2".to_owned()
    }

    fn up(&self, ground: &Ground) {
        self.run(ground, &["up", "-d"]);
    }

    fn label(&self) -> String {
        format!("com.docker.compose.project={STACK}")
    }

    fn again(&self, ground: &Ground) -> Option<()> {
        self.up(ground);
        Some(())
    }

    fn down(&self, ground: &Ground) {
        self.run(ground, &["down", "-t", "1"]);
    }
}
