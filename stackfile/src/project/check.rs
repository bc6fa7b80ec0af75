//! What must hold between the parts of a stack, by the Compose Specification.

use std::collections::{BTreeMap, BTreeSet};

use model::{ServiceName, VolumeName};

use crate::{
    diagnostic::Report,
    grammar::nearest,
    lower::names::bad_service,
    source::Span,
    tree::{Map, Node, Value},
    values,
};

/// Reports references to nothing, cycles and contradictions.
pub(super) fn references(tree: &Map, inactive: &BTreeSet<String>, report: &mut Report) {
    let empty = Map::default();
    let services = tree.map("services").unwrap_or(&empty);
    check_names(tree, report);
    let keys = |kind| tree.entries(kind).iter().map(|entry| entry.key.as_str()).collect();
    let names = Names {
        services: keys("services"),
        volumes: keys("volumes"),
        networks: keys("networks"),
        inactive,
    };
    for entry in &services.entries {
        let Some(service) = entry.value.as_map() else { continue };
        let checked = Checked { name: &entry.key, at: entry.key_at, service, names: &names };
        checked.image(report);
        checked.volumes(report);
        checked.networks(report);
        checked.dependencies(report);
        checked.twins(report);
    }
    cycles(services, report);
}

/// Names by Compose's rule, which is wider than a cluster's.
fn check_names(tree: &Map, report: &mut Report) {
    let fits = |name: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        !name.is_empty() && name.chars().all(allowed)
    };
    for entry in tree.entries("services").iter().filter(|entry| !fits(&entry.key)) {
        if let Err(error) = ServiceName::new(&entry.key) {
            bad_service(entry, &error, report);
        }
    }
    for entry in tree.entries("volumes") {
        if let (false, Err(error)) = (fits(&entry.key), VolumeName::new(&entry.key)) {
            report.error(entry.key_at, error.to_string()).path(format!("volumes.{}", entry.key));
        }
        let map = entry.value.as_map();
        let external = map.filter(|map| map.bool("external") == Some(true));
        if let Some(driver) = external.and_then(|map| map.get("driver").or(map.get("driver_opts")))
        {
            report
                .error(
                    driver.place(entry.key_at),
                    format!("the volume `{}` is external and has a driver", entry.key),
                )
                .path(format!("volumes.{}", entry.key))
                .hint("an external volume exists already: remove its driver and options");
        }
    }
}

struct Checked<'a> {
    name: &'a str,
    at: Span,
    service: &'a Map,
    names: &'a Names<'a>,
}

/// What is declared, for looking up.
struct Names<'a> {
    services: BTreeSet<&'a str>,
    volumes: BTreeSet<&'a str>,
    networks: BTreeSet<&'a str>,
    inactive: &'a BTreeSet<String>,
}

