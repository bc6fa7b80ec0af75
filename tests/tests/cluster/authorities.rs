//! One certificate authority takes the place of another while people write and containers run.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::Value;
use siso_tests::{Ctl, Daemon, PATIENT, World, wait_until};

use crate::{
    certificates::wait_said,
    schedulers::{STACK, two_more},
};

/// Writes of one writer: far more than there is time for.
const WRITES_MAX: u32 = 10_000;

fn authorities(ctl: &Ctl) -> Value {
    let answer = ctl.run(&["authority", "ls", "-o", "json"]);
    if answer.code == 0 { answer.json() } else { Value::String(answer.to_string()) }
}

#[track_caller]
fn wait_authorities(ctl: &Ctl, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait_until(&format!("the authorities are {what}"), PATIENT, || {
        let view = authorities(ctl);
        if holds(&view) { Ok(view) } else { Err(view.to_string()) }
    })
}

#[track_caller]
fn wait_moved(ctl: &Ctl) -> Value {
    wait_authorities(ctl, "held by nobody who is behind", |view| {
        view["phase"] == "moving" && view["behind"].as_array().is_some_and(Vec::is_empty)
    })
}

/// Changes a label of the node over and over with a context of its own; answers the values whose change
/// was acknowledged.
fn write(ctl: &Ctl, stop: &AtomicBool) -> BTreeSet<u32> {
    let mut acknowledged = BTreeSet::new();
    for value in 0..WRITES_MAX {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let answer = ctl.run(&["node", "label", "mini-1", &format!("written=w{value}")]);
        // Nobody led at the moment; it may be done or not.
        assert!([0, 4].contains(&answer.code), "{answer}");
        if answer.code == 0 {
            acknowledged.insert(value);
        }
    }
    acknowledged
}

