//! What scripts rely on: commands that change nothing when nothing changed, and the fields of JSON.

use serde_json::Value;
use siso_tests::{PROMPT, Shape, World, check_shape, wait_until};

const STACK: &str = "
name: NAME
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 64m
    mem_reservation: 32m
    cpus: 0.5
    deploy: { replicas: 2 }
  db:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 64m
    volumes: [data:/data]
    healthcheck: { test: [CMD, 'true'], interval: 1s }
volumes:
  data:
";

const TASK: Shape<'_> = &[
    ("stack", "text"),
    ("service", "text"),
    ("replica", "whole"),
    ("task", "text"),
    ("node", "text?"),
    ("desired", "text"),
    ("state", "text"),
    ("health", "text?"),
    ("image", "text"),
    ("memory_reservation", "whole"),
    ("memory_limit", "whole"),
    ("memory_used", "whole?"),
    ("cpus", "decimal"),
    ("container", "text?"),
    ("started_at", "text?"),
    ("restarts", "whole"),
    ("epoch", "whole"),
    ("error", "text?"),
];

const NODE: Shape<'_> = &[
    ("name", "text"),
    ("id", "text"),
    ("state", "text"),
    ("schedulable", "flag"),
    ("labels", "object"),
    ("labels.role", "text"),
    ("address", "text"),
    ("arch", "text"),
    ("engine", "text"),
    ("version", "text"),
    ("memory.capacity", "whole"),
    ("memory.reserve", "whole"),
    ("memory.allocatable", "whole"),
    ("memory.reserved", "whole"),
    ("memory.limits", "whole"),
    ("memory.used", "whole?"),
    ("cpus.capacity", "decimal"),
    ("cpus.reserved", "decimal"),
    ("tasks", "whole"),
];

const PLACEMENT: Shape<'_> = &[
    ("pending", "list"),
    ("nodes.0.name", "text"),
    ("nodes.0.allocatable", "whole"),
    ("nodes.0.reserved", "whole"),
    ("nodes.0.free", "whole"),
    ("nodes.0.tasks.0.task", "text"),
    ("nodes.0.tasks.0.stack", "text"),
    ("nodes.0.tasks.0.service", "text"),
    ("nodes.0.tasks.0.replica", "whole"),
    ("nodes.0.tasks.0.memory", "whole"),
];

const PLAN: Shape<'_> = &[
    ("stack", "text"),
    ("revision", "whole"),
    ("unplaced", "whole"),
    ("warnings", "list"),
    ("changes.0.action", "text"),
    ("changes.0.service", "text"),
    ("changes.0.fields", "list"),
    ("nodes.0.name", "text"),
    ("nodes.0.allocatable", "whole"),
    ("nodes.0.reserved_before", "whole"),
    ("nodes.0.reserved_after", "whole"),
    ("nodes.0.free_after", "whole"),
    ("nodes.0.tasks", "list"),
];

const REPLICA: Shape<'_> = &[
    ("service", "text"),
    ("replica", "whole"),
    ("node", "text?"),
    ("memory", "whole"),
    ("cpus", "decimal"),
    ("fixes", "list"),
    ("verdicts.0.node", "text"),
    ("verdicts.0.fits", "flag"),
    ("verdicts.0.reason", "text"),
    ("verdicts.0.resource", "text?"),
    ("verdicts.0.needed", "whole?"),
    ("verdicts.0.free", "whole?"),
    ("verdicts.0.short", "whole?"),
    ("verdicts.0.score", "list?"),
];

const EXPLAINED: Shape<'_> = &[("task", "text?"), ("decided_at", "text?"), ("revision", "whole?")];

const WHAT_IF: Shape<'_> = &[
    ("stack", "text?"),
    ("revision", "whole?"),
    ("changes", "list"),
    ("unplaced", "whole"),
    ("warnings", "list"),
    ("nodes.0.name", "text"),
    ("nodes.0.free_after", "whole"),
    ("placements.0.stack", "text"),
    ("placements.0.from", "text?"),
];

const STATUS: Shape<'_> = &[
    ("cluster", "text"),
    ("healthy", "flag"),
    ("leader", "text?"),
    ("schedulers", "list"),
    ("nodes", "object"),
    ("tasks", "object"),
    ("problems", "list"),
    ("losses", "list"),
];

const PROBLEM: Shape<'_> =
    &[("what", "text"), ("cause", "text"), ("since", "text?"), ("fix", "text")];

#[test]
fn applying_a_file_starts_everything_and_applying_it_again_changes_nothing() {
    let Some(world) = World::new("first-apply") else { return };
    let text = STACK.replace("NAME", "first");
    world.apply(&text).expect(0);
    let running = world.wait_running("first", 3);
    let stacks = world.ctl.json(&["stack", "ls"]);
    let again = world.apply(&text).expect(0);
    let said = (again.stdout + &again.stderr).to_lowercase();
    assert!(said.contains("nothing to change"), "{said}");
    assert_eq!(world.running("first"), running);
    assert_eq!(world.ctl.json(&["stack", "ls"])[0]["revision"], stacks[0]["revision"]);
    let plan = world.apply_with(&["--dry-run", "-o", "json"], &text).expect(0).json();
    let actions: Vec<_> = plan["changes"].as_array().into_iter().flatten().collect();
    assert!(actions.iter().all(|change| change["action"] == "keep"), "{plan:#}");
}

