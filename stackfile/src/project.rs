//! From files to one tree: the project every later layer works on.

mod check;
mod environment;
mod name;
mod paths;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use name::ProjectName;

use crate::{
    Request,
    diagnostic::Report,
    dotenv,
    grammar::{Held, STACK, Walk},
    interpolate::{Budget, Interpolator, Variables},
    merge,
    source::{Span, Texts},
    tree::{Map, Node, Value},
    yaml,
};

/// A stack after merging, before anything a cluster thinks of it.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) name: ProjectName,
    pub(crate) tree: Map,
    /// Keys a cluster refuses or weakens.
    pub(crate) held: Vec<Held>,
    /// What is wrong for a cluster only.
    pub(crate) deferred: Report,
}

/// Reads all files of a request. `None` when there is nothing to go on with, which is reported.
pub(crate) fn read(
    request: &Request<'_>,
    texts: &mut Texts,
    report: &mut Report,
) -> Option<Project> {
    let documents = documents(request, texts, report)?;
    let mut budget = Budget::new();
    let variables = variables(request, texts, &mut budget, report);
    let name = name::choose(request, &variables, &documents);
    name.check(request, report);
    let variables = variables.with("COMPOSE_PROJECT_NAME", &name.text);
    let (mut tree, mut held, deferred) =
        one_tree(documents, &variables, texts, &mut budget, report);
    merge::strip_reset(&mut tree);
    let inactive = leave_out_inactive(&mut tree, &profiles(request, &variables));
    held.retain(|held| !held.is_below_one_of(&inactive));
    environment::resolve(&mut tree, &variables, request.sources, texts, (&mut budget, report));
    paths::resolve(&mut tree, request.project_directory, &variables, &mut held);
    fill_in(&mut tree, &name.text);
    check::references(&tree, &inactive, report);
    Some(Project { name, tree, held, deferred })
}

