//! Parser events to trees: aliases, merge keys, duplicate keys, tags and the budgets.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, ScalarStyle, Span as Mark, Tag as YamlTag};

use super::{MAX_DEPTH, MAX_EXPANDED_BYTES, scalar};
use crate::{
    diagnostic::Report,
    source::{Span, Texts},
    tree::{Entry, Map, Node, Tag, Value},
};

/// The file is beyond a limit, which has been reported; nothing more is read.
pub(super) struct Refused;

/// A collection that is not closed yet.
struct Frame {
    at: Span,
    tag: Tag,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { map: Map, key: Option<Key>, seen: HashMap<String, Span>, merged: Vec<Node> },
}

/// A key that waits for its value.
struct Key {
    text: String,
    at: Span,
    merge: bool,
}

/// What an anchor stands for, with its size, so that a refusal comes before the copy.
struct Anchored {
    node: Node,
    size: Size,
}

/// What a tree costs.
#[derive(Clone, Copy, Default)]
struct Size {
    values: usize,
    bytes: usize,
    depth: usize,
}

pub(super) struct Builder<'r> {
    file: u16,
    texts: &'r Texts,
    report: &'r mut Report,
    open: Vec<Frame>,
    anchors: BTreeMap<usize, Anchored>,
    documents: Vec<Node>,
    values: usize,
    bytes: usize,
}

impl<'r> Builder<'r> {
    pub(super) fn new((file, texts): (u16, &'r Texts), report: &'r mut Report) -> Self {
        Self {
            file,
            texts,
            report,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            documents: Vec::new(),
            values: 0,
            bytes: 0,
        }
    }

    pub(super) fn documents(self) -> Vec<Node> {
        self.documents
    }

    pub(super) fn event(&mut self, event: Event<'_>, mark: &Mark) -> Result<(), Refused> {
        let at = self.span(mark);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(1, text.len(), at)?;
                let (value, tag) = self.scalar(&text, style, tag.as_deref(), mark);
                let merge = style == ScalarStyle::Plain && text == "<<";
                self.complete(Node { value, at, tag }, anchor, merge)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.spend(1, 0, at)?;
                let tag = self.tag(tag.as_deref(), &["seq"], mark);
                self.push(Frame { at, tag, anchor, content: Content::List(Vec::new()) })
            }
            Event::MappingStart(_, anchor, tag) => {
                self.spend(1, 0, at)?;
                let tag = self.tag(tag.as_deref(), &["map"], mark);
                let content = Content::Map {
                    map: Map::default(),
                    key: None,
                    seen: HashMap::new(),
                    merged: Vec::new(),
                };
                self.push(Frame { at, tag, anchor, content })
            }
            Event::SequenceEnd | Event::MappingEnd => self.pop(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::UnresolvedAlias(name) => {
                self.report
                    .error(at, format!("`*{name}` refers to an anchor that is not defined above"))
                    .hint(format!("mark the value to repeat with `&{name}` before it is used"));
                self.complete(Node::new(Value::Broken, at), 0, false)
            }
            _ => Ok(()),
        }
    }

    fn span(&self, mark: &Mark) -> Span {
        mark.byte_range().map_or_else(
            || Span::new(self.file, 0, 0),
            |range| Span::new(self.file, range.start, range.end),
        )
    }

    /// Counts values and text against the budgets.
    fn spend(&mut self, values: usize, bytes: usize, at: Span) -> Result<(), Refused> {
        self.values = self.values.saturating_add(values);
        self.bytes = self.bytes.saturating_add(bytes);
        let most = self.report.bounds().values;
        if self.values > most {
            self.report
                .error(at, format!("the file expands to more than {most} values"))
                .hint("aliases (`*name`) of values that hold aliases multiply; write fewer");
            return Err(Refused);
        }
        if self.bytes > MAX_EXPANDED_BYTES {
            self.report
                .error(at, "the file's aliases expand to more than 16 MiB of text")
                .hint("repeat long texts less often");
            return Err(Refused);
        }
        Ok(())
    }

    /// Whether a value this deep may stand here.
    fn check_depth(&mut self, depth: usize, at: Span) -> Result<(), Refused> {
        if self.open.len() + depth > MAX_DEPTH {
            self.report
                .error(at, format!("values are nested more than {MAX_DEPTH} deep"))
                .hint("a stack file needs about ten levels; is this the right file?");
            return Err(Refused);
        }
        Ok(())
    }

    fn push(&mut self, frame: Frame) -> Result<(), Refused> {
        self.check_depth(1, frame.at)?;
        if matches!(self.open.last(), Some(Frame { content: Content::Map { key: None, .. }, .. })) {
            self.report
                .error(frame.at, "a key must be a single word, not a list or a mapping")
                .hint("a text that begins with `[` or `{` must be quoted");
            return Err(Refused);
        }
        self.open.push(frame);
        Ok(())
    }

