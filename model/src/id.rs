//! Ids that cannot be swapped: one generic type, one empty kind per noun.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// What distinguishes one id type from another: the letter it is printed with.
pub trait Kind {
    /// The prefix of the printed form, e.g. `t` for tasks.
    const PREFIX: &'static str;
}

/// A number that names one thing of one kind for ever; ids are never reused.
pub struct Id<K> {
    raw: u64,
    kind: PhantomData<fn() -> K>,
}

/// The kind of [`TaskId`].
#[derive(Debug)]
pub enum TaskKind {}
/// The kind of [`NodeId`].
#[derive(Debug)]
pub enum NodeKind {}
/// The kind of [`TokenId`].
#[derive(Debug)]
pub enum TokenKind {}

impl Kind for TaskKind {
    const PREFIX: &'static str = "t";
}
impl Kind for NodeKind {
    const PREFIX: &'static str = "n";
}
impl Kind for TokenKind {
    const PREFIX: &'static str = "k";
}

/// Names one attempt to run one replica on one node.
pub type TaskId = Id<TaskKind>;
/// Names one machine that joined; a machine that joins again gets a new one.
pub type NodeId = Id<NodeKind>;
/// Names one join token.
pub type TokenId = Id<TokenKind>;

impl<K> Id<K> {
    /// The id with this number.
    pub const fn new(raw: u64) -> Self {
        Self { raw, kind: PhantomData }
    }

    /// The bare number, for the wire.
    pub const fn raw(self) -> u64 {
        self.raw
    }

    /// The id after this one; `None` at the end of the number range.
    pub fn next(self) -> Option<Self> {
        self.raw.checked_add(1).map(Self::new)
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.raw.cmp(&other.raw)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}
impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", K::PREFIX, self.raw)
    }
}
impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not an id: expected `{prefix}` and a number")]
pub struct BadId {
    text: String,
    prefix: &'static str,
}

impl<K: Kind> FromStr for Id<K> {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix(K::PREFIX)
            .filter(|digits| !digits.starts_with('+'))
            .and_then(|digits| digits.parse().ok())
            .map(Self::new)
            .ok_or_else(|| BadId { text: text.to_owned(), prefix: K::PREFIX })
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Chosen by whoever asks for a write, so that asking twice does it once. 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints_and_refuses_another_kind() {
        let task = TaskId::new(42);
        assert_eq!(task.to_string().parse(), Ok(task));
        for wrong in ["n42", "42", "t", "t-1", "t+1", "t4x"] {
            assert!(wrong.parse::<TaskId>().is_err(), "{wrong}");
        }
    }
}
