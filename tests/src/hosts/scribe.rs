//! A client that goes on writing whatever happens, and remembers what was acknowledged.
//!
//! **Invariant:** no key is written again before its last acknowledged write was compared with what is
//! there: by the writer itself, which goes round its keys, or by a test that [holds](Scribe::hold) the
//! writers at a fault and compares before they go on. So every acknowledged write is compared.

mod page;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use serde_json::Value;

use self::page::Page;
use super::Cluster;
use crate::{
    ctl::{Answer, Ctl},
    wait::{PATIENT, wait_closely, wait_until},
};

/// Writers at once, each with keys of its own.
const WRITERS: usize = 2;
/// The node whose labels are the keys.
const NODE: &str = "host-1";
/// What asks for the labels.
const LIST: [&str; 6] = ["-o", "json", "node", "ls", "--timeout", "5s"];

#[derive(Debug, Default)]
struct Stage {
    /// The writers begin nothing until they are let go on.
    held: bool,
    /// They end.
    over: bool,
    /// So many of them have nothing under way.
    standing: usize,
}

#[derive(Debug)]
struct Notes {
    pages: Vec<Mutex<Page>>,
    stage: Mutex<Stage>,
    changed: Condvar,
}

impl Notes {
    fn page(&self, number: usize) -> MutexGuard<'_, Page> {
        self.pages[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl Fn(&mut Stage)) {
        change(&mut self.stage());
        self.changed.notify_all();
    }

    /// Stands while the writers are held; whether to go on.
    fn goes_on(&self) -> bool {
        let mut stage = self.stage();
        stage.standing += 1;
        let stands = |stage: &mut Stage| stage.held && !stage.over;
        let waited = self.changed.wait_while(stage, stands);
        let mut stage = waited.unwrap_or_else(PoisonError::into_inner);
        stage.standing -= 1;
        !stage.over
    }
}

/// Writers in threads of their own; see the module. What they write are labels of a node, which touch
/// no container.
#[derive(Debug)]
pub struct Scribe {
    notes: Arc<Notes>,
    writers: Vec<JoinHandle<()>>,
}

/// Writers that stand still, until this is dropped.
#[derive(Debug)]
#[must_use = "they go on when it is dropped"]
pub struct Held<'a>(&'a Scribe);

impl Held<'_> {
    /// Compares what is there, once the cluster answers, with what was acknowledged; how many keys have
    /// an acknowledged write, the last one of each of which was there.
    #[track_caller]
    pub fn compare(&self, cluster: &Cluster) -> usize {
        self.0.compare(cluster)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.notes.set(|stage| stage.held = false);
    }
}

impl Scribe {
    /// Begins to write.
    pub fn of(cluster: &Cluster) -> Self {
        let pages = (0..WRITERS).map(|number| Mutex::new(Page::of(&format!("w{number}"))));
        let (stage, changed) = (Mutex::default(), Condvar::new());
        let notes = Arc::new(Notes { pages: pages.collect(), stage, changed });
        let writer = |number| {
            let (context, notes) = (cluster.ctl.context.clone(), Arc::clone(&notes));
            let ctl = Ctl::new(context, &super::operator().join(format!("writer-{number}")));
            thread::spawn(move || write(&ctl, number, &notes))
        };
        let writers = (0..WRITERS).map(writer).collect();
        Self { notes, writers }
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        (0..WRITERS).map(|number| self.notes.page(number).acknowledged()).sum()
    }

    /// Lets the writers end what they are at, and begin nothing more while this is held.
    #[track_caller]
    pub fn hold(&self) -> Held<'_> {
        self.notes.set(|stage| stage.held = true);
        let held = Held(self);
        wait_closely("the writers stand still", PATIENT, || {
            let ended = self.writers.iter().any(JoinHandle::is_finished);
            assert!(!ended, "a writer met what it may not meet");
            let standing = self.notes.stage().standing;
            if standing == WRITERS { Ok(()) } else { Err(format!("{standing} do")) }
        });
        held
    }

    /// Stops writing and compares what is there with what was acknowledged; how many that were.
    #[track_caller]
    pub fn finish(mut self, cluster: &Cluster) -> u64 {
        self.stop();
        self.compare(cluster);
        self.acknowledged()
    }

    /// While nobody writes.
    #[track_caller]
    fn compare(&self, cluster: &Cluster) -> usize {
        let labels = wait_until("the labels are told", PATIENT, || {
            let answer = cluster.ctl.run(&LIST);
            if answer.code == 0 { Ok(labels(&answer)) } else { Err(answer.to_string()) }
        });
        (0..WRITERS).map(|number| self.notes.page(number).compare(&labels)).sum()
    }

    fn stop(&mut self) {
        self.notes.set(|stage| stage.over = true);
        for writer in self.writers.drain(..) {
            let ended = writer.join();
            // Whoever panics already has the first cause.
            assert!(ended.is_ok() || thread::panicking(), "a writer met what it may not meet");
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.stop();
    }
}

#[track_caller]
fn labels(answer: &Answer) -> Value {
    let nodes = answer.json();
    let row = nodes.as_array().into_iter().flatten().find(|row| row["name"] == NODE);
    row.unwrap_or_else(|| panic!("no {NODE}: {answer}"))["labels"].clone()
}

fn write(ctl: &Ctl, number: usize, notes: &Notes) {
    while notes.goes_on() {
        let next = notes.page(number).next();
        let answer = match &next {
            Some(label) => ctl.run(&["node", "label", NODE, label, "--timeout", "5s"]),
            None => ctl.run(&LIST),
        };
        match answer.code {
            0 if next.is_some() => notes.page(number).acknowledge(),
            0 => {
                notes.page(number).compare(&labels(&answer));
            }
            3 | 4 => {}
            _ => panic!("neither done nor refused nor unanswered: {answer}"),
        }
    }
}
