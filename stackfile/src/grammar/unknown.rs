//! What to say about a key that is not in the table.

use super::{Key, Place, Shape, Support, keys, nearest};
use crate::{
    diagnostic::Report,
    tree::{Entry, Node, Value},
};

/// Words other tools use, and what they are called here.
const SYNONYMS: &[(&str, &str)] = &[
    ("env", "environment"),
    ("envs", "environment"),
    ("env_vars", "environment"),
    ("environments", "environment"),
    ("cmd", "command"),
    ("args", "command"),
    ("memory", "mem_limit"),
    ("mem", "mem_limit"),
    ("memory_limit", "mem_limit"),
    ("memory_reservation", "mem_reservation"),
    ("cpu", "cpus"),
    ("mounts", "volumes"),
    ("workdir", "working_dir"),
    ("health_check", "healthcheck"),
    ("health", "healthcheck"),
    ("depends", "depends_on"),
    ("restart_policy", "restart"),
    ("grace_period", "stop_grace_period"),
    ("requests", "reservations"),
    ("network", "networks"),
    ("pids", "pids_limit"),
    ("hosts", "extra_hosts"),
    ("log", "logging"),
    ("logs", "logging"),
    ("volume", "volumes"),
];

/// Keys that are deeper in a form the tables do not show, and where they are.
const DEEPER: &[(&str, &str)] = &[
    ("constraint", "deploy.placement.constraints"),
    ("condition", "depends_on.NAME.condition"),
    ("singleton", "x-siso.singleton"),
    ("priority", "x-siso.priority"),
];
/// How many levels below a mapping its missing keys are looked for.
const LEVELS: usize = 3;

/// Reports an unknown key, and answers the key that was probably meant.
pub(super) fn report(
    entry: &Entry,
    keys: &[Key],
    place: &Place<'_>,
    report: &mut Report,
) -> Option<&'static str> {
    if report.is_full() {
        return None;
    }
    let name = &entry.key;
    let meant = meant(name, keys);
    let hint = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => hint(entry, keys, place),
    };
    report
        .error(entry.key_at, format!("`{name}` is not a key of {}", owner(place)))
        .path(place.key(name, entry.key_at).to_string())
        .hint(hint);
    meant
}

/// Reports a key of ours that is written as documents name it, with a dot: as free as any other `x-` key it would mean
/// nothing.
pub(super) fn dotted(entry: &Entry, nested: &str, place: &Place<'_>, report: &mut Report) {
    if report.is_full() {
        return;
    }
    let name = &entry.key;
    report
        .error(entry.key_at, format!("`{name}` is not a key of {}", owner(place)))
        .path(place.key(name, entry.key_at).to_string())
        .hint(format!("it is a mapping of its own: `x-siso: {{ {nested}: … }}`"));
}

/// The key of the table a name is a slip or another tool's word for.
fn meant(name: &str, keys: &[Key]) -> Option<&'static str> {
    let synonym = SYNONYMS.iter().find(|(word, _)| *word == name).map(|(_, meant)| *meant);
    let here = synonym.filter(|meant| keys.iter().any(|key| key.name == *meant));
    if here.is_some() || deeper(name, keys, LEVELS).is_some() {
        // A word that is a key further down is not a slip for one that looks like it.
        return here;
    }
    nearest(name, keys.iter().map(|key| key.name))
}

fn hint(entry: &Entry, keys: &[Key], place: &Place<'_>) -> String {
    let name = entry.key.as_str();
    let known = |name: &str| keys.iter().any(|key| key.name == name);
    let (in_service, in_stack) = (known("image"), known("services"));
    let looks_like_one =
        matches!(&entry.value.value, Value::Map(map) if map.get("image").is_some());
    if in_service {
        if let Some((_, path)) = DEEPER.iter().find(|(word, _)| *word == name) {
            return format!("it belongs deeper: `{path}`");
        }
        if looks_like_one {
            return format!("if `{name}` is a service, indent it like `{}`", place.key);
        }
        if keys::is_stack_key(place.key) {
            return format!("`{}:` of the stack stands at the left margin", place.key);
        }
        if keys::is_stack_key(name) {
            return format!("`{name}` stands at the left margin, not in a service");
        }
    }
    if !in_stack && let Some(path) = deeper(name, keys, LEVELS) {
        return format!("it belongs deeper: `{path}`");
    }
    if !in_service && keys::is_service_key(name) {
        return if in_stack {
            format!("`{name}` belongs to a service: put it below `services:` and a name")
        } else {
            format!("`{name}` is a key of a service: indent it less")
        };
    }
    if in_stack && name == "nodes" {
        return "a file of nodes is given with `--nodes`, beside the stack file".to_owned();
    }
    if in_stack && looks_like_one {
        return format!("if `{name}` is a service, put it below `services:`");
    }
    if let Some(path) = nearest_below(name, keys).filter(|_| !in_stack) {
        return format!("did you mean `{path}`?");
    }
    format!("known here: {}; keys of your own begin with `x-`", some_of(keys))
}

