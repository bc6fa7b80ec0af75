//! Changing what runs: replacing, scaling, restarting, going back, removing.

use serde_json::Value;
use siso_tests::{PATIENT, PROMPT, World, own_port, wait_until};

use crate::stacks::sleepers;

/// Ready once the test says so in `/tmp/open`; `VERSION` tells one from the next.
const SERVING: &str = "
name: serving
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    environment: { VERSION: 'VERSION' }
    stop_grace_period: 2s
    healthcheck: { test: [CMD, sh, -c, 'test $$VERSION = 1 || test -e /tmp/open'], interval: 1s, start_period: 5m }
";

const KEEPING: &str = "
name: keeping
services:
  db:
    image: siso/test:1
    command: [sh, -c, 'echo VERSION >> /data/starts; exec sleep 1000000']
    mem_limit: 16m
    stop_grace_period: 2s
    volumes: [data:/data]
volumes:
  data:
";

#[test]
fn an_update_keeps_the_old_one_serving_until_the_new_one_is_ready() {
    let Some(world) = World::new("start-first") else { return };
    world.apply(&SERVING.replace("'VERSION'", "'1'")).expect(0);
    let old = world.wait_running("serving", 1);
    world.apply_with(&["--detach"], &SERVING.replace("'VERSION'", "'2'")).expect(0);
    let both = wait_until("old and new run side by side", PATIENT, || {
        let running = world.running("serving");
        if running.len() == 2 { Ok(running) } else { Err(format!("{running:?}")) }
    });
    assert!(old.iter().all(|(id, since)| both.get(id) == Some(since)), "{old:?} {both:?}");
    let new = both.keys().find(|id| !old.contains_key(*id)).expect("the new container");
    world.engine.exec(new, &["touch", "/tmp/open"]);
    let after = world.wait_running("serving", 1);
    assert_eq!(after.keys().collect::<Vec<_>>(), [new]);
}

#[test]
fn an_update_that_fails_leaves_the_old_one_serving_and_says_why() {
    let Some(world) = World::new("failing-update") else { return };
    world.apply(&sleepers("fallen", 1)).expect(0);
    let old = world.wait_running("fallen", 1);
    let broken =
        sleepers("fallen", 1).replace("[sleep, '1000000']", "[sh, -c, 'echo no key; exit 9']");
    let told = ["web", "9", "stack rollback fallen", "revision 1"];
    world.apply(&broken).expect(3).says(&told);
    assert_eq!(world.running("fallen"), old, "the old one serves");
    // Where the hint points there is something to read.
    let logs = world.ctl.run(&["logs", "fallen/web"]).expect(0).stdout;
    assert!(logs.contains("no key"), "{logs}");

    let missing = sleepers("fallen", 1).replace("siso/test:1", "siso/no-such-image:1");
    world.apply(&missing).expect(3).says(&["siso/no-such-image:1"]);
    assert_eq!(world.running("fallen"), old, "the old one serves");

    // Going back is as good as never having asked.
    world.apply(&sleepers("fallen", 1)).expect(0);
    assert_eq!(world.wait_running("fallen", 1), old);
}

#[test]
fn a_service_with_its_own_volume_is_stopped_first_and_keeps_its_data() {
    let Some(world) = World::new("stop-first") else { return };
    world.apply(&KEEPING.replace("VERSION", "first")).expect(0);
    let old = world.wait_running("keeping", 1);
    world.apply(&KEEPING.replace("VERSION", "second")).expect(0);
    let new = world.wait_running("keeping", 1);
    assert!(new.keys().all(|id| !old.contains_key(id)), "{old:?} {new:?}");
    let starts = world.ctl.run(&["exec", "keeping/db", "--", "cat", "/data/starts"]).expect(0);
    assert_eq!(starts.stdout, "first\nsecond\n");

    world.ctl.run(&["stack", "rollback", "keeping"]).expect(0);
    wait_until("the first version runs again", PATIENT, || {
        let starts = world.ctl.run(&["exec", "keeping/db", "--", "cat", "/data/starts"]);
        if starts.stdout == "first\nsecond\nfirst\n" { Ok(()) } else { Err(starts.to_string()) }
    });
    let history = world.ctl.json(&["stack", "history", "keeping"]);
    let history = history.as_array().expect("a history").clone();
    assert_eq!(history.len(), 3, "{history:#?}");
    assert_eq!(history.iter().filter(|row| row["current"] == true).count(), 1, "{history:#?}");
    assert_eq!(world.engine.volumes(world.cluster()).len(), 1);
}

#[test]
fn scaling_adds_and_removes_and_touches_nobody_else() {
    let Some(world) = World::new("scale") else { return };
    world.apply(&sleepers("elastic", 2)).expect(0);
    let two = world.wait_running("elastic", 2);
    world.ctl.run(&["scale", "elastic/web=4"]).expect(0);
    let four = world.wait_running("elastic", 4);
    assert!(two.iter().all(|(id, since)| four.get(id) == Some(since)), "{two:?} {four:?}");
    world.ctl.run(&["scale", "elastic/web=2"]).expect(0);
    assert_eq!(world.wait_running("elastic", 2), two, "the highest slots go first");
    world.ctl.run(&["scale", "elastic/web=0"]).expect(0);
    world.wait_running("elastic", 0);
    world.ctl.run(&["scale", "elastic/web=1"]).expect(0);
    world.wait_running("elastic", 1);
}

