//! Follows a stack until nothing more will happen by itself, and tells how it ended.

mod patience;

use std::{collections::BTreeSet, time::Duration};

use model::{StackName, view::TaskRow};
use patience::Patience;
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    args::{Global, ServiceTarget, Span},
    client::{Client, Rollout, ServiceNote, Watch, WatchView, Written},
    error::Error,
    output::{
        Out, Tone,
        amount::count,
        plan::misfit_lines,
        progress::{self, Progress},
    },
    signals,
};

/// How long a stack may take unless `--timeout` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(5);
/// How long the leader may take to act on a write. What is seen before it has is how the stack was
/// before the write.
const ACTS_WITHIN: Duration = Duration::from_millis(300);
/// Replicas without a place that are explained in full; the rest is counted.
const MAX_EXPLAINED: usize = 5;

/// Where a stack is expected to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Nothing more will happen to it by itself.
    Settled,
    /// It and all its tasks are gone.
    Gone,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// The stack's revision.
    pub revision: u64,
    /// Services that did not become ready.
    pub failed: Vec<ServiceNote>,
    /// Services that wait for something that will not come by itself.
    pub waiting: Vec<ServiceNote>,
    /// Tasks that are wanted and ready.
    pub ready: u32,
    /// Tasks that are wanted.
    pub wanted: u32,
    /// Replicas without a machine.
    #[serde(skip)]
    homeless: Vec<(String, u32)>,
}

impl End {
    fn of(view: &WatchView) -> Self {
        // A task that still serves while its successor waits is the same replica.
        let succeeded = |task: &TaskRow| {
            view.tasks.iter().any(|other| {
                (&other.service, other.replica) == (&task.service, task.replica)
                    && other.desired != "stop"
                    && other.epoch > task.epoch
            })
        };
        let tasks = view.tasks.iter().filter(|task| task.desired != "stop");
        let wanted = || tasks.clone().filter(|task| !succeeded(task));
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let homeless = wanted().filter(|task| task.node.is_none() && task.state == "pending");
        Self {
            revision: view.rollout.revision,
            failed: view.rollout.failed.clone(),
            waiting: view.rollout.waiting.clone(),
            ready: number(wanted().filter(|task| is_done(task)).count()),
            wanted: number(wanted().count()),
            homeless: homeless.map(|task| (task.service.clone(), task.replica)).collect(),
        }
    }

    /// Whether everything is as it was wanted.
    pub fn is_good(&self) -> bool {
        self.failed.is_empty() && self.waiting.is_empty()
    }
}

/// Ready, or finished with success as a job does.
fn is_done(task: &TaskRow) -> bool {
    task.ready || task.state == "stopped"
}

