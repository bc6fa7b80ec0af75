//! The ledger of a test that kills: what was acknowledged must be there afterwards, every write of it
//! and in its order; what was asked without an answer may be, and nothing else.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    ctl::{Answer, Ctl},
    wait::{PATIENT, wait_until},
};

/// Writes quoted with a contradiction.
const QUOTED: usize = 24;

/// Writes per key, in the order they were asked. One writer per key.
#[derive(Debug, Default)]
pub struct Acknowledged {
    keys: BTreeMap<String, Vec<Write>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Write {
    value: u64,
    /// Or else it is in doubt: done or not done, both are right.
    acknowledged: bool,
}

/// What is there of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The newest values it had, one after the other.
    pub latest: Vec<u64>,
    /// Whether it had no others before these.
    pub whole: bool,
}

impl Acknowledged {
    /// A write is about to be asked.
    pub fn attempt(&mut self, key: &str, value: u64) {
        let write = Write { value, acknowledged: false };
        self.keys.entry(key.to_owned()).or_default().push(write);
    }

    /// What was asked last of this key was answered as done.
    ///
    /// # Panics
    ///
    /// When that was something else.
    pub fn acknowledge(&mut self, key: &str, value: u64) {
        let asked = self.keys.get_mut(key).and_then(|writes| writes.last_mut());
        let asked = asked.filter(|write| write.value == value);
        asked.expect("it was asked before it is answered").acknowledged = true;
    }

    /// This value was there when somebody looked: the newest write of it is in doubt no more.
    pub fn seen(&mut self, key: &str, value: u64) {
        let writes = self.keys.get_mut(key).into_iter().flatten();
        if let Some(write) = writes.rev().find(|write| write.value == value) {
            write.acknowledged = true;
        }
    }

    /// How many keys have an acknowledged write.
    pub fn len(&self) -> usize {
        let any = |writes: &&Vec<Write>| writes.iter().any(|write| write.acknowledged);
        self.keys.values().filter(any).count()
    }

    /// Whether nothing was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every way in which `found` contradicts the ledger.
    pub fn contradictions(&self, found: &BTreeMap<String, Found>) -> Vec<String> {
        let nothing = Found { latest: Vec::new(), whole: true };
        let mut wrong = Vec::new();
        for (key, writes) in &self.keys {
            let found = found.get(key).unwrap_or(&nothing);
            if !explains(writes, found) {
                let told = told(writes);
                wrong.push(format!(
                    "{key}: {told} was acknowledged, but for what is in brackets; {found:?} is there"
                ));
            }
        }
        let unasked = found.keys().filter(|key| !self.keys.contains_key(*key));
        wrong.extend(unasked.map(|key| format!("{key}: nobody asked for it")));
        wrong
    }

    /// Panics when `found` contradicts the ledger.
    #[track_caller]
    pub fn check(&self, found: &BTreeMap<String, Found>) {
        let wrong = self.contradictions(found);
        assert!(wrong.is_empty(), "the ledger is contradicted:\n{}", wrong.join("\n"));
    }
}

/// Whether the values come of these writes: every acknowledged one in its order, those in doubt or not.
fn explains(writes: &[Write], found: &Found) -> bool {
    let latest = &found.latest;
    // `reached[n]`: the values from the `n`th on come of the writes that were looked at, the newest
    // first.
    let mut reached = vec![false; latest.len() + 1];
    reached[latest.len()] = true;
    for write in writes.iter().rev() {
        if reached[0] && !found.whole {
            return true;
        }
        let mut before = vec![false; latest.len() + 1];
        for (n, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
            let value = n.checked_sub(1).and_then(|at| latest.get(at).map(|value| (at, *value)));
            let made = value.filter(|(_, value)| *value == write.value);
            if let Some((at, _)) = made {
                before[at] = true;
            }
            // Asking for what is there already makes nothing.
            before[n] |= !write.acknowledged || made.is_some();
        }
        reached = before;
    }
    reached[0]
}

/// The newest writes, those in doubt in brackets.
fn told(writes: &[Write]) -> String {
    let newest = &writes[writes.len().saturating_sub(QUOTED)..];
    let tell = |write: &Write| {
        let Write { value, acknowledged } = write;
        if *acknowledged { value.to_string() } else { format!("({value})") }
    };
    newest.iter().map(tell).collect::<Vec<_>>().join(" ")
}

/// How many replicas the one service of each stack was given, one after the other, as far back as its
/// history goes: of one moment, though a write in doubt may still be made while this looks. What was told once is in
/// whatever is told later, or this panics.
///
/// # Errors
///
/// The answer, when it is none.
pub fn replicas(ctl: &Ctl) -> Result<BTreeMap<String, Found>, Box<Answer>> {
    let mut rows = listed(ctl)?;
    wait_until("nothing changes between two questions", PATIENT, || {
        let (found, after) = match look(ctl, &rows) {
            Ok(looked) => looked,
            Err(answer) => return Ok(Err(answer)),
        };
        if after == rows {
            return Ok(Ok(found));
        }
        rows = after;
        Err("a write was made between them".to_owned())
    })
}

/// Replicas by stack.
type Rows = BTreeMap<String, u64>;