#[test]
fn the_json_of_every_read_has_the_fields_scripts_rely_on() {
    let Some(world) = World::new("contract") else { return };
    let text = STACK.replace("NAME", "contract");
    let plan = world.apply_with(&["--dry-run", "-o", "json"], &text).expect(0).json();
    check_shape("apply --dry-run", &plan, PLAN);
    check_shape("apply --dry-run: a placement", &plan["placements"][0], REPLICA);
    assert_eq!(world.ctl.json(&["stack", "ls"]), serde_json::json!([]), "a dry run was applied");

    world.apply(&text).expect(0);
    world.wait_running("contract", 3);
    for task in world.tasks("contract") {
        check_shape("ps", &task, TASK);
    }
    check_shape("node ls", &world.ctl.json(&["node", "ls"])[0], NODE);
    check_shape("placement", &world.ctl.json(&["placement"]), PLACEMENT);
    let explained = world.ctl.json(&["explain", "contract/web.1"]);
    check_shape("explain", &explained, REPLICA);
    check_shape("explain", &explained, EXPLAINED);
    let status = world.ctl.json(&["status"]);
    check_shape("status", &status, STATUS);
    let on = world.ctl.json(&["explain", "contract/web.1", "--on", "mini-1"]);
    check_shape("explain --on", &on, REPLICA);
    world.ctl.run(&["explain", "contract/web.1", "--on", "mini-9"]).expect(1).says(&["mini-9"]);
    let picture = world.path("placement.svg");
    world.ctl.run(&["placement", "--svg", &picture.display().to_string()]).expect(0);
    let picture = std::fs::read_to_string(picture).expect("a picture");
    assert!(picture.contains("contract/db.1 64.0 MiB"), "{picture}");
    let lost = world.ctl.json(&["whatif", "lose", "mini-1"]);
    check_shape("whatif", &lost, WHAT_IF);
    check_shape("whatif: a placement", &lost["placements"][0], REPLICA);
    assert_eq!((&lost["stack"], &lost["unplaced"]), (&Value::Null, &Value::from(3)), "{lost:#}");
    let more = ["whatif", "lose", "mini-1", "add", "mini-2=1GiB"];
    let more = world.ctl.json(&more);
    assert_eq!(more["unplaced"], 1, "the database stays with its data: {more:#}");
    world.ctl.run(&["whatif", "lose", "mini-9"]).expect(1).says(&["mini-9"]);
    assert!(world.problems().is_empty(), "{status:#}");
}

#[test]
fn who_uses_the_most_memory_comes_first() {
    let Some(world) = World::new("top") else { return };
    world.apply(&STACK.replace("NAME", "top")).expect(0);
    let shown = wait_until("all tasks are known to use memory", PROMPT, || {
        let shown = world.ctl.json(&["top", "top"]);
        let count = shown["tasks"].as_array().map_or(0, Vec::len);
        if count == 3 { Ok(shown) } else { Err(format!("{shown:#}")) }
    });
    check_shape("top: a machine", &shown["nodes"][0], NODE);
    let used = |task: &Value| {
        check_shape("top: a task", task, TASK);
        task["memory_used"].as_u64()
    };
    let used: Vec<_> = shown["tasks"].as_array().into_iter().flatten().map(used).collect();
    assert!(used.is_sorted_by(|a, b| a >= b), "{used:?}");
    let text = world.ctl.run(&["top"]).expect(0).stdout;
    assert!(text.contains("mini-1") && text.contains("top/db.1"), "{text}");
    assert!(!text.contains('\u{1b}'), "not on a terminal: {text:?}");
    let once = world.ctl.run_on_a_terminal("top --once");
    assert!(once.contains("top/db.1"), "{once}");
    world.ctl.run(&["top", "tpo"]).expect(1).says(&["top"]);
}

#[test]
fn a_problem_in_the_status_names_its_cause_and_its_fix() {
    let world = World::scheduler_only("problem");
    world.apply(&STACK.replace("NAME", "problem")).expect(3);
    let status = world.ctl.json(&["status"]);
    assert_eq!(status["healthy"], false, "{status:#}");
    check_shape("status: a problem", &status["problems"][0], PROBLEM);
    let placement = world.ctl.json(&["placement"]);
    check_shape(
        "placement: a pending task",
        &placement["pending"][0],
        &[("task", "text"), ("stack", "text"), ("service", "text"), ("replica", "whole")],
    );
}

#[test]
fn a_task_gets_what_its_file_says() {
    let Some(world) = World::new("limits") else { return };
    world.apply(&STACK.replace("NAME", "limits")).expect(0);
    let inspected = world.engine.inspect(&world.container("limits", "db"));
    let host = &inspected["HostConfig"];
    let limit = 64 * 1024 * 1024;
    assert_eq!(host["Memory"], limit);
    assert_eq!(host["MemorySwap"], limit, "swap is off: exceeding the limit is an OOM kill");
    assert_eq!(host["RestartPolicy"]["Name"], "no", "a restarted engine starts nothing on its own");
    assert_eq!(host["LogConfig"]["Type"], "local");
    assert_eq!(host["Init"], true);
    assert!(host["PidsLimit"].as_u64().is_some_and(|limit| limit > 0), "{}", host["PidsLimit"]);
    for label in ["cluster", "task", "stack", "service", "slot", "epoch"] {
        let value = &inspected["Config"]["Labels"][format!("siso.{label}")];
        assert!(value.is_string(), "label siso.{label} is missing: {inspected:#}");
    }
    let web = world.tasks("limits").into_iter().find(|task| task["service"] == "web");
    let web = web.expect("a task of web");
    assert_eq!(web["memory_reservation"], 32 * 1024 * 1024);
    assert_eq!(web["cpus"].as_f64(), Some(0.0), "a limit of CPUs reserves none");
}
