use std::collections::BTreeSet;

use super::{mapping, text};
use crate::{
    diagnostic::Report,
    grammar::{DEPENDENCY, Place, SISO, ULIMIT, Walk},
    tree::{Entry, Map, Node, Value},
    values::words,
};

/// `command` and `entrypoint`: a line that is split into words, or a list of words.
pub(crate) fn command(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    match &node.value {
        Value::Text(line) => match words(line) {
            Ok(words) => {
                let list = words.into_iter().map(|word| Node::text(word, node.at)).collect();
                Node { value: Value::List(list), ..node }
            }
            Err(why) => {
                walk.wrong(&node, place, format!("`{}` cannot be split: {why}", place.key)).hint(
                    format!(
                        "for a shell write `{}: [\"sh\", \"-c\", \"…\"]`; quote what is meant \
                         literally",
                        place.key
                    ),
                );
                node.broken()
            }
        },
        Value::List(_) => strings(node, place, walk),
        _ => {
            walk.expected(&node, place, "a text or a list of texts");
            node.broken()
        }
    }
}

/// A list of texts, with a hint about quoting for what YAML took for something else.
fn strings(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    walk.shape(node, &crate::grammar::Shape::List(&crate::grammar::Shape::Text), place)
}

/// `healthcheck.test`: a line for the shell, or a list that begins with `CMD`, `CMD-SHELL` or
/// `NONE`; canonically the list.
pub(crate) fn health_test(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    match &node.value {
        Value::Text(line) => {
            let words: &[&str] = if line == "NONE" { &["NONE"] } else { &["CMD-SHELL", line] };
            let list = words.iter().map(|word| Node::text(*word, node.at)).collect();
            Node { value: Value::List(list), ..node }
        }
        Value::List(items) => {
            let kind = items.first().and_then(Node::as_text).unwrap_or_default().to_owned();
            let (wanted, count) = match kind.as_str() {
                "NONE" => (true, items.len() == 1),
                "CMD" => (true, items.len() >= 2),
                "CMD-SHELL" => (true, items.len() == 2),
                _ => (false, true),
            };
            if items.is_empty() {
                return node;
            }
            if !wanted {
                walk.wrong(&node, place, format!("a health check cannot begin with `{kind}`"))
                    .hint(format!(
                        "put `CMD` before it, as in `[CMD, {kind}, …]`, or write one text for the \
                         shell"
                    ));
                return node.broken();
            }
            if !count {
                let what = match kind.as_str() {
                    "NONE" => "`NONE` stands alone",
                    "CMD" => "`CMD` is followed by the program and its arguments",
                    _ => "`CMD-SHELL` is followed by one text, the whole line",
                };
                walk.wrong(&node, place, what);
                return node.broken();
            }
            strings(node, place, walk)
        }
        _ => {
            walk.expected(&node, place, "a text or a list of texts");
            node.broken()
        }
    }
}

/// `restart`: one of four words, `on-failure` with an optional maximum.
pub(crate) fn restart(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    const WORDS: [&str; 4] = ["no", "always", "unless-stopped", "on-failure"];
    let Some(policy) = node.as_text() else {
        let finding = walk.expected(&node, place, "a text");
        if node.value == Value::Bool(false) {
            finding.hint("write `restart: \"no\"`");
        }
        return node.broken();
    };
    let (word, count) = policy.split_once(':').map_or((policy, None), |(a, b)| (a, Some(b)));
    if policy.is_empty() {
        return node;
    }
    if !WORDS.contains(&word) {
        let near = crate::grammar::nearest(word, WORDS);
        walk.wrong(&node, place, format!("`{policy}` is not a restart policy")).hint(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "it is no, always, unless-stopped, on-failure or on-failure:3".to_owned(),
        });
        return node.broken();
    }
    let count_fits = match count {
        None => true,
        Some(count) => word == "on-failure" && count.parse::<u32>().is_ok(),
    };
    if !count_fits {
        walk.wrong(&node, place, format!("`{policy}` is not a restart policy"))
            .hint("a maximum is a number and goes with on-failure only, as in `on-failure:3`");
        return node.broken();
    }
    node
}

/// A ulimit: one number, or `{soft, hard}`.
pub(crate) fn ulimit(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    if node.as_map().is_none() {
        return walk.shape(node, &crate::grammar::Shape::Whole(-1, i64::MAX), place);
    }
    let node = walk.keys(node, ULIMIT, place);
    let both =
        node.as_map().is_some_and(|map| map.get("soft").is_some() && map.get("hard").is_some());
    if !both {
        walk.wrong(&node, place, format!("`{}` needs both `soft` and `hard`", place.key));
        return node.broken();
    }
    node
}

/// `x-siso`: free for whoever only reads the file, checked for a cluster.
pub(crate) fn siso(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let mut report = Report::default();
    let checked = Walk::new(walk.texts, &mut report).keys(node.clone(), SISO, place);
    if report.has_errors() {
        walk.deferred.append(report);
        return node;
    }
    checked
}

/// `depends_on`: a list of services, or a mapping of services to conditions; canonically the
/// mapping.
pub(crate) fn depends_on(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let Node { value, at, tag } = node;
    let mut out = Map::default();
    match value {
        Value::List(items) => {
            let mut known = BTreeSet::new();
            for (index, item) in items.into_iter().enumerate() {
                let Some(name) = item.as_text() else {
                    if item.value != Value::Broken {
                        walk.expected(&item, &place.item(index), "the name of a service")
                            .hint("with conditions write a mapping: no dashes before the names");
                    }
                    continue;
                };
                let fields =
                    [("condition", text("service_started")), ("required", Some(Value::Bool(true)))];
                if known.insert(name.to_owned()) {
                    out.push(name, item.at, mapping(item.at, fields));
                }
            }
        }
        Value::Map(map) => {
            for Entry { key, key_at, value } in map.entries {
                let below = place.key(&key, key_at);
                let mut value = walk.keys(value, DEPENDENCY, &below);
                if let Value::Map(settings) = &mut value.value {
                    if settings.get("condition").is_none() {
                        walk.report
                            .error(key_at, format!("the dependency on `{key}` needs a `condition`"))
                            .path(below.to_string())
                            .hint(
                                "write `condition: service_healthy` or `service_started` below it",
                            );
                    }
                    if settings.get("required").is_none() {
                        settings.push("required", key_at, Node::new(Value::Bool(true), key_at));
                    }
                }
                out.entries.push(Entry { key, key_at, value });
            }
        }
        value => {
            let node = Node { value, at, tag };
            walk.expected(&node, place, "a list of services").hint("write `depends_on: [db]`");
            return node.broken();
        }
    }
    Node { value: Value::Map(out), at, tag }
}
