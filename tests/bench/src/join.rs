//! From a token to a node that is ready, by hand and by `node add`.

use std::{thread, time::Instant};

use siso_tests::{Engine, Sshd, World, program};

use crate::{
    figure::{Report, Wanted},
    say,
};

const READY_WITHIN: Option<Wanted> = Some(Wanted::AtMost(10.0));
/// Nobody is slower by far.
const LIMIT_SECONDS: u64 = 120;

fn name(way: &str, round: usize) -> String {
    format!("{way}-{round}")
}

/// Waits until `node ls` calls it ready.
fn wait_ready(world: &World, name: &str, since: Instant) -> f64 {
    loop {
        let nodes = world.ctl.json(&["node", "ls"]);
        let mut rows = nodes.as_array().into_iter().flatten();
        if rows.any(|row| row["name"] == name && row["state"] == "ready") {
            return since.elapsed().as_secs_f64();
        }
        assert!(since.elapsed().as_secs() < LIMIT_SECONDS, "{name} is never ready: {nodes}");
        thread::yield_now();
    }
}

/// `token create`, the agent's start on an empty directory, and `node ls` until it is ready.
fn by_hand(world: &World, round: usize) -> f64 {
    let name = name("hand", round);
    let since = Instant::now();
    let agent = world.begin_agent(&name);
    let took = wait_ready(world, &name, since);
    drop(agent);
    took
}

/// `node add` over `sshd`, which returns when the node is ready.
fn over_ssh(world: &World, machine: &Sshd, round: usize) -> f64 {
    let name = name("ssh", round);
    let (ssh, endpoint) = (machine.ssh(), world.endpoint());
    let agent = program("siso-agent").display().to_string();
    let line = ["node", "add", "root@127.0.0.1", "--ssh", &ssh, "--scheduler", &endpoint];
    let since = Instant::now();
    world.ctl.run(&[&line[..], &["--agent", &agent, "--name", &name]].concat()).expect(0);
    since.elapsed().as_secs_f64()
}

/// Measures both, each round with a machine that has never been a node.
pub(crate) fn measure(report: &mut Report, rounds: usize) {
    say("machines that join");
    let engine = match Engine::with_test_image() {
        Ok(engine) => engine,
        Err(missing) => {
            return report.remark(format!("machines that join: not measured, since {missing}"));
        }
    };
    let world = World::on_engine("bench-join", &engine);
    let took = (0..rounds).map(|round| by_hand(&world, round)).collect();
    let what = ("token create, siso-agent, ready", "s");
    report.add("join", what, took, READY_WITHIN);
    let mut took = Vec::new();
    for round in 0..rounds {
        match Sshd::start() {
            Ok(machine) => took.push(over_ssh(&world, &machine, round)),
            Err(missing) => {
                return report.remark(format!("node add: not measured, since {missing}"));
            }
        }
    }
    report.add("join", ("node add over ssh, ready", "s"), took, READY_WITHIN);
}
