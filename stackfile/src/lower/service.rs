use std::collections::{BTreeMap, BTreeSet};

use model::{
    ServiceName, ServiceSpec,
    name::NetworkName,
    spec::{
        Condition, Constraint, ConstraintKey, ConstraintOp, DEFAULT_PRIORITY, DEFAULT_STOP_GRACE,
        Dependency, PlacementRules,
    },
};

use super::{
    Context, labels, logging, network, privileges::capabilities, privileges::privileges, process,
    resources, storage,
};
use crate::{diagnostic::Report, tree::Map, values::duration};

/// The most replicas of one service: far beyond a handful of machines, and small enough to list.
const MAX_REPLICAS: i64 = 1_000;

/// A service as the model has it.
pub(super) fn lower(service: &Context<'_>, report: &mut Report) -> ServiceSpec {
    let map = service.map;
    let image = process::image(service, report);
    let (privileges, no_new_privileges) = privileges(service, report);
    process::pull_policy(service, report);
    ServiceSpec {
        image,
        replicas: replicas(service, report),
        command: process::words(service, "command", report),
        entrypoint: process::words(service, "entrypoint", report),
        environment: process::environment(service, report),
        labels: labels(map.map("labels"), report),
        service_labels: labels(map.map("deploy").and_then(|deploy| deploy.map("labels")), report),
        user: process::user(service, report),
        working_dir: process::working_dir(service, report),
        hostname: process::hostname(service, report),
        container_name: process::container_name(service, report),
        ports: network::ports(service, report),
        expose: network::expose(service, report),
        mounts: storage::mounts(service, report),
        depends_on: depends_on(service, report),
        healthcheck: process::healthcheck(service, report),
        restart: process::restart(service, report),
        stop_grace_ms: milliseconds(map.text("stop_grace_period")).unwrap_or(DEFAULT_STOP_GRACE),
        stop_signal: process::stop_signal(service, report),
        ulimits: process::ulimits(service, report),
        extra_hosts: network::extra_hosts(service, report),
        init: map.bool("init"),
        read_only: map.bool("read_only").unwrap_or(false),
        shm_size: resources::shm_size(service, report),
        cap_drop: capabilities(service, "cap_drop", report),
        no_new_privileges,
        privileges,
        logging: logging::logging(service, report),
        resources: resources::ask(service, report),
        placement: placement(service, report),
        networks: networks(service),
        strict_singleton: singleton(service, report),
        priority: map
            .map("x-siso")
            .and_then(|siso| siso.int("priority"))
            .and_then(|priority| u8::try_from(priority).ok())
            .unwrap_or(DEFAULT_PRIORITY),
    }
}

/// A canonical duration in milliseconds; what is shorter than one counts as one, since the engine
/// takes zero for its default.
pub(super) fn milliseconds(text: Option<&str>) -> Option<u64> {
    let ns = duration(text?).ok()?;
    Some(if ns == 0 { 0 } else { (ns / 1_000_000).max(1) })
}

fn replicas(service: &Context<'_>, report: &mut Report) -> u32 {
    if let Some(mode) = service.get(&["deploy", "mode"]) {
        let hint = match mode.as_text() {
            Some("replicated") | None => None,
            Some("global") => Some("give `replicas` and `placement.max_replicas_per_node: 1`"),
            Some(_) => {
                Some("a service that ends with exit code 0 is a job: use `restart: on-failure`")
            }
        };
        if let Some(hint) = hint {
            let shown = mode.as_text().unwrap_or_default();
            report
                .error(mode.at, format!("the mode `{shown}` is not supported"))
                .path(service.path("deploy.mode"))
                .hint(hint);
        }
    }
    let (key, node) = match service.get(&["deploy", "replicas"]) {
        Some(node) => ("deploy.replicas", node),
        None => match service.get(&["scale"]) {
            Some(node) => ("scale", node),
            None => return 1,
        },
    };
    let count = node.as_int().unwrap_or(1);
    if count > MAX_REPLICAS {
        report
            .error(node.at, format!("a service has at most {MAX_REPLICAS} replicas"))
            .path(service.path(key));
    }
    u32::try_from(count).unwrap_or(1)
}

