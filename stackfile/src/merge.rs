//! Several files of one stack: what a later one does to an earlier one.

use std::collections::BTreeMap;

use crate::tree::{Map, Node, Tag, Value};

/// Puts `over` over `base`. Both are in canonical form, so keys of lists are explicit.
pub(crate) fn merge(base: &mut Map, over: Map) {
    merge_maps(base, over, &mut Vec::new());
}

/// Removes what `!reset` asked to remove.
pub(crate) fn strip_reset(map: &mut Map) {
    map.entries.retain(|entry| entry.value.tag != Tag::Reset);
    for entry in &mut map.entries {
        strip_below(&mut entry.value);
    }
}

fn strip_below(node: &mut Node) {
    match &mut node.value {
        Value::Map(map) => strip_reset(map),
        Value::List(items) => {
            items.retain(|item| item.tag != Tag::Reset);
            items.iter_mut().for_each(strip_below);
        }
        _ => {}
    }
}

fn merge_maps(base: &mut Map, over: Map, path: &mut Vec<String>) {
    let index: BTreeMap<String, usize> =
        base.entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
    for entry in over.entries {
        path.push(entry.key.clone());
        match index.get(&entry.key).and_then(|at| base.entries.get_mut(*at)) {
            None => base.entries.push(entry),
            Some(known) => {
                let empty = Node::new(Value::Null, known.value.at);
                let value = std::mem::replace(&mut known.value, empty);
                known.value = merge_nodes(value, entry.value, path);
                known.key_at = entry.key_at;
            }
        }
        path.pop();
    }
}

fn merge_nodes(base: Node, over: Node, path: &mut Vec<String>) -> Node {
    if over.tag != Tag::Merge {
        let tag = if over.tag == Tag::Reset { Tag::Reset } else { Tag::Merge };
        return Node { tag, ..over };
    }
    let rule = rule(path);
    let (base_at, at) = (base.at, over.at);
    match (base.value, over.value) {
        (Value::Map(mut base), Value::Map(over)) if rule != Rule::Replace => {
            if rule == Rule::SameDriver && other_driver(&base, &over) {
                return Node::new(Value::Map(over), at);
            }
            merge_maps(&mut base, over, path);
            Node::new(Value::Map(base), at)
        }
        (Value::List(base), Value::List(over)) if rule != Rule::Replace => {
            Node::new(Value::List(merge_lists(base, over, rule)), at)
        }
        // A collection is not emptied by leaving its key empty; `!reset` does that.
        (base @ (Value::Map(_) | Value::List(_)), Value::Null) => Node::new(base, base_at),
        (_, over) => Node::new(over, at),
    }
}

/// How the items of a list, or two mappings, meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Mappings by key; lists one after the other, each item once.
    Join,
    /// The later one stands alone.
    Replace,
    /// Items with the same value of these keys replace each other.
    By(&'static [&'static str]),
    /// Joined when both use the same driver.
    SameDriver,
}

fn rule(path: &[String]) -> Rule {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => {
            Rule::Replace
        }
        ["services", _, "ports"] => Rule::By(&["host_ip", "target", "published", "protocol"]),
        ["services", _, "volumes" | "devices"] => Rule::By(&["target"]),
        ["services", _, "logging"] => Rule::SameDriver,
        _ => Rule::Join,
    }
}

fn other_driver(base: &Map, over: &Map) -> bool {
    over.text("driver").is_some_and(|driver| base.text("driver") != Some(driver))
}

fn merge_lists(mut base: Vec<Node>, over: Vec<Node>, rule: Rule) -> Vec<Node> {
    let keys = if let Rule::By(keys) = rule { keys } else { &[] };
    let identity = |node: &Node| match node.as_map() {
        Some(map) if !keys.is_empty() => {
            let parts =
                keys.iter().map(|key| map.get(key).and_then(|node| node.value.scalar_text()));
            format!("{:?}", parts.collect::<Vec<_>>())
        }
        _ => node.identity(),
    };
    let mut index: BTreeMap<String, usize> =
        base.iter().enumerate().map(|(at, item)| (identity(item), at)).collect();
    for item in over {
        let key = identity(&item);
        if let Some(at) = index.get(&key) {
            base[*at] = item;
        } else {
            index.insert(key, base.len());
            base.push(item);
        }
    }
    base
}
