//! An agent that is killed, whose engine ends, or whose directory was damaged: what runs goes on, and
//! nothing runs twice.

use std::{
    fs,
    time::{Duration, Instant},
};

use model::lease::fence_ms;
use siso_tests::{
    OwnEngine, PATIENT, World,
    beats::singleton,
    crash::{AgentKills, EngineRestarts, Seen, Task, Ward},
    required, wait_until,
};

use crate::{asked, faults};

/// One of each kind, and one more amidst the work.
const KILLS: usize = 8;
/// The second comes while containers are started.
const RESTARTS: usize = 2;

/// The grace period of [`singleton`], in milliseconds.
const GRACE_MS: u64 = 1_000;

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

/// Left alone, its command would run on where nobody reaches it, and beside that of the one made anew.
#[test]
fn a_container_its_engine_lost_sight_of_is_ended_and_started_once_more() {
    let started = Ward::start("engine-ghost", true);
    let Some(mut ward) = required("engine ghost", "SISO_REQUIRE_OWN_ENGINE", started) else {
        return;
    };
    let before = ward.settle("everything was asked for");
    let db = before.iter().find(|(_, seen)| seen.place == "kept/db/1").expect("db").0.clone();
    ward.own.kill9();
    ward.own.forget_start(&db);
    ward.own.start_again();
    let after = ward.settle("the engine lost sight of a container");
    ward.no_ghosts(&after, "it was ended");
    for (id, was) in &before {
        assert_eq!(after[id].starts, was.starts + usize::from(*id == db), "{was:?}");
    }
    assert_eq!((ward.data(), ward.told_restarts()[&db]), (2, 1));
    let task = ward.world.wait_task("kept", "runs", |task| task["service"] == "db");
    let told = task["error"].as_str().unwrap_or_default();
    assert!(told.contains("lost sight"), "{task}");
}

/// Its replacement writes to the same volume, so it waits until the command is gone, whatever the engine
/// says of it.
#[test]
fn a_container_its_engine_lost_sight_of_is_gone_before_another_writes_to_its_volume() {
    let started = Ward::start("engine-ghost-replaced", true);
    let Some(mut ward) = required("engine ghost", "SISO_REQUIRE_OWN_ENGINE", started) else {
        return;
    };
    let before = ward.settle("everything was asked for");
    let store = before.iter().find(|(_, seen)| seen.place == "moved/store/1").expect("store");
    ward.own.kill9();
    ward.own.forget_start(store.0);
    ward.ask(Task::Rollout);
    ward.own.start_again();
    let after = wait_until("the new version runs", PATIENT, || {
        ward.no_writer_twice("a rollout");
        ward.settled()
    });
    ward.no_ghosts(&after, "a rollout");
    let kept = |seen: &&Seen| seen.place.starts_with("kept/");
    assert!(
        after.values().filter(kept).eq(before.values().filter(kept)),
        "{before:#?}, then {after:#?}"
    );
    assert!(!after.contains_key(store.0), "{after:#?}");
}

/// The other side waits for the end of the lease, and for no engine: that it ends by then is what the lease
/// promises, so this time is asserted, and no other in these tests.
#[test]
fn a_strict_singleton_whose_engine_is_gone_or_hangs_ends_with_its_lease() {
    let directory = tempfile::tempdir().expect("a directory");
    let started = OwnEngine::start(directory.path(), true);
    let Some(mut own) = required("a guard", "SISO_REQUIRE_OWN_ENGINE", started) else { return };
    let world = World::on_engine("engine-of-singleton", own.engine());
    world.apply(&singleton("alone")).expect(0);
    let runs = || {
        let containers = world.wait_running("alone", 1);
        containers.into_keys().next().expect("its container")
    };
    for hangs in [false, true] {
        let id = runs();
        assert_eq!(Ward::alive(std::iter::once(&id)).len(), 1);
        if hangs {
            own.pause();
        } else {
            own.kill9();
        }
        let silent = Instant::now();
        world.scheduler.pause();
        wait_until("its command is ended", PATIENT, || {
            if Ward::alive(std::iter::once(&id)).is_empty() {
                Ok(())
            } else {
                Err("it runs".to_owned())
            }
        });
        // From when on another machine may run it.
        let limit = Duration::from_millis(fence_ms(GRACE_MS));
        let took = silent.elapsed();
        assert!(took < limit, "it ended {took:?} after the scheduler fell silent, hangs: {hangs}");
        world.scheduler.resume();
        if hangs {
            own.resume();
        } else {
            own.start_again();
        }
        runs();
    }
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
