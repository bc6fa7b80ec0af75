use std::collections::BTreeMap;

use super::{items, mapping, text};
use crate::{
    grammar::{Held, MOUNT, NOT_PROPAGATED, NOT_RELABELLED, Place, Support, Walk},
    tree::{Map, Node, Value},
};

const EXAMPLE: &str = "[\"data:/var/lib/data\"]";

/// `volumes` of a service: short forms become `{type, source, target, read_only, …}`.
pub(crate) fn mounts(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let (list, shell) = match items(node, place, walk, EXAMPLE) {
        Ok(found) => found,
        Err(node) => return node,
    };
    let mut out: Vec<Node> = Vec::new();
    let mut targets: BTreeMap<String, usize> = BTreeMap::new();
    for (index, item) in list.into_iter().enumerate() {
        let below = place.item(index);
        let mount = match &item.value {
            Value::Text(short) => match parse(short, &item) {
                Ok(mount) => {
                    hold_options(short, &item, &below, walk);
                    mount
                }
                Err(why) => {
                    walk.wrong(&item, &below, format!("`{short}` is not a mount: {why}"))
                        .hint("write `VOLUME:/path/in/container`, with `:ro` to forbid writing");
                    item.broken()
                }
            },
            Value::Map(_) => long(item, &below, walk),
            Value::Broken => item,
            _ => {
                walk.expected(&item, &below, "a mount such as `\"data:/var/lib/data\"`");
                item.broken()
            }
        };
        // The last mount of a target wins.
        let target = mount.as_map().and_then(|map| map.text("target")).map(str::to_owned);
        let known = target.as_ref().and_then(|target| targets.get(target)).copied();
        if let Some(known) = known {
            out[known] = mount;
        } else {
            targets.extend(target.map(|target| (target, out.len())));
            out.push(mount);
        }
    }
    Node { value: Value::List(out), ..shell }
}

/// `[SOURCE:]TARGET[:OPTIONS]`
fn parse(short: &str, item: &Node) -> Result<Node, String> {
    if short.is_empty() {
        return Err("it is empty".to_owned());
    }
    let parts: Vec<&str> = short.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err("it has more than three parts".to_owned()),
    };
    if target.is_empty() || source == Some("") {
        return Err("there is nothing on one side of the colon".to_owned());
    }
    if !target.starts_with('/') {
        return Err(format!("`{target}` is not an absolute path in the container"));
    }
    let is_path = source.is_some_and(|source| source.starts_with(['.', '/', '~']));
    let options: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
    for option in &options {
        if !KNOWN_OPTIONS.contains(option) {
            return Err(format!("`{option}` is not an option; use ro, rw, z, Z or nocopy"));
        }
    }
    let flag = |name| options.contains(&name).then_some(Value::Bool(true));
    let selinux = options.iter().copied().find(|option| matches!(*option, "z" | "Z"));
    let propagation = options.iter().copied().find(|option| PROPAGATION.contains(option));
    let bind = || {
        let bind = [
            ("create_host_path", Some(Value::Bool(true))),
            ("propagation", propagation.and_then(text)),
            ("selinux", selinux.and_then(text)),
        ];
        mapping(item.at, bind).value
    };
    let volume = || mapping(item.at, [("nocopy", flag("nocopy"))]).value;
    let fields = [
        ("type", text(if is_path { "bind" } else { "volume" })),
        ("source", source.and_then(text)),
        ("target", text(clean(target))),
        ("read_only", flag("ro")),
        ("bind", is_path.then(bind)),
        ("volume", (!is_path).then(volume)),
    ];
    Ok(mapping(item.at, fields))
}

/// Remembers options that a cluster does not act on. The long form has keys for them.
fn hold_options(short: &str, item: &Node, place: &Place<'_>, walk: &mut Walk<'_>) {
    let is_path = short.starts_with(['.', '/', '~']);
    for option in short.splitn(3, ':').nth(2).unwrap_or_default().split(',') {
        let note = match option {
            "z" | "Z" => NOT_RELABELLED,
            "cached" | "delegated" | "consistent" => "it has no effect",
            "nocopy" if is_path => "nothing is copied into a path of the node",
            option if PROPAGATION.contains(&option) => NOT_PROPAGATED,
            _ => continue,
        };
        walk.held.push(Held {
            path: place.to_string(),
            key: option.to_owned(),
            at: item.at,
            support: Support::Weaker(note),
        });
    }
}

const PROPAGATION: &[&str] = &["private", "rprivate", "shared", "rshared", "slave", "rslave"];
const KNOWN_OPTIONS: &[&str] = &[
    "ro",
    "rw",
    "z",
    "Z",
    "nocopy",
    "cached",
    "delegated",
    "consistent",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
];

/// A path without `.`, doubled and trailing slashes.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn long(item: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let mut item = walk.keys(item, MOUNT, place);
    let at = item.at;
    let Value::Map(map) = &mut item.value else { return item };
    if map.get("type").is_none() {
        walk.report
            .error(at, "a mount needs a `type`")
            .path(place.to_string())
            .hint("write `type: volume`, `type: bind` or `type: tmpfs`");
        return item.broken();
    }
    if let Some(fault) = incomplete(map) {
        walk.report.error(at, fault).path(place.to_string());
        return item.broken();
    }
    if let Some(target) = map.text("target").map(clean) {
        map.set("target", at, Node::text(target, at));
    }
    item
}

/// What a long mount lacks.
fn incomplete(map: &Map) -> Option<&'static str> {
    match map.get("target").map(|target| target.as_text()) {
        None => return Some("a mount needs a `target`, the path in the container"),
        Some(Some(target)) if !target.starts_with('/') => {
            return Some("the `target` of a mount is an absolute path in the container");
        }
        Some(_) => {}
    }
    if map.text("type") == Some("bind") && map.get("source").is_none() {
        return Some("a bind mount needs a `source`, the path on the node");
    }
    None
}

/// Mode bits: an octal text, or the number YAML made of one.
pub(crate) fn mode(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let bits = match &node.value {
        Value::Int(bits) => Some(*bits),
        Value::Text(text) => i64::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
        _ => None,
    };
    match bits {
        Some(bits) if (0..=0o7777).contains(&bits) => Node { value: Value::Int(bits), ..node },
        _ => {
            walk.expected(&node, place, "mode bits such as 0755");
            node.broken()
        }
    }
}
