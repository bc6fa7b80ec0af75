//! Certificates and clocks: renewal, and machines that were off for months. The clock is moved with
//! `libfaketime` (`SISO_REQUIRE_FAKETIME=1`).

use std::{fs, path::Path};

use siso_tests::{PATIENT, World, required, wait_until};

const STACK: &str = "
name: calm
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
";

const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
];

fn library() -> Result<String, String> {
    let found = LIBRARIES.iter().find(|path| Path::new(path).exists());
    found.map(|path| (*path).to_owned()).ok_or_else(|| "libfaketime is needed".to_owned())
}

/// From the next start on the wall clock of everything is so many days ahead; its monotonic clock is as
/// it was.
fn days_ahead(world: &mut World, library: &str, days: u32) {
    let environment = [
        ("LD_PRELOAD".to_owned(), library.to_owned()),
        ("FAKETIME".to_owned(), format!("+{days}d")),
        ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
        ("DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
    ];
    let words = environment.iter().map(|(key, value)| format!("{key}={value}"));
    let wrapper: Vec<String> = std::iter::once("env".to_owned()).chain(words).collect();
    (world.scheduler.wrapper, world.agent.wrapper) = (wrapper.clone(), wrapper);
    world.ctl.environment = environment.into();
}

#[track_caller]
fn start(world: &mut World) {
    world.start_scheduler();
    world.agent.start();
    world.agent.wait_ready();
}

#[track_caller]
pub(crate) fn wait_said(world: &World, words: &str) {
    wait_until(&format!("the agent says `{words}`"), PATIENT, || {
        let said = world.agent.output("stderr");
        if said.contains(words) { Ok(()) } else { Err(said) }
    });
}

#[test]
fn a_machine_that_was_off_for_a_hundred_days_comes_back_by_itself_and_after_more_than_a_year_does_not()
 {
    let Some(library) = required("hundred-days", "SISO_REQUIRE_FAKETIME", library()) else {
        return;
    };
    let Some(mut world) = World::new("hundred-days") else { return };
    world.apply(STACK).expect(0);
    let running = world.wait_running("calm", 1);
    let identity = world.path("agent/identity.pem");
    let read = || fs::read_to_string(&identity).expect("the agent's identity");
    let first = read();
    // From half its life on a certificate is renewed while all goes on; after its end it is good for
    // that and nothing else.
    for days in [20, 120] {
        let before = read();
        world.agent.stop();
        world.scheduler.stop();
        days_ahead(&mut world, &library, days);
        start(&mut world);
        wait_said(&world, "session with a scheduler began");
        wait_until(&format!("it is renewed after {days} days"), PATIENT, || {
            if read() == before { Err("it is as it was".to_owned()) } else { Ok(()) }
        });
        world.wait_node("ready");
        assert_eq!(world.running("calm"), running, "no container was restarted");
    }
    world.agent.stop();
    world.scheduler.stop();
    let renewed = read();
    // As if it had been off since it joined, more than a year ago.
    fs::write(&identity, &first).expect("the first identity");
    days_ahead(&mut world, &library, 420);
    start(&mut world);
    wait_said(&world, "could not be renewed");
    assert_eq!(world.running("calm"), running, "what runs goes on without a scheduler");
    // With what it renewed last it is known again.
    world.agent.stop();
    fs::write(&identity, renewed).expect("its identity");
    world.agent.start();
    world.agent.wait_ready();
    wait_said(&world, "session with a scheduler began");
}