fn depends_on(service: &Context<'_>, report: &mut Report) -> BTreeMap<ServiceName, Dependency> {
    let mut dependencies = BTreeMap::new();
    for entry in service.map.entries("depends_on") {
        let Some(map) = entry.value.as_map() else { continue };
        let condition = match map.text("condition") {
            Some("service_healthy") => Condition::Healthy,
            Some("service_completed_successfully") => Condition::Completed,
            _ => Condition::Started,
        };
        let dependency = Dependency {
            condition,
            required: map.bool("required").unwrap_or(true),
            restart: map.bool("restart").unwrap_or(false),
        };
        // A name that is none belongs to a service whose own name has been reported.
        if let Ok(name) = ServiceName::new(&entry.key) {
            dependencies.insert(name, dependency);
        } else if !dependency.required {
            report.note(entry.key_at, format!("`{}` is not a service name", entry.key));
        }
    }
    dependencies
}

fn placement(service: &Context<'_>, report: &mut Report) -> PlacementRules {
    let mut rules = PlacementRules::default();
    let empty = Map::default();
    let given =
        service.map.map("deploy").and_then(|deploy| deploy.map("placement")).unwrap_or(&empty);
    for node in given.list("constraints") {
        let Some(text) = node.as_text() else { continue };
        match text.parse::<Constraint>() {
            Ok(constraint) => rules.constraints.push(constraint),
            Err(error) => {
                report
                    .error(node.at, format!("`{text}` is not a constraint: {error}"))
                    .path(service.path("deploy.placement.constraints"))
                    .hint("write it like `node.labels.role == database`");
            }
        }
    }
    for node in given.list("preferences") {
        let Some(spread) = node.as_map().and_then(|map| map.get("spread")) else { continue };
        let Some(text) = spread.as_text() else { continue };
        match text.strip_prefix("node.labels.").filter(|label| !label.is_empty()) {
            Some(label) => rules.spread.push(label.to_owned()),
            None => {
                report
                    .error(spread.at, format!("`{text}` cannot be spread over"))
                    .path(service.path("deploy.placement.preferences"))
                    .hint("spread over a label of the nodes, as in `node.labels.zone`");
            }
        }
    }
    let most = given.int("max_replicas_per_node").and_then(|most| u32::try_from(most).ok());
    rules.max_replicas_per_node = most.filter(|most| *most > 0);
    if let Some(arch) = platform(service, report) {
        rules.constraints.push(Constraint {
            key: ConstraintKey::Arch,
            op: ConstraintOp::Equal,
            value: arch,
        });
    }
    rules
}

/// `platform: linux/arm64` is a constraint on the architecture.
fn platform(service: &Context<'_>, report: &mut Report) -> Option<String> {
    let text = service.text("platform").filter(|text| !text.is_empty())?;
    let mut parts = text.split('/');
    let arch = match (parts.next(), parts.next()) {
        (Some("linux"), Some(arch)) | (Some(arch), None) => arch,
        _ => "",
    };
    let arch = match arch {
        "arm64" | "aarch64" => "arm64",
        "amd64" | "x86_64" => "amd64",
        _ => {
            let what = format!("no node has the platform `{text}`");
            service.error(report, "platform", what, "use linux/arm64 or linux/amd64");
            return None;
        }
    };
    Some(arch.to_owned())
}

fn networks(service: &Context<'_>) -> BTreeSet<NetworkName> {
    let entries = service.map.entries("networks").iter();
    // A name that is none is reported where the network is declared.
    entries.filter_map(|entry| NetworkName::new(&entry.key).ok()).collect()
}

fn singleton(service: &Context<'_>, report: &mut Report) -> bool {
    let strict = service.get(&["x-siso", "singleton"]).and_then(crate::tree::Node::as_text);
    if strict != Some("strict") {
        return false;
    }
    report
        .note(
            service.place(&["x-siso", "singleton"]),
            format!(
                "`{}` runs under a lease: it stops when its node hears no majority of the schedulers for \
                 {} s, and moves after that",
                service.name,
                model::lease::LEASE_MS / 1_000
            ),
        )
        .path(service.path("x-siso.singleton"));
    let replicas = service.get(&["deploy", "replicas"]).or_else(|| service.get(&["scale"]));
    if let Some(node) = replicas.filter(|node| node.as_int().is_some_and(|count| count > 1)) {
        report
            .error(
                node.at,
                format!("`{}` is a strict singleton with several replicas", service.name),
            )
            .path(service.path("x-siso.singleton"))
            .related(service.place(&["x-siso", "singleton"]), "never two at once")
            .hint("keep one of the two");
    }
    true
}
