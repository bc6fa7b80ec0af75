//! `NODES.yaml`: imagined machines for planning without a cluster.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Bytes, Generic, GenericName, ImaginedNode, MilliCpu, NodeName, Resources, node::check_label,
};

use crate::{
    NodesFile, SourceFile,
    diagnostic::Report,
    grammar::{NODES_FILE, Walk},
    source::Texts,
    tree::{Entry, Map, Node, Value},
    values::{cpus, size},
    yaml,
};

/// The most machines a plan is made for.
const MAX_NODES: usize = 10_000;
/// Cores of a machine that does not say: those of a Mac Mini.
const USUAL_CORES: u64 = 8;

/// Reads the file; what is wrong is reported.
pub(crate) fn read(file: &SourceFile, texts: &mut Texts, report: &mut Report) -> NodesFile {
    let mut found = NodesFile::default();
    let Some(number) = yaml::intern(file, texts, report) else { return found };
    let documents = yaml::documents(number, texts, report);
    let nodes = &mut found.nodes;
    let mut places = Vec::new();
    for document in documents {
        if document.as_map().is_none() {
            report
                .error(
                    document.at,
                    format!("a file of nodes is a mapping, this is {}", document.kind()),
                )
                .hint(EXAMPLE);
            continue;
        }
        let mut walk = Walk::new(texts, report);
        let document = walk.document(document, &NODES_FILE);
        for node in document.as_map().map(|map| map.list("nodes")).unwrap_or_default() {
            if let Value::Map(map) = &node.value {
                machines(map, node, nodes, report);
            }
        }
        let entries = document.as_map().map(|map| map.entries("current")).unwrap_or_default();
        places.extend_from_slice(entries);
    }
    if nodes.is_empty() && !report.has_errors() {
        report.error(None, format!("{} names no nodes", file.name)).hint(EXAMPLE);
    }
    let mut names = BTreeSet::new();
    for node in &*nodes {
        if !names.insert(&node.name) {
            report.error(None, format!("two nodes are called `{}`", node.name));
        }
    }
    for entry in &places {
        let replicas = entry.value.as_list().unwrap_or_default();
        let place = |replica: &Node| match (replica.as_text(), &replica.value) {
            (None, Value::Null) => Some(None),
            (text, _) => names
                .iter()
                .find(|name| Some(name.as_str()) == text)
                .map(|name| Some((*name).clone())),
        };
        let mut at = Vec::new();
        for replica in replicas {
            match place(replica) {
                Some(node) => at.push(node),
                None if replica.value == Value::Broken => {}
                None => {
                    let name = replica.as_text().unwrap_or_default();
                    report.error(replica.at, format!("`{name}` is none of the nodes of this file"));
                }
            }
        }
        found.current.insert(entry.key.clone(), at);
    }
    found
}

const EXAMPLE: &str = "write `nodes: [{name: mini-1, memory: 14GiB, cpus: 8}]`";

fn machines(map: &Map, node: &Node, nodes: &mut Vec<ImaginedNode>, report: &mut Report) {
    let at = map.entries.first().map_or(node.at, |entry| entry.key_at);
    for key in ["name", "memory"] {
        if map.get(key).is_none() {
            report.error(at, format!("a node needs a `{key}`")).hint(EXAMPLE);
        }
    }
    let (Some(name), Some(memory)) = (map.text("name"), map.text("memory")) else { return };
    let (Some(name_node), Ok(memory)) = (map.get("name"), memory.parse().map(Bytes)) else {
        return;
    };
    let names: Vec<String> = match map.int("count") {
        None | Some(1) => vec![name.to_owned()],
        Some(count) => (1..=count).map(|number| format!("{name}-{number}")).collect(),
    };
    if nodes.len() + names.len() > MAX_NODES {
        report.error(at, format!("a plan is made for at most {MAX_NODES} nodes"));
        return;
    }
    let cpus = map.text("cpus").and_then(|text| cpus(text).ok());
    let labels = map.entries("labels").iter();
    let labels: BTreeMap<String, String> = labels
        .filter_map(|entry| Some((entry.key.clone(), entry.value.as_text()?.to_owned())))
        .collect();
    let generic = amounts(map.entries("generic"), report);
    for name in names {
        match NodeName::new(&name) {
            Ok(name) => nodes.push(ImaginedNode {
                name,
                memory,
                cpus: cpus.unwrap_or(MilliCpu::cores(USUAL_CORES)),
                labels: labels.clone(),
                arch: map.text("arch").map(str::to_owned),
                generic: generic.clone(),
            }),
            Err(error) => {
                report.error(name_node.at, error.to_string());
                return;
            }
        }
    }
}

