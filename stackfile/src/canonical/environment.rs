use std::collections::BTreeMap;

use super::{items, mapping, text};
use crate::{
    grammar::{ENV_FILE, Place, Walk},
    source::Span,
    tree::{Entry, Map, Node, Value},
};

/// `environment`: a mapping or a list of `NAME=value`; a name alone passes the variable of the
/// person's own environment on, kept as null.
pub(crate) fn environment(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    assignments(node, place, walk, true)
}

/// Labels: the same, but a name alone has an empty value.
pub(crate) fn pairs(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    assignments(node, place, walk, false)
}

fn assignments(node: Node, place: &Place<'_>, walk: &mut Walk<'_>, pass_on: bool) -> Node {
    let Node { value, at, tag } = node;
    let map = match value {
        Value::Map(map) => from_map(map, place, walk, pass_on),
        Value::List(items) => from_list(items, place, walk, pass_on),
        value => {
            let node = Node { value, at, tag };
            walk.expected(&node, place, "a mapping or a list")
                .hint(format!("write `{}:` and below it `NAME: value`", place.key));
            return node.broken();
        }
    };
    Node { value: Value::Map(map), at, tag }
}

fn from_map(map: Map, place: &Place<'_>, walk: &mut Walk<'_>, pass_on: bool) -> Map {
    let mut out = Map::default();
    for Entry { key, key_at, value } in map.entries {
        let below = place.key(&key, key_at);
        let value = match &value.value {
            Value::Null if !pass_on => Node { value: Value::Text(String::new()), ..value },
            Value::Null | Value::Broken => value,
            Value::List(_) | Value::Map(_) => {
                walk.expected(&value, &below, "a text")
                    .hint(format!("every entry of `{}` is one `NAME: value`", place.key));
                value.broken()
            }
            scalar => {
                let text = scalar.scalar_text().unwrap_or_default();
                Node { value: Value::Text(text), ..value }
            }
        };
        check_name(&key, key_at, place, walk);
        out.entries.push(Entry { key, key_at, value });
    }
    out
}

fn from_list(items: Vec<Node>, place: &Place<'_>, walk: &mut Walk<'_>, pass_on: bool) -> Map {
    let mut out = Map::default();
    // Where each name is in `out`, since the last of two wins.
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (index, item) in items.into_iter().enumerate() {
        let below = place.item(index);
        let at = item.at;
        let Some(line) = item.as_text() else {
            if item.value != Value::Broken {
                walk.expected(&item, &below, "a text of the form `NAME=value`")
                    .hint("write `- NAME=value`, or `NAME: value` without the dash");
            }
            continue;
        };
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Value::Text(value.to_owned())),
            None if pass_on => (line, Value::Null),
            None => (line, Value::Text(String::new())),
        };
        let name_at = walk.part(&item, 0, name.len());
        check_name(name, name_at, &below, walk);
        let entry = Entry { key: name.to_owned(), key_at: name_at, value: Node::new(value, at) };
        if let Some(index) = known.get(name) {
            out.entries[*index] = entry;
        } else {
            known.insert(name.to_owned(), out.entries.len());
            out.entries.push(entry);
        }
    }
    out
}

fn check_name(name: &str, at: Span, place: &Place<'_>, walk: &mut Walk<'_>) {
    let hint = if name.is_empty() {
        "a name stands before the `=`"
    } else if name.trim() != name {
        "no spaces around the `=`"
    } else if name.contains('\0') {
        "the name holds a NUL"
    } else {
        return;
    };
    let what = format!("`{name}` is not a name for `{}`", place.key);
    walk.report.error(at, what).path(place.to_string()).hint(hint);
}

/// `env_file`: a path, or a list of paths and `{path, required, format}`.
pub(crate) fn env_file(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let node = match node.value {
        Value::Text(_) => Node { at: node.at, tag: node.tag, value: Value::List(vec![node]) },
        _ => node,
    };
    let (list, shell) = match items(node, place, walk, "[first.env, second.env]") {
        Ok(found) => found,
        Err(node) => return node,
    };
    let mut out = Vec::new();
    for (index, item) in list.into_iter().enumerate() {
        let below = place.item(index);
        out.push(match item.value {
            Value::Text(path) => {
                mapping(item.at, [("path", text(path)), ("required", Some(Value::Bool(true)))])
            }
            Value::Map(_) => {
                let item = walk.keys(item, ENV_FILE, &below);
                if item.as_map().is_some_and(|map| map.get("path").is_none()) {
                    walk.wrong(&item, &below, "an `env_file` needs a `path`");
                }
                item
            }
            Value::Broken => item,
            _ => {
                walk.expected(&item, &below, "a path");
                item.broken()
            }
        });
    }
    Node { value: Value::List(out), ..shell }
}
