//! `env_file` and variables passed on: what each service's environment is in the end.

use std::collections::BTreeMap;

use crate::{
    ReadError, SourceFile, Sources,
    diagnostic::Report,
    dotenv,
    interpolate::{Budget, TOO_MUCH, Variables},
    source::Texts,
    tree::{Entry, Map, Node, Value},
    yaml,
};

/// How much text is read from `env_file`s, a file counted for every service that names it.
const MAX_ENV_FILES_BYTES: usize = 8 << 20;

/// Reads the `env_file`s of every service into its `environment`, and removes the key.
pub(super) fn resolve(
    tree: &mut Map,
    variables: &Variables<'_>,
    sources: &dyn Sources,
    texts: &mut Texts,
    (budget, report): (&mut Budget, &mut Report),
) {
    let mut files = Files { sources, known: BTreeMap::new(), budget: MAX_ENV_FILES_BYTES };
    let Some(Value::Map(services)) = tree.get_mut("services").map(|node| &mut node.value) else {
        return;
    };
    for entry in &mut services.entries {
        let Value::Map(service) = &mut entry.value.value else { continue };
        let named = service.remove("env_file");
        let named = named.as_ref().and_then(Node::as_list).unwrap_or_default();
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for file in named {
            let Some(file) = file.as_map() else { continue };
            let Some(path) = file.get("path") else { continue };
            let Some(number) = files.open(file, path, texts, report) else { continue };
            let outer =
                |name: &str| variables.get(name).or_else(|| known.get(name).map(String::as_str));
            let lines = if file.text("format") == Some("raw") {
                dotenv::parse_raw(number, texts)
            } else {
                dotenv::parse(number, texts, &outer, budget, report)
            };
            for (name, value) in lines {
                let Some(value) = value else {
                    if let Some(value) = variables.get(&name).filter(|_| !budget.is_over()) {
                        if budget.spend(value) {
                            known.insert(name, value.to_owned());
                        } else {
                            report.error(path.at, TOO_MUCH);
                        }
                    }
                    continue;
                };
                known.insert(name, value);
            }
        }
        let at = entry.key_at;
        let from_files = known.into_iter().map(|(key, value)| {
            (key.clone(), Entry { key, key_at: at, value: Node::text(value, at) })
        });
        let mut environment: BTreeMap<String, Entry> = from_files.collect();
        own(service.remove("environment"), &mut environment, variables, (budget, report));
        if !environment.is_empty() {
            let map = Map { entries: environment.into_values().collect() };
            service.push("environment", at, Node::new(Value::Map(map), at));
        }
    }
}

/// Puts the service's own variables over those of its files; a bare name takes the value of the
/// person's environment.
fn own(
    given: Option<Node>,
    environment: &mut BTreeMap<String, Entry>,
    variables: &Variables<'_>,
    (budget, report): (&mut Budget, &mut Report),
) {
    let Some(Node { value: Value::Map(given), .. }) = given else { return };
    for mut entry in given.entries {
        if entry.value.value == Value::Null
            && let Some(value) = variables.get(&entry.key)
        {
            let was_over = budget.is_over();
            if budget.spend(value) {
                entry.value.value = Value::Text(value.to_owned());
            } else if !was_over {
                report.error(entry.value.at, TOO_MUCH);
            }
        }
        environment.insert(entry.key.clone(), entry);
    }
}

/// Files that were read, by path, so that a file of many services is read once.
struct Files<'a> {
    sources: &'a dyn Sources,
    known: BTreeMap<String, Option<u16>>,
    budget: usize,
}

impl Files<'_> {
    fn open(
        &mut self,
        file: &Map,
        path: &Node,
        texts: &mut Texts,
        report: &mut Report,
    ) -> Option<u16> {
        let at = path.at;
        let path = path.as_text()?;
        if let Some(number) = self.known.get(path).copied() {
            let number = number?;
            if self.spend(texts.text(number).len()) {
                return Some(number);
            }
            report.error(at, format!("the env file {path} {ONE_TOO_MANY}"));
            return None;
        }
        let number = match self.bytes(path, file.bool("required") == Some(false)) {
            Ok(bytes) => {
                bytes.and_then(|bytes| yaml::intern(&SourceFile::new(path, bytes), texts, report))
            }
            Err(Unread { what, hint }) => {
                let finding = report.error(at, format!("the env file {path} {what}"));
                if let Some(hint) = hint {
                    finding.hint(hint);
                }
                None
            }
        };
        self.known.insert(path.to_owned(), number);
        number
    }

    /// The content of a file; nothing when it is missing and may be.
    fn bytes(&mut self, path: &str, optional: bool) -> Result<Option<Vec<u8>>, Unread> {
        let unread = |what: &str| Unread { what: what.to_owned(), hint: None };
        let bytes = match self.sources.read(path) {
            Ok(bytes) => bytes,
            Err(ReadError::NotFound) if optional => return Ok(None),
            Err(ReadError::NotFound) => {
                return Err(Unread { hint: Some(MISSING), ..unread("was not found") });
            }
            Err(ReadError::TooLarge) => return Err(unread("is larger than 1 MiB")),
            Err(ReadError::Other(why)) => {
                return Err(unread(&format!("could not be read: {why}")));
            }
        };
        if self.spend(bytes.len()) { Ok(Some(bytes)) } else { Err(unread(ONE_TOO_MANY)) }
    }

    /// Counts text against the budget; false when it is spent.
    fn spend(&mut self, bytes: usize) -> bool {
        let rest = self.budget.checked_sub(bytes);
        self.budget = rest.unwrap_or(0);
        rest.is_some()
    }
}

/// Why an env file could not be used.
struct Unread {
    what: String,
    hint: Option<&'static str>,
}

const ONE_TOO_MANY: &str = "is one too many: all of them together hold more than 8 MiB";
const MISSING: &str = "paths are relative to the project directory; for a file that may be missing \
                       write `- path: …` with `required: false`";
