//! `node drain`: shows where everything goes, asks, moves, follows.

use std::time::Duration;

use model::view::{DrainMove, DrainStay, DrainView, TaskRow};
use serde::Serialize;
use tokio::time::timeout;

use super::{agreed, node::known};
use crate::{
    args::{Global, NodeDrain, Span},
    client::{Client, DrainNow, Watch, Written},
    error::Error,
    output::{
        Out,
        amount::count,
        drain::{render, stay_lines},
        json,
        progress::{self, Progress},
        safe,
    },
    signals,
};

/// How long what has moved may take to be ready once the drain itself has ended.
const GRACE: Duration = Duration::from_mins(2);

/// How a drain ended, for scripts.
#[derive(Debug, Serialize)]
struct Drained<'a> {
    #[serde(flatten)]
    plan: &'a DrainView,
    #[serde(flatten)]
    written: Written,
    /// `None` when nobody waited for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// What became of it.
#[derive(Debug, Serialize)]
struct End {
    /// Tasks that serve elsewhere now.
    moved: u32,
    /// What is still there, and why.
    left: Vec<DrainStay>,
    /// What moved and is not ready.
    unready: Vec<String>,
}

/// Carries out `node drain`.
pub async fn run(
    args: &NodeDrain,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let name = args.node.as_str();
    let plan = known(client.plan_drain(name).await, name, client).await?;
    if args.dry_run && out.is_json() {
        return json::document(out, &plan);
    }
    if !out.is_json() && (args.dry_run || !out.look.quiet) {
        let text = render(&plan, out);
        out.data(&text)?;
    }
    if args.dry_run {
        return Ok(());
    }
    if !args.yes && !agreed(&question(&plan), out).await? {
        return Err(
            Error::input("not drained: nothing was changed").hint("answer y, or give --yes")
        );
    }
    let written = known(client.drain_node(name, args.deadline.0).await, name, client).await?;
    let end = if args.detach {
        None
    } else if plan.moves.is_empty() {
        // Nothing will happen that could be waited for.
        Some(End { moved: 0, left: plan.stays.clone(), unready: Vec::new() })
    } else {
        Some(follow(args, &plan, client, global, out).await?)
    };
    if out.is_json() {
        json::document(out, &Drained { plan: &plan, written, end: end.as_ref().map(End::again) })?;
    } else if let Some(end) = end.as_ref().filter(|end| end.is_good()) {
        let moved = count(end.moved, "task");
        out.data_line(&format!("{name} is drained: {moved} moved, nothing new is placed there"))?;
    } else if end.is_none() {
        out.data_line(&format!("{name} is being drained; look with `sisoctl node show {name}`"))?;
    }
    match end {
        Some(end) if !end.is_good() => Err(end.told(name)),
        _ => Ok(()),
    }
}

/// What is asked names what stays and what is interrupted.
fn question(plan: &DrainView) -> String {
    let mut parts = Vec::new();
    let down = plan.moves.iter().filter(|held| held.down_because.is_some()).count();
    if down > 0 {
        parts.push(format!("interrupting {}", count(down as u64, "task")));
    }
    if !plan.stays.is_empty() {
        parts.push(format!("leaving {} there", count(plan.stays.len() as u64, "task")));
    }
    let how = if parts.is_empty() { String::new() } else { format!(", {}", parts.join(" and ")) };
    format!("\nDrain {}{how}?", safe::line(&plan.node))
}

impl End {
    fn is_good(&self) -> bool {
        self.left.is_empty() && self.unready.is_empty()
    }

    fn again(&self) -> Self {
        let (left, unready) = (self.left.clone(), self.unready.clone());
        Self { moved: self.moved, left, unready }
    }

    fn told(&self, name: &str) -> Error {
        let mut lines: Vec<String> = self.left.iter().flat_map(stay_lines).collect();
        lines.extend(self.unready.iter().cloned());
        let what = match (self.left.len(), self.unready.len()) {
            (0, unready) => format!("{} moved and not ready", count(unready as u64, "task")),
            (left, _) => format!("{} left there", count(left as u64, "task")),
        };
        let hint = if self.left.is_empty() {
            "the cluster goes on without you: look with `sisoctl ps`".to_owned()
        } else {
            format!(
                "what is left runs on; `sisoctl node uncordon {name}` lets {name} take work again"
            )
        };
        let what = format!("{name} is not drained: {what}, {} moved", count(self.moved, "task"));
        Error::cluster(what).details(lines).hint(hint)
    }
}