/// The history of each stack that is listed, and what is listed after it.
fn look(ctl: &Ctl, before: &Rows) -> Result<(BTreeMap<String, Found>, Rows), Box<Answer>> {
    let mut histories = BTreeMap::new();
    for stack in before.keys() {
        histories.insert(stack.clone(), asked(ctl, &["stack", "history", stack])?);
    }
    let after = listed(ctl)?;
    let mut found = BTreeMap::new();
    for (stack, history) in histories {
        // The newest first.
        let revisions = history.as_array().expect("a list of revisions");
        let replicas = |cause: &str| match cause.rsplit_once(" to ") {
            Some((_, replicas)) => replicas.parse().expect("a number of replicas"),
            None => 1,
        };
        let cause = |row: &Value| replicas(row["cause"].as_str().expect("its cause"));
        let latest: Vec<u64> = revisions.iter().rev().map(cause).collect();
        let (first, last) = (before[&stack], after.get(&stack).copied());
        assert!(latest.contains(&first), "{stack}: {first} was told before: {history}");
        assert!(last.is_some(), "{stack} is gone: {history}");
        if last == Some(first) {
            assert_eq!(latest.last(), Some(&first), "{stack}: {history}");
        }
        let whole = revisions.last().is_some_and(|oldest| oldest["revision"] == 1);
        found.insert(stack, Found { latest, whole });
    }
    Ok((found, after))
}

/// Each stack and the replicas that its row tells.
fn listed(ctl: &Ctl) -> Result<Rows, Box<Answer>> {
    let rows = asked(ctl, &["stack", "ls"])?;
    let row = |row: &Value| {
        let stack = row["stack"].as_str().expect("its name").to_owned();
        (stack, row["replicas"].as_u64().expect("its replicas"))
    };
    Ok(rows.as_array().expect("a list of stacks").iter().map(row).collect())
}

fn asked(ctl: &Ctl, arguments: &[&str]) -> Result<Value, Box<Answer>> {
    let answer = ctl.run(&[&["-o", "json"], arguments].concat());
    if answer.code == 0 { Ok(answer.json()) } else { Err(Box::new(answer)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger for `web` with what is in brackets in doubt, and an unanswered 1 for `new`.
    fn ledger(web: &[(u64, bool)]) -> Acknowledged {
        let mut ledger = Acknowledged::default();
        for (value, acknowledged) in web {
            ledger.attempt("web", *value);
            if *acknowledged {
                ledger.acknowledge("web", *value);
            }
        }
        ledger.attempt("new", 1);
        ledger
    }

    fn contradictions(web: &[(u64, bool)], found: &[(&str, &[u64], bool)]) -> usize {
        let found = found.iter().map(|(key, latest, whole)| {
            ((*key).to_owned(), Found { latest: latest.to_vec(), whole: *whole })
        });
        ledger(web).contradictions(&found.collect()).len()
    }

    const WEB: &[(u64, bool)] = &[(1, true), (2, true), (3, false), (4, true), (5, false)];

    #[test]
    fn what_was_acknowledged_is_there_in_its_order() {
        for latest in [&[1, 2, 4][..], &[1, 2, 3, 4], &[1, 2, 4, 5], &[1, 2, 3, 4, 5]] {
            assert_eq!(contradictions(WEB, &[("web", latest, true)]), 0, "{latest:?}");
        }
        assert_eq!(contradictions(WEB, &[("web", &[1, 2, 4], true), ("new", &[1], true)]), 0);
        // As far back as anybody remembers.
        for latest in [&[4][..], &[2, 4], &[3, 4], &[5], &[4, 5]] {
            assert_eq!(contradictions(WEB, &[("web", latest, false)]), 0, "{latest:?}");
        }
    }

    #[test]
    fn an_acknowledged_write_that_is_lost_is_missed_also_in_the_middle() {
        for latest in [&[][..], &[1, 2], &[1, 4], &[2, 4], &[1, 3, 4], &[1, 2, 5], &[2, 1, 4]] {
            assert_eq!(contradictions(WEB, &[("web", latest, true)]), 1, "{latest:?}");
        }
        for latest in [&[1, 4][..], &[2], &[2, 5], &[3]] {
            assert_eq!(contradictions(WEB, &[("web", latest, false)]), 1, "{latest:?}");
        }
        assert_eq!(contradictions(WEB, &[]), 1);
    }

    /// Every write of a long life, each in its turn: dropped, it is missed.
    #[test]
    fn whichever_write_of_many_is_dropped_it_is_missed() {
        let asked: Vec<_> = (1..=40).map(|value| (value, value % 5 != 0)).collect();
        let acknowledged = asked.iter().filter(|(_, acknowledged)| *acknowledged);
        let made: Vec<_> = acknowledged.map(|(value, _)| *value).collect();
        assert_eq!(contradictions(&asked, &[("web", &made, true)]), 0);
        for dropped in 0..made.len() {
            let mut left = made.clone();
            left.remove(dropped);
            assert_eq!(contradictions(&asked, &[("web", &left, true)]), 1, "{dropped}");
        }
    }

    #[test]
    fn asking_for_what_is_there_already_makes_nothing() {
        let same = &[(1, true), (2, true), (2, true)];
        assert_eq!(contradictions(same, &[("web", &[1, 2], true)]), 0);
        assert_eq!(contradictions(same, &[("web", &[1], true)]), 1);
    }

    #[test]
    fn what_was_seen_may_not_go_away_again_though_nobody_acknowledged_it() {
        let mut ledger = ledger(WEB);
        let found = |value| {
            BTreeMap::from([("web".to_owned(), Found { latest: vec![value], whole: false })])
        };
        assert!(ledger.contradictions(&found(4)).is_empty());
        assert!(ledger.contradictions(&found(5)).is_empty());
        ledger.seen("web", 5);
        assert!(ledger.contradictions(&found(5)).is_empty());
        assert_eq!(ledger.contradictions(&found(4)).len(), 1);
    }

    #[test]
    fn a_write_nobody_asked_for_is_found() {
        assert_eq!(contradictions(WEB, &[("web", &[1, 2, 6, 4], true)]), 1);
        assert_eq!(contradictions(WEB, &[("web", &[1, 2, 4], true), ("other", &[1], true)]), 1);
    }
}
