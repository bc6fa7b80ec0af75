//! `/healthz` and `/metrics` of both processes.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use siso_tests::{World, get, required};

use crate::stacks::sleepers;

/// What `promtool check metrics` says of a text.
fn promtool(text: &str) -> Result<(), String> {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| format!("promtool does not start ({error})"))?;
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "promtool: {said}\n{text}");
    Ok(())
}

/// The metrics address a process gave in its ready line.
fn served(world_path: &str, test: &str) {
    let health = get(world_path, "/healthz").expect("healthz answers");
    assert_eq!(health.status, 200, "{}", health.text());
    let metrics = get(world_path, "/metrics").expect("metrics answers");
    assert_eq!(metrics.status, 200, "{}", metrics.text());
    assert!(metrics.head.contains("text/plain") || metrics.head.contains("openmetrics"));
    assert!(metrics.text().contains("siso_"), "{}", metrics.text());
    required(test, "SISO_REQUIRE_PROMTOOL", promtool(&metrics.text()));
    let unknown = get(world_path, "/no-such-page").expect("an answer");
    assert_eq!(unknown.status, 404);
}

#[test]
fn the_scheduler_answers_healthz_and_valid_metrics() {
    let world = World::scheduler_only("scheduler-metrics");
    served(&world.scheduler_metrics(), "scheduler-metrics");
}

#[test]
fn the_agent_answers_healthz_and_valid_metrics() {
    let Some(world) = World::new("agent-metrics") else { return };
    world.apply(&sleepers("measured", 1)).expect(0);
    served(&world.agent_metrics(), "agent-metrics");
    served(&world.scheduler_metrics(), "agent-metrics");
}
