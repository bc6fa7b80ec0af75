//! The merged tree to the model. Shapes have been checked: a value that is missing here was not
//! given, or has been reported. What a cluster cannot do is refused here, and only here.

mod devices;
mod limits;
mod logging;
pub(crate) mod names;
mod network;
mod policy;
mod privileges;
mod process;
mod resources;
mod service;
mod storage;

use std::collections::BTreeMap;

use model::{
    StackSpec, VolumeName,
    name::NetworkName,
    spec::{NetworkSpec, VolumeSpec},
};

use crate::{
    diagnostic::Report,
    project::Project,
    source::Span,
    tree::{Map, Node},
};

/// The stack a project asks for; `None` when it cannot be, which has been reported.
pub(crate) fn stack(mut project: Project, report: &mut Report) -> Option<StackSpec> {
    policy::report(&project.held, report);
    report.append(std::mem::take(&mut project.deferred));
    let name = names::stack(&project.name, report);
    let empty = Map::default();
    let given = project.tree.map("services").unwrap_or(&empty);
    let mut services = BTreeMap::new();
    let mut places = BTreeMap::new();
    for entry in &given.entries {
        let name = names::service(entry, report);
        let Some(map) = entry.value.as_map() else { continue };
        let context = Context { name: &entry.key, at: entry.key_at, map };
        let spec = service::lower(&context, report);
        if let Some(name) = name {
            places.insert(name.clone(), context);
            services.insert(name, spec);
        }
    }
    if given.entries.is_empty() && !report.has_errors() {
        report
            .error(
                project.tree.entry("services").map(|entry| entry.key_at),
                "the stack has no services",
            )
            .hint("put at least one service with an `image:` below `services:`");
    }
    let stack = StackSpec {
        name: name?,
        services,
        volumes: volumes(&project, report),
        networks: networks(&project, report),
    };
    limits::check(&stack, &places, report);
    (!report.has_errors()).then_some(stack)
}

/// A service while it is lowered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) name: &'a str,
    pub(crate) at: Span,
    pub(crate) map: &'a Map,
}

impl<'a> Context<'a> {
    /// The value under a path of keys.
    fn get(&self, path: &[&str]) -> Option<&'a Node> {
        let (last, path) = path.split_last()?;
        path.iter().try_fold(self.map, |map, key| map.map(key))?.get(last)
    }

    /// Where the value under a path of keys stands, the key itself for a list or a mapping; the
    /// service's name when there is none.
    fn place(&self, path: &[&str]) -> Span {
        let entry = path.split_last().and_then(|(last, path)| {
            path.iter().try_fold(self.map, |map, key| map.map(key))?.entry(last)
        });
        entry.map_or(self.at, |entry| entry.value.place(entry.key_at))
    }

    /// A key's full name, for messages.
    fn path(&self, key: &str) -> String {
        format!("services.{}.{key}", self.name)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.map.text(key).map(str::to_owned)
    }

    /// The texts of a list, with where each stands.
    fn texts(&self, key: &str) -> impl Iterator<Item = (&'a str, Span)> {
        self.map.list(key).iter().filter_map(|node| Some((node.as_text()?, node.at)))
    }

    fn error(&self, report: &mut Report, key: &str, what: String, hint: impl Into<String>) {
        report.error(self.place(&[key]), what).path(self.path(key)).hint(hint);
    }
}

/// Labels or other pairs of a mapping.
fn pairs(map: Option<&Map>) -> BTreeMap<String, String> {
    let entries = map.iter().flat_map(|map| &map.entries);
    entries
        .filter_map(|entry| Some((entry.key.clone(), entry.value.as_text()?.to_owned())))
        .collect()
}

/// Labels, of which those in the scheduler's own space are refused.
fn labels(map: Option<&Map>, report: &mut Report) -> BTreeMap<String, String> {
    for entry in map.iter().flat_map(|map| &map.entries) {
        if entry.key == "siso" || entry.key.starts_with("siso.") {
            report
                .error(entry.key_at, format!("the label `{}` is reserved", entry.key))
                .hint("labels that begin with `siso.` are written by the scheduler; use another");
        }
    }
    pairs(map)
}

fn volumes(project: &Project, report: &mut Report) -> BTreeMap<VolumeName, VolumeSpec> {
    let mut volumes = BTreeMap::new();
    for entry in project.tree.entries("volumes") {
        let Some(map) = entry.value.as_map() else { continue };
        if let Some(driver) =
            map.get("driver").filter(|node| !matches!(node.as_text(), Some("local" | "")))
        {
            let shown = driver.as_text().unwrap_or_default();
            report
                .error(driver.at, format!("the volume driver `{shown}` is not known to the nodes"))
                .path(format!("volumes.{}.driver", entry.key))
                .hint("remove it: a volume lives on the node its task is placed on");
        }
        let external = map.bool("external") == Some(true);
        let own = format!("{}_{}", project.name.text, entry.key);
        let name = map.text("name").filter(|name| external || *name != own).map(str::to_owned);
        if let (Some(name), Some(node)) = (&name, map.get("name")) {
            names::engine_volume(name, node.place(entry.key_at), &entry.key, report);
        }
        let labels = labels(map.map("labels"), report);
        match VolumeName::new(&entry.key) {
            Ok(key) => {
                volumes.insert(key, VolumeSpec { name, external, labels });
            }
            Err(error) => {
                report.error(entry.key_at, error.to_string());
            }
        }
    }
    volumes
}

fn networks(project: &Project, report: &mut Report) -> BTreeMap<NetworkName, NetworkSpec> {
    let mut networks = BTreeMap::new();
    for entry in project.tree.entries("networks") {
        let Some(map) = entry.value.as_map() else { continue };
        if map.bool("external") == Some(true) {
            let at = map.get("external").map_or(entry.key_at, |node| node.at);
            report
                .error(
                    at,
                    format!(
                        "the network `{}` is external; stacks do not share networks",
                        entry.key
                    ),
                )
                .path(format!("networks.{}.external", entry.key))
                .hint("put services that talk to each other into one stack, or publish a port");
        }
        let driver = map
            .get("driver")
            .filter(|node| !matches!(node.as_text(), Some("bridge" | "overlay" | "default" | "")));
        if let Some(driver) = driver {
            let shown = driver.as_text().unwrap_or_default();
            report
                .error(driver.at, format!("the network driver `{shown}` is not known to the nodes"))
                .path(format!("networks.{}.driver", entry.key))
                .hint("remove it: a stack's network is made by the cluster");
        }
        let spec = NetworkSpec {
            internal: map.bool("internal").unwrap_or(false),
            labels: labels(map.map("labels"), report),
        };
        match NetworkName::new(&entry.key) {
            Ok(key) => {
                networks.insert(key, spec);
            }
            Err(error) => {
                report.error(entry.key_at, error.to_string());
            }
        }
    }
    networks
}
