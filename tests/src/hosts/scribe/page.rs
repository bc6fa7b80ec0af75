//! What one writer asked and what was acknowledged, and what it may do next.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::acknowledged::{Acknowledged, Found};

/// Keys each writer goes round: a node has at most 64 labels, and those of others besides these.
const KEYS: u64 = 24;

/// One writer's; see the room's invariant.
#[derive(Debug)]
pub(super) struct Page {
    writer: String,
    ledger: Acknowledged,
    /// The last value that was asked for.
    last: u64,
    acknowledged: u64,
    /// Keys whose last acknowledged write was not compared yet.
    open: BTreeSet<String>,
    /// Keys whose last write was never answered nor seen, with its value: it may yet take effect, after whatever
    /// is written next. They are passed over while there are others.
    doubtful: BTreeMap<String, u64>,
}

impl Page {
    pub(super) fn of(writer: &str) -> Self {
        let (ledger, open, doubtful) = (Acknowledged::default(), BTreeSet::new(), BTreeMap::new());
        Self { writer: writer.to_owned(), ledger, last: 0, acknowledged: 0, open, doubtful }
    }

    fn key(&self, value: u64) -> String {
        format!("{}-{}", self.writer, value % KEYS)
    }

    /// How many writes were acknowledged so far.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The label to ask for now; none when what is there is to be compared first.
    pub(super) fn next(&mut self) -> Option<String> {
        let mut ahead = self.last + 1..=self.last + KEYS;
        let value = ahead.find(|value| !self.doubtful.contains_key(&self.key(*value)));
        let value = value.unwrap_or(self.last + 1);
        let key = self.key(value);
        if self.open.contains(&key) {
            return None;
        }
        self.last = value;
        self.doubtful.insert(key.clone(), value);
        self.ledger.attempt(&key, value);
        Some(format!("{key}={value}"))
    }

    /// What was asked last was answered as done.
    pub(super) fn acknowledge(&mut self) {
        let key = self.key(self.last);
        self.ledger.acknowledge(&key, self.last);
        self.doubtful.remove(&key);
        self.acknowledged += 1;
        self.open.insert(key);
    }

    /// Compares a node's labels with what was acknowledged, while nothing is under way; how many keys
    /// have an acknowledged write.
    ///
    /// # Panics
    ///
    /// When they contradict it.
    #[track_caller]
    pub(super) fn compare(&mut self, labels: &Value) -> usize {
        let found = self.ours(labels);
        self.ledger.check(&found);
        for (key, found) in &found {
            for value in &found.latest {
                self.ledger.seen(key, *value);
                if self.doubtful.get(key) == Some(value) {
                    self.doubtful.remove(key);
                }
            }
        }
        self.open.clear();
        self.ledger.len()
    }

    fn ours(&self, labels: &Value) -> BTreeMap<String, Found> {
        let prefix = format!("{}-", self.writer);
        let labels = labels.as_object().into_iter().flatten();
        let ours = labels.filter(|(key, _)| key.starts_with(&prefix));
        let found = |value: u64| Found { latest: vec![value], whole: false };
        ours.filter_map(|(key, value)| Some((key.clone(), found(value.as_str()?.parse().ok()?))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use serde_json::Map;

    use super::*;

    /// A cluster that has done everything it was asked for.
    fn written(page: &mut Page, labels: &mut Map<String, Value>) {
        let label = page.next().expect("it writes");
        let (key, value) = label.split_once('=').expect("a label");
        labels.insert(key.to_owned(), Value::from(value));
    }

    fn rejects(page: &mut Page, labels: &Map<String, Value>) -> bool {
        let labels = Value::from(labels.clone());
        catch_unwind(AssertUnwindSafe(|| page.compare(&labels))).is_err()
    }

    /// A page of two whole rounds, compared in between, with the labels before and after the second.
    fn two_rounds() -> (Page, Map<String, Value>, Map<String, Value>) {
        let (mut page, mut labels) = (Page::of("w0"), Map::new());
        labels.insert("host".to_owned(), Value::from("1"));
        let mut before = Map::new();
        for round in 0..2 {
            for _ in 0..KEYS {
                written(&mut page, &mut labels);
                page.acknowledge();
            }
            assert_eq!(page.next(), None, "it compares before it writes a key again");
            if round == 0 {
                assert!(!rejects(&mut page, &labels));
                before = labels.clone();
            }
        }
        (page, before, labels)
    }

    #[test]
    fn whichever_acknowledged_write_is_lost_it_is_missed() {
        let (mut page, before, after) = two_rounds();
        for key in before.keys().filter(|key| *key != "host") {
            let mut older = after.clone();
            older.insert(key.clone(), before[key].clone());
            assert!(rejects(&mut page, &older), "{key} went back to the round before");
            let mut gone = after.clone();
            gone.remove(key);
            assert!(rejects(&mut page, &gone), "{key} is gone");
        }
        assert!(!rejects(&mut page, &after));
        assert_eq!(page.acknowledged(), 2 * KEYS);
    }

    #[test]
    fn a_write_nobody_acknowledged_may_be_there_or_not_but_may_not_go_again() {
        for done in [true, false] {
            let (mut page, _, mut labels) = two_rounds();
            assert!(!rejects(&mut page, &labels));
            let before = labels.clone();
            written(&mut page, &mut labels);
            let found = if done { &labels } else { &before };
            assert!(!rejects(&mut page, found), "done: {done}");
            assert_eq!(rejects(&mut page, &before), done, "done: {done}");
        }
    }

    #[test]
    fn a_label_nobody_asked_for_is_found() {
        let (mut page, _, mut labels) = two_rounds();
        labels.insert(page.key(1), Value::from("7777"));
        assert!(rejects(&mut page, &labels));
    }

    #[test]
    fn a_key_in_doubt_is_passed_over_until_its_write_is_seen() {
        let (mut page, mut labels) = (Page::of("w0"), Map::new());
        let doubtful = page.next().expect("it writes");
        let (key, value) = doubtful.split_once('=').expect("a label");
        for _ in 0..3 {
            for _ in 1..KEYS {
                written(&mut page, &mut labels);
                page.acknowledge();
            }
            assert!(!labels.contains_key(key), "{labels:?}");
            assert!(!rejects(&mut page, &labels));
        }
        // Late, but once only.
        labels.insert(key.to_owned(), Value::from(value));
        assert!(!rejects(&mut page, &labels));
        for _ in 0..KEYS {
            written(&mut page, &mut labels);
            page.acknowledge();
        }
        assert_ne!(labels[key], value);
        assert!(!rejects(&mut page, &labels));
    }

    #[test]
    fn after_a_comparison_amidst_a_round_it_writes_on_until_a_key_comes_again() {
        let (mut page, mut labels) = (Page::of("w0"), Map::new());
        for count in [3, KEYS] {
            for _ in 0..count {
                written(&mut page, &mut labels);
                page.acknowledge();
            }
            assert!(!rejects(&mut page, &labels));
        }
        // One that was not acknowledged holds up nobody.
        for _ in 0..=KEYS {
            written(&mut page, &mut labels);
        }
    }
}
