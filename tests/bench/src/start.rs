//! How large the programs are and how soon they are ready.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use siso_tests::{Engine, World, program};

use crate::{
    figure::{Report, Wanted},
    say,
};

const READY_WITHIN: Option<Wanted> = Some(Wanted::AtMost(200.0));

/// A process that is ended when it is no longer needed.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and waits for the line that says it is ready; answers how long that took.
fn start(program: &Path, arguments: &[String], directory: &Path) -> (Started, f64) {
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let stdout = child.stdout.take().expect("its stdout");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("its first line");
    let took = began.elapsed().as_secs_f64() * 1e3;
    assert!(!line.is_empty(), "{} ended before it was ready", program.display());
    (Started(child), took)
}

/// Measures sizes, and starts with and without a past.
pub(crate) fn measure(report: &mut Report, rounds: usize) {
    say("sizes and starts");
    for name in ["siso-scheduler", "siso-agent", "sisoctl"] {
        let bytes = fs::metadata(program(name)).expect("the program").len();
        let megabytes = u32::try_from(bytes).map_or(f64::INFINITY, f64::from) / 1e6;
        report.add(
            "start",
            (format!("{name}, size"), "MB"),
            vec![megabytes],
            Some(Wanted::AtMost(15.0)),
        );
    }
    let engine = Engine::with_test_image();
    let mut world = match &engine {
        Ok(engine) => World::on_engine("bench-start", engine),
        Err(_) => World::scheduler_only("bench-start"),
    };
    let (mut fresh, mut scheduler, mut agent) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let directory = world.path(&format!("fresh-{round}"));
        let flags = ["--data-dir", &directory.display().to_string(), "--cluster-name", "fresh"];
        let ports = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
        let flags = [flags, ports].concat().iter().map(|&flag| flag.to_owned()).collect::<Vec<_>>();
        let (_started, took) = start(world.scheduler.program(), &flags, &world.path(""));
        fresh.push(took);
    }
    for _ in 0..rounds {
        world.scheduler.kill9();
        let arguments = world.scheduler.arguments.clone();
        let (started, took) = start(world.scheduler.program(), &arguments, &world.path(""));
        scheduler.push(took);
        if engine.is_ok() {
            world.agent.kill9();
            let arguments = world.agent.arguments.clone();
            agent.push(start(world.agent.program(), &arguments, &world.path("")).1);
        }
        drop(started);
    }
    report.add("start", ("scheduler, founding a cluster", "ms"), fresh, READY_WITHIN);
    report.add("start", ("scheduler, after a kill", "ms"), scheduler, READY_WITHIN);
    match engine {
        Ok(_) => report.add("start", ("agent, after a kill", "ms"), agent, READY_WITHIN),
        Err(missing) => report.remark(format!("the agent's start: not measured, since {missing}")),
    }
}
