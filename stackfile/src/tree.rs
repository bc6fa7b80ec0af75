//! The file as a tree: plain values, each with the place it was written at.

use crate::source::Span;

/// A value and where it stands. Two are equal when their values are, wherever they stand.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Span,
    pub(crate) tag: Tag,
}

/// How a value meets the same key of an earlier file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tag {
    /// By the key's own rule.
    #[default]
    Merge,
    /// `!reset`: the key is removed.
    Reset,
    /// `!override`: the earlier value is replaced.
    Override,
}

/// A YAML value with Compose's reading of plain scalars.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
    /// Something was wrong here and has been reported: later layers neither use nor miss it.
    Broken,
}

/// Keys in the order of the file; each once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Map {
    pub(crate) entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Span,
    pub(crate) value: Node,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Node {
    pub(crate) fn new(value: Value, at: Span) -> Self {
        Self { value, at, tag: Tag::Merge }
    }

    pub(crate) fn text(text: impl Into<String>, at: Span) -> Self {
        Self::new(Value::Text(text.into()), at)
    }

    /// This node with its value marked as reported.
    pub(crate) fn broken(self) -> Self {
        Self { value: Value::Broken, ..self }
    }

    /// The value spelt out without places: equal for equal values only.
    pub(crate) fn identity(&self) -> String {
        match &self.value {
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(Self::identity).collect();
                format!("[{}]", items.join(","))
            }
            Value::Map(map) => {
                let pair = |entry: &Entry| format!("{:?}:{}", entry.key, entry.value.identity());
                let pairs: Vec<String> = map.entries.iter().map(pair).collect();
                format!("{{{}}}", pairs.join(","))
            }
            scalar => format!("{scalar:?}"),
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_int(&self) -> Option<i64> {
        match self.value {
            Value::Int(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// What the value is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Broken => "an unreadable value",
        }
    }

    /// Where the value begins: the first key of a mapping.
    pub(crate) fn begin(&self) -> Span {
        match &self.value {
            Value::Map(map) => map.entries.first().map_or(self.at, |entry| entry.key_at),
            _ => self.at,
        }
    }

    /// Where a message about this value should point: a collection has no place of its own, so
    /// its key is named.
    pub(crate) fn place(&self, key_at: Span) -> Span {
        match &self.value {
            Value::List(_) | Value::Map(_) | Value::Null => key_at,
            _ if self.at.start == self.at.end => key_at,
            _ => self.at,
        }
    }
}

impl Value {
    /// A scalar as text the way Compose prints it, for environment values and labels.
    pub(crate) fn scalar_text(&self) -> Option<String> {
        match self {
            Self::Bool(flag) => Some(flag.to_string()),
            Self::Int(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
            Self::Null | Self::List(_) | Self::Map(_) | Self::Broken => None,
        }
    }
}

impl Map {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::as_text)
    }

    pub(crate) fn int(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(Node::as_int)
    }

    pub(crate) fn bool(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Node::as_bool)
    }

    pub(crate) fn map(&self, key: &str) -> Option<&Self> {
        self.get(key).and_then(Node::as_map)
    }

    /// The items under `key`; none when it is absent.
    pub(crate) fn list(&self, key: &str) -> &[Node] {
        self.get(key).and_then(Node::as_list).unwrap_or_default()
    }

    /// The entries of the mapping under `key`; none when it is absent.
    pub(crate) fn entries(&self, key: &str) -> &[Entry] {
        self.map(key).map(|map| map.entries.as_slice()).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, key: impl Into<String>, key_at: Span, value: Node) {
        self.entries.push(Entry { key: key.into(), key_at, value });
    }

    /// Sets `key`, keeping its place in the order when it is there already.
    pub(crate) fn set(&mut self, key: &str, at: Span, value: Node) {
        match self.get_mut(key) {
            Some(slot) => *slot = value,
            None => self.push(key, at, value),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index).value)
    }
}
