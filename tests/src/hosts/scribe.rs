//! A client that goes on writing whatever happens, and remembers what was acknowledged.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde_json::Value;

use super::Cluster;
use crate::{
    acknowledged::{Acknowledged, Found},
    ctl::Ctl,
};

/// Writers at once, each with keys of its own.
const WRITERS: usize = 2;
/// Keys each writer goes round: of each the last write is seen, and a node has at most 64 labels.
const KEYS: u64 = 16;
/// The node whose labels are the keys.
const NODE: &str = "host-1";

#[derive(Debug, Default)]
struct Notes {
    ledger: Mutex<Acknowledged>,
    acknowledged: AtomicU64,
    over: AtomicBool,
}

/// Writers in threads of their own; see the module. What they write are labels of a node, which touch
/// no container.
#[derive(Debug)]
pub struct Scribe {
    notes: Arc<Notes>,
    writers: Vec<JoinHandle<()>>,
}

impl Scribe {
    /// Begins to write.
    pub fn of(cluster: &Cluster) -> Self {
        let notes = Arc::new(Notes::default());
        let writer = |number| {
            let (context, notes) = (cluster.ctl.context.clone(), Arc::clone(&notes));
            let ctl = Ctl::new(context, &super::operator().join(format!("writer-{number}")));
            thread::spawn(move || write(&ctl, &format!("w{number}"), &notes))
        };
        let writers = (0..WRITERS).map(writer).collect();
        Self { notes, writers }
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.notes.acknowledged.load(Ordering::SeqCst)
    }

    /// Stops writing and compares what is there with what was acknowledged; how many that were.
    #[track_caller]
    pub fn finish(mut self, cluster: &Cluster) -> u64 {
        self.notes.over.store(true, Ordering::SeqCst);
        for writer in self.writers.drain(..) {
            assert!(writer.join().is_ok(), "a writer met what it may not meet");
        }
        let nodes = cluster.ctl.json(&["node", "ls"]);
        let nodes = nodes.as_array().expect("a list of nodes");
        let row = nodes.iter().find(|row| row["name"] == NODE).expect("the node");
        self.notes.ledger.lock().expect("the ledger").check(&labels(row));
        self.acknowledged()
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.notes.over.store(true, Ordering::SeqCst);
        for writer in self.writers.drain(..) {
            // Whoever drops it early is panicking.
            let _ = writer.join();
        }
    }
}

/// The writers' labels.
fn labels(row: &Value) -> BTreeMap<String, Found> {
    let labels = row["labels"].as_object().into_iter().flatten();
    let ours = labels.filter(|(key, _)| key.starts_with('w'));
    let found = |value: u64| Found { latest: vec![value], whole: false };
    ours.filter_map(|(key, value)| Some((key.clone(), found(value.as_str()?.parse().ok()?))))
        .collect()
}

fn write(ctl: &Ctl, writer: &str, notes: &Notes) {
    for value in 1.. {
        if notes.over.load(Ordering::SeqCst) {
            return;
        }
        let key = &format!("{writer}-{}", value % KEYS);
        let ledger = || notes.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger().attempt(key, value);
        let answer =
            ctl.run(&["node", "label", NODE, &format!("{key}={value}"), "--timeout", "5s"]);
        match answer.code {
            0 => {
                ledger().acknowledge(key, value);
                notes.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            3 | 4 => {}
            _ => panic!("neither done nor refused nor unanswered: {answer}"),
        }
    }
}
