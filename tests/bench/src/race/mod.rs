//! From a stack file to running containers: ours, the engine's own interface alone, Swarm and Compose,
//! in turns on one engine.
//!
//! When everything runs is what the engine says of its containers, for everybody: the latest start of
//! them all. A container of ours counts as ready only after it has run for a second, so that `sisoctl
//! apply` returns that much later; both are shown.

mod direct;
mod engine;
mod others;
mod siso;

use std::{path::Path, time::SystemTime};

use crate::{
    figure::{Report, Wanted, median},
    ground::Ground,
    say,
};

/// Services in the stack.
pub(crate) const SERVICES: usize = 7;
/// The stack's name with everybody.
pub(crate) const STACK: &str = "race";

/// One way from nothing to running.
pub(crate) trait Contestant {
    /// How it is called in the table.
    fn name(&self) -> String;

    /// Brings everything up; returns when the contestant says that it is done.
    fn up(&self, ground: &Ground);

    /// How the contestant's containers are told from others: a label.
    fn label(&self) -> String;

    /// Brings everything up again, although it is; `None` when there is no such thing.
    fn again(&self, ground: &Ground) -> Option<()>;

    /// Removes everything.
    fn down(&self, ground: &Ground);
}

/// What one contestant took, in milliseconds.
#[derive(Debug, Default)]
struct Times {
    running: Vec<f64>,
    returned: Vec<f64>,
    again: Vec<f64>,
}

/// The text of the stack, as every contestant can read it.
pub(crate) fn stack(services: usize) -> String {
    let service = |number: usize| {
        format!(
            "  s{number}:
    image: siso/test:1
    command: [sleep, \"100000\"]
    init: true
    stop_grace_period: 1s
    logging:
      driver: local
      options: {{max-size: 10m, max-file: \"3\"}}
    deploy:
      resources:
        limits: {{memory: 64M}}
        reservations: {{memory: 16M}}
"
        )
    };
    let all: String = (1..=services).map(service).collect();
    format!("services:\n{all}")
}

/// Milliseconds from `since` to now.
pub(crate) fn millis_since(since: SystemTime) -> f64 {
    since.elapsed().unwrap_or_default().as_secs_f64() * 1e3
}

fn turn(contestant: &dyn Contestant, ground: &Ground, times: &mut Times) {
    let engine = ground.own.engine();
    let began = SystemTime::now();
    contestant.up(ground);
    times.returned.push(millis_since(began));
    let last = engine::wait_running(engine, &contestant.label(), SERVICES);
    times.running.push(engine::millis_between(began, &last));
    let began = SystemTime::now();
    if contestant.again(ground).is_some() {
        times.again.push(millis_since(began));
    }
    contestant.down(ground);
    engine::wait_gone(engine, &contestant.label());
}

/// Measures in turns.
pub(crate) fn measure(report: &mut Report, rounds: usize, compose: Option<&Path>) {
    say("from a stack file to running containers");
    let ground = match Ground::with_own_engine("bench-apply") {
        Ok(ground) => ground,
        Err(missing) => return report.remark(format!("apply: not measured, since {missing}")),
    };
    let ours = siso::Siso::new(&ground);
    let direct = direct::Direct::as_made_by(&ours, &ground);
    let mut contestants: Vec<Box<dyn Contestant>> = vec![Box::new(ours), Box::new(direct)];
    match others::Swarm::new(&ground) {
        Ok(swarm) => contestants.push(Box::new(swarm)),
        Err(why) => report.remark(format!("docker stack deploy: not measured, {why}")),
    }
    match compose {
        Some(program) => contestants.push(Box::new(others::Compose::new(program, &ground))),
        None => report.remark("Compose 2: not measured, its program was not given"),
    }
    let mut times: Vec<Times> = contestants.iter().map(|_| Times::default()).collect();
    for round in 1..=rounds {
        say(&format!("round {round} of {rounds}"));
        // Another begins in each round: whoever comes first finds the engine as the last one left it.
        for index in (0..contestants.len()).map(|index| (index + round) % contestants.len()) {
            if let (Some(contestant), Some(times)) = (contestants.get(index), times.get_mut(index))
            {
                turn(contestant.as_ref(), &ground, times);
            }
        }
    }
    tell(report, &contestants, &times);
    reads(report, rounds, &ground);
}

fn tell(report: &mut Report, contestants: &[Box<dyn Contestant>], times: &[Times]) {
    for (contestant, times) in contestants.iter().zip(times) {
        let what = |figure: &str| format!("{}: {figure}", contestant.name());
        let running = what(&format!("{SERVICES} services running"));
        report.add("apply", (running, "ms"), times.running.clone(), None);
        report.add("apply", (what("command returned"), "ms"), times.returned.clone(), None);
        if !times.again.is_empty() {
            let wanted = contestant.name().starts_with("siso").then_some(Wanted::AtMost(60.0));
            report.add("apply", (what("nothing to change"), "ms"), times.again.clone(), wanted);
        }
    }
    let Some((ours, others)) = times.split_first() else { return };
    for (index, (contestant, times)) in contestants.iter().skip(1).zip(others).enumerate() {
        // The engine alone does the least that has to be done.
        let most = if index == 0 { 1.2 } else { 1.0 };
        let pairs = ours.running.iter().zip(&times.running);
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
        let what = format!("siso : {}, all running", contestant.name());
        report.add("apply", (what, ""), ratios, Some(Wanted::AtMost(most)));
    }
}

/// What is asked all day.
fn reads(report: &mut Report, rounds: usize, ground: &Ground) {
    let ours = siso::Siso::new(ground);
    ours.up(ground);
    let mut took = Vec::new();
    for _ in 0..rounds {
        let began = SystemTime::now();
        let output = ground.sisoctl().arg("ps").output().expect("sisoctl");
        took.push(millis_since(began));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    report.add("apply", ("siso: sisoctl ps", "ms"), took.clone(), Some(Wanted::AtMost(30.0)));
    ours.down(ground);
    say(&format!("ps: {:.1} ms", median(&took)));
}
