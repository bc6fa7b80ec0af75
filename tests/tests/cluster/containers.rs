//! What becomes of containers that end: killed, out of memory, done.

use serde_json::Value;
use siso_tests::{PATIENT, World, wait_until};

use crate::stacks::sleepers;

#[test]
fn a_killed_container_is_started_again_and_counted() {
    let Some(world) = World::new("killed-container") else { return };
    world.apply(&sleepers("comeback", 2)).expect(0);
    let before = world.wait_running("comeback", 2);
    let (killed, _) = before.first_key_value().expect("a container");
    for restarts in 1..=2 {
        let task = world.wait_task("comeback", "owns the killed container", |task| {
            task["container"].as_str().is_some_and(|id| killed.starts_with(id) || id == killed)
        });
        world.engine.kill(killed);
        world.wait_task("comeback", "was started again", |row| {
            row["task"] == task["task"] && row["restarts"] == restarts && row["state"] == "running"
        });
        world.wait_running("comeback", 2);
    }
    // The other replica was never touched.
    let after = world.running("comeback");
    let (spared, since) = before.last_key_value().expect("a container");
    assert_eq!(after.get(spared), Some(since));
    let told = world.events().into_iter().any(|event| {
        event["stack"] == "comeback"
            && event["severity"] == "warning"
            && event["message"].as_str().is_some_and(|message| message.contains("137"))
    });
    assert!(told, "no event tells of exit code 137: {:#?}", world.events());
}

#[test]
fn exceeding_the_limit_is_reported_as_such_with_the_limit() {
    let Some(world) = World::new("oom") else { return };
    let text = "
name: glutton
services:
  once:
    image: siso/test:1
    command: [tail, /dev/zero]
    mem_limit: 16m
    restart: 'no'
  again:
    image: siso/test:1
    command: [tail, /dev/zero]
    mem_limit: 16m
    restart: always
";
    // Both may run for a moment before they have eaten too much.
    world.apply_with(&["--detach"], text).expect(0);
    let names_limit = |text: &Value| {
        let text = text.as_str().unwrap_or_default();
        text.contains("16.0 MiB") && text.contains("limit")
    };
    let once = world.wait_task("glutton", "has failed", |task| task["state"] == "failed");
    assert_eq!(once["service"], "once");
    assert!(names_limit(&once["error"]), "{once:#}");
    world.wait_task("glutton", "was killed and is tried again", |task| {
        task["service"] == "again" && task["restarts"] != 0 && names_limit(&task["error"])
    });
    let events = world.events();
    let told = |service: &str, kind: &str| {
        events.iter().any(|event| {
            event["service"] == service && event["kind"] == kind && names_limit(&event["message"])
        })
    };
    assert!(told("once", "failed") && told("again", "oom"), "{events:#?}");
}

#[test]
fn what_says_nothing_about_memory_gets_more_after_it_was_killed_for_want_of_it() {
    let Some(world) = World::new("undeclared") else { return };
    let text = "
name: silent
services:
  glutton:
    image: siso/test:1
    command: [tail, /dev/zero]
    restart: 'no'
  quiet:
    image: siso/test:1
    command: [sleep, '1000000']
";
    let basis = |plan: &Value, service: &str| {
        let placements = plan["placements"].as_array().cloned().unwrap_or_default();
        let found = placements.into_iter().rev().find(|placement| placement["service"] == service);
        found.map_or(Value::Null, |placement| placement["memory_basis"].clone())
    };
    let plan = world.apply_with(&["--dry-run", "-o", "json"], text).expect(0).json();
    assert_eq!(basis(&plan, "glutton"), "assumed", "{plan:#}");
    world.apply_with(&["--detach"], text).expect(0);
    world.wait_task("silent", "has failed", |task| task["state"] == "failed");
    let advice = |service: &str| {
        let rows = world.ctl.json(&["advise", &format!("silent/{service}")]);
        rows[0].clone()
    };
    let row = advice("glutton");
    assert_eq!(row["oom_kills"], 1, "{row:#}");
    assert_eq!(row["advised_limit"], 512 << 20, "{row:#}");
    let yaml = row["yaml"].as_str().unwrap_or_default();
    assert!(yaml.contains("memory: 512M"), "{row:#}");
    wait_until("what quiet uses is measured", PATIENT, || {
        let row = advice("quiet");
        let measured = row["observed_peak"].as_u64().is_some_and(|peak| peak > 0);
        if measured && row["advice"].is_null() { Ok(()) } else { Err(format!("{row:#}")) }
    });

    let plan = world.apply_with(&["--dry-run", "-o", "json"], text).expect(0).json();
    assert_eq!(basis(&plan, "glutton"), "observed", "{plan:#}");
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("it was killed once at a limit of up to 256.0 MiB"), "{warnings}");
    assert_eq!(basis(&plan, "quiet"), "assumed", "{plan:#}");
    world.apply_with(&["--detach"], text).expect(0);
    let replaced = world.wait_task("silent", "has more", |task| {
        task["service"] == "glutton" && task["memory_limit"] == 512 << 20
    });
    assert_eq!(replaced["memory_reservation"], 312 << 20, "{replaced:#}");
}

