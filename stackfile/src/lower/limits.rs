//! What must hold for the whole stack once every service is read.

use std::collections::BTreeMap;

use model::{
    ServiceName, ServiceSpec, StackSpec,
    spec::{Condition, HealthTest, MountSource, Port, RestartPolicy},
};

use super::Context;
use crate::{diagnostic::Report, source::Span, tree::Node};

type Places<'a> = BTreeMap<ServiceName, Context<'a>>;

/// Reports what contradicts itself across services.
pub(super) fn check(stack: &StackSpec, places: &Places<'_>, report: &mut Report) {
    let most = report.bounds().services;
    if stack.services.len() > most {
        let what =
            format!("a stack has at most {most} services, this one has {}", stack.services.len());
        report.error(None, what).hint("split it into several stacks");
        return;
    }
    ports(stack, places, report);
    container_names(stack, places, report);
    for (name, service) in &stack.services {
        if let Some(place) = places.get(name) {
            waits(place, service, stack, report);
            writers(place, service, report);
        }
    }
}

/// The ports of one number that were met so far, and who publishes them.
type Taken<'a> = Vec<(&'a Port, &'a Context<'a>)>;

/// Two services, or two lines of one, that publish the same port.
fn ports(stack: &StackSpec, places: &Places<'_>, report: &mut Report) {
    let mut taken: BTreeMap<(u16, &str), Taken<'_>> = BTreeMap::new();
    // In the order of the file, so that the later line is the one to blame.
    let mut ordered: Vec<_> = places.iter().collect();
    ordered.sort_by_key(|(_, place)| place.at);
    for (name, place) in ordered {
        let Some(service) = stack.services.get(name) else { continue };
        for port in &service.ports {
            let Some(published) = port.published else { continue };
            let same = taken.entry((published, port.protocol.as_str())).or_default();
            let clash = same.iter().find(|(known, _)| overlaps(known, port));
            if let Some((known, other)) = clash.filter(|_| !report.is_full()) {
                let at = port_place(place, port);
                let finding = if other.name == place.name {
                    let what =
                        format!("port {published} of the node is published by `{name}` twice");
                    report
                        .error(at, what)
                        .hint("give one of them another port on the left side of the colon")
                } else {
                    let other = other.name;
                    let what = format!(
                        "port {published} of the node is published by `{name}` and by `{other}`: they \
                         never run on one node"
                    );
                    report.warning(at, what).hint(
                        "give one of them another port on the left side of the colon, if they may",
                    )
                };
                finding
                    .path(place.path("ports"))
                    .related(port_place(other, known), "published here first");
            }
            same.push((port, place));
        }
    }
}

/// Whether two ports with the same number listen on a common address.
fn overlaps(a: &Port, b: &Port) -> bool {
    let any = |port: &Port| port.host_ip.as_deref().is_none_or(|ip| ip == "0.0.0.0" || ip == "::");
    any(a) || any(b) || a.host_ip == b.host_ip
}

fn port_place(place: &Context<'_>, port: &Port) -> Span {
    let target = i64::from(port.target);
    let published = port.published.map(|port| port.to_string());
    let nodes = place.map.list("ports").iter();
    let found = nodes.filter_map(|node| Some((node.as_map()?, node.at))).find(|(map, _)| {
        map.int("target") == Some(target) && map.text("published") == published.as_deref()
    });
    found.map_or(place.at, |(map, at)| map.get("published").map_or(at, |node| node.place(at)))
}

fn container_names(stack: &StackSpec, places: &Places<'_>, report: &mut Report) {
    let mut taken: BTreeMap<&str, &Context<'_>> = BTreeMap::new();
    for (name, service) in &stack.services {
        let (Some(container), Some(place)) = (&service.container_name, places.get(name)) else {
            continue;
        };
        if let Some(other) = taken.insert(container, place) {
            report
                .error(
                    place.place(&["container_name"]),
                    format!("`{}` and `{name}` have the same `container_name`", other.name),
                )
                .path(place.path("container_name"))
                .hint("remove both: services reach each other by service name");
        }
    }
}

/// Several replicas that write to the same data.
fn writers(place: &Context<'_>, service: &ServiceSpec, report: &mut Report) {
    let (name, replicas) = (place.name, service.replicas);
    let mut written = service.mounts.iter().filter(|mount| !mount.read_only);
    let volume = written.find_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some((name, mount)),
        MountSource::Anonymous | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    });
    let Some((volume, mount)) = volume.filter(|_| replicas > 1) else { return };
    let mut nodes = place.map.list("volumes").iter();
    let node =
        nodes.find(|node| node.as_map().and_then(|map| map.text("target")) == Some(&mount.target));
    let given = place.get(&["deploy", "replicas"]).or_else(|| place.get(&["scale"]));
    let finding = report.error(
        node.map_or(place.at, Node::begin),
        format!("service `{name}` has {replicas} replicas that write to volume `{volume}`"),
    );
    finding.path(place.path("volumes")).hint(
        "two copies on the same data destroy it: mount it read-only, as in `:ro`, or keep one \
         replica",
    );
    if let Some(given) = given {
        finding.related(given.at, "the replicas");
    }
}

/// Conditions that are probably never met.
fn waits(place: &Context<'_>, service: &ServiceSpec, stack: &StackSpec, report: &mut Report) {
    for (name, dependency) in &service.depends_on {
        let Some(other) = stack.services.get(name) else { continue };
        let entry = place.map.map("depends_on").and_then(|map| map.entry(name.as_str()));
        let at = entry.map_or(place.at, |entry| entry.key_at);
        let path = place.path(&format!("depends_on.{name}"));
        match (dependency.condition, other.healthcheck.as_ref().map(|check| &check.test)) {
            (Condition::Healthy, Some(HealthTest::Disabled)) => {
                report
                    .error(at, format!("`{name}` is never healthy: its health check is disabled"))
                    .path(path)
                    .hint("use `condition: service_started`, or give it a health check");
            }
            (Condition::Healthy, None) => {
                report
                    .warning(at, format!("`{name}` has no `healthcheck` in this file"))
                    .path(path)
                    .hint("it becomes healthy only if its image brings a health check");
            }
            (Condition::Completed, _) if other.restart == RestartPolicy::Always => {
                report
                    .warning(at, format!("`{name}` never completes: it is always restarted"))
                    .path(path)
                    .hint(format!("give `{name}` the policy `restart: on-failure`"));
            }
            (Condition::Started | Condition::Healthy | Condition::Completed, _) => {}
        }
    }
}