    fn pop(&mut self) -> Result<(), Refused> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let Frame { at, tag, anchor, content } = frame;
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { mut map, seen, merged, .. } => {
                self.merge(&mut map, seen, merged)?;
                Value::Map(map)
            }
        };
        self.complete(Node { value, at, tag }, anchor, false)
    }

    /// Puts a finished value where it belongs: a document, an item, a key or the value of a key.
    fn complete(&mut self, node: Node, anchor: usize, merge: bool) -> Result<(), Refused> {
        if anchor != 0 {
            let size = size(&node);
            self.spend(size.values, size.bytes, node.at)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        match self.open.last_mut().map(|frame| &mut frame.content) {
            None => {
                if node.value != Value::Null {
                    self.documents.push(node);
                }
            }
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { map, key, seen, merged }) => match key.take() {
                None => *key = Some(read_key(&node, merge, self.report)),
                Some(Key { merge: true, .. }) => merged.push(node),
                Some(Key { text, at, .. }) => {
                    if let Some(first) = seen.get(&text) {
                        let lines = (self.texts.line(*first), self.texts.line(at));
                        let what = format!("`{text}` is given twice, {}", on_lines(lines));
                        self.report
                            .error(at, what)
                            .label("given again here")
                            .related(*first, "first given here")
                            .hint("keep one of the two");
                    } else {
                        seen.insert(text.clone(), at);
                        map.entries.push(Entry { key: text, key_at: at, value: node });
                    }
                }
            },
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Span) -> Result<(), Refused> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            self.report
                .error(at, "this alias stands inside the value it repeats")
                .hint("a value cannot contain itself");
            return self.complete(Node::new(Value::Broken, at), 0, false);
        };
        let Size { values, bytes, depth } = anchored.size;
        self.spend(values, bytes, at)?;
        self.check_depth(depth, at)?;
        let node = self.anchors.get(&anchor).map(|anchored| anchored.node.clone());
        node.map_or(Ok(()), |node| self.complete(node, 0, false))
    }

    /// `<<`: keys of the merged mappings that the mapping does not have itself; the first wins.
    fn merge(
        &mut self,
        map: &mut Map,
        mut seen: HashMap<String, Span>,
        merged: Vec<Node>,
    ) -> Result<(), Refused> {
        let mut sources = Vec::new();
        for node in merged {
            match node.value {
                Value::List(items) => sources.extend(items),
                _ => sources.push(node),
            }
        }
        for source in sources {
            let at = source.at;
            let Value::Map(source) = source.value else {
                if source.value != Value::Broken {
                    self.report
                        .error(at, format!("`<<` takes a mapping, this is {}", source.kind()))
                        .hint("write `<<: *name`, where `&name` marks a mapping above");
                }
                continue;
            };
            for entry in source.entries {
                if !seen.contains_key(&entry.key) {
                    self.spend(1, 0, at)?;
                    seen.insert(entry.key.clone(), entry.key_at);
                    map.entries.push(entry);
                }
            }
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&YamlTag>,
        mark: &Mark,
    ) -> (Value, Tag) {
        let plain = style == ScalarStyle::Plain;
        let core = tag.filter(|tag| tag.is_yaml_core_schema()).and_then(YamlTag::core_suffix);
        let value = match core {
            Some("str") => Value::Text(text.to_owned()),
            Some("int" | "float" | "bool" | "null") => scalar::resolve(text),
            _ if plain => scalar::resolve(text),
            _ => Value::Text(text.to_owned()),
        };
        (value, self.tag(tag, &["str", "int", "float", "bool", "null"], mark))
    }

    /// Reads a tag; those of other programs are refused, they would mean nothing here.
    fn tag(&mut self, tag: Option<&YamlTag>, allowed: &[&str], mark: &Mark) -> Tag {
        let Some(tag) = tag else { return Tag::Merge };
        match (tag.original().as_str(), tag.core_suffix()) {
            ("!reset", _) => return Tag::Reset,
            ("!override", _) => return Tag::Override,
            (_, Some(suffix)) if tag.is_yaml_core_schema() && allowed.contains(&suffix) => {}
            // `!` alone is a text, `!!merge <<` spells out what `<<` is.
            ("!" | "!!merge", _) => {}
            (name, _) => {
                let at = mark.tag_span().map_or_else(|| self.span(mark), |tag| self.span(&tag));
                self.report
                    .error(at, format!("the tag `{name}` means nothing in a stack file"))
                    .hint("leave it out; only `!reset` and `!override` are known");
            }
        }
        Tag::Merge
    }
}

/// Where two things are, as part of a sentence.
fn on_lines((first, second): (usize, usize)) -> String {
    if first == second {
        format!("both times on line {first}")
    } else {
        format!("on line {first} and on line {second}")
    }
}

/// Reads a key. What is not a plain word has been reported already or is reported here.
fn read_key(node: &Node, merge: bool, report: &mut Report) -> Key {
    let text = node.value.scalar_text();
    if text.is_none() && node.value != Value::Broken {
        report.error(node.at, format!("a key must be a word, this is {}", node.kind()));
    }
    Key { text: text.unwrap_or_default(), at: node.at, merge }
}

/// Adds up a tree. It is at most [`MAX_DEPTH`] deep, so the recursion is.
fn size(node: &Node) -> Size {
    let add = |total: Size, node: &Node| {
        let part = size(node);
        Size {
            values: total.values + part.values,
            bytes: total.bytes + part.bytes,
            depth: total.depth.max(part.depth + 1),
        }
    };
    let one = Size { values: 1, bytes: 0, depth: 1 };
    match &node.value {
        Value::List(items) => items.iter().fold(one, add),
        Value::Map(map) => map.entries.iter().fold(one, |total, entry| {
            let total = add(total, &entry.value);
            Size { bytes: total.bytes + entry.key.len(), ..total }
        }),
        Value::Text(text) => Size { values: 1, bytes: text.len(), depth: 0 },
        _ => Size { values: 1, bytes: 0, depth: 0 },
    }
}
