//! `depends_on`: who starts after whom, and what is said when it cannot be.

use siso_tests::{PROMPT, World, wait_until};

/// `db` is healthy once the test says so; `web` waits for it.
const GATED: &str = "
name: gated
services:
  db:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    healthcheck: { test: [CMD, test, -e, /tmp/open], interval: 1s, start_period: 5m }
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    depends_on: { db: { condition: service_healthy } }
";

/// `web` waits until `migrate` has succeeded.
const MIGRATED: &str = "
name: migrated
services:
  migrate:
    image: siso/test:1
    command: [sh, -c, 'until test -e /shared/go; do sleep 0.1; done; exit CODE']
    mem_limit: 16m
    restart: 'no'
    volumes: [shared:/shared]
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    depends_on: { migrate: { condition: service_completed_successfully } }
volumes:
  shared:
";

#[test]
fn a_service_starts_when_the_one_it_needs_is_healthy() {
    let Some(world) = World::new("healthy-first") else { return };
    world.apply_with(&["--detach"], GATED).expect(0);
    let db = world.wait_task("gated", "db runs", |task| {
        task["service"] == "db" && task["state"] == "running"
    });
    let web = world.wait_task("gated", "web waits", |task| task["service"] == "web");
    let waiting = web["waiting_for"].as_str().unwrap_or_default();
    assert!(waiting.contains("db"), "what it waits for is said: {web:#}");
    assert!(web["node"].is_string(), "its room is held meanwhile: {web:#}");
    assert_eq!(world.running("gated").len(), 1, "web has no container yet");
    assert_eq!(db["health"], "starting", "{db:#}");

    world.engine.exec(&world.container("gated", "db"), &["touch", "/tmp/open"]);
    world.wait_running("gated", 2);
    let inspect = |service| world.engine.inspect(&world.container("gated", service));
    let started = inspect("web")["State"]["StartedAt"].as_str().expect("a time").to_owned();
    let checks = inspect("db")["State"]["Health"]["Log"].clone();
    let checks = checks.as_array().expect("health checks").clone();
    let passed = checks.iter().find(|check| check["ExitCode"] == 0).expect("a passed check");
    // The engine's two formats of a time agree up to the seconds.
    let healthy = passed["Start"].as_str().expect("a time");
    assert!(healthy[..19] <= started[..19], "healthy {healthy}, web started {started}");
}

#[test]
fn a_service_starts_when_the_one_it_needs_has_succeeded() {
    let Some(world) = World::new("completed-first") else { return };
    world.apply_with(&["--detach"], &MIGRATED.replace("CODE", "0")).expect(0);
    world.wait_task("migrated", "migrate runs", |task| {
        task["service"] == "migrate" && task["state"] == "running"
    });
    assert_eq!(world.running("migrated").len(), 1, "web has no container yet");
    world.engine.exec(&world.container("migrated", "migrate"), &["touch", "/shared/go"]);
    world.wait_task("migrated", "web runs", |task| {
        task["service"] == "web" && task["state"] == "running"
    });
    world.apply(&MIGRATED.replace("CODE", "0")).expect(0);
    wait_until("only web runs", PROMPT, || {
        let running = world.running("migrated");
        if running.len() == 1 { Ok(()) } else { Err(format!("{running:?}")) }
    });
}

#[test]
fn a_dependency_that_fails_is_named_with_its_exit_code() {
    let Some(world) = World::new("dependency-fails") else { return };
    let text =
        MIGRATED.replace("until test -e /shared/go; do sleep 0.1; done; exit CODE", "exit 9");
    let text = text.replace("name: migrated", "name: stuck");
    let answer = world.apply(&text).expect(3).says(&["migrate", "9", "web"]);
    assert_eq!(world.running("stuck").len(), 0, "{answer}");
    let web = world.wait_task("stuck", "web waits", |task| task["service"] == "web");
    assert!(web["waiting_for"].as_str().is_some_and(|why| why.contains("migrate")), "{web:#}");
}

#[test]
fn a_name_on_the_network_reaches_the_other_service() {
    let Some(world) = World::new("names") else { return };
    let text = "
name: named
services:
  page:
    image: siso/test:1
    command: [sh, -c, 'mkdir /tmp/www && echo hello-there > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www']
    mem_limit: 16m
    healthcheck: { test: [CMD, wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/'], interval: 1s }
  visitor:
    image: siso/test:1
    command: [sh, -c, 'wget -q -O - http://page:8080/; exec sleep 1000000']
    mem_limit: 16m
    depends_on: { page: { condition: service_healthy } }
";
    world.apply(text).expect(0);
    wait_until("the visitor has read the page", PROMPT, || {
        let logs = world.ctl.run(&["logs", "named/visitor"]).expect(0).stdout;
        if logs.contains("hello-there") { Ok(()) } else { Err(logs) }
    });
}
