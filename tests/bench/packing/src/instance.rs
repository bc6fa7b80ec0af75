//! Reads the bundles of instances.

use std::{collections::BTreeMap, fs, path::Path};

use packing::{Bin, BinSet, Group, Item, Problem, Spread, UNLIMITED};
use serde_json::{Map, Value};

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
    let name = |node: &Value| node["name"].as_str().expect("a name").to_owned();
    let names: Vec<String> = nodes.iter().map(name).collect();
    let index: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    let bins = nodes.iter().map(|n| Bin { capacity: amounts(n, UNLIMITED), ..Bin::default() });
    let mut problem = Problem { resources: 3, bins: bins.collect(), ..Problem::default() };
    let mut services = Vec::new();
    for item in raw["items"].as_array().expect("items") {
        let allowed = add_group(&mut problem, nodes, item);
        let ports = item["host_ports"].as_array().into_iter().flatten();
        let keys: Vec<u32> = ports.map(|port| port.as_u64().expect("a port") as u32).collect();
        for replica in 0..item["replicas"].as_u64().unwrap_or(1) {
            let at = item["current"][replica as usize].as_str();
            let current = at.and_then(|name| index.get(name)).copied();
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
            services.push(name(item));
        }
    }
    problem.well_formed().expect("the instance fits together");
    Cluster { name: name(raw), problem, services, nodes: names, raw: raw.clone() }
}

/// Adds the group of a service; answers the set of nodes it may be on.
fn add_group(problem: &mut Problem, nodes: &[Value], item: &Value) -> usize {
    let nothing = Map::new();
    let require = item["require"].as_object().unwrap_or(&nothing);
    let pinned = item["node"].as_str();
    let may = |node: &Value| {
        require.iter().all(|(key, value)| &node["labels"][key] == value)
            && pinned.is_none_or(|name| node["name"] == name)
    };
    let mut set: BinSet = (0..nodes.len()).filter(|index| may(&nodes[*index])).collect();
    let mut group = Group {
        apart: item["replicas"].as_u64().unwrap_or(1) > 1,
        most_per_bin: item["max_per_node"].as_u64().map(|most| most as u32),
        ..Group::default()
    };
    if let Some(spread) = item["spread"].as_object() {
        let key = spread["key"].as_str().expect("a key");
        let mut parts: BTreeMap<&str, usize> = BTreeMap::new();
        let part = |(index, node): (usize, &Value)| {
            let value = node["labels"][key].as_str().filter(|_| set.contains(index));
            value.map(str::to_owned)
        };
        let values: Vec<Option<String>> = nodes.iter().enumerate().map(part).collect();
        let mut partition = Vec::new();
        for value in &values {
            let next = parts.len();
            partition.push(value.as_deref().map(|value| *parts.entry(value).or_insert(next)));
        }
        set = set.iter().filter(|index| partition[*index].is_some()).collect();
        let skew = spread.get("max_skew").and_then(Value::as_u64).unwrap_or(1) as u32;
        group.spread = Some(Spread { partition: known(&mut problem.partitions, partition), skew });
    }
    problem.groups.push(group);
    known(&mut problem.sets, set)
}

/// Where it stands in the list; at the end if it did not.
fn known<T: PartialEq>(list: &mut Vec<T>, one: T) -> usize {
    list.iter().position(|other| *other == one).unwrap_or_else(|| {
        list.push(one);
        list.len() - 1
    })
}
