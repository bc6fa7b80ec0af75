use super::{items, mapping, text};
use crate::{
    grammar::{DEVICE, DEVICE_REQUEST, Place, Walk},
    tree::{Node, Value},
    values::size,
};

/// All there are, as the reference prints it.
const ALL: i64 = -1;

/// `devices`: `SOURCE[:TARGET[:PERMISSIONS]]`, or the same as a mapping.
pub(crate) fn devices(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let (list, shell) = match items(node, place, walk, "[\"/dev/ttyUSB0\"]") {
        Ok(found) => found,
        Err(node) => return node,
    };
    let mut out = Vec::new();
    for (index, item) in list.into_iter().enumerate() {
        let below = place.item(index);
        out.push(match &item.value {
            Value::Text(short) => {
                let mut parts = short.splitn(3, ':');
                let source = parts.next().unwrap_or_default();
                let target = parts.next().unwrap_or(source);
                let fields = [
                    ("source", text(source)),
                    ("target", text(target)),
                    ("permissions", text(parts.next().unwrap_or("rwm"))),
                ];
                mapping(item.at, fields)
            }
            Value::Map(_) => walk.keys(item, DEVICE, &below),
            Value::Broken => item,
            _ => {
                walk.expected(&item, &below, "a device such as `/dev/ttyUSB0`");
                item.broken()
            }
        });
    }
    Node { value: Value::List(out), ..shell }
}

/// `gpus`: the word `all`, or requests for devices.
pub(crate) fn gpus(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    if node.as_text() == Some("all") {
        let Node { at, tag, .. } = node;
        let all = mapping(at, [("count", Some(Value::Int(ALL)))]);
        return Node { value: Value::List(vec![all]), at, tag };
    }
    requests(node, place, walk, "all")
}

/// `deploy.resources.reservations.devices`: requests for devices by what they can do.
pub(crate) fn device_requests(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    requests(node, place, walk, "[{capabilities: [gpu], count: 1}]")
}

/// A request that says neither how many nor which is for all there are.
fn requests(node: Node, place: &Place<'_>, walk: &mut Walk<'_>, example: &str) -> Node {
    let (list, shell) = match items(node, place, walk, example) {
        Ok(found) => found,
        Err(node) => return node,
    };
    let item = |(index, item): (usize, Node)| {
        let below = place.item(index);
        let needs_capabilities = place.key == "devices";
        let mut item = walk.keys(item, DEVICE_REQUEST, &below);
        let at = item.begin();
        let Value::Map(map) = &mut item.value else { return item };
        let given = |key: &str| map.get(key).is_some();
        if given("count") && given("device_ids") {
            walk.report
                .error(at, "`count` and `device_ids` exclude each other")
                .path(below.to_string())
                .hint("name the devices, or say how many");
        }
        if needs_capabilities && !given("capabilities") {
            walk.report
                .error(at, "a request for devices needs `capabilities`")
                .path(below.to_string())
                .hint("write `capabilities: [gpu]`");
        }
        if !given("count") && !given("device_ids") {
            map.push("count", at, Node::new(Value::Int(ALL), at));
        }
        item
    };
    Node { value: Value::List(list.into_iter().enumerate().map(item).collect()), ..shell }
}

/// How many devices: a number, or `all`.
pub(crate) fn device_count(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let count = match &node.value {
        Value::Int(count) => Some(*count),
        Value::Text(word) if word == "all" => Some(ALL),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    if let Some(count) = count.filter(|count| *count == ALL || u32::try_from(*count).is_ok()) {
        return Node { value: Value::Int(count), ..node };
    }
    walk.expected(&node, place, "a number of devices, or `all`").hint("write `count: 1`");
    node.broken()
}

/// An amount of a generic resource: a whole number, or a size.
pub(crate) fn amount(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let amount = match &node.value {
        Value::Int(amount) if *amount < 0 => Err("it is at least 1".to_owned()),
        Value::Int(amount) => Ok(*amount),
        Value::Text(text) => size(text).map(|size| i64::try_from(size.0).unwrap_or(i64::MAX)),
        _ => {
            walk.expected(&node, place, "an amount such as `2` or `200GiB`");
            return node.broken();
        }
    };
    match amount {
        Ok(amount) => Node { value: Value::Int(amount), ..node },
        Err(why) => {
            let written = node.value.scalar_text().unwrap_or_default();
            walk.wrong(&node, place, format!("`{written}` is not an amount: {why}"))
                .hint("write a whole number, or a size such as `200GiB`");
            node.broken()
        }
    }
}
