//! `/healthz` and `/metrics`, for supervisors and Prometheus.

use std::{fmt::Write as _, sync::Arc};

use proto::probes::{self, Page as Answer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Shown};

/// Answers until `stop`; `names` are the machine's.
pub(crate) async fn serve(
    listener: TcpListener,
    names: Vec<String>,
    board: Arc<Board>,
    stop: CancellationToken,
) {
    let page = move |path: &str| match path {
        "/healthz" => Some(health(&board)),
        "/metrics" => Some(Answer { well: true, text: text(&board) }),
        _ => None,
    };
    probes::serve(listener, names, page, stop.cancelled_owned()).await;
}

/// Well while the engine answers: without a scheduler the agent still does its work.
fn health(board: &Board) -> Answer {
    let engine = board.inventory.borrow().engine_ready;
    let scheduler = board.link.borrow().connected;
    let word = |well: bool, good: &'static str, bad: &'static str| if well { good } else { bad };
    let text = format!(
        "engine: {}\nscheduler: {}\n",
        word(engine, "ready", "does not answer"),
        word(scheduler, "connected", "not connected; what runs goes on"),
    );
    Answer { well: engine, text }
}

/// Prometheus' text format.
fn text(board: &Board) -> String {
    let mut page = Page::default();
    let tasks = board.tasks();
    let counted = board.counted();
    let engine = u64::from(board.inventory.borrow().engine_ready);
    let link = u64::from(board.link.borrow().connected);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.family("siso_agent_build_info", "gauge", "The agent's version.");
    page.sample(&version, 1);
    page.family("siso_agent_engine_ready", "gauge", "1 while the container engine answers.");
    page.sample(&[], engine);
    page.family("siso_agent_scheduler_connected", "gauge", "1 while a session is open.");
    page.sample(&[], link);
    page.family("siso_agent_assignments_generation", "gauge", "Generation of the set held.");
    page.sample(&[], board.generation().0);
    page.family("siso_agent_sessions_total", "counter", "Sessions begun.");
    page.sample(&[], counted.sessions);
    page.family("siso_agent_restarts_total", "counter", "Containers started again.");
    page.sample(&[], counted.restarts);
    page.family("siso_agent_oom_kills_total", "counter", "Containers ended for their limit.");
    page.sample(&[], counted.oom_kills);
    page.family("siso_agent_steps_total", "counter", "Steps done at the engine.");
    for ((step, succeeded), count) in &counted.steps {
        let outcome = if *succeeded { "done" } else { "failed" };
        page.sample(&[("step", step), ("outcome", outcome)], *count);
    }
    page.family("siso_agent_task_running", "gauge", "1 for a task that runs, 0 for another.");
    for (shown, status, _) in &tasks {
        let running = u64::from(status.state == model::TaskState::Running);
        page.task(shown, running);
    }
    page.family("siso_agent_task_restarts", "gauge", "Restarts of a task.");
    for (shown, status, _) in &tasks {
        page.task(shown, u64::from(status.restarts));
    }
    page.family("siso_agent_task_memory_bytes", "gauge", "Memory a task uses, without page cache.");
    for (shown, _, memory) in &tasks {
        if let Some(memory) = memory {
            page.task(shown, memory.0);
        }
    }
    page.text
}

/// A page of metrics in the making.
#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn task(&mut self, shown: &Shown, value: u64) {
        let slot = shown.place.slot.to_string();
        let labels =
            [("stack", &*shown.place.stack), ("service", &shown.place.service), ("replica", &slot)];
        self.sample(&labels, value);
    }

    /// Names of stacks, services and versions need no escaping.
    fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        let pairs: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let name = self.name;
        if pairs.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}", pairs.join(",")));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_follows_its_family() {
        let board = Board::new(model::Inventory::default());
        board.count(|counted| {
            counted.steps.insert(("start", true), 3);
        });
        let text = text(&board);
        assert!(text.contains("siso_agent_steps_total{step=\"start\",outcome=\"done\"} 3\n"));
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap_or_default().to_owned();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(&family), "{line} is not of {family}");
            }
        }
    }
}
