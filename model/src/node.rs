//! Machines: what they offer and whether they are there.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{Allows, Bytes, Generic, MilliCpu, NodeId, NodeName, Resources, Timestamp};

/// What a machine's agent reports it offers. Written by the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Memory the container engine reports.
    pub memory: Bytes,
    /// `--memory-budget`: never use more than this.
    pub memory_budget: Option<Bytes>,
    /// `--reserve-memory`: kept back for the engine and the system.
    pub memory_reserve: Bytes,
    /// CPU cores the engine reports.
    pub cpu: MilliCpu,
    /// Architecture as Docker names it: `arm64`, `amd64`.
    pub arch: String,
    /// Operating system as Docker names it: `linux`.
    pub os: String,
    /// Engine name and version, e.g. `docker 20.10.24`.
    pub engine: String,
    /// The agent's own version.
    pub agent_version: String,
    /// Size of the disk that holds the engine's data.
    pub disk: Bytes,
    /// What is free of it.
    pub disk_free: Bytes,
    /// False while the engine does not answer; the rest is then the last known.
    pub engine_ready: bool,
    /// Why the agent's ledger could not be written the last time; started again, the agent would know
    /// less.
    pub ledger_error: Option<String>,
    /// What it permits beyond an ordinary container; `None` when it did not say.
    pub allows: Option<Allows>,
    /// `--generic`: what else it has a number of.
    pub generic: Generic,
}

impl Inventory {
    /// What may be reserved: min(capacity, budget) − reserve.
    pub fn allocatable(&self) -> Resources {
        let capacity = self.memory_budget.map_or(self.memory, |budget| budget.min(self.memory));
        Resources { memory: capacity.saturating_sub(self.memory_reserve), cpu: self.cpu }
    }

    /// What its engine runs images for: `linux/arm64`. `None` while that is not known, and of an imagined
    /// machine of any architecture.
    pub fn platform(&self) -> Option<String> {
        (!self.arch.is_empty()).then(|| format!("{}/{}", self.os, self.arch))
    }
}

/// A machine that is only imagined, to plan on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImaginedNode {
    /// Its name.
    pub name: NodeName,
    /// What can be reserved on it; no reserve is taken off.
    pub memory: Bytes,
    /// Its cores.
    pub cpus: MilliCpu,
    /// Labels for constraints.
    pub labels: BTreeMap<String, String>,
    /// Architecture as Docker names it; any when absent.
    pub arch: Option<String>,
    /// What else it has a number of.
    pub generic: Generic,
}

impl ImaginedNode {
    /// As if it had joined with this id.
    pub fn node(&self, id: NodeId) -> Node {
        Node {
            id,
            name: self.name.clone(),
            labels: self.labels.clone(),
            address: String::new(),
            inventory: Inventory {
                memory: self.memory,
                cpu: self.cpus,
                arch: self.arch.clone().unwrap_or_default(),
                os: "linux".to_owned(),
                engine_ready: true,
                generic: self.generic.clone(),
                ..Inventory::default()
            },
            liveness: Liveness::Ready,
            schedulable: true,
            drain: None,
            drain_since: None,
            joined_at: Timestamp(0),
            returned_at: None,
            since: Timestamp(0),
        }
    }
}

/// Whether a machine is there. Written by liveness, from heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// Heartbeats arrive.
    Ready,
    /// Late: nothing new is placed there, nothing is moved yet.
    Unreachable,
    /// Gone for long enough that movable tasks are replaced.
    Down,
}

impl Liveness {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unreachable => "unreachable",
            Self::Down => "down",
        }
    }
}