#[test]
fn restarting_replaces_every_container_or_just_one() {
    let Some(world) = World::new("restart") else { return };
    world.apply(&sleepers("again", 2)).expect(0);
    let before = world.wait_running("again", 2);
    world.ctl.run(&["restart", "again/web"]).expect(0);
    let replaced = wait_until("both were started anew", PATIENT, || {
        let now = world.running("again");
        let anew = now.iter().all(|(id, since)| before.get(id) != Some(since));
        if now.len() == 2 && anew { Ok(now) } else { Err(format!("{before:?} {now:?}")) }
    });
    world.wait_running("again", 2);
    world.ctl.run(&["restart", "again/web.1"]).expect(0);
    wait_until("one was started anew", PATIENT, || {
        let now = world.running("again");
        let kept = now.iter().filter(|(id, since)| replaced.get(*id) == Some(*since)).count();
        if now.len() == 2 && kept == 1 { Ok(()) } else { Err(format!("{replaced:?} {now:?}")) }
    });
}

#[test]
fn removing_a_stack_keeps_its_data_unless_told_otherwise() {
    let Some(world) = World::new("remove") else { return };
    world.apply(&KEEPING.replace("keeping", "leaving").replace("VERSION", "first")).expect(0);
    world.wait_running("leaving", 1);
    world.ctl.run(&["stack", "rm", "leaving", "--yes"]).expect(0);
    gone(&world);
    assert_eq!(world.engine.volumes(world.cluster()).len(), 1, "the data stays");

    world.apply(&KEEPING.replace("keeping", "leaving").replace("VERSION", "second")).expect(0);
    world.wait_running("leaving", 1);
    let starts = world.ctl.run(&["exec", "leaving/db", "--", "cat", "/data/starts"]).expect(0);
    assert_eq!(starts.stdout, "first\nsecond\n", "the data was found again");

    world.ctl.run(&["stack", "rm", "leaving", "--yes", "--volumes"]).expect(0);
    gone(&world);
    wait_until("the data is gone", PROMPT, || {
        let volumes = world.engine.volumes(world.cluster());
        if volumes.is_empty() { Ok(()) } else { Err(format!("{volumes:?}")) }
    });
}

/// Waits until nothing of any stack is left but data.
#[track_caller]
fn gone(world: &World) {
    wait_until("containers and networks are gone", PATIENT, || {
        let containers = world.engine.containers(world.cluster());
        let networks = world.engine.networks(world.cluster());
        let stacks = world.ctl.json(&["stack", "ls"]);
        if containers.is_empty() && networks.is_empty() && stacks == Value::Array(Vec::new()) {
            Ok(())
        } else {
            Err(format!("{containers:?} {networks:?} {stacks}"))
        }
    });
}

#[test]
fn a_service_taken_out_of_the_file_is_removed_and_the_rest_stays() {
    let Some(world) = World::new("shrink") else { return };
    let web = sleepers("shrinking", 1);
    let extra =
        "  extra:\n    image: siso/test:1\n    command: [sleep, '1000000']\n    mem_limit: 16m\n";
    world.apply(&(web.clone() + extra)).expect(0);
    world.wait_running("shrinking", 2);
    let kept = world.container("shrinking", "web");
    world.apply(&web).expect(0);
    world.wait_running("shrinking", 1);
    assert_eq!(world.container("shrinking", "web"), kept);
}

#[test]
fn a_published_port_answers_and_cannot_be_taken_twice() {
    let Some(world) = World::new("ports") else { return };
    let port = own_port();
    let page = |stack: &str, text: &str| {
        format!(
            "
name: {stack}
services:
  page:
    image: siso/test:1
    command: [sh, -c, 'mkdir /tmp/www && echo {text} > /tmp/www/index.html && exec httpd -f -p 80 -h /tmp/www']
    mem_limit: 16m
    stop_grace_period: 2s
    ports: ['127.0.0.1:{port}:80']
"
        )
    };
    let shows = |text: &str| {
        wait_until(&format!("the page shows {text}"), PROMPT, || {
            let reply = siso_tests::get(&format!("127.0.0.1:{port}"), "/");
            let reply = reply.map_err(|error| error.to_string())?;
            if reply.text().contains(text) { Ok(()) } else { Err(reply.text()) }
        });
    };
    world.apply(&page("published", "one")).expect(0);
    shows("one");
    let port_in_words = port.to_string();
    world.apply(&page("taken", "other")).expect(3).says(&[&port_in_words]);
    shows("one");
    world.ctl.run(&["stack", "rm", "taken", "--yes"]).expect(0);
    // A port can be held by one container only: the old one is stopped first.
    world.apply(&page("published", "two")).expect(0);
    shows("two");
    // One that a program has which is no container is found out before anything stops.
    let held = own_port();
    let other = std::net::TcpListener::bind(("127.0.0.1", held)).expect("a port");
    let before = world.wait_running("published", 1);
    let moved = page("published", "three").replace(&port_in_words, &held.to_string());
    let told = format!("host port {held} is taken by another program of this machine");
    world.apply(&moved).expect(3).says(&[&told]);
    assert_eq!(world.running("published"), before);
    shows("two");
    drop(other);
    let freed = moved.replace("three", "four");
    world.apply(&freed).expect(0);
    assert!(world.wait_running("published", 1).keys().all(|id| !before.contains_key(id)));
}
