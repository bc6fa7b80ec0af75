//! `NODES.yaml`: imagined machines for planning without a cluster.

use std::collections::BTreeSet;

use model::{Bytes, MilliCpu, NodeName};

use crate::{
    ImaginedNode, SourceFile,
    diagnostic::Report,
    grammar::{NODES_FILE, Walk},
    source::Texts,
    tree::{Map, Node, Value},
    values::cpus,
    yaml,
};

/// The most machines a plan is made for.
const MAX_NODES: usize = 1_000;
/// Cores of a machine that does not say: those of a Mac Mini.
const USUAL_CORES: u64 = 8;

/// Reads the file; what is wrong is reported.
pub(crate) fn read(file: &SourceFile, texts: &mut Texts, report: &mut Report) -> Vec<ImaginedNode> {
    let Some(number) = yaml::intern(file, texts, report) else { return Vec::new() };
    let documents = yaml::documents(number, texts, report);
    let mut nodes = Vec::new();
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
        let mut walk = Walk { texts, report, held: Vec::new() };
        let document = walk.document(document, &NODES_FILE);
        for node in document.as_map().map(|map| map.list("nodes")).unwrap_or_default() {
            if let Value::Map(map) = &node.value {
                machines(map, node, &mut nodes, report);
            }
        }
    }
    if nodes.is_empty() && !report.has_errors() {
        report.error(None, format!("{} names no nodes", file.name)).hint(EXAMPLE);
    }
    let mut names = BTreeSet::new();
    for node in &nodes {
        if !names.insert(&node.name) {
            report.error(None, format!("two nodes are called `{}`", node.name));
        }
    }
    nodes
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
    let labels: std::collections::BTreeMap<String, String> = labels
        .filter_map(|entry| Some((entry.key.clone(), entry.value.as_text()?.to_owned())))
        .collect();
    for name in names {
        match NodeName::new(&name) {
            Ok(name) => nodes.push(ImaginedNode {
                name,
                memory,
                cpus: cpus.unwrap_or(MilliCpu::cores(USUAL_CORES)),
                labels: labels.clone(),
                arch: map.text("arch").map(str::to_owned),
            }),
            Err(error) => {
                report.error(name_node.at, error.to_string());
                return;
            }
        }
    }
}
