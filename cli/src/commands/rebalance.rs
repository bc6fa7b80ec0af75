//! `rebalance`: shows by which few moves the cluster would be packed better, asks, and makes them one by one.

use std::{path::Path, time::Duration};

use model::{
    Resources,
    view::{RebalanceMove, RebalanceView, TaskRow},
};
use proto::v1::{self as pb, rebalance_request::Goal as Asked};
use scheduler_core::{Goal, rebalance_offline};
use serde::Serialize;
use tokio::time::timeout;

use super::agreed;
use crate::{
    args::{Global, Rebalance, Span, StackFiles},
    client::{Client, Watch},
    error::Error,
    offline::{Machines, unimaginable},
    output::{
        Out,
        amount::count,
        json,
        progress::Progress,
        rebalance::{is_missed, name, render},
        safe,
    },
    signals,
    stack_input::{LoadedStack, StackInput, say_notes},
};

/// How long one move may take: the cluster gives it up after ten minutes, and what stops has its own time.
const ONE_MOVE: Duration = Duration::from_mins(15);

/// How it ended, for scripts.
#[derive(Debug, Serialize)]
struct Ended<'a> {
    #[serde(flatten)]
    plan: &'a RebalanceView,
    made: &'a [RebalanceMove],
    not_made: &'a [RebalanceMove],
    /// Why it ended early.
    failed: Option<String>,
}

/// Without a cluster: on the machines of that file.
pub fn offline(args: &Rebalance, machines: &Path, out: &mut Out) -> Result<(), Error> {
    let machines = Machines::read(machines)?;
    let mut stacks = Vec::new();
    for file in &args.file {
        let files = StackFiles { files: vec![file.clone()], ..StackFiles::default() };
        let LoadedStack { spec, notes } = StackInput::read(&files)?.imagined().load()?;
        if !out.is_json() {
            say_notes(out, &notes);
        }
        stacks.push(spec);
    }
    let seats = machines.seats(&stacks)?;
    args.empty.iter().chain(&args.on).try_for_each(|name| machines.must_have(name))?;
    let found = rebalance_offline(&stacks, &machines.nodes, &seats, |cluster| {
        let id = |name| cluster.node_named(name).map(|node| node.id);
        Ok(match (args.empty.as_ref().and_then(id), args.room) {
            (Some(node), _) => Goal::Empty(node),
            (None, Some(room)) => Goal::Room { amount: room.0, on: args.on.as_ref().and_then(id) },
            (None, None) => Goal::Best,
        })
    });
    show(&found.map_err(|why| unimaginable(&why))?, out)
}

/// Carries out `rebalance` on a cluster.
pub async fn run(
    args: &Rebalance,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let plan = client.rebalance(goal(args)).await?;
    if !args.apply {
        return show(&plan, out);
    }
    if !out.is_json() {
        let text = render(&plan, out);
        if !out.look.quiet {
            out.data(&text)?;
        }
    }
    if !plan.moves.is_empty() && !args.yes && !agreed(&question(&plan), out).await? {
        return Err(Error::input("nothing was moved").hint("answer y, or give --yes"));
    }
    let mut made = 0;
    let failed = make_all(&plan.moves, &mut made, client, global, out).await.err();
    let (done, left) = plan.moves.split_at(made);
    if out.is_json() {
        let failed = failed.as_ref().map(ToString::to_string);
        json::document(out, &Ended { plan: &plan, made: done, not_made: left, failed })?;
    } else if failed.is_none() && made > 0 {
        out.data_line(&format!("{} made", count(made as u64, "move")))?;
    }
    match failed {
        Some(error) => Err(with_account(error, done, left)),
        None => Ok(()),
    }
}

fn show(found: &RebalanceView, out: &mut Out) -> Result<(), Error> {
    if out.is_json() {
        return json::document(out, found);
    }
    let text = render(found, out);
    out.data(&text)
}

fn goal(args: &Rebalance) -> Option<Asked> {
    if let Some(node) = &args.empty {
        return Some(Asked::Empty(node.to_string()));
    }
    let Resources { memory, cpu } = args.room?.0;
    let on = args.on.as_ref().map(ToString::to_string);
    Some(Asked::Room(pb::RoomWanted { memory: memory.0, cpu_millis: cpu.0, on }))
}

/// What is asked names what is interrupted.
fn question(plan: &RebalanceView) -> String {
    let missed = plan.moves.iter().filter(|held| is_missed(held)).count() as u64;
    let how = match missed {
        0 => String::new(),
        missed => format!(", interrupting {}", count(missed, "task")),
    };
    format!("\nMake {}{how}?", count(plan.moves.len() as u64, "move"))
}

/// What was done before it ended, and what was not.
fn with_account(error: Error, done: &[RebalanceMove], left: &[RebalanceMove]) -> Error {
    let line = |what: &str, held: &RebalanceMove| {
        let said = format!("{what}: {} from {} to {}", name(held), held.from, held.to);
        safe::line(&said).into_owned()
    };
    let lines = done.iter().map(|held| line("made", held));
    let lines = lines.chain(left.iter().map(|held| line("not made", held)));
    error.details(lines.collect())
}

