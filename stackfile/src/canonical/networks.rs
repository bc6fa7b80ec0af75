use std::collections::BTreeSet;

use crate::{
    grammar::{Place, SERVICE_NETWORK, Walk},
    tree::{Entry, Map, Node, Value},
};

/// `networks` of a service: a list of names, or a mapping of names to settings; canonically the
/// mapping.
pub(crate) fn service_networks(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let Node { value, at, tag } = node;
    let mut out = Map::default();
    match value {
        Value::List(items) => {
            let mut known = BTreeSet::new();
            for (index, item) in items.into_iter().enumerate() {
                let Some(name) = item.as_text() else {
                    if item.value != Value::Broken {
                        walk.expected(&item, &place.item(index), "the name of a network");
                    }
                    continue;
                };
                if known.insert(name.to_owned()) {
                    out.push(name, item.at, Node::new(Value::Null, item.at));
                }
            }
        }
        Value::Map(map) => {
            for Entry { key, key_at, value } in map.entries {
                let value = match value.value {
                    Value::Null => value,
                    _ => walk.keys(value, SERVICE_NETWORK, &place.key(&key, key_at)),
                };
                out.entries.push(Entry { key, key_at, value });
            }
        }
        value => {
            let node = Node { value, at, tag };
            walk.expected(&node, place, "a list of names");
            return node.broken();
        }
    }
    Node { value: Value::Map(out), at, tag }
}

/// `external`: true or false; the old form `{name: …}` is kept for the reader of the volume.
pub(crate) fn external(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    match &node.value {
        Value::Map(map) if map.text("name").is_some() => node,
        _ => walk.shape(node, &crate::grammar::Shape::Flag, place),
    }
}