/// Amounts of generic resources by kind.
fn amounts(entries: &[Entry], report: &mut Report) -> Generic {
    let mut found = BTreeMap::new();
    for entry in entries {
        let Some(amount) = entry.value.as_int().and_then(|amount| u64::try_from(amount).ok())
        else {
            continue;
        };
        match GenericName::new(&entry.key) {
            Ok(kind) => drop(found.insert(kind, amount)),
            Err(error) => drop(report.error(entry.key_at, error.to_string())),
        }
    }
    Generic::new(found).unwrap_or_else(|error| {
        report.error(entries.first().map(|entry| entry.key_at), error.to_string());
        Generic::NONE
    })
}

/// One machine in a word:
/// `NAME=SIZE[,cpus=N][,label=NAME=VALUE][,arch=ARCH][,generic=NAME=AMOUNT]`.
pub(crate) fn one(text: &str) -> Result<ImaginedNode, String> {
    const FORM: &str = "write \
        NAME=SIZE[,cpus=N][,label=NAME=VALUE][,arch=ARCH][,generic=NAME=AMOUNT]";
    let mut parts = text.split(',');
    let head = parts.next().and_then(|head| head.split_once('='));
    let (name, memory) = head.ok_or_else(|| FORM.to_owned())?;
    let name = NodeName::new(name).map_err(|error| error.to_string())?;
    let memory = size(memory)?;
    let mut node = ImaginedNode {
        name,
        memory,
        cpus: MilliCpu::cores(USUAL_CORES),
        labels: BTreeMap::new(),
        arch: None,
        generic: Generic::NONE,
    };
    let mut generic = BTreeMap::new();
    for part in parts {
        match part.split_once('=') {
            Some(("cpus", value)) => node.cpus = cpus(value)?,
            Some(("arch", value)) => node.arch = Some(value.to_owned()),
            Some(("label", value)) => {
                let (name, value) = value.split_once('=').ok_or_else(|| FORM.to_owned())?;
                check_label(name, value).map_err(|error| error.to_string())?;
                node.labels.insert(name.to_owned(), value.to_owned());
            }
            Some(("generic", value)) => {
                let (kind, value) = value.split_once('=').ok_or_else(|| FORM.to_owned())?;
                let kind = GenericName::new(kind).map_err(|error| error.to_string())?;
                generic.insert(kind, size(value)?.0);
            }
            _ => return Err(format!("`{part}` is not understood: {FORM}")),
        }
    }
    node.generic = Generic::new(generic).map_err(|error| error.to_string())?;
    Ok(node)
}

/// An amount in a word: `SIZE[,cpus=N]`.
pub(crate) fn room(text: &str) -> Result<Resources, String> {
    const FORM: &str = "write SIZE[,cpus=N], like 4GiB or 4GiB,cpus=2";
    let (memory, cpu) = match text.split_once(',') {
        None => (text, MilliCpu::ZERO),
        Some((memory, rest)) => match rest.split_once('=') {
            Some(("cpus", value)) => (memory, cpus(value)?),
            _ => return Err(format!("`{rest}` is not understood: {FORM}")),
        },
    };
    let memory = size(memory).map_err(|why| format!("{why}: {FORM}"))?;
    if memory == Bytes::ZERO {
        return Err(format!("room for nothing is everywhere: {FORM}"));
    }
    Ok(Resources { memory, cpu })
}

#[cfg(test)]
mod tests {
    use model::{Bytes, MilliCpu, NodeName};

    use crate::{SourceFile, node, nodes};