/// Shows how a stack comes along until it is where it should be or stops coming along.
pub async fn until(
    goal: Goal,
    stack: &StackName,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<End, Error> {
    let limit = global.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
    let patience = Patience::new(patience::LIMIT);
    let mut way = Way { goal, progress: Progress::new(out), patience, last: None };
    let ended = tokio::select! {
        ended = timeout(limit, way.go(client.watch(stack), out)) => ended,
        () = signals::interrupt() => {
            way.progress.finish();
            return Err(Error::interrupted().hint(goes_on(stack)));
        }
    };
    way.progress.finish();
    match ended {
        Ok(Ok(Some(end))) => Ok(end),
        Ok(Ok(None)) => Err(way.in_vain(stack)),
        Ok(Err(error)) if error.has_hint() => Err(error),
        Ok(Err(error)) => Err(error.hint(goes_on(stack))),
        Err(_) => Err(way.too_late(stack, limit)),
    }
}

/// The way to a goal: what is shown of it, and how it was last seen.
struct Way {
    goal: Goal,
    progress: Progress,
    patience: Patience,
    last: Option<WatchView>,
}

impl Way {
    /// Goes it to its end; `None` when it leads nowhere.
    async fn go(&mut self, mut watch: Watch<'_>, out: &mut Out) -> Result<Option<End>, Error> {
        let mut begins = true;
        loop {
            let view = match (self.goal, self.patience.ends_at()) {
                _ if std::mem::take(&mut begins) => self.first(&mut watch).await?,
                (Goal::Settled, Some(end)) => match timeout_at(end, watch.next()).await {
                    Ok(view) => view?,
                    Err(_) => return Ok(None),
                },
                _ => watch.next().await?,
            };
            self.progress.show(out, &view.tasks);
            if is_reached(self.goal, &view.rollout) {
                return Ok(Some(End::of(&view)));
            }
            self.patience.look(&view.tasks, Instant::now());
            self.last = Some(view);
        }
    }

    /// How the stack is once the leader has acted on the write, or when it does not.
    async fn first(&mut self, watch: &mut Watch<'_>) -> Result<WatchView, Error> {
        let view = watch.next().await?;
        if is_reached(self.goal, &view.rollout) {
            return Ok(view);
        }
        self.last = Some(view.clone());
        timeout(ACTS_WITHIN, watch.next()).await.unwrap_or(Ok(view))
    }

    /// Each task that is not where it should be, and how it is.
    fn missing(&self) -> Vec<String> {
        let tasks = self.last.as_ref().map(|view| view.tasks.as_slice()).unwrap_or_default();
        let unready = |task: &&TaskRow| match self.goal {
            Goal::Gone => task.state != "stopped",
            Goal::Settled => task.desired != "stop" && !is_done(task),
        };
        let said = |task: &TaskRow| {
            (format!("{}.{}", task.service, task.replica), progress::phase(task).word)
        };
        once_each(tasks.iter().filter(unready).map(said))
    }

    fn too_late(&self, stack: &StackName, limit: Duration) -> Error {
        let what = match self.goal {
            Goal::Gone => "gone",
            Goal::Settled => "ready",
        };
        Error::cluster(format!("{stack} is not {what} after {}", Span(limit)))
            .details(self.missing())
            .hint(format!("{}; --timeout waits longer", self.next_steps(stack)))
    }

    fn in_vain(&self, stack: &StackName) -> Error {
        let limit = Span(patience::LIMIT);
        Error::cluster(format!("{stack} did not become ready: the same fails for {limit}"))
            .details(self.missing())
            .hint(self.next_steps(stack))
    }

    /// Where a person looks next: into the logs of what has run, and back where there is a way back.
    fn next_steps(&self, stack: &StackName) -> String {
        let Some(last) = self.last.as_ref().filter(|_| self.goal == Goal::Settled) else {
            return goes_on(stack);
        };
        let unready = last.tasks.iter().filter(|task| task.desired != "stop" && !is_done(task));
        let ran = unready.clone().find(|task| task.container.is_some() && task.restarts > 0);
        let logs =
            ran.map(|task| format!("see what it wrote: `sisoctl logs {stack}/{}`; ", task.service));
        let back = if last.rollout.revision > 1 {
            format!(
                "; `sisoctl stack rollback {stack}` goes back to the last revision that was ready, if any was"
            )
        } else {
            String::new()
        };
        format!("{}{}{back}", logs.unwrap_or_default(), goes_on(stack))
    }
}

fn is_reached(goal: Goal, rollout: &Rollout) -> bool {
    match goal {
        Goal::Gone => !rollout.exists,
        // A watch begins after every write that was answered, so this is not news from before.
        Goal::Settled => !rollout.exists || rollout.settled,
    }
}

/// `NAME: WHAT` a line each; what is the same of several is said once, behind all their names.
fn once_each(said: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for (name, what) in said {
        match lines.iter_mut().find(|(_, known)| *known == what) {
            Some((names, _)) => {
                names.push_str(", ");
                names.push_str(&name);
            }
            None => lines.push((name, what)),
        }
    }
    lines.into_iter().map(|(names, what)| format!("{names}: {what}")).collect()
}

fn goes_on(stack: &StackName) -> String {
    format!(
        "the cluster goes on without you: look with `sisoctl ps {stack}` or `sisoctl events -f {stack}`"
    )
}

/// Why a stack that settled is not as it was wanted, with the amounts and fixes of every replica that
/// found no place.
pub async fn why_not(stack: &StackName, end: &End, client: &Client) -> Error {
    let mut lines = Vec::new();
    let mut explained = BTreeSet::new();
    for (service, replica) in end.homeless.iter().take(MAX_EXPLAINED) {
        let target = format!("{stack}/{service}.{replica}").parse::<ServiceTarget>();
        let Ok(target) = target else { continue };
        // Without an explanation the note of the rollout says it in a sentence.
        let views = client.explain(&target, None).await.unwrap_or_default();
        for view in views.iter().filter(|view| view.placement.node.is_none()) {
            lines.push(format!("{service}.{replica} is pending, it fits nowhere:"));
            lines.extend(misfit_lines(&view.placement).into_iter().map(|line| format!("  {line}")));
            explained.insert(service.as_str());
        }
    }
    if let Some(more @ 1..) = end.homeless.len().checked_sub(MAX_EXPLAINED) {
        lines.push(format!("and {} more without a place", count(more as u64, "replica")));
    }
    let notes = || end.failed.iter().chain(&end.waiting);
    let rest = notes().filter(|note| !explained.contains(note.service.as_str()));
    lines.extend(once_each(rest.map(|note| (note.service.clone(), note.why.clone()))));
    let homeless = |note: &ServiceNote| end.homeless.iter().any(|(name, _)| *name == note.service);
    let (what, hint) = match notes().find(|note| !homeless(note)) {
        Some(note) => (
            "did not become ready",
            format!("see what it wrote: `sisoctl logs {stack}/{}`", note.service),
        ),
        None => (
            "is not complete",
            "what runs goes on; the rest starts by itself as soon as there is room".to_owned(),
        ),
    };
    // What ran before may serve on, so that as many are ready as are wanted.
    let ready = match end.ready {
        ready if ready < end.wanted => format!(": {ready} of {} ready", count(end.wanted, "task")),
        _ => String::new(),
    };
    Error::cluster(format!("{stack} {what}{ready}")).details(lines).hint(hint)
}

/// What a write did to a stack, for scripts.
#[derive(Debug, Serialize)]
pub struct Finished {
    stack: String,
    #[serde(flatten)]
    written: Written,
    /// `None` when nobody waited for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
    #[serde(skip)]
    good: bool,
}

/// Follows a write to a stack, unless detached, and says how it ended. A stack that did not become
/// what was wanted is an error, told after the data.
pub async fn finish(
    (stack, written): (&StackName, Written),
    detach: bool,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<Finished, Error> {
    let end =
        if detach { None } else { Some(until(Goal::Settled, stack, client, global, out).await?) };
    let good = end.as_ref().is_none_or(End::is_good);
    if !out.is_json() {
        let line = match &end {
            _ if !written.changed => format!("{stack}: nothing to change"),
            Some(end) if good => all_ready(stack.as_str(), end, out),
            Some(_) => String::new(),
            None => format!("{stack}: under way; look with `sisoctl ps {stack}`"),
        };
        if !line.is_empty() {
            out.data_line(&line)?;
        }
    }
    Ok(Finished { stack: stack.to_string(), written, end, good })
}

impl Finished {
    /// An error unless it ended well.
    pub async fn judge(&self, client: &Client) -> Result<(), Error> {
        match (&self.end, StackName::new(&self.stack)) {
            (Some(end), Ok(stack)) if !self.good => Err(why_not(&stack, end, client).await),
            _ => Ok(()),
        }
    }
}

/// The last line of a write that was followed to its good end.
pub fn all_ready(stack: &str, end: &End, out: &Out) -> String {
    let stack = out.paint(Tone::Strong, stack);
    let tasks = format!("{} of {} ready", end.ready, count(end.wanted, "task"));
    format!("{stack} revision {}: {}", end.revision, out.paint(Tone::Good, &tasks))
}

#[cfg(test)]
mod tests {
    use proto::v1 as pb;

    use super::*;
    use crate::{
        output::Look,
        testing::{
            cluster::{FakeCluster, Script},
            streams, task,
        },
    };

    fn view(settled: bool, tasks: Vec<TaskRow>) -> WatchView {
        let rollout = Rollout { settled, exists: true, ..Rollout::default() };
        WatchView { tasks, rollout }
    }

    #[test]
    fn the_goal_is_to_settle_or_to_be_gone() {
        for (settled, goal, expected) in
            [(false, Goal::Settled, false), (true, Goal::Settled, true), (true, Goal::Gone, false)]
        {
            assert_eq!(is_reached(goal, &view(settled, vec![]).rollout), expected);
        }
        let gone = Rollout::default();
        assert!(is_reached(Goal::Settled, &gone) && is_reached(Goal::Gone, &gone));
    }

    #[test]
    fn the_end_counts_what_is_wanted_and_names_who_has_no_place() {
        let mut pending = task("neo4j", 2);
        (pending.node, pending.state, pending.ready) = (None, "pending".to_owned(), false);
        let mut leaving = task("web", 1);
        leaving.desired = "stop".to_owned();
        let mut job = task("migrate", 1);
        (job.state, job.ready) = ("stopped".to_owned(), false);
        let mut old = task("neo4j", 2);
        pending.epoch = old.epoch + 1;
        old.ready = true;
        let end = End::of(&view(true, vec![task("db", 1), old, pending, leaving, job]));
        assert_eq!((end.ready, end.wanted), (2, 3));
        assert_eq!(end.homeless, [("neo4j".to_owned(), 2)]);
    }

    #[test]
    fn who_waited_too_long_is_told_what_is_missing() {
        let mut starting = task("web", 1);
        (starting.state, starting.ready) = ("starting".to_owned(), false);
        let way = Way {
            goal: Goal::Settled,
            progress: Progress::Silent,
            patience: Patience::new(patience::LIMIT),
            last: Some(view(false, vec![task("db", 1), starting])),
        };
        let stack = StackName::new("shop").unwrap();
        let Error::Told { message, details, .. } = way.too_late(&stack, Duration::from_mins(5))
        else {
            panic!("not told");
        };
        assert_eq!(message, "shop is not ready after 5m");
        assert_eq!(details, ["web.1: starting"]);
    }

    #[test]
    fn what_is_the_same_of_several_is_said_once() {
        let said = [("web.1", "no such image"), ("db.1", "starting"), ("web.2", "no such image")];
        let said = said.map(|(name, what)| (name.to_owned(), what.to_owned()));
        assert_eq!(once_each(said.into_iter()), ["web.1, web.2: no such image", "db.1: starting"]);
    }

    #[tokio::test]
    async fn a_way_that_leads_nowhere_ends_when_patience_does() {
        let failing = TaskRow {
            state: "preparing".to_owned(),
            ready: false,
            error: Some("no such image".to_owned()),
            ..task("web", 1)
        };
        let reply = pb::WatchReply {
            tasks: vec![failing.into()],
            rollout: Some(pb::Rollout { exists: true, ..pb::Rollout::default() }),
            ..pb::WatchReply::default()
        };
        let script = Script { watch: [Ok(vec![Ok(reply)])].into(), ..Script::default() };
        let (_, client) = FakeCluster::new(script);
        let stack = StackName::new("shop").unwrap();
        let mut way = Way {
            goal: Goal::Settled,
            progress: Progress::Silent,
            patience: Patience::new(Duration::from_millis(50)),
            last: None,
        };
        let (mut out, ..) = streams(Look::plain());
        assert_eq!(way.go(client.watch(&stack), &mut out).await.unwrap(), None);
        assert_eq!(way.missing(), ["web.1: preparing again after: no such image"]);
        assert_eq!(way.next_steps(&stack), goes_on(&stack), "it never ran, and is the first");
        let last = way.last.as_mut().unwrap();
        (last.rollout.revision, last.tasks[0].restarts) = (2, 3);
        last.tasks[0].container = Some("c1".to_owned());
        let steps = way.next_steps(&stack);
        assert!(steps.contains("sisoctl logs shop/web"), "{steps}");
        assert!(steps.contains("sisoctl stack rollback shop"), "{steps}");
    }
}
