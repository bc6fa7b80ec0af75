//! How each task comes along: a line that changes in place on a terminal, a line per change elsewhere.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use model::{
    Bytes,
    view::{PullProgress, TaskRow},
};

use super::{Out, Tone, safe, succession::mark, wrap::cut};

/// How often the wheel of a waiting task turns.
const TICK: Duration = Duration::from_millis(120);
/// A remark longer than this is cut on a terminal, where a line that wraps cannot be redrawn.
const MAX_REMARK: usize = 100;

/// How far a task has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// What is happening; a change of it is worth a line.
    pub word: String,
    /// How that is to be seen.
    pub tone: Tone,
    /// How much of the image is there.
    pub pull: Option<PullProgress>,
    /// Nothing more is expected of this task for now.
    pub resting: bool,
}

/// What to say about a task.
pub fn phase(task: &TaskRow) -> Phase {
    let with = |word: &str, why: Option<&String>| match why {
        Some(why) => format!("{word}: {why}"),
        None => word.to_owned(),
    };
    let waiting = || match task.waiting_for.as_deref() {
        Some(why) => match (why.strip_prefix("waits "), why.strip_prefix("is ")) {
            (Some(rest), _) => format!("waiting {rest}"),
            (_, Some(about)) => about.to_owned(),
            (None, None) => format!("waiting: {why}"),
        },
        None => "waiting".to_owned(),
    };
    let leaving = task.desired == "stop";
    let (word, tone, resting) = match task.state.as_str() {
        "pending" => (waiting(), Tone::Careful, false),
        "assigned" => (waiting(), Tone::Plain, false),
        "preparing" if task.pull.is_some() => ("pulling".to_owned(), Tone::Plain, false),
        "preparing" if task.error.is_some() => {
            (with("preparing again after", task.error.as_ref()), Tone::Careful, false)
        }
        "preparing" if task.waiting_for.is_some() => (waiting(), Tone::Plain, false),
        "preparing" => ("preparing".to_owned(), Tone::Plain, false),
        "starting" if task.error.is_some() => {
            (with("starting again after", task.error.as_ref()), Tone::Careful, false)
        }
        "starting" if task.waiting_for.is_some() => (waiting(), Tone::Plain, false),
        "running" if leaving => ("to be stopped".to_owned(), Tone::Faint, false),
        "running" => match task.health.as_deref() {
            None => ("running".to_owned(), Tone::Good, task.ready),
            Some("healthy") => ("healthy".to_owned(), Tone::Good, task.ready),
            Some("starting") => ("running, not yet ready".to_owned(), Tone::Plain, false),
            Some(health) => (with(health, task.error.as_ref()), Tone::Bad, false),
        },
        "stopped" => ("stopped".to_owned(), Tone::Faint, true),
        "failed" => (with("failed", task.error.as_ref()), Tone::Bad, true),
        "lost" => (with("lost", task.error.as_ref()), Tone::Bad, true),
        state => (state.to_owned(), Tone::Plain, false),
    };
    Phase { word, tone, pull: task.pull.filter(|_| task.state == "preparing"), resting }
}

/// Shows how tasks come along.
#[derive(Debug)]
pub enum Progress {
    /// `-q`: nothing.
    Silent,
    /// One line per change on standard error: what was last said of each task.
    Lines(BTreeMap<String, String>),
    /// Lines that change in place.
    Live(MultiProgress, BTreeMap<String, ProgressBar>),
}

impl Progress {
    /// The form that fits where standard error goes.
    pub fn new(out: &Out) -> Self {
        match (out.look.quiet, out.look.stderr_terminal) {
            (true, _) => Self::Silent,
            (false, false) => Self::Lines(BTreeMap::new()),
            (false, true) => Self::Live(MultiProgress::new(), BTreeMap::new()),
        }
    }

    /// Shows all tasks of a stack as they are now. A task that was at rest when it was first seen is
    /// left out: it has nothing to do with what is going on.
    pub fn show(&mut self, out: &mut Out, tasks: &[TaskRow]) {
        for task in tasks {
            let phase = phase(task);
            let name = format!("{}.{}{}", task.service, task.replica, mark(task.succession));
            match self {
                Self::Silent => {}
                Self::Lines(said) => {
                    let first = !said.contains_key(&task.task);
                    let before = said.insert(task.task.clone(), phase.word.clone());
                    if before.as_ref() != Some(&phase.word) && !(first && phase.resting) {
                        out.aside(&line(out, &name, task.node.as_deref(), &phase));
                    }
                }
                Self::Live(all, bars) => {
                    let known = bars.contains_key(&task.task);
                    if known || !phase.resting {
                        let bar =
                            bars.entry(task.task.clone()).or_insert_with(|| all.add(new_bar()));
                        draw(bar, out, &name, task.node.as_deref(), &phase);
                    }
                }
            }
        }
        self.forget_gone(tasks);
    }

    /// A task that is no longer listed has ended and its record is gone.
    fn forget_gone(&mut self, tasks: &[TaskRow]) {
        let gone = |id: &String| !tasks.iter().any(|task| task.task == *id);
        if let Self::Live(_, bars) = self {
            for (_, bar) in bars.iter().filter(|(id, bar)| gone(id) && !bar.is_finished()) {
                bar.finish_and_clear();
            }
        }
    }

    /// Leaves what is shown standing.
    pub fn finish(&self) {
        if let Self::Live(_, bars) = self {
            for bar in bars.values().filter(|bar| !bar.is_finished()) {
                bar.abandon();
            }
        }
    }
}

fn line(out: &Out, name: &str, node: Option<&str>, phase: &Phase) -> String {
    let word = out.paint_aside(phase.tone, &safe::line(&phase.word));
    let node = node.map(|node| format!(" on {}", safe::line(node))).unwrap_or_default();
    format!("{}{node}: {word}", safe::line(name))
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(TICK);
    bar
}

/// Templates are ours and checked by a test; an unreadable one would only change the look.
fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

const WAITING: &str = "{spinner:.cyan} {prefix} {msg}";
const PULLING: &str = "{spinner:.cyan} {prefix} {msg} [{bar:20}]";
const RESTING: &str = "  {prefix} {msg}";

fn draw(bar: &ProgressBar, out: &Out, name: &str, node: Option<&str>, phase: &Phase) {
    let name = format!("{:<20} {:<12}", safe::line(name), safe::line(node.unwrap_or("-")));
    let word = cut(&safe::line(&phase.word), MAX_REMARK, out.look.unicode);
    let word = out.paint_aside(phase.tone, &word);
    bar.set_prefix(name);
    match phase.pull {
        Some(PullProgress { done, total }) if total > Bytes::ZERO => {
            bar.set_style(template(PULLING).progress_chars("=> "));
            bar.set_length(total.0);
            bar.set_position(done.0);
            bar.set_message(format!("{word} {done} of {total}"));
        }
        _ => {
            bar.set_style(template(if phase.resting { RESTING } else { WAITING }));
            bar.set_message(word);
        }
    }
}

#[cfg(test)]
mod tests;