fn documents(request: &Request<'_>, texts: &mut Texts, report: &mut Report) -> Option<Vec<Map>> {
    if request.files.is_empty() {
        report.error(None, "no stack file is given");
        return None;
    }
    let mut found = Vec::new();
    for file in request.files {
        let before = report.count();
        let Some(number) = yaml::intern(file, texts, report) else { continue };
        let documents = yaml::documents(number, texts, report);
        if documents.is_empty() && report.count() == before {
            report
                .error(None, format!("{} is empty", file.name))
                .hint("a stack file has at least `services:` with one service and its `image:`");
        }
        for document in documents {
            if let Value::Map(map) = document.value {
                found.push(map);
            } else {
                let what = format!("a stack file is a mapping, this is {}", document.kind());
                report.error(document.at, what).hint("begin with `services:` at the left margin");
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

fn variables<'a>(
    request: &Request<'a>,
    texts: &mut Texts,
    budget: &mut Budget,
    report: &mut Report,
) -> Variables<'a> {
    let mut variables = Variables { process: request.environment, dotenv: BTreeMap::new() };
    for file in request.dotenv {
        let Some(number) = yaml::intern(file, texts, report) else { continue };
        let outer = |name: &str| variables.get(name);
        let lines = dotenv::parse(number, texts, &outer, budget, report);
        for (name, value) in lines {
            if let Some(value) = value {
                variables.dotenv.insert(name, value);
            }
        }
    }
    variables
}

/// Variables, grammar and merging, document by document.
fn one_tree(
    documents: Vec<Map>,
    variables: &Variables<'_>,
    texts: &Texts,
    budget: &mut Budget,
    report: &mut Report,
) -> (Map, Vec<Held>, Report) {
    let mut interpolator = Interpolator::new(variables, texts, budget);
    let mut tree = Map::default();
    let (mut held, mut deferred) = (Vec::new(), Report::default());
    for document in documents {
        let mut node = Node::new(Value::Map(document), Span::default());
        interpolator.walk(&mut node, report);
        let mut walk = Walk::new(texts, report);
        let node = walk.document(node, &STACK);
        held.append(&mut walk.held);
        deferred.append(walk.deferred);
        if let Value::Map(map) = node.value {
            merge::merge(&mut tree, map);
        }
    }
    (tree, held, deferred)
}

fn profiles(request: &Request<'_>, variables: &Variables<'_>) -> Vec<String> {
    if request.profiles.is_empty() {
        let listed = variables.get("COMPOSE_PROFILES").unwrap_or_default();
        return listed.split(',').map(|name| name.trim().to_owned()).collect();
    }
    request.profiles.to_vec()
}

/// Removes the services of profiles that are not active, and answers which they were.
fn leave_out_inactive(tree: &mut Map, active: &[String]) -> BTreeSet<String> {
    let Some(Value::Map(services)) = tree.get_mut("services").map(|node| &mut node.value) else {
        return BTreeSet::new();
    };
    let is_active = |node: &Node| {
        let profiles = node.as_map().map(|service| service.list("profiles")).unwrap_or_default();
        profiles.is_empty()
            || active.iter().any(|name| name == "*")
            || profiles.iter().any(|item| active.iter().any(|name| item.as_text() == Some(name)))
    };
    let (kept, left_out): (Vec<_>, Vec<_>) =
        std::mem::take(&mut services.entries).into_iter().partition(|e| is_active(&e.value));
    services.entries = kept;
    left_out.into_iter().map(|entry| entry.key).collect()
}

/// Writes out what the format leaves unsaid: the default network and the names of resources.
fn fill_in(tree: &mut Map, project: &str) {
    let at = tree.get("name").map_or(Span::default(), |node| node.at);
    tree.set("name", at, Node::text(project, at));
    let mut uses_default = false;
    if let Some(Value::Map(services)) = tree.get_mut("services").map(|node| &mut node.value) {
        for entry in &mut services.entries {
            let at = entry.key_at;
            let Value::Map(service) = &mut entry.value.value else { continue };
            let none = service.map("networks").is_none_or(|map| map.entries.is_empty());
            if none && service.get("network_mode").is_none() {
                let mut networks = Map::default();
                networks.push("default", at, Node::new(Value::Null, at));
                service.set("networks", at, Node::new(Value::Map(networks), at));
            }
            uses_default |= service.map("networks").is_some_and(|map| map.get("default").is_some());
        }
    }
    if uses_default {
        let at = Span::default();
        if tree.map("networks").is_none() {
            tree.set("networks", at, Node::new(Value::Map(Map::default()), at));
        }
        if let Some(Value::Map(networks)) = tree.get_mut("networks").map(|node| &mut node.value)
            && networks.get("default").is_none()
        {
            networks.push("default", at, Node::new(Value::Map(Map::default()), at));
        }
    }
    for kind in ["volumes", "networks"] {
        if let Some(Value::Map(resources)) = tree.get_mut(kind).map(|node| &mut node.value) {
            for entry in &mut resources.entries {
                name_resource(&entry.key, entry.key_at, &mut entry.value, project);
            }
        }
    }
}

/// Gives a volume or network the name the engine knows it by.
fn name_resource(key: &str, at: Span, node: &mut Node, project: &str) {
    if node.value == Value::Null {
        node.value = Value::Map(Map::default());
    }
    let Value::Map(map) = &mut node.value else { return };
    let legacy = map.map("external").and_then(|external| external.text("name")).map(str::to_owned);
    let external = legacy.is_some() || map.bool("external") == Some(true);
    if let Some(name) = legacy {
        map.set("external", at, Node::new(Value::Bool(true), at));
        map.set("name", at, Node::text(name, at));
    }
    if map.get("name").is_none() {
        let name = if external { key.to_owned() } else { format!("{project}_{key}") };
        map.push("name", at, Node::text(name, at));
    }
}

impl Held {
    /// Whether the key belongs to one of these services. A service's name may hold dots.
    fn is_below_one_of(&self, services: &BTreeSet<String>) -> bool {
        let Some(rest) = self.path.strip_prefix("services.") else { return false };
        rest.match_indices('.').any(|(dot, _)| services.contains(&rest[..dot]))
    }
}