/// Makes the moves one by one until one fails or somebody interrupts; `made` counts them.
async fn make_all(
    moves: &[RebalanceMove],
    made: &mut usize,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let mut interrupted = false;
    for held in moves {
        if interrupted {
            return Err(Error::interrupted().hint("what has moved stays there"));
        }
        let current = find(held, client).await?;
        if current.node.as_deref() != Some(held.to.as_str()) {
            client.move_task(&current.task, &held.to).await?;
            interrupted |= follow(held, &current.task, client, global, out).await?;
        }
        *made += 1;
    }
    Ok(())
}

/// The task that serves now: things may have changed since the moves were sought.
async fn find(held: &RebalanceMove, client: &Client) -> Result<TaskRow, Error> {
    let rows = client.tasks(Some(&held.stack)).await?;
    let serving = rows
        .into_iter()
        .filter(|row| is_of(held, row) && row.desired != "stop")
        .max_by_key(|row| row.epoch);
    let wrong = |what: String| {
        Error::cluster(format!("{} {what}", name(held)))
            .hint("the cluster changed meanwhile: run `sisoctl rebalance` again")
    };
    let row = serving.ok_or_else(|| wrong("is gone".to_owned()))?;
    let node = row.node.as_deref().unwrap_or("no machine");
    if node != held.from && node != held.to {
        return Err(wrong(format!("is on {node} by now, not on {}", held.from)));
    }
    Ok(row)
}

fn is_of(held: &RebalanceMove, row: &TaskRow) -> bool {
    (held.stack.as_str(), held.service.as_str(), held.replica)
        == (row.stack.as_str(), row.service.as_str(), row.replica)
}

/// Shows how a move goes on until the task serves in its new place and its former is gone; answers whether
/// somebody interrupted meanwhile. Interrupted again, it is left alone.
async fn follow(
    held: &RebalanceMove,
    old: &str,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<bool, Error> {
    let limit = global.timeout.map_or(ONE_MOVE, |timeout| timeout.0);
    let stack = held.stack.parse().map_err(Error::cluster)?;
    let mut way = Way { held, old, new: None, progress: Progress::new(out) };
    let mut interrupts = 0;
    let mut watch = client.watch(&stack);
    let ended = timeout(limit, async {
        loop {
            tokio::select! {
                over = way.step(&mut watch, out) => if over? { return Ok(()) },
                () = signals::interrupt() => {
                    interrupts += 1;
                    if interrupts > 1 {
                        return Err(Error::interrupted()
                            .hint("the move goes on without you: look with `sisoctl ps`"));
                    }
                    out.note("this move is finished first; once more leaves at once");
                }
            }
        }
    });
    let ended = ended.await;
    way.progress.finish();
    match ended {
        Ok(Ok(())) => Ok(interrupts > 0),
        Ok(Err(error)) if error.has_hint() => Err(error),
        Ok(Err(error)) => {
            let why = why_given_up(held, client).await;
            Err(match why {
                Some(why) => Error::cluster(why).hint("what has moved stays there"),
                None => error,
            })
        }
        Err(_) => Err(Error::cluster(format!(
            "{} is not on {} after {}",
            name(held),
            held.to,
            Span(limit)
        ))
        .hint("the move goes on without you: look with `sisoctl ps`")),
    }
}

/// The way of one task: what is shown of it, and which task takes over.
struct Way<'a> {
    held: &'a RebalanceMove,
    old: &'a str,
    new: Option<String>,
    progress: Progress,
}

impl Way<'_> {
    /// Looks once more; answers whether it is over.
    async fn step(&mut self, watch: &mut Watch<'_>, out: &mut Out) -> Result<bool, Error> {
        let now = watch.next().await?;
        let rows: Vec<TaskRow> =
            now.tasks.into_iter().filter(|row| is_of(self.held, row)).collect();
        self.progress.show(out, &rows);
        if self.new.is_none() {
            let successor = rows.iter().find(|row| {
                row.task != self.old && row.node.as_deref() == Some(self.held.to.as_str())
            });
            self.new = successor.map(|row| row.task.clone());
        }
        let new = rows.iter().find(|row| Some(&row.task) == self.new.as_ref());
        let failed =
            || Error::cluster(format!("{} did not get to {}", name(self.held), self.held.to));
        let Some(new) = new.filter(|row| row.desired != "stop") else { return Err(failed()) };
        if new.state == "failed" {
            return Err(failed());
        }
        let gone = !rows.iter().any(|row| row.task == self.old && row.state != "stopped");
        Ok((new.ready || new.state == "stopped") && gone)
    }
}

/// What the cluster says of a move that it gave up.
async fn why_given_up(held: &RebalanceMove, client: &Client) -> Option<String> {
    let mut events = client.events(Some(&held.stack), false, 0).await.ok()?;
    let about = format!("the move of {} ", name(held));
    let mut last = None;
    while let Ok(Some(event)) = events.next_event().await {
        if event.kind == "moved" && event.message.starts_with(&about) {
            last = Some(event.message);
        }
    }
    last
}
