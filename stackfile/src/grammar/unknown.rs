//! What to say about a key that is not in the table.

use super::{Key, Place, Shape, keys, nearest};
use crate::{
    diagnostic::Report,
    tree::{Entry, Value},
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
    ("volume", "volumes"),
];

/// Keys of a service that people look for one level too high, and where they are.
const DEEPER: &[(&str, &str)] = &[
    ("replicas", "deploy.replicas"),
    ("resources", "deploy.resources"),
    ("placement", "deploy.placement"),
    ("constraints", "deploy.placement.constraints"),
    ("limits", "deploy.resources.limits"),
    ("reservations", "deploy.resources.reservations"),
    ("interval", "healthcheck.interval"),
    ("timeout", "healthcheck.timeout"),
    ("retries", "healthcheck.retries"),
    ("start_period", "healthcheck.start_period"),
    ("test", "healthcheck.test"),
    ("condition", "depends_on.NAME.condition"),
    ("singleton", "x-siso.singleton"),
    ("priority", "x-siso.priority"),
];

/// Reports an unknown key with the best guess at what was meant.
pub(super) fn report(entry: &Entry, keys: &[Key], place: &Place<'_>, report: &mut Report) {
    let owner = owner(place);
    let name = &entry.key;
    report
        .error(entry.key_at, format!("`{name}` is not a key of {owner}"))
        .path(place.key(name, entry.key_at).to_string())
        .hint(hint(entry, keys, place));
}

fn hint(entry: &Entry, keys: &[Key], place: &Place<'_>) -> String {
    let name = entry.key.as_str();
    let known = |name: &str| keys.iter().any(|key| key.name == name);
    let listed = |table: &[(&'static str, &'static str)]| {
        table.iter().find(|(word, _)| *word == name).map(|(_, meant)| *meant)
    };
    if let Some(meant) = listed(SYNONYMS).filter(|meant| known(meant)) {
        return format!("did you mean `{meant}`?");
    }
    if let Some(near) = nearest(name, keys.iter().map(|key| key.name)) {
        return format!("did you mean `{near}`?");
    }
    let in_service = known("image");
    let in_stack = known("services");
    if in_service {
        if let Some(path) = listed(DEEPER) {
            return format!("it belongs one level deeper: `{path}`");
        }
        if let Value::Map(map) = &entry.value.value {
            if map.get("image").is_some() {
                return format!("if `{name}` is a service, indent it like `{}`", place.key);
            }
        }
        if keys::is_stack_key(name) {
            return format!("`{name}` stands at the left margin, not in a service");
        }
    }
    if !in_service && keys::is_service_key(name) {
        return if in_stack {
            format!("`{name}` belongs to a service: put it below `services:` and a name")
        } else {
            format!("`{name}` is a key of a service: indent it two columns less")
        };
    }
    if in_stack && matches!(&entry.value.value, Value::Map(map) if map.get("image").is_some()) {
        return format!("if `{name}` is a service, put it below `services:`");
    }
    format!("known here: {}; keys of your own begin with `x-`", some_of(keys))
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
    let names = keys.iter().filter(|key| !matches!(key.support, super::Support::Refused(..)));
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