/// Shows how everything comes along until nothing more moves.
async fn follow(
    args: &NodeDrain,
    plan: &DrainView,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<End, Error> {
    let name = args.node.as_str();
    let limit = global.timeout.map_or(args.deadline.0 + GRACE, |timeout| timeout.0);
    let mut way = Way { plan, progress: Progress::new(out), last: None };
    let ended = tokio::select! {
        ended = timeout(limit, way.go(client.watch_drain(name), out)) => ended,
        () = signals::interrupt() => {
            way.progress.finish();
            return Err(Error::interrupted().hint(goes_on(name)));
        }
    };
    way.progress.finish();
    match ended {
        Ok(Ok(())) => Ok(way.end()),
        Ok(Err(error)) if error.has_hint() => Err(error),
        Ok(Err(error)) => Err(error.hint(goes_on(name))),
        // What the drain came to meanwhile is told, not that somebody waited.
        Err(_) if way.last.as_ref().is_some_and(|last| last.ended) => Ok(way.end()),
        Err(_) => {
            let end = way.end();
            let lines = end.left.iter().flat_map(stay_lines).collect();
            let what = format!("{name} is not drained after {}", Span(limit));
            Err(Error::cluster(what).details(lines).hint(goes_on(name)))
        }
    }
}

fn goes_on(name: &str) -> String {
    format!(
        "the cluster goes on without you: look with `sisoctl node show {name}`; `sisoctl node uncordon \
         {name}` ends the drain"
    )
}

/// The way to an empty machine: what is shown of it, and how it was last seen.
struct Way<'a> {
    plan: &'a DrainView,
    progress: Progress,
    last: Option<DrainNow>,
}

impl Way<'_> {
    async fn go(&mut self, mut watch: Watch<'_>, out: &mut Out) -> Result<(), Error> {
        loop {
            let now = watch.next_drain().await?;
            let concerned: Vec<TaskRow> =
                now.tasks.iter().filter(|task| self.concerns(task)).map(in_full).collect();
            self.progress.show(out, &concerned);
            self.last = Some(now);
            if self.is_over() {
                return Ok(());
            }
        }
    }

    /// Whether the task is one that leaves, or the successor of one.
    fn concerns(&self, task: &TaskRow) -> bool {
        self.plan.moves.iter().any(|held| is_of(held, task))
    }

    fn is_over(&self) -> bool {
        let Some(last) = self.last.as_ref().filter(|last| last.ended) else { return false };
        self.plan.moves.iter().all(|held| {
            let stays = last.stays.iter().any(|stay| stay.task == held.task);
            let successor = newest(held, &last.tasks);
            // Nobody waits for what ends by itself or was taken back.
            stays || successor.is_none_or(|task| task.ready || task.state == "stopped")
        })
    }

    fn end(&self) -> End {
        let (rows, left) = match &self.last {
            Some(last) => (last.tasks.as_slice(), last.stays.clone()),
            None => (&[][..], Vec::new()),
        };
        let mut end = End { moved: 0, left, unready: Vec::new() };
        for held in &self.plan.moves {
            if end.left.iter().any(|stay| stay.task == held.task) {
                continue;
            }
            match newest(held, rows) {
                Some(task) if !task.ready && task.state != "stopped" => {
                    let phase = progress::phase(task).word;
                    let node = task.node.as_deref().unwrap_or("no machine");
                    end.unready.push(format!(
                        "{}/{}.{} on {node}: {phase}",
                        held.stack, held.service, held.replica
                    ));
                }
                _ => end.moved += 1,
            }
        }
        end
    }
}

/// The newest task of a replica that was to move, where it serves elsewhere by now.
fn newest<'r>(held: &DrainMove, rows: &'r [TaskRow]) -> Option<&'r TaskRow> {
    let newest = rows.iter().filter(|task| is_of(held, task)).max_by_key(|task| task.epoch)?;
    (newest.task != held.task && newest.desired != "stop").then_some(newest)
}

/// The row with its stack in its name: tasks of several stacks leave together.
fn in_full(task: &TaskRow) -> TaskRow {
    TaskRow { service: format!("{}/{}", task.stack, task.service), ..task.clone() }
}

fn is_of(held: &DrainMove, task: &TaskRow) -> bool {
    (held.stack.as_str(), held.service.as_str(), held.replica)
        == (task.stack.as_str(), task.service.as_str(), task.replica)
}