    #[test]
    fn a_count_makes_numbered_machines() {
        let text = "nodes:\n  - {name: mini, count: 2, memory: 14GiB, cpus: 8, labels: {role: db}}\n  - {name: one, count: 1, memory: 1g, arch: arm64}\n";
        let found = nodes(&SourceFile::new("n", text)).unwrap().nodes;
        let names: Vec<&str> = found.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["mini-1", "mini-2", "one"]);
        assert_eq!((found[0].memory, found[0].cpus), (Bytes::gib(14), MilliCpu::cores(8)));
        assert_eq!(found[1].labels["role"], "db");
        assert_eq!(found[2].arch.as_deref(), Some("arm64"));
        let text = "nodes: [{name: a, count: 2, memory: 1g, generic: {gpu: 2, disk: 200GiB}}]";
        let found = nodes(&SourceFile::new("n", text)).unwrap().nodes;
        assert_eq!(found[1].generic.to_string(), "200.0 GiB disk and 2 gpu");
    }

    #[test]
    fn where_replicas_run_is_told_by_service() {
        let text = "nodes: [{name: a, memory: 1g}, {name: b, memory: 1g}]\ncurrent:\n  web: [a, null, b]\n  shop/db: b\n";
        let current = nodes(&SourceFile::new("n", text)).unwrap().current;
        let names = |service: &str| {
            let names = current[service].iter().map(|node| node.as_ref().map(NodeName::as_str));
            names.collect::<Vec<_>>()
        };
        assert_eq!(names("web"), [Some("a"), None, Some("b")]);
        assert_eq!(names("shop/db"), [Some("b")]);
    }

    #[test]
    fn a_machine_is_named_in_a_word() {
        let found = node("mini-4=14GiB,label=role=database,cpus=4,arch=arm64").unwrap();
        assert_eq!((found.name.as_str(), found.memory), ("mini-4", Bytes::gib(14)));
        assert_eq!((found.cpus, found.labels["role"].as_str()), (MilliCpu::cores(4), "database"));
        assert_eq!(found.arch.as_deref(), Some("arm64"));
        let found = node("a=1g,generic=gpu=2,generic=disk=200GiB").unwrap();
        assert_eq!(found.generic.to_string(), "200.0 GiB disk and 2 gpu");
        assert_eq!(node("a=1g").unwrap().cpus, MilliCpu::cores(8));
        for (wrong, said) in [
            ("mini-4", "write NAME=SIZE"),
            ("mini-4=lots", "a size begins with a number"),
            ("Mini_4=1g", "is not a node name"),
            ("a=1g,role=database", "`role=database` is not understood"),
            ("a=1g,label=role", "write NAME=SIZE"),
            ("a=1g,cpus=many", "write it in cores"),
            ("a=1g,generic=gpu", "write NAME=SIZE"),
            ("a=1g,generic=gpu=0", "0 is no amount of gpu"),
            ("a=1g,generic=gpu=some", "a size begins with a number"),
        ] {
            let error = node(wrong).unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_line() {
        #[track_caller]
        fn check(text: &str, said: &str) {
            let errors = nodes(&SourceFile::new("nodes.yaml", text)).unwrap_err().to_string();
            assert!(errors.contains(said), "{errors}");
        }
        check("", "names no nodes");
        check("nodes: []", "names no nodes");
        check("- a", "a file of nodes is a mapping");
        check("nodes: [{name: a}]", "a node needs a `memory`");
        check("nodes: [{name: a, memory: lots}]", "`lots` is not a size");
        check("nodes: [{name: A_b, memory: 1g}]", "is not a node name");
        check("nodes: [{name: a, memory: 1g, memroy: 2g}]", "did you mean `memory`?");
        check("nodes: [{name: a, memory: 1g}, {name: a, memory: 1g}]", "two nodes are called `a`");
        check("nodes: [{name: a, memory: 1g}]\ncurrent: {web: b}", "`b` is none of the nodes");
        check("nodes: [{name: a, memory: 1g, generic: {gpu: many}}]", "`many` is not an amount");
        check("nodes: [{name: a, memory: 1g, generic: {gpu: 0}}]", "0 is no amount of gpu");
        check("nodes: [{name: a, memory: 1g, generic: {a b: 1}}]", "is not a resource name");
        check("nodes: [{name: a, memory: 1g, count: 9999}]", "`count` is at most 1000");
    }
}