/// A machine of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id; taken from its certificate, never from a message.
    pub id: NodeId,
    /// Its name; unique among the nodes that are members.
    pub name: NodeName,
    /// Labels for constraints. Written by the join, from then on by people alone: an agent that starts
    /// again with other `--label` changes nothing.
    pub labels: BTreeMap<String, String>,
    /// Where its agent can be reached (`--advertise`), for people.
    pub address: String,
    /// What it offers. Written by its agent.
    pub inventory: Inventory,
    /// Whether it is there. Written by liveness.
    pub liveness: Liveness,
    /// False while cordoned: nothing new is placed there. Written by people.
    pub schedulable: bool,
    /// Until when its tasks are moved to other nodes, while they are; it is cordoned then. Written by
    /// people, ended by the leader.
    pub drain: Option<Timestamp>,
    /// When the drain began, by the same clock as its end: only the time between the two counts. `None`
    /// without a drain, and of one that began before every scheduler could write it down.
    pub drain_since: Option<Timestamp>,
    /// When it joined.
    pub joined_at: Timestamp,
    /// When `liveness` last changed. Each change has a later one, whatever the clocks of leaders say, so
    /// that it names the time the node has been down.
    pub since: Timestamp,
    /// When it last came back from being down. Written by liveness.
    pub returned_at: Option<Timestamp>,
}

/// The longest key or value of a label, in characters.
pub const LABEL_CHARS_MAX: usize = 256;

/// Why something is no label.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadLabel {
    /// A key a constraint could not name.
    #[error("`{0}` is no name for a label: use letters, digits, `.`, `-`, `_` and `/`")]
    Key(String),
    /// A label without a value, which no constraint could ask for.
    #[error("label `{0}` has no value: write {0}=VALUE, or {0}- to remove it")]
    NoValue(String),
    /// A value with control characters, or blanks around it, which a constraint could not name.
    #[error("the value of label `{0}` has blanks around it or control characters in it")]
    Value(String),
    /// Longer than [`LABEL_CHARS_MAX`].
    #[error(
        "label `{0}` is too long: a name and a value have at most {LABEL_CHARS_MAX} characters"
    )]
    Long(String),
}

/// Whether a constraint can ask for the label, so that it can be given.
pub fn check_label(key: &str, value: &str) -> Result<(), BadLabel> {
    let start = || key.chars().take(LABEL_CHARS_MAX).collect::<String>();
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/".contains(c);
    if [key, value].iter().any(|text| text.chars().count() > LABEL_CHARS_MAX) {
        return Err(BadLabel::Long(start()));
    }
    if key.is_empty() || !key.chars().all(allowed) {
        return Err(BadLabel::Key(start()));
    }
    if value.is_empty() {
        return Err(BadLabel::NoValue(start()));
    }
    if value.trim() != value || value.chars().any(char::is_control) {
        return Err(BadLabel::Value(start()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_a_constraint_can_ask_for() {
        let check = |key: &str, value: &str, bad: Option<BadLabel>| {
            assert_eq!(check_label(key, value).err(), bad, "{key}={value}");
            if bad.is_none() {
                let text = format!("node.labels.{key} == {value}");
                let constraint: crate::spec::Constraint = text.parse().unwrap();
                let key = crate::spec::ConstraintKey::Label(key.to_owned());
                assert_eq!((constraint.key, constraint.value), (key, value.to_owned()));
            }
        };
        check("role", "database", None);
        check("example.com/disk_1", "fast ssd", None);
        check("role", "", Some(BadLabel::NoValue("role".into())));
        check("", "x", Some(BadLabel::Key(String::new())));
        check("ro le", "x", Some(BadLabel::Key("ro le".into())));
        check("role=", "x", Some(BadLabel::Key("role=".into())));
        check("role", " x", Some(BadLabel::Value("role".into())));
        check("role", "x\ny", Some(BadLabel::Value("role".into())));
        check("role", &"x".repeat(257), Some(BadLabel::Long("role".into())));
        check(&"k".repeat(300), "x", Some(BadLabel::Long("k".repeat(256))));
    }

    #[test]
    fn allocatable_is_the_smaller_of_capacity_and_budget_less_the_reserve() {
        let check = |memory, budget: Option<u64>, reserve, expected| {
            let inventory = Inventory {
                memory: Bytes::gib(memory),
                memory_budget: budget.map(Bytes::gib),
                memory_reserve: Bytes::gib(reserve),
                ..Inventory::default()
            };
            assert_eq!(inventory.allocatable().memory, Bytes::gib(expected));
        };
        check(16, None, 1, 15);
        check(16, Some(14), 1, 13);
        check(8, Some(14), 1, 7);
        check(1, None, 2, 0);
    }
}