#[test]
fn a_job_that_succeeds_is_done_and_is_not_started_again() {
    let Some(world) = World::new("job") else { return };
    let text = "
name: chore
services:
  job:
    image: siso/test:1
    command: [sh, -c, 'echo done; exit 0']
    mem_limit: 16m
";
    world.apply(text).expect(0);
    let done = world.wait_task("chore", "is done", |task| task["state"] == "stopped");
    assert_eq!(done["restarts"], 0, "{done:#}");
    world.apply(text).expect(0);
    let again = world.wait_task("chore", "is still done", |task| task["state"] == "stopped");
    assert_eq!(again["task"], done["task"], "an unchanged file must not run a job twice");
}

/// Restarts that are waited for, with 1, 2, 4 and 8 s before them.
const RESTARTS: u64 = 4;
/// A container notes its own starts to a hundredth of a second, cut off.
const HUNDREDTH: f64 = 0.011;

/// When each start of a container was, in seconds of a clock that nobody sets, as it has noted by itself.
#[track_caller]
fn starts(world: &World, stack: &str) -> Vec<f64> {
    let containers = world.engine.containers(world.cluster());
    let of_stack = |row: &&Value| row["Labels"]["siso.stack"] == stack;
    let mut found = containers.iter().filter(of_stack);
    let id = found.next().and_then(|row| row["Id"].as_str()).expect("a container");
    assert!(found.next().is_none(), "more than one container: {containers:#?}");
    let noted = world.engine.file(id, "/starts").expect("its note of its starts");
    noted.lines().map(|line| line.parse().expect("seconds")).collect()
}

#[test]
fn a_crash_loop_backs_off_and_says_why() {
    let Some(world) = World::new("crash-loop") else { return };
    let text = "
name: crasher
services:
  web:
    image: siso/test:1
    command: [sh, -c, \"cut -d' ' -f1 /proc/uptime >> /starts; exit 7\"]
    mem_limit: 16m
    restart: always
";
    world.apply_with(&["--detach"], text).expect(0);
    let task = world.wait_task("crasher", "was started again and again", |task| {
        task["restarts"].as_u64().is_some_and(|restarts| restarts > RESTARTS)
    });
    assert_eq!(task["error"], "exited with code 7", "{task:#}");
    let status = world.ctl.json(&["status"]);
    assert_eq!(status["healthy"], false, "{status:#}");
    assert!(status["problems"].to_string().contains("crasher"), "{status:#}");
    // Each end that is told followed a start, and no start came before its time.
    let starts = starts(&world, "crasher");
    assert!(starts.len() as u64 > RESTARTS, "{task:#}, {starts:?}");
    for (end, pair) in (0..).zip(starts.windows(2)) {
        let least = f64::from(1 << end.min(6)).min(60.0) - HUNDREDTH;
        assert!(pair[1] - pair[0] >= least, "start {} came too early: {starts:?}", end + 2);
    }
    let told = world.tasks("crasher")[0]["restarts"].as_u64();
    assert!(told >= Some(starts.len() as u64 - 1), "not all are told: {told:?}, {starts:?}");
}

#[test]
fn a_command_that_ends_at_once_is_never_called_ready() {
    let Some(world) = World::new("at-once") else { return };
    let text = |restart: &str, command: &str| {
        format!(
            "
name: brief
services:
  web:
    image: siso/test:1
    command: {command}
    mem_limit: 16m
    restart: '{restart}'
"
        )
    };
    world.apply(&text("no", "[sh, -c, 'exit 1']")).expect(3);
    let task = world.wait_task("brief", "has failed", |task| task["state"] == "failed");
    assert_eq!(task["error"], "exited with code 1", "{task:#}");
    world.apply(&text("always", "[sh, -c, 'exit 2']")).expect(3);
    world.wait_task("brief", "is tried again", |task| task["error"] == "exited with code 2");
    // What serves goes on serving.
    world.apply(&text("always", "[sleep, infinity]")).expect(0);
    let good = world.wait_running("brief", 1);
    world.apply(&text("always", "[sh, -c, 'exit 3']")).expect(3);
    assert_eq!(world.wait_running("brief", 1), good);
}

#[test]
fn containers_of_others_are_never_touched() {
    let Some(world) = World::new("others") else { return };
    let Some(neighbour) = World::new("others-neighbour") else { return };
    neighbour.apply(&sleepers("neighbour", 1)).expect(0);
    let theirs = neighbour.wait_running("neighbour", 1);
    world.apply(&sleepers("neighbour", 1)).expect(0);
    world.wait_running("neighbour", 1);
    world.ctl.run(&["stack", "rm", "neighbour", "--yes", "--volumes"]).expect(0);
    assert!(world.running("neighbour").is_empty());
    assert_eq!(neighbour.running("neighbour"), theirs, "same stack name, another cluster");
}
