//! Wall clocks that are wrong, and that step while everything runs.

use std::{fs, path::Path, time::Duration};

use siso_tests::{Daemon, PATIENT, World, program, required, wait_until};

use crate::{
    agent_disks::{DISK_MIB, on_disk, wait_said},
    disk,
};

/// Where Debian puts it, by machine.
const LIBRARIES: [&str; 2] = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
/// What a machine's clock may do; the last puts it right again.
const STEPS: [&str; 6] = ["+1h", "-1h", "+30d", "-2y", "+400d", "+0"];
/// A node is down after 8 s.
const LONGER_THAN_SILENCE: Duration = Duration::from_secs(10);

const STACK: &str = "
name: timeless
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    healthcheck: { test: [CMD, 'true'], interval: 1s }
    deploy: { replicas: 2 }
  probe:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
";

/// A clock that can be set, for whichever processes are started with it.
pub(crate) struct Clock {
    pub(crate) wrapper: Vec<String>,
    file: std::path::PathBuf,
}

impl Clock {
    /// Right at first. The error says what the machine lacks.
    fn new(file: &Path) -> Result<Self, String> {
        let path = |machine| format!("/usr/lib/{machine}/faketime/libfaketimeMT.so.1");
        let mut found = LIBRARIES.into_iter().map(path).filter(|path| Path::new(path).exists());
        let library = found.next().ok_or("libfaketime is needed (the package faketime)")?;
        let settings = [
            format!("LD_PRELOAD={library}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        let wrapper = ["env".to_owned()].into_iter().chain(settings).collect();
        let clock = Self { wrapper, file: file.to_owned() };
        clock.set("+0");
        Ok(clock)
    }

    /// Steps, at once.
    pub(crate) fn set(&self, offset: &str) {
        let next = self.file.with_extension("next");
        fs::write(&next, offset).expect("the time");
        fs::rename(next, &self.file).expect("the time");
    }
}

#[track_caller]
pub(crate) fn clock(test: &str, world: &World) -> Option<Clock> {
    required(test, "SISO_REQUIRE_FAKETIME", Clock::new(&world.path("clock")))
}

/// The one container that may be ended to see whether anybody is at work.
#[track_caller]
fn probe(world: &World) -> String {
    world.container("timeless", "probe")
}

/// All is at work at this time: what ends is started again, and nothing else was.
#[track_caller]
fn check(world: &World, before: &std::collections::BTreeMap<String, String>, what: &str) {
    let id = probe(world);
    world.engine.kill(&id);
    wait_until(&format!("it is started again at {what}"), PATIENT, || {
        let now = world.running("timeless");
        if now.len() == 3 && now[&id] != before[&id] { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let mut now = world.running("timeless");
    now.insert(id.clone(), before[&id].clone());
    assert_eq!(&now, before, "{what}: something else was started");
}

/// What `sisoctl`, whose own clock is right, is told by a scheduler whose clock is this wrong.
fn refusal(step: &str) -> Option<&'static str> {
    match step {
        "-2y" => Some("check the clocks of both machines"),
        "+400d" => Some("check the clock of both machines"),
        _ => None,
    }
}

#[test]
fn a_clock_that_steps_while_everything_runs_restarts_nothing() {
    let Some(mut world) = World::new("clock-steps") else { return };
    let Some(clock) = clock("clock steps", &world) else { return };
    world.agent.kill9();
    world.scheduler.kill9();
    (world.agent.wrapper, world.scheduler.wrapper) = (clock.wrapper.clone(), clock.wrapper.clone());
    world.start_scheduler();
    world.start_agent();
    world.apply(STACK).expect(0);
    let tasks = tasks(&world);
    for step in STEPS {
        let before = world.wait_running("timeless", 3);
        clock.set(step);
        // Until a node that were silent since would be down.
        std::thread::sleep(LONGER_THAN_SILENCE);
        check(&world, &before, step);
        let answer = world.ctl.run(&["ps"]);
        match refusal(step) {
            None => drop(answer.expect(0)),
            Some(words) => {
                assert_ne!(answer.code, 0, "{step}: {answer}");
                let _ = answer.says(&[words]);
            }
        }
        clock.set("+0");
        world.wait_running("timeless", 3);
    }
    assert_eq!(self::tasks(&world), tasks, "a task was replaced");
    let said = world.scheduler.output("stderr");
    assert!(!said.contains("liveness=\"down\""), "a node was taken for dead: {said}");
    assert!(!said.contains("panicked") && !world.agent.output("stderr").contains("panicked"));
}

#[test]
fn an_authority_that_nobody_gave_up_for_an_hour_is_a_problem_with_its_way_out() {
    let mut world = World::scheduler_only("clock-authority");
    let Some(clock) = clock("an authority's change", &world) else { return };
    world.scheduler.kill9();
    world.scheduler.wrapper = clock.wrapper.clone();
    world.start_scheduler();
    world.ctl.run(&["authority", "rotate"]).expect(0);
    wait_until("the newer one signs", PATIENT, || {
        let view = world.ctl.json(&["authority", "ls"]);
        if view["phase"] == "moving" { Ok(()) } else { Err(view.to_string()) }
    });
    let problem = || {
        let status = world.ctl.json(&["status"]);
        let problems = status["problems"].as_array().cloned().unwrap_or_default();
        problems.into_iter().find(|problem| problem.to_string().contains("authority 1"))
    };
    assert_eq!(problem(), None, "nobody is hurried");
    clock.set("+61m");
    let told = problem().expect("it is told");
    assert_eq!(told["what"], "authority 1 is still trusted beside authority 2");
    assert!(told["fix"].to_string().contains("sisoctl authority finish"), "{told}");
    assert!(told["since"].is_string() && told["cause"].is_string(), "{told}");
    // Certificates begin an hour before they are made, and `sisoctl` has another clock.
    clock.set("+0");
    world.ctl.run(&["authority", "finish", "--yes"]).expect(0);
    clock.set("+61m");
    assert_eq!(problem(), None);
}

/// Waits until the agent that was started last has a session.
#[track_caller]
fn wait_session(world: &World) {
    wait_until("the agent has a session", PATIENT, || {
        let said = world.agent.output("stderr");
        if said.contains("session with a scheduler began") { Ok(()) } else { Err(said) }
    });
}

/// The ids of all tasks.
fn tasks(world: &World) -> Vec<String> {
    world.tasks("timeless").iter().map(|task| task["task"].to_string()).collect()
}

#[test]
fn an_agent_that_starts_with_a_wrong_clock_restarts_nothing_and_names_the_clock() {
    let Some(mut world) = World::new("clock-agent") else { return };
    let Some(clock) = clock("an agent's clock", &world) else { return };
    world.apply(STACK).expect(0);
    let tasks = tasks(&world);
    for (step, names) in [
        ("+1h", None),
        // Certificates are backdated by an hour, and may be older than this test.
        ("-30m", None),
        // Its own certificate is over, which it may renew; the scheduler's is not to be believed.
        ("+40d", Some("clock")),
        ("-2y", Some("clock")),
    ] {
        let before = world.wait_running("timeless", 3);
        world.agent.kill9();
        clock.set(step);
        world.agent.wrapper = clock.wrapper.clone();
        world.agent.start();
        world.agent.wait_ready();
        match names {
            None => wait_session(&world),
            Some(named) => wait_until(&format!("{named} is named at {step}"), PATIENT, || {
                let said = world.agent.output("stderr");
                let told = said.lines().any(|line| line.contains("WARN") && line.contains(named));
                if told { Ok(()) } else { Err(said) }
            }),
        }
        check(&world, &before, step);
        world.agent.kill9();
        world.agent.wrapper.clear();
        world.start_agent();
    }
    world.wait_running("timeless", 3);
    assert_eq!(self::tasks(&world), tasks, "a task was replaced");
}

/// What a machine's clock may say when nobody has ever set it, or somebody has set it wrong.
const YEARS_OFF: [&str; 2] = ["+10y", "-10y"];

/// Waits until it warns that one of the two clocks is wrong, and says what its own one says.
#[track_caller]
fn wait_clock_named(program: &Daemon, what: &str) {
    wait_until(&format!("{what}: the clock is named"), PATIENT, || {
        let said = program.output("stderr");
        let words =
            ["WARN", "joining was not possible", "this machine's clock says", "check the clocks"];
        let told = said.lines().any(|line| words.iter().all(|word| line.contains(word)));
        if told { Ok(()) } else { Err(said) }
    });
    let said = program.output("stderr");
    assert!(!said.contains("panicked") && program.output("stdout").is_empty(), "{said}");
}

/// An agent that wants to join with a token of its own, with a data directory of its own.
#[track_caller]
fn joining_agent(world: &World, number: usize) -> Daemon {
    let token = world.ctl.run(&["token", "create", "--role", "node"]).expect(0).stdout;
    let token = world.write(&format!("agent-{number}.token"), &token);
    let mut arguments = world.agent_arguments(&format!("agent-{number}"), &token);
    let at = arguments.iter().position(|argument| argument == "--name").expect("--name");
    arguments[at + 1] = format!("mini-{number}");
    Daemon::new(&format!("agent-{number}"), program("siso-agent"), arguments, &world.path("."))
}

/// How many nodes there are.
fn nodes(world: &World) -> usize {
    world.ctl.json(&["node", "ls"]).as_array().expect("a list of nodes").len()
}

#[test]
fn who_joins_with_a_clock_that_is_years_off_is_told_of_it_and_joins_once_it_is_right() {
    let world = World::scheduler_only("clock-joining");
    let Some(clock) = clock("the clock of who joins", &world) else { return };
    for (number, step) in (1..).zip(YEARS_OFF) {
        clock.set(step);
        let mut agent = joining_agent(&world, number);
        let mut scheduler = world.further_scheduler(&format!("further-{number}"));
        for joining in [&mut agent, &mut scheduler] {
            joining.wrapper = clock.wrapper.clone();
            joining.start();
            wait_clock_named(joining, step);
        }
        assert_eq!(nodes(&world), number - 1, "{step}: it has joined");
        clock.set("+0");
        agent.wait_ready();
        scheduler.wait_ready();
        wait_until("both have joined", PATIENT, || {
            let schedulers = world.ctl.json(&["scheduler", "ls"]);
            let voting = schedulers.as_array().expect("a list").iter();
            let voting = voting.filter(|row| row["role"] != "joining").count();
            let nodes = nodes(&world);
            let joined = (nodes, voting) == (number, 2);
            if joined { Ok(()) } else { Err(format!("{nodes} nodes, {schedulers}")) }
        });
        let row = world.ctl.json(&["scheduler", "ls"])[1].clone();
        world.ctl.run(&["scheduler", "rm", &row["id"].to_string(), "--yes"]).expect(0);
    }
}

#[test]
fn who_joins_a_cluster_whose_clock_is_years_off_is_told_of_it() {
    let mut world = World::scheduler_only("clock-joined");
    let Some(clock) = clock("the clock of a cluster", &world) else { return };
    for (number, step) in (1..).zip(YEARS_OFF) {
        let joining =
            [joining_agent(&world, number), world.further_scheduler(&format!("further-{number}"))];
        world.scheduler.kill9();
        clock.set(step);
        world.scheduler.wrapper = clock.wrapper.clone();
        world.start_scheduler();
        for mut joining in joining {
            joining.start();
            wait_clock_named(&joining, step);
        }
        world.scheduler.kill9();
        world.scheduler.wrapper.clear();
        world.start_scheduler();
        assert_eq!(nodes(&world), 0, "{step}: it has joined");
    }
}

/// A machine that was off for longer than its certificate lives, or a scheduler whose clock says so.
#[test]
fn a_certificate_that_ended_while_everything_was_off_is_renewed_by_itself() {
    let Some(mut world) = World::new("clock-expired") else { return };
    let Some(clock) = clock("expired certificates", &world) else { return };
    world.apply(STACK).expect(0);
    let before = world.wait_running("timeless", 3);
    let identity = fs::read(world.path("agent/identity.pem")).expect("the identity");
    world.agent.kill9();
    world.scheduler.kill9();
    clock.set("+100d");
    (world.agent.wrapper, world.scheduler.wrapper) = (clock.wrapper.clone(), clock.wrapper.clone());
    world.start_scheduler();
    world.agent.start();
    world.agent.wait_ready();
    wait_session(&world);
    assert_ne!(fs::read(world.path("agent/identity.pem")).expect("it"), identity);
    check(&world, &before, "100 days later");
}

#[test]
fn a_certificate_that_cannot_be_kept_for_want_of_room_is_renewed_when_there_is_some() {
    let Some((disk, _directory)) = disk("a renewal without room", DISK_MIB) else { return };
    let Some(mut world) = on_disk("clock-renewal", &disk) else { return };
    let Some(clock) = clock("a renewal without room", &world) else { return };
    let before = world.running("busy");
    let path = disk.path().join("agent/identity.pem");
    let identity = fs::read(&path).expect("the identity");
    world.agent.kill9();
    let filler = disk.fill();
    // Past half of its life.
    clock.set("+20d");
    world.agent.wrapper = clock.wrapper.clone();
    world.agent.start();
    world.agent.wait_ready();
    wait_said(&world, &["cannot keep a certificate", "No space left on device"]);
    assert_eq!(fs::read(&path).expect("the identity"), identity, "it is as it was");
    fs::remove_file(filler).expect("room");
    wait_said(&world, &["the certificate was renewed"]);
    assert_ne!(fs::read(&path).expect("the identity"), identity);
    assert_eq!(world.running("busy"), before);
}
