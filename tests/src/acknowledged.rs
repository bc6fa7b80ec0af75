//! The ledger of a test that kills: what was acknowledged must be there afterwards, what was asked
//! without an answer may be, and nothing else.

use std::collections::BTreeMap;

/// Writes per key, in the order they were asked. One writer per key.
#[derive(Debug, Default)]
pub struct Acknowledged {
    keys: BTreeMap<String, Writes>,
}

#[derive(Debug, Default)]
struct Writes {
    acknowledged: Option<u64>,
    /// Asked since then and not answered: done or not done, both are right.
    in_doubt: Vec<u64>,
}

impl Acknowledged {
    /// A write is about to be asked.
    pub fn attempt(&mut self, key: &str, value: u64) {
        self.keys.entry(key.to_owned()).or_default().in_doubt.push(value);
    }

    /// It was answered as done.
    pub fn acknowledge(&mut self, key: &str, value: u64) {
        let writes = self.keys.entry(key.to_owned()).or_default();
        *writes = Writes { acknowledged: Some(value), in_doubt: Vec::new() };
    }

    /// How many keys have an acknowledged write.
    pub fn len(&self) -> usize {
        self.keys.values().filter(|writes| writes.acknowledged.is_some()).count()
    }

    /// Whether nothing was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every way in which `found` contradicts the ledger.
    pub fn contradictions(&self, found: &BTreeMap<String, u64>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (key, Writes { acknowledged, in_doubt }) in &self.keys {
            let value = found.get(key).copied();
            let explained =
                value == *acknowledged || value.is_some_and(|value| in_doubt.contains(&value));
            if !explained {
                wrong.push(format!(
                    "{key}: {acknowledged:?} was acknowledged, {in_doubt:?} asked, {value:?} found"
                ));
            }
        }
        let unasked = found.keys().filter(|key| !self.keys.contains_key(*key));
        wrong.extend(unasked.map(|key| format!("{key}: nobody asked for it")));
        wrong
    }

    /// Panics when `found` contradicts the ledger.
    #[track_caller]
    pub fn check(&self, found: &BTreeMap<String, u64>) {
        let wrong = self.contradictions(found);
        assert!(wrong.is_empty(), "the ledger is contradicted:\n{}", wrong.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger with an acknowledged 2 and an unanswered 3 for `web`, an unanswered 1 for `new`.
    fn check(found: &[(&str, u64)], contradictions: usize) {
        let mut ledger = Acknowledged::default();
        ledger.attempt("web", 1);
        ledger.acknowledge("web", 1);
        ledger.attempt("web", 2);
        ledger.acknowledge("web", 2);
        ledger.attempt("web", 3);
        ledger.attempt("new", 1);
        let found = found.iter().map(|(key, value)| ((*key).to_owned(), *value));
        let found: BTreeMap<_, _> = found.collect();
        assert_eq!(ledger.contradictions(&found).len(), contradictions, "{found:?}");
    }

    #[test]
    fn what_was_acknowledged_is_there() {
        check(&[("web", 2)], 0);
    }

    #[test]
    fn what_was_not_answered_may_be_there() {
        check(&[("web", 3), ("new", 1)], 0);
    }

    #[test]
    fn a_lost_write_is_found() {
        check(&[("web", 1)], 1);
        check(&[], 1);
    }

    #[test]
    fn a_write_nobody_asked_for_is_found() {
        check(&[("web", 4)], 1);
        check(&[("web", 2), ("other", 1)], 1);
    }
}
