//! An agent that is killed, whose engine ends, or whose directory was damaged: what runs goes on, and
//! nothing runs twice.

use std::fs;

use siso_tests::{
    PATIENT, World,
    crash::{AgentKills, EngineRestarts, Ward},
    required, wait_until,
};

use crate::{asked, faults};

/// One of each kind, and one more amidst the work.
const KILLS: usize = 8;
/// The second comes while containers are started.
const RESTARTS: usize = 2;

const STACK: &str = "
name: tended
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    deploy: { replicas: 2 }
";

#[test]
fn killed_at_any_moment_an_agent_makes_and_starts_everything_once() {
    if !faults("agent kills") {
        return;
    }
    let started = AgentKills::start("agent-kills");
    let Some(mut campaign) = required("agent kills", "SISO_REQUIRE_OWN_ENGINE", started) else {
        return;
    };
    let kills = asked("SISO_AGENT_KILLS", KILLS);
    assert_eq!(campaign.run(kills).kills(), kills);
}

#[track_caller]
fn restart_engines(name: &str, live: bool) {
    let started = EngineRestarts::start(name, live);
    let Some(mut campaign) = required(name, "SISO_REQUIRE_OWN_ENGINE", started) else { return };
    let restarts = asked("SISO_ENGINE_RESTARTS", RESTARTS);
    let tally = campaign.run(restarts);
    assert_eq!(tally.killed + tally.stopped, restarts);
}

#[test]
fn an_engine_that_ends_amidst_work_and_keeps_containers_costs_no_start() {
    restart_engines("engine-restarts-live", true);
}

#[test]
fn an_engine_that_ends_amidst_work_with_its_containers_costs_one_start_of_each() {
    restart_engines("engine-restarts", false);
}

/// Removing it would leave its command running beside that of the one made anew.
#[test]
fn a_container_its_engine_lost_sight_of_is_named_and_never_run_twice() {
    let started = Ward::start("engine-ghost", true);
    let Some(mut ward) = required("engine ghost", "SISO_REQUIRE_OWN_ENGINE", started) else {
        return;
    };
    let before = ward.settle("everything was asked for");
    let db = before.iter().find(|(_, seen)| seen.place == "kept/db/1").expect("db").0.clone();
    ward.own.kill9();
    ward.own.forget_start(&db);
    ward.own.start_again();
    ward.world.wait_task("kept", "is named with the way out", |task| {
        let error = task["error"].as_str().unwrap_or_default();
        task["service"] == "db" && error.contains("lost sight") && error.contains(&db)
    });
    let during = ward.containers();
    assert_eq!((during.len(), during[&db].starts), (before.len(), 1), "{during:#?}");
    assert_eq!(ward.end_ghosts(), std::slice::from_ref(&db));
    let after = ward.settle("the ghost was ended");
    ward.no_ghosts(&after, "the ghost was ended");
    for (id, was) in &before {
        assert_eq!(after[id].starts, was.starts + usize::from(*id == db), "{was:?}");
    }
    assert_eq!(ward.data(), 2);
}

#[test]
fn an_agent_with_a_damaged_directory_refuses_or_finds_its_containers_again() {
    let Some(mut world) = World::new("damaged-agent") else { return };
    world.apply(STACK).expect(0);
    let before = world.wait_running("tended", 2);
    let (ledger, identity) = (world.path("agent/ledger"), world.path("agent/identity.pem"));
    let whole = fs::read(&ledger).expect("the ledger");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for (what, bytes) in
        [("flipped", &flipped[..]), ("cut off", &whole[..whole.len() / 3]), ("empty", &[])]
    {
        world.agent.kill9();
        fs::write(&ledger, bytes).expect("a damaged ledger");
        world.start_agent();
        assert_eq!(world.wait_running("tended", 2), before, "ledger {what}");
        let said = world.agent.output("stderr") + &world.agent.output("stdout");
        assert!(said.contains("LEDGER CANNOT BE USED"), "ledger {what}: {said}");
        wait_until("the ledger is written anew", PATIENT, || {
            if ledger.exists() { Ok(()) } else { Err("it is not there".to_owned()) }
        });
    }
    world.agent.kill9();
    fs::remove_file(&ledger).expect("no ledger");
    world.start_agent();
    assert_eq!(world.wait_running("tended", 2), before, "no ledger");

    let whole = fs::read(&identity).expect("the identity");
    for (what, bytes) in [("cut off", Some(&whole[..100])), ("gone", None)] {
        world.agent.kill9();
        match bytes {
            Some(bytes) => fs::write(&identity, bytes).expect("a damaged identity"),
            None => fs::remove_file(&identity).expect("no identity"),
        }
        world.agent.start();
        let status = world.agent.wait_ended();
        assert_eq!(status.code(), Some(1), "identity {what}: {}", world.agent.story());
        assert_eq!(world.running("tended"), before, "identity {what}");
    }
    fs::write(&identity, whole).expect("the identity");
    world.start_agent();
    assert_eq!(world.wait_running("tended", 2), before, "restored");
}
