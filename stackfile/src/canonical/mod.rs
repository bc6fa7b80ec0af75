//! Short forms to long ones. Each function here is a [`crate::grammar::Form`]: it takes a value as
//! written and gives the one form later layers read, or reports what is wrong with it.

mod devices;
mod environment;
mod hosts;
mod mounts;
mod networks;
mod ports;
mod process;

pub(crate) use devices::{amount, device_count, device_requests, devices, gpus};
pub(crate) use environment::{env_file, environment, pairs};
pub(crate) use hosts::extra_hosts;
pub(crate) use mounts::{clean, mode, mounts};
pub(crate) use networks::{external, service_networks};
pub(crate) use ports::{expose, ports};
pub(crate) use process::{command, depends_on, health_test, restart, siso, ulimit};

use crate::{
    grammar::{Place, Walk},
    source::Span,
    tree::{Map, Node, Value},
};

/// The items of a list; `None` when it is not one, which is reported with an example.
fn items(
    node: Node,
    place: &Place<'_>,
    walk: &mut Walk<'_>,
    example: &str,
) -> Result<(Vec<Node>, Node), Node> {
    let Node { value, at, tag } = node;
    match value {
        Value::List(items) => Ok((items, Node { value: Value::Null, at, tag })),
        value => {
            let node = Node { value, at, tag };
            walk.expected(&node, place, "a list").hint(format!("write `{}: {example}`", place.key));
            Err(node.broken())
        }
    }
}

/// A mapping built from parts, every key at the place of the short form.
fn mapping(at: Span, fields: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Node {
    let mut map = Map::default();
    for (key, value) in fields {
        if let Some(value) = value {
            map.push(key, at, Node::new(value, at));
        }
    }
    Node::new(Value::Map(map), at)
}

#[expect(clippy::unnecessary_wraps, reason = "it stands among fields that may be absent")]
fn text(text: impl Into<String>) -> Option<Value> {
    Some(Value::Text(text.into()))
}
