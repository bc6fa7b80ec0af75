use crate::{
    grammar::{Place, Walk},
    tree::{Entry, Node, Value},
};

/// `extra_hosts`: a list of `NAME=ADDRESS` or `NAME:ADDRESS`, or a mapping; canonically the list
/// with `=`.
pub(crate) fn extra_hosts(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let Node { value, at, tag } = node;
    let mut out = Vec::new();
    match value {
        Value::List(items) => {
            for (index, item) in items.into_iter().enumerate() {
                out.extend(line(item, &place.item(index), walk));
            }
        }
        Value::Map(map) => {
            for Entry { key, key_at, value } in map.entries {
                let below = place.key(&key, key_at);
                match value.value {
                    Value::List(items) => {
                        out.extend(items.into_iter().map(|item| pair(&key, item, &below, walk)));
                    }
                    _ => out.push(pair(&key, value, &below, walk)),
                }
            }
        }
        value => {
            let node = Node { value, at, tag };
            walk.expected(&node, place, "a list").hint("write `- NAME=ADDRESS`");
            return node.broken();
        }
    }
    Node { value: Value::List(out), at, tag }
}

/// One line; several addresses may stand in it, with commas.
fn line(item: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Vec<Node> {
    let Some(text) = item.as_text() else {
        if item.value != Value::Broken {
            walk.expected(&item, place, "a text of the form `NAME=ADDRESS`");
        }
        return vec![item.broken()];
    };
    // An address may hold colons itself, so the first separator counts.
    let Some((name, address)) = text.split_once('=').or_else(|| text.split_once(':')) else {
        walk.wrong(&item, place, format!("`{text}` has no address"))
            .hint("write `NAME=ADDRESS`, as in `db=10.0.0.5`");
        return vec![item.broken()];
    };
    address.split(',').map(|address| Node::text(join(name, address), item.at)).collect()
}

fn pair(name: &str, item: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let Some(address) = item.as_text() else {
        if item.value != Value::Broken {
            walk.expected(&item, place, "an address");
        }
        return item.broken();
    };
    let line = join(name, address);
    Node { value: Value::Text(line), ..item }
}

fn join(name: &str, address: &str) -> String {
    let address = address.trim();
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    format!("{}={}", name.trim(), bare.unwrap_or(address))
}
