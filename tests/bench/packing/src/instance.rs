//! Reads the bundles.

use std::{collections::BTreeMap, fs, path::Path};

use packing::{Bin, BinSet, Group, Item, Problem, Spread, UNLIMITED};
use serde_json::Value;

const RESOURCES: [&str; 3] = ["memory", "cpu_milli", "disk"];

/// A cluster of a bundle.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) problem: Problem,
    /// Of each item, the name of its service.
    pub(crate) services: Vec<String>,
    pub(crate) nodes: Vec<String>,
    pub(crate) raw: Value,
}

pub(crate) fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

pub(crate) fn clusters(path: &Path) -> Vec<Cluster> {
    let bundle = read(path);
    bundle["clusters"].as_array().expect("clusters").iter().map(cluster).collect()
}

fn amounts(value: &Value, missing: u64) -> Vec<u64> {
    RESOURCES.iter().map(|name| value[*name].as_u64().unwrap_or(missing)).collect()
}

fn cluster(raw: &Value) -> Cluster {
    let nodes = raw["nodes"].as_array().expect("nodes");
    let names: Vec<String> = nodes.iter().map(|n| n["name"].as_str().unwrap().to_owned()).collect();
    let index: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    let bins = nodes.iter().map(|n| Bin { capacity: amounts(n, UNLIMITED), ..Bin::default() });
    let mut problem = Problem { resources: 3, bins: bins.collect(), ..Problem::default() };
    let mut services = Vec::new();
    for item in raw["items"].as_array().expect("items") {
        let empty = serde_json::Map::new();
        let require = item["require"].as_object().unwrap_or(&empty);
        let pinned = item["node"].as_str();
        let set: BinSet = nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| require.iter().all(|(key, value)| &n["labels"][key] == value))
            .filter(|(_, n)| pinned.is_none_or(|name| n["name"] == name))
            .map(|(i, _)| i)
            .collect();
        let mut group =
            Group { apart: item["replicas"].as_u64().unwrap_or(1) > 1, ..Group::default() };
        group.most_per_bin = item["max_per_node"].as_u64().map(|m| m as u32);
        let mut set = set;
        if let Some(spread) = item["spread"].as_object() {
            let key = spread["key"].as_str().unwrap();
            let mut parts: BTreeMap<&str, usize> = BTreeMap::new();
            let partition: Vec<Option<usize>> = nodes
                .iter()
                .enumerate()
                .map(|(i, n)| {
                    let zone = n["labels"][key].as_str().filter(|_| set.contains(i))?;
                    let next = parts.len();
                    Some(*parts.entry(zone).or_insert(next))
                })
                .collect();
            set = set.iter().filter(|i| partition[*i].is_some()).collect();
            let skew = spread.get("max_skew").and_then(Value::as_u64).unwrap_or(1) as u32;
            let known = problem.partitions.iter().position(|p| *p == partition);
            let partition = known.unwrap_or_else(|| {
                problem.partitions.push(partition);
                problem.partitions.len() - 1
            });
            group.spread = Some(Spread { partition, skew });
        }
        let known = problem.sets.iter().position(|s| *s == set);
        let allowed = known.unwrap_or_else(|| {
            problem.sets.push(set);
            problem.sets.len() - 1
        });
        problem.groups.push(group);
        let keys = item["host_ports"]
            .as_array()
            .map(|p| p.iter().map(|p| p.as_u64().unwrap() as u32).collect());
        let keys: Vec<u32> = keys.unwrap_or_default();
        for replica in 0..item["replicas"].as_u64().unwrap_or(1) {
            let current =
                item["current"][replica as usize].as_str().and_then(|n| index.get(n)).copied();
            problem.items.push(Item {
                demand: amounts(item, 0),
                allowed,
                groups: vec![problem.groups.len() - 1],
                keys: keys.clone(),
                priority: item["priority"].as_u64().unwrap_or(0) as u32,
                current,
                pinned: current.is_some() && item["movable"] == false,
                twice: true,
            });
            services.push(item["name"].as_str().unwrap().to_owned());
        }
    }
    problem.well_formed().unwrap();
    Cluster {
        name: raw["name"].as_str().unwrap().to_owned(),
        problem,
        services,
        nodes: names,
        raw: raw.clone(),
    }
}