/// The values the cluster remembers to have been set.
fn written(world: &World) -> BTreeSet<u32> {
    let value = |event: &Value| {
        let message = event["message"].as_str()?;
        let (_, rest) = message.split_once("written=w")?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    world.events().iter().filter_map(value).collect()
}

/// The scheduler that leads, by the port it listens on.
#[track_caller]
fn leader<'a>(world: &'a mut World, further: &'a mut [Daemon; 2], ctl: &Ctl) -> &'a mut Daemon {
    let address = wait_until("somebody leads", PATIENT, || {
        let rows = ctl.json(&["scheduler", "ls"]);
        let leads = rows.as_array().into_iter().flatten().find(|row| row["role"] == "leader");
        let address = leads.and_then(|row| row["address"].as_str().map(str::to_owned));
        address.ok_or_else(|| rows.to_string())
    });
    let mut all = std::iter::once(&mut world.scheduler).chain(further);
    all.find(|daemon| daemon.arguments.contains(&address)).expect("one of them")
}

/// Who did not move is shut out, a person and a machine alike, and told so; what runs goes on.
#[track_caller]
fn check_shut_out(world: &mut World, laptop: &Ctl, identity: &str) {
    let refused = laptop.run(&["status", "--timeout", "5s"]).expect(4);
    refused.says(&["authority that is not trusted here", "admin.yaml"]);
    let path = world.path("agent/identity.pem");
    let running = world.running("calm");
    world.agent.stop();
    let renewed = fs::read_to_string(&path).expect("the identity");
    assert_ne!(renewed, identity);
    fs::write(&path, identity).expect("written");
    world.agent.start();
    world.agent.wait_ready();
    wait_said(world, "has to join anew");
    assert_eq!(world.running("calm"), running, "what runs goes on");
    world.agent.stop();
    fs::write(&path, &renewed).expect("written");
    world.agent.start();
    world.agent.wait_ready();
    wait_said(world, "session with a scheduler began");
}

#[test]
fn the_authority_is_replaced_twice_under_load_with_the_leader_killed_and_no_container_notices() {
    let Some(mut world) = World::new("authority") else { return };
    world.apply(STACK).expect(0);
    let running = world.wait_running("calm", 2);
    let mut further = two_more(&world);
    let copy = |name: &str| {
        fs::create_dir(world.path(name)).expect("a directory");
        let path = world.path(&format!("{name}/admin.yaml"));
        fs::copy(world.path("second/admin.yaml"), path).expect("a copy of the context");
        world.ctl_of(name)
    };
    let [writer, laptop, ctl] = ["writer", "laptop", "own"].map(copy);
    let identity = fs::read_to_string(world.path("agent/identity.pem")).expect("the identity");
    let stop = Arc::new(AtomicBool::new(false));
    let load = thread::spawn({
        let stop = Arc::clone(&stop);
        move || write(&writer, &stop)
    });

    let made = ctl.run(&["authority", "rotate"]).expect(0);
    assert!(made.stdout.contains("authority 2 was made"), "{made}");
    // In the middle of it.
    let leads = leader(&mut world, &mut further, &ctl);
    leads.kill9();
    leads.start();
    leads.wait_ready();
    wait_moved(&ctl);
    ctl.run(&["authority", "finish", "--yes"]).expect(0).says(&["join tokens"]);
    let now = authorities(&ctl);
    assert_eq!((&now["phase"], &now["authorities"][0]["number"]), (&"settled".into(), &2.into()));
    world.wait_node("ready");

    // Again, with nobody killed.
    ctl.run(&["authority", "rotate"]).expect(0);
    wait_moved(&ctl);
    ctl.run(&["authority", "finish", "--yes"]).expect(0);
    let now = authorities(&ctl);
    assert_eq!((&now["phase"], &now["authorities"][0]["number"]), (&"settled".into(), &3.into()));
    // A few more writes with what everybody has now.
    let before = written(&world).len();
    wait_until("the writer goes on", PATIENT, || {
        let count = written(&world).len();
        if count > before + 2 { Ok(()) } else { Err(count.to_string()) }
    });
    stop.store(true, Ordering::SeqCst);
    let acknowledged = load.join().expect("the writer");
    let (found, lost): (_, BTreeSet<u32>) = {
        let found = written(&world);
        (found.len(), acknowledged.difference(&found).copied().collect())
    };
    assert!(lost.is_empty(), "{lost:?} of {} are lost, {found} were found", acknowledged.len());
    assert_eq!(world.wait_running("calm", 2), running, "no container was touched");
    let called_down = world.events().into_iter().filter(|event| event["kind"] == "down");
    assert_eq!(called_down.count(), 0, "no node was called down");

    check_shut_out(&mut world, &laptop, &identity);
    assert_eq!(world.wait_running("calm", 2), running);
}

#[test]
fn the_older_authority_is_not_given_up_while_a_machine_that_is_away_needs_it() {
    let Some(mut world) = World::new("authority-away") else { return };
    let mut second = world.second_agent("mini-2");
    let token = world.ctl.run(&["token", "create", "--role", "node"]).expect(0).stdout;
    second.stop();
    world.ctl.run(&["authority", "rotate"]).expect(0);
    let view = wait_authorities(&world.ctl, "needed by one machine", |view| {
        view["phase"] == "moving" && view["behind"].as_array().is_some_and(|rows| rows.len() == 1)
    });
    assert_eq!(
        (&view["behind"][0]["kind"], &view["behind"][0]["name"]),
        (&"node".into(), &"mini-2".into())
    );
    let refused = world.ctl.run(&["authority", "finish", "--yes"]).expect(3);
    refused.says(&["authority 1 these would be shut out: node mini-2", "--force", "authority ls"]);
    let shown = world.ctl.run(&["authority", "ls"]).expect(0).stdout;
    assert!(shown.contains("leaving") && shown.contains("mini-2"), "{shown}");
    // It knows nothing of this; back, it moves.
    second.start();
    second.wait_ready();
    wait_moved(&world.ctl);
    let done = world.ctl.run(&["authority", "finish", "--yes", "-o", "json"]).expect(0).json();
    assert_eq!((&done["changed"], &done["phase"]), (&true.into(), &"settled".into()));
    world.ctl.run(&["authority", "finish", "--yes"]).expect(0);
    // A token of before names an authority that is shown no more.
    let file = world.write("late.token", &token);
    let mut late = Daemon::new(
        "late",
        second.program().to_owned(),
        world.agent_arguments("late", &file),
        &world.path(""),
    );
    late.start();
    assert!(late.ready_or_ended().is_err());
    let said = late.output("stderr");
    assert!(said.contains("made before the cluster's authority was replaced"), "{said}");
    // What was written down is private, and the key of the older one is nowhere.
    let ring = fs::read_to_string(world.path("scheduler/pki/authorities")).expect("the ring");
    assert_eq!(ring.matches("PRIVATE KEY-----").count(), 2, "the beginning and the end of one");
    assert!(!world.path("scheduler/pki/ca.key").exists());
    world.scheduler.kill9();
    world.start_scheduler();
    world.wait_node("ready");
}
