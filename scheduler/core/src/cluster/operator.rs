//! Who may ask for changes: people, and what acts for them, each with a certificate and a name of their own.
//!
//! A name that was removed is shut out wherever its certificate is shown, and is never given again: there
//! is no other way to tell an old certificate from a new one.

use std::collections::BTreeSet;

use model::{OperatorName, Timestamp};

use super::Cluster;

/// The operator whose certificate every scheduler writes beside its data. Whoever reads it there could read
/// the authority's key as well, so this one always is: where its name was removed, the next one is used.
const OWN: &str = "admin";

/// The `count`-th name of the operator that schedulers write for.
fn own_name(count: usize) -> String {
    if count == 1 { OWN.to_owned() } else { format!("{OWN}-{count}") }
}

/// Whether the name is one that only schedulers write for.
pub(super) fn is_reserved(name: &str) -> bool {
    let number = name.strip_prefix(OWN).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Cluster {
    /// The operators that were added, by name, with when.
    pub fn operators(&self) -> impl Iterator<Item = (&OperatorName, Timestamp)> {
        self.operators.iter().map(|(name, at)| (name, *at))
    }

    /// The operator for whom schedulers write `admin.yaml` now.
    pub fn own_operator(&self) -> String {
        // As many names as there are removed ones and one more: one of them is free.
        let names = (1..=self.removed_operators.len().saturating_add(1)).map(own_name);
        let mut free = names.filter(|name| !self.shuts_out_operator(name));
        free.next().unwrap_or_else(|| OWN.to_owned())
    }

    /// The names of those that were removed.
    pub const fn removed_operators(&self) -> &BTreeSet<OperatorName> {
        &self.removed_operators
    }

    /// Whether whoever has a certificate of that name is nobody any more.
    pub fn shuts_out_operator(&self, name: &str) -> bool {
        self.removed_operators.contains(name)
    }
}