/// The mappings directly below these keys.
fn tables(keys: &[Key]) -> Vec<(&'static str, &'static [Key])> {
    let below = |key: &Key| match &key.shape {
        Shape::Keys(keys) | Shape::Maybe(Shape::Keys(keys)) => Some((key.name, *keys)),
        _ => None,
    };
    keys.iter().filter_map(below).collect()
}

/// The path of the key further down that a name is a slip for; the shallowest of them.
fn nearest_below(name: &str, keys: &[Key]) -> Option<String> {
    let mut level: Vec<(String, &[Key])> =
        tables(keys).into_iter().map(|(parent, keys)| (parent.to_owned(), keys)).collect();
    for _ in 0..LEVELS {
        let here: Vec<(&str, &str)> = level
            .iter()
            .flat_map(|(path, keys)| keys.iter().map(|key| (path.as_str(), key.name)))
            .collect();
        if let Some(near) = nearest(name, here.iter().map(|(_, key)| *key)) {
            let (path, key) = here.into_iter().find(|(_, key)| *key == near)?;
            return Some(format!("{path}.{key}"));
        }
        let next = level.iter().flat_map(|(path, keys)| {
            tables(keys).into_iter().map(move |(key, keys)| (format!("{path}.{key}"), keys))
        });
        level = next.collect();
    }
    None
}

/// Where below these keys one of this name is.
fn deeper(name: &str, keys: &[Key], levels: usize) -> Option<String> {
    let tables = tables(keys);
    let here = tables.iter().find(|(_, keys)| keys.iter().any(|key| key.name == name));
    if let Some((parent, _)) = here {
        return Some(format!("{parent}.{name}"));
    }
    if levels == 0 {
        return None;
    }
    tables
        .iter()
        .find_map(|(parent, keys)| Some(format!("{parent}.{}", deeper(name, keys, levels - 1)?)))
}

/// What to do about a value that should have been a mapping with these keys.
pub(super) fn not_a_mapping(node: &Node, keys: &[Key], place: &Place<'_>) -> String {
    let in_services = place.parent.is_some_and(|parent| parent.key == "services");
    match &node.value {
        Value::Null => format!("what belongs to `{}` is indented further than it", place.key),
        _ if in_services && keys::is_service_key(place.key) => {
            format!("`{}` is a key of a service: indent it below the service's name", place.key)
        }
        _ => format!("its keys are {}", some_of(keys)),
    }
}

/// What the mapping is, in words.
fn owner(place: &Place<'_>) -> String {
    match place.parent {
        None => "a stack file".to_owned(),
        Some(parent) if parent.parent.is_some_and(|root| root.parent.is_none()) => {
            match parent.key {
                "services" => "a service".to_owned(),
                "volumes" => "a volume".to_owned(),
                "networks" => "a network".to_owned(),
                _ => format!("`{}`", place.key),
            }
        }
        Some(_) => format!("`{}`", place.key),
    }
}

/// The keys of a short table, or the first of a long one.
pub(super) fn some_of(keys: &[Key]) -> String {
    const SHOWN: usize = 8;
    let names = keys
        .iter()
        .filter(|key| !matches!(key.support, Support::Refused(..) | Support::Unread(..)));
    let mut names: Vec<&str> = names.map(|key| key.name).collect();
    let more = names.len() > SHOWN;
    names.truncate(SHOWN);
    let list = names.join(", ");
    if more { format!("{list}, …") } else { list }
}

/// Whether a table is the one of a mapping with these keys.
pub(super) fn table_has(shape: &Shape, name: &str) -> bool {
    matches!(shape, Shape::Keys(keys) if keys.iter().any(|key| key.name == name))
}