impl Checked<'_> {
    fn path(&self, below: &str) -> String {
        format!("services.{}.{below}", self.name)
    }

    fn image(&self, report: &mut Report) {
        let has = |key| self.service.get(key).is_some_and(|node: &Node| node.value != Value::Null);
        // `extends` may bring the image; that it is not read has been said.
        let image = self.service.get("image");
        if image.and_then(Node::as_text) == Some("") {
            let at = image.map_or(self.at, |node| node.place(self.at));
            report
                .error(at, format!("the image of `{}` is empty", self.name))
                .path(self.path("image"))
                .hint("a variable in it is empty or not set; set it in `.env`");
        } else if !["image", "build", "provider", "extends"].into_iter().any(has) {
            report
                .error(self.at, format!("service `{}` has no image", self.name))
                .path(self.path("image"))
                .hint(match self.name {
                    "volumes" | "networks" => {
                        format!("to declare {0}, put `{0}:` at the left margin", self.name)
                    }
                    _ => "name the image it runs, as in `image: postgres:17`".to_owned(),
                });
        }
    }

    fn volumes(&self, report: &mut Report) {
        for mount in self.service.list("volumes") {
            let Some(map) = mount.as_map().filter(|map| map.text("type") == Some("volume")) else {
                continue;
            };
            let Some(name) = map.text("source") else { continue };
            if self.names.volumes.contains(name) || report.is_full() {
                continue;
            }
            let hint = match nearest(name, self.names.volumes.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if name.contains('/') => {
                    format!("a path of the node begins with `/`: `/{name}`")
                }
                None => format!(
                    "declare it at the end of the file: `volumes:` at the left margin, below it \
                     `{name}:`"
                ),
            };
            let at = map.get("source").map_or(mount.at, |node| node.place(mount.at));
            report
                .error(at, format!("the volume `{name}` is not declared"))
                .path(self.path("volumes"))
                .hint(hint);
        }
    }

    fn networks(&self, report: &mut Report) {
        let Some(networks) = self.service.map("networks") else { return };
        if let Some(mode) = self.service.get("network_mode") {
            report
                .error(
                    mode.place(self.at),
                    format!("`{}` has both `network_mode` and `networks`", self.name),
                )
                .path(self.path("network_mode"))
                .hint("keep one of the two");
        }
        for entry in &networks.entries {
            let name = entry.key.as_str();
            let declared = name == "default" || self.names.networks.contains(name);
            if declared || report.is_full() {
                continue;
            }
            let hint = match nearest(name, self.names.networks.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("declare it: `networks:` at the left margin, below it `{name}:`"),
            };
            report
                .error(entry.key_at, format!("the network `{name}` is not declared"))
                .path(self.path("networks"))
                .hint(hint);
        }
    }

    fn dependencies(&self, report: &mut Report) {
        let Some(dependencies) = self.service.map("depends_on") else { return };
        for entry in &dependencies.entries {
            let name = entry.key.as_str();
            if self.names.services.contains(name) {
                if name == self.name {
                    report
                        .error(entry.key_at, format!("`{name}` depends on itself"))
                        .path(self.path("depends_on"))
                        .hint("remove it from its own `depends_on`");
                }
                continue;
            }
            let inactive = self.names.inactive.contains(name);
            let required = entry.value.as_map().and_then(|map| map.bool("required"));
            if (inactive && required == Some(false)) || report.is_full() {
                continue;
            }
            let finding = if inactive {
                let what =
                    format!("`{}` depends on `{name}`, whose profile is not active", self.name);
                report.error(entry.key_at, what)
            } else {
                let what = format!("`{}` depends on `{name}`, which is not a service", self.name);
                report.error(entry.key_at, what)
            };
            let others = self.names.services.iter().copied();
            let near = nearest(name, others.filter(|other| *other != self.name));
            finding.path(self.path("depends_on")).hint(match near {
                _ if inactive => {
                    "name the profile with `--profile`, or write `required: false`".to_owned()
                }
                Some(near) => format!("did you mean `{near}`?"),
                None => "every name in `depends_on` is a service of this stack".to_owned(),
            });
        }
    }

    /// Keys that say the same thing twice must agree.
    fn twins(&self, report: &mut Report) {
        let below = |path: &[&str]| {
            let (last, path) = path.split_last()?;
            path.iter().try_fold(self.service, |map, key| map.map(key))?.get(last)
        };
        let limits = ["deploy", "resources", "limits"];
        let pairs: [(&str, &[&str]); 5] = [
            ("scale", &["deploy", "replicas"]),
            ("mem_limit", &[limits[0], limits[1], limits[2], "memory"]),
            ("cpus", &[limits[0], limits[1], limits[2], "cpus"]),
            ("pids_limit", &[limits[0], limits[1], limits[2], "pids"]),
            ("mem_reservation", &["deploy", "resources", "reservations", "memory"]),
        ];
        for (short, long) in pairs {
            let (Some(a), Some(b)) = (self.service.get(short), below(long)) else { continue };
            let (Some(x), Some(y)) = (a.value.scalar_text(), b.value.scalar_text()) else {
                continue;
            };
            let same = match short {
                "cpus" => values::cpus(&x) == values::cpus(&y),
                _ => x == y,
            };
            if !same {
                let long = long.join(".");
                report
                    .error(a.at, format!("`{short}` and `{long}` of `{}` differ", self.name))
                    .path(self.path(short))
                    .related(b.at, "the other one")
                    .hint(format!("keep one of the two; `{long}` is the one clusters use"));
            }
        }
        let replicas =
            self.service.int("scale").or_else(|| below(&["deploy", "replicas"])?.as_int());
        if let (Some(name), Some(2..)) = (self.service.get("container_name"), replicas) {
            report
                .error(
                    name.at,
                    format!("`{}` has a `container_name` and more than one replica", self.name),
                )
                .path(self.path("container_name"))
                .hint("two containers cannot have one name; remove `container_name`");
        }
    }
}

/// Reports each cycle of `depends_on` once, written out.
fn cycles(services: &Map, report: &mut Report) {
    let mut edges: BTreeMap<&str, Vec<(&str, Span)>> = BTreeMap::new();
    for entry in &services.entries {
        let dependencies = entry.value.as_map().and_then(|service| service.map("depends_on"));
        let next = dependencies.iter().flat_map(|map| &map.entries);
        // A service that depends on itself has been reported.
        let next = next.filter(|dependency| dependency.key != entry.key);
        let next = next.map(|dependency| (dependency.key.as_str(), dependency.key_at));
        edges.insert(entry.key.as_str(), next.collect());
    }
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in edges.keys() {
        let mut path: Vec<(&str, usize)> = Vec::new();
        // Where on the path each of its services is.
        let mut depth: BTreeMap<&str, usize> = BTreeMap::new();
        let mut next = Some(*start);
        while let Some(name) = next.take() {
            if done.insert(name) {
                depth.insert(name, path.len());
                path.push((name, 0));
            }
            // The next edge of the deepest service that has one left.
            while let Some((name, index)) = path.last_mut() {
                let Some((to, at)) = edges.get(name).and_then(|list| list.get(*index)) else {
                    depth.remove(*name);
                    path.pop();
                    continue;
                };
                *index += 1;
                if let Some(from) = depth.get(to).copied() {
                    let names: Vec<&str> = path[from..].iter().map(|(name, _)| *name).collect();
                    let cycle = format!("{} → {to}", names.join(" → "));
                    report
                        .error(*at, format!("services wait for each other: {cycle}"))
                        .path(format!("services.{}.depends_on", names.last().unwrap_or(&"")))
                        .hint("none of them could start; remove one of these dependencies");
                } else if !done.contains(to) && edges.contains_key(to) {
                    next = Some(to);
                    break;
                }
            }
        }
    }
}
