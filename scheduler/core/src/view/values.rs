//! From what to what the fields of a service change. What may be secret is withheld: a plan is
//! printed where others read it.

mod masked;
mod text;

use std::collections::BTreeMap;

use model::{ServiceSpec, view::FieldChange};

/// Characters of a value that are shown; where values differ counts, not how they begin.
const MAX_SHOWN: usize = 60;
/// Characters shown before the first difference.
const BEFORE: usize = 12;

/// How these fields, named by their Compose path, change.
pub(super) fn values(fields: &[&str], old: &ServiceSpec, new: &ServiceSpec) -> Vec<FieldChange> {
    let changes = fields.iter().flat_map(|field| match *field {
        // A value may be a password; so may a label or an option of a log driver be.
        "environment" => names(field, &old.environment, &new.environment),
        "labels" => names(field, &old.labels, &new.labels),
        "deploy.labels" => names(field, &old.service_labels, &new.service_labels),
        "logging" => logging(old, new),
        field => vec![change(field, text::of(field, old), text::of(field, new))],
    });
    changes.collect()
}

fn logging(old: &ServiceSpec, new: &ServiceSpec) -> Vec<FieldChange> {
    let parts = |spec: &ServiceSpec| {
        let logging = spec.logging.clone();
        logging.map_or((None, BTreeMap::new()), |held| (Some(held.driver), held.options))
    };
    let ((driver, options), (next_driver, next_options)) = (parts(old), parts(new));
    let mut changes = names("logging.options", &options, &next_options);
    if driver != next_driver {
        changes.insert(0, change("logging.driver", driver, next_driver));
    }
    changes
}

/// Names whose values differ; the values are withheld.
fn names(
    field: &str,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<FieldChange> {
    let removed = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name, "removed"));
    let others = new.iter().filter_map(|(name, value)| match old.get(name) {
        None => Some((name, "added")),
        Some(before) => (before != value).then_some((name, "changed")),
    });
    let withheld = |(name, what): (&String, &str)| FieldChange {
        field: format!("{field}.{name}"),
        what: what.to_owned(),
        old: None,
        new: None,
    };
    removed.chain(others).map(withheld).collect()
}

fn change(field: &str, old: Option<String>, new: Option<String>) -> FieldChange {
    let what = match (&old, &new) {
        (None, Some(_)) => "added",
        (Some(_), None) => "removed",
        _ => "changed",
    };
    let (old, new) = match (old, new) {
        // They differ in what is withheld.
        (old, new) if old == new => (None, None),
        (Some(old), Some(new)) => {
            let from = first_difference(&old, &new).saturating_sub(BEFORE);
            (Some(shortened(&old, from)), Some(shortened(&new, from)))
        }
        (old, new) => (old.map(|old| shortened(&old, 0)), new.map(|new| shortened(&new, 0))),
    };
    FieldChange { field: field.to_owned(), what: what.to_owned(), old, new }
}

/// How many characters both begin with.
fn first_difference(old: &str, new: &str) -> usize {
    old.chars().zip(new.chars()).take_while(|(old, new)| old == new).count()
}

/// The value, or when it is long the part of it that counts.
fn shortened(value: &str, from: usize) -> String {
    let length = value.chars().count();
    if length <= MAX_SHOWN {
        return value.to_owned();
    }
    let part: String = value.chars().skip(from).take(MAX_SHOWN).collect();
    let before = if from > 0 { "..." } else { "" };
    let after = if from.saturating_add(MAX_SHOWN) < length { "..." } else { "" };
    format!("{before}{part}{after}")
}

#[cfg(test)]
mod tests;
