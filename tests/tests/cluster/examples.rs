//! The stacks of `deploy/stacks/`: what a new user tries first must work.

use std::path::Path;

use siso_tests::{Ctl, PATIENT, PROMPT, World, get, own_port, wait_until};

/// Images of the quickstart, with the names `deploy/images/build.sh` gives them.
const IMAGES: &[(&str, &str)] = &[
    ("pgvector/pgvector:pg16", "postgres"),
    ("siso/vector-demo:1", "vector-demo"),
    ("siso/web:1", "web"),
];
/// Not the name a person's own quickstart has on this engine: its data is not ours.
const STACK: &str = "first-steps-tested";
/// What the query for the number of stored vectors is asked with.
const COUNT: &[&str] = &["psql", "-U", "siso", "-tAc", "SELECT count(*), max(id) FROM memories"];

fn stacks(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/stacks").join(name);
    path.display().to_string()
}

#[test]
fn the_teams_stack_fits_on_one_mini_and_shows_what_is_left() {
    let directory = tempfile::tempdir().expect("tempdir");
    let ctl = Ctl::offline(directory.path());
    let arguments = ["plan", &stacks("siso.yaml"), "--nodes", &stacks("minis.yaml")];
    let plan = ctl.json(&arguments);
    assert_eq!(plan["unplaced"], 0, "{plan:#}");
    assert_eq!(plan["placements"].as_array().map(Vec::len), Some(7), "{plan:#}");
    let half_gib = |amount: u64| amount << 29;
    assert_eq!(plan["nodes"][0]["allocatable"], half_gib(27), "what docs/mac-mini.md says");
    assert_eq!(plan["nodes"][0]["reserved_after"], half_gib(20));
    assert_eq!(plan["nodes"][0]["free_after"], half_gib(7));
    let shown = ctl.run(&arguments).expect(0).stdout;
    assert!(shown.contains("3.5 GiB"), "{shown}");
}

#[test]
fn every_example_is_read_without_a_complaint() {
    let directory = tempfile::tempdir().expect("tempdir");
    let ctl = Ctl::offline(directory.path());
    for example in ["quickstart.yaml", "siso.yaml"] {
        let config = ctl.run(&["config", &stacks(example)]).expect(0);
        let again = directory.path().join(example);
        std::fs::write(&again, &config.stdout).expect("written");
        let again = ctl.run(&["config", &again.display().to_string()]).expect(0);
        assert_eq!(again.stdout, config.stdout, "the normalised stack is normal");
    }
}

#[test]
fn the_quickstart_stores_and_finds_vectors_and_keeps_them() {
    let Some(world) = World::new("quickstart") else { return };
    world.engine.obtain(IMAGES);
    let port = own_port();
    let settings = world.write("settings.env", &format!("SISO_WEB_PORT={port}\n"));
    let file = stacks("quickstart.yaml");
    let apply = || {
        world.ctl.run(&["apply", "--yes", "-p", STACK, "--env-file", &settings, &file]).expect(0)
    };
    apply();
    world.wait_running(STACK, 3);
    wait_until("the page shows a search", PROMPT, || {
        let page = get(&format!("127.0.0.1:{port}"), "/").map_err(|error| error.to_string())?;
        let page = page.text();
        if page.contains("It runs.") && page.contains("nearest") { Ok(()) } else { Err(page) }
    });
    let database = format!("{STACK}/postgres");
    let newest = || {
        let mut line = vec!["exec", database.as_str(), "--"];
        line.extend_from_slice(COUNT);
        let answer = world.ctl.run(&line);
        let number = answer.stdout.trim().split('|').nth(1).and_then(|id| id.parse::<u64>().ok());
        number.ok_or_else(|| answer.to_string())
    };
    let stored = wait_until("three vectors are stored", PATIENT, || {
        let newest = newest()?;
        if newest >= 3 { Ok(newest) } else { Err(newest.to_string()) }
    });

    world.engine.kill(&world.container(STACK, "postgres"));
    world.wait_task(STACK, "postgres is back", |task| {
        task["service"] == "postgres" && task["restarts"] == 1 && task["ready"] == true
    });
    let kept = wait_until("the database answers", PATIENT, newest);
    assert!(kept >= stored, "{kept} after a kill, {stored} before");

    world.ctl.run(&["stack", "rm", STACK, "--yes"]).expect(0);
    apply();
    let kept = wait_until("the database answers again", PATIENT, newest);
    assert!(kept >= stored, "{kept} after the stack was removed and applied, {stored} before");
}
