//! The walk: checks every value against its shape and brings it into its canonical form.

use super::{Held, Key, MISPLACED_SISO, Place, Shape, Support, nearest, unknown};
use crate::{
    diagnostic::{Finding, Report},
    source::{Span, Texts},
    tree::{Entry, Map, Node, Tag, Value},
    values,
};

/// How many ports a file may name once ranges are written out. A port is a rule of the engine each,
/// so thousands are slow long before this.
const MAX_PORTS: usize = 10_000;

/// The walk over one tree.
pub(crate) struct Walk<'a> {
    pub(crate) texts: &'a Texts,
    pub(crate) report: &'a mut Report,
    /// Keys a cluster treats differently, for the layer that asks.
    pub(crate) held: Vec<Held>,
    /// What is wrong for a cluster only.
    pub(crate) deferred: Report,
    ports: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(texts: &'a Texts, report: &'a mut Report) -> Self {
        Self { texts, report, held: Vec::new(), deferred: Report::default(), ports: 0 }
    }

    /// Counts ports against their budget; false once it is spent, which is reported once.
    pub(crate) fn spend_ports(&mut self, count: usize, at: Span) -> bool {
        let before = self.ports;
        self.ports = before.saturating_add(count);
        if before <= MAX_PORTS && self.ports > MAX_PORTS {
            self.report
                .error(at, format!("the file names more than {MAX_PORTS} ports"))
                .hint("name single ports, or shorter ranges");
        }
        self.ports <= MAX_PORTS
    }

    /// Checks the whole document against `shape`.
    pub(crate) fn document(&mut self, node: Node, shape: &Shape) -> Node {
        let root = Place { parent: None, key: "", key_at: node.at, index: None };
        self.shape(node, shape, &root)
    }

    /// Reports an error about a value.
    pub(crate) fn wrong(
        &mut self,
        node: &Node,
        place: &Place<'_>,
        what: impl Into<String>,
    ) -> &mut Finding {
        let at = match place.index {
            None => node.place(place.key_at),
            Some(_) if node.value == Value::Null => place.key_at,
            Some(_) => node.begin(),
        };
        self.report.error(at, what).path(place.to_string())
    }

    /// Reports that a value has the wrong kind.
    pub(crate) fn expected(
        &mut self,
        node: &Node,
        place: &Place<'_>,
        wanted: &str,
    ) -> &mut Finding {
        let what = match (node.value == Value::Null, place.index) {
            (true, None) => format!("`{}` is empty; it takes {wanted}", place.key),
            (true, Some(_)) => format!("an item of `{}` is empty; it takes {wanted}", place.key),
            (false, None) => format!("`{}` takes {wanted}, not {}", place.key, node.kind()),
            (false, Some(_)) => {
                format!("an item of `{}` must be {wanted}, this is {}", place.key, node.kind())
            }
        };
        let finding = self.wrong(node, place, what);
        if node.value == Value::Null && place.index.is_none() {
            finding.hint("write the value after the colon, or remove the key");
        }
        finding
    }

    /// Where bytes `from..to` of a text value are in the file.
    pub(crate) fn part(&self, node: &Node, from: usize, to: usize) -> Span {
        node.as_text().map_or(node.at, |text| self.texts.within(node.at, text, from, to))
    }

    pub(crate) fn shape(&mut self, node: Node, shape: &Shape, place: &Place<'_>) -> Node {
        if node.value == Value::Broken || node.tag == Tag::Reset {
            return node;
        }
        match shape {
            Shape::Any => node,
            Shape::Maybe(_) if node.value == Value::Null => node,
            Shape::Maybe(inner) => self.shape(node, inner, place),
            Shape::Form(form) => form(node, place, self),
            Shape::Text | Shape::Word | Shape::OneOf(_) => self.text(node, shape, place),
            Shape::Flag => self.flag(node, place),
            Shape::Whole(least, most) => self.whole(node, (*least, *most), place),
            Shape::Size => self.amount(node, place, "a size such as `512m`", |text| {
                values::size(text).map(|size| size.0.to_string())
            }),
            Shape::Duration => self.amount(node, place, "a duration such as `30s`", |text| {
                values::duration(text).map(values::print_duration)
            }),
            Shape::Cpus => self.amount(node, place, "a number of CPUs such as `0.5`", |text| {
                values::cpus(text).map(|_| text.trim().to_owned())
            }),
            Shape::List(item) => self.list(node, item, place, false),
            Shape::Many(item) => self.list(node, item, place, true),
            Shape::Keys(keys) => self.keys(node, keys, place),
            Shape::MapOf(value) => self.free(node, value, place),
        }
    }

    fn text(&mut self, node: Node, shape: &Shape, place: &Place<'_>) -> Node {
        if let (Shape::OneOf(words), Some(text)) = (shape, node.as_text())
            && !words.contains(&text)
        {
            let finding =
                self.wrong(&node, place, format!("`{text}` is not a value of `{}`", place.key));
            finding.hint(match nearest(text, words.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it is one of {}", words.join(", ")),
            });
            return node.broken();
        }
        match (&node.value, shape) {
            (Value::Text(_), _) => node,
            (Value::Bool(_) | Value::Int(_) | Value::Float(_), Shape::Word) => {
                let text = node.value.scalar_text().unwrap_or_default();
                Node { value: Value::Text(text), ..node }
            }
            (Value::Bool(_) | Value::Int(_) | Value::Float(_), _) => {
                let written = self.texts.slice(node.at).to_owned();
                self.expected(&node, place, "a text").hint(format!("quote it: \"{written}\""));
                node.broken()
            }
            _ => {
                self.expected(&node, place, "a text");
                node.broken()
            }
        }
    }

    fn flag(&mut self, node: Node, place: &Place<'_>) -> Node {
        let value = match &node.value {
            Value::Bool(flag) => Some(*flag),
            // The words of YAML 1.1, and what variables are replaced by.
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "y" | "on" | "1" => Some(true),
                "false" | "no" | "n" | "off" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if let Some(flag) = value {
            return Node { value: Value::Bool(flag), ..node };
        }
        self.expected(&node, place, "true or false");
        node.broken()
    }

    fn whole(&mut self, node: Node, (least, most): (i64, i64), place: &Place<'_>) -> Node {
        let number = match &node.value {
            Value::Int(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                Some(*number as i64)
            }
            Value::Float(number) if number.abs() >= 1e15 => Some(i64::MAX),
            _ => None,
        };
        let Some(number) = number else {
            self.expected(&node, place, "a whole number");
            return node.broken();
        };
        if !(least..=most).contains(&number) {
            let what = match (number < least, most) {
                (true, _) => format!("`{}` is at least {least}", place.key),
                (false, i64::MAX) => format!("`{}` is too large", place.key),
                (false, most) => format!("`{}` is at most {most}", place.key),
            };
            self.wrong(&node, place, what);
            return node.broken();
        }
        Node { value: Value::Int(number), ..node }
    }

    fn amount(
        &mut self,
        node: Node,
        place: &Place<'_>,
        wanted: &str,
        parse: fn(&str) -> Result<String, String>,
    ) -> Node {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            // Read as written: a number of YAML may have lost its last digits.
            Value::Int(_) | Value::Float(_) => self.texts.slice(node.at).to_owned(),
            _ => {
                self.expected(&node, place, wanted);
                return node.broken();
            }
        };
        match parse(&text) {
            Ok(text) => Node { value: Value::Text(text), ..node },
            Err(why) => {
                let noun = wanted.split(" such").next().unwrap_or(wanted);
                self.wrong(&node, place, format!("`{text}` is not {noun}: {why}"));
                node.broken()
            }
        }
    }

    fn list(&mut self, node: Node, item: &Shape, place: &Place<'_>, one: bool) -> Node {
        let Node { value, at, tag } = node;
        let items = match value {
            Value::List(items) => items,
            Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_) if one => {
                vec![Node::new(value, at)]
            }
            value => {
                let node = Node { value, at, tag };
                self.expected(&node, place, "a list").hint(format!(
                    "begin every item with `- `, as in `{}: [first, second]`",
                    place.key
                ));
                return node.broken();
            }
        };
        let items = items
            .into_iter()
            .enumerate()
            .map(|(index, node)| self.shape(node, item, &place.item(index)))
            .collect();
        Node { value: Value::List(items), at, tag }
    }

    fn free(&mut self, node: Node, shape: &Shape, place: &Place<'_>) -> Node {
        let Node { value: Value::Map(map), at, tag } = node else {
            self.expected(&node, place, "a mapping");
            return node.broken();
        };
        let entries = map.entries.into_iter().map(|entry| self.value(entry, shape, place));
        let entries = entries.collect();
        Node { value: Value::Map(Map { entries }), at, tag }
    }

    fn value(&mut self, entry: Entry, shape: &Shape, place: &Place<'_>) -> Entry {
        let Entry { key, key_at, value } = entry;
        let value = self.shape(value, shape, &place.key(&key, key_at));
        Entry { key, key_at, value }
    }

    /// Remembers a key that a cluster refuses or weakens, unless its value asks for nothing.
    fn hold(&mut self, key: &Key, entry: &Entry, place: &Place<'_>) {
        let held = |support| {
            let path = place.key(&entry.key, entry.key_at).to_string();
            Held { path, key: key.name.to_owned(), at: entry.key_at, support }
        };
        if let Support::WeakerAs(value, note) = key.support {
            if entry.value.value.scalar_text().as_deref() == Some(value) {
                self.held.push(held(Support::Weaker(note)));
            }
            return;
        }
        let asks_nothing = match &entry.value.value {
            Value::Null | Value::Bool(false) | Value::Broken => true,
            Value::List(items) => items.is_empty(),
            Value::Map(map) => map.entries.is_empty(),
            _ => false,
        };
        if !asks_nothing && !matches!(key.support, Support::Honoured) {
            let held = held(key.support);
            if let Support::Unread(why, instead) = key.support {
                self.report.error(held.at, why).path(held.path).hint(instead);
            } else {
                self.held.push(held);
            }
        }
    }

    /// A mapping with known keys; `x-*` is free everywhere, `x-siso` only where the table has it.
    pub(crate) fn keys(&mut self, node: Node, keys: &[Key], place: &Place<'_>) -> Node {
        let Node { value: Value::Map(map), at, tag } = node else {
            let hint = unknown::not_a_mapping(&node, keys, place);
            self.expected(&node, place, "a mapping").hint(hint);
            return node.broken();
        };
        let mut kept = Vec::with_capacity(map.entries.len());
        for entry in map.entries {
            if let Some(key) = keys.iter().find(|key| key.name == entry.key) {
                self.hold(key, &entry, place);
                kept.push(self.value(entry, &key.shape, place));
            } else if entry.key.starts_with("x-") {
                if entry.key == "x-siso" {
                    self.hold(&MISPLACED_SISO, &entry, place);
                }
                if let Some(nested) = entry.key.strip_prefix("x-siso.") {
                    unknown::dotted(&entry, nested, place, self.report);
                }
                kept.push(entry);
            } else if let Some(meant) = unknown::report(&entry, keys, place, self.report) {
                // What was meant is neither used nor missed by later layers.
                let Entry { key_at, value, .. } = entry;
                kept.push(Entry { key: meant.to_owned(), key_at, value: value.broken() });
            }
        }
        Node { value: Value::Map(Map { entries: kept }), at, tag }
    }
}
