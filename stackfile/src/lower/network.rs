use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use model::spec::{Port, Protocol};

use super::Context;
use crate::{diagnostic::Report, source::Span, tree::Map, values::port_range};

/// What `extra_hosts` calls the node itself.
const NODE_ITSELF: &str = "host-gateway";

/// Where Siso's own programs listen unless told otherwise, and whether only on 127.0.0.1.
const RESERVED: [(u16, &str, bool); 4] = [
    (7400, "the scheduler", false),
    (7401, "the agent", false),
    (7480, "the scheduler's metrics", true),
    (7481, "the agent's metrics", true),
];

fn protocol(word: &str) -> Option<Protocol> {
    match word.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}

/// Published ports.
pub(super) fn ports(service: &Context<'_>, report: &mut Report) -> Vec<Port> {
    let list = service.map.list("ports").iter();
    let maps = list.filter_map(|node| Some((node.as_map()?, node.at)));
    let ports: Vec<Port> = maps.filter_map(|(map, at)| port(service, map, at, report)).collect();
    if !ports.is_empty() && service.map.text("network_mode") == Some("host") {
        let what = "`ports` has no effect with `network_mode: host`: the task listens on its \
                    node's own addresses";
        report.note(service.place(&["ports"]), what).path(service.path("ports"));
    }
    ports
}

fn port(service: &Context<'_>, map: &Map, at: Span, report: &mut Report) -> Option<Port> {
    let word = map.text("protocol").unwrap_or("tcp");
    let at = map.get("published").or_else(|| map.get("target")).map_or(at, |node| node.place(at));
    let Some(protocol) = protocol(word) else {
        report
            .error(at, format!("the protocol `{word}` is not supported"))
            .path(service.path("ports"))
            .hint("use tcp or udp");
        return None;
    };
    let published = match map.text("published").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match port_range(text) {
            Ok(range) if range.len() == 1 => Some(*range.start()),
            _ => {
                report
                    .error(
                        at,
                        format!("one container port cannot be published as the range {text}"),
                    )
                    .path(service.path("ports"))
                    .hint("choose one port, or leave it out to have one chosen");
                return None;
            }
        },
    };
    let target = map.int("target").and_then(|target| u16::try_from(target).ok())?;
    let host_ip = map.text("host_ip").filter(|ip| !ip.is_empty()).map(str::to_owned);
    if host_ip.as_deref().is_some_and(|ip| ip.starts_with("127.") || ip == "::1") {
        let what = "the port is reachable only on the node the task is placed on";
        report.note(at, what).path(service.path("ports"));
    }
    let port = Port { host_ip, published, target, protocol };
    if let Some((number, whose)) = reserved(&port) {
        report
            .error(at, format!("port {number} of every node is reserved for {whose}"))
            .path(service.path("ports"))
            .hint("publish another port on the left side of the colon");
    }
    Some(port)
}

/// The port and the part of Siso that listens on it.
fn reserved(port: &Port) -> Option<(u16, &'static str)> {
    let on_loopback = match port.host_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()) {
        None => true,
        Some(ip) => ip.is_unspecified() || ip == IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let (number, whose, _) = RESERVED.into_iter().find(|(number, _, loopback_only)| {
        port.protocol == Protocol::Tcp
            && port.published == Some(*number)
            && (on_loopback || !loopback_only)
    })?;
    Some((number, whose))
}

/// Ports named for people.
pub(super) fn expose(service: &Context<'_>, report: &mut Report) -> BTreeSet<(u16, Protocol)> {
    let mut exposed = BTreeSet::new();
    for (text, at) in service.texts("expose") {
        let (ports, word) = text.split_once('/').unwrap_or((text, "tcp"));
        match (port_range(ports), protocol(word)) {
            (Ok(range), Some(protocol)) => exposed.extend(range.map(|port| (port, protocol))),
            (Ok(_), None) => {
                report
                    .error(at, format!("the protocol `{word}` is not supported"))
                    .path(service.path("expose"))
                    .hint("use tcp or udp");
            }
            // The walk has reported it.
            (Err(_), _) => {}
        }
    }
    exposed
}

/// Further names of `/etc/hosts`.
pub(super) fn extra_hosts(service: &Context<'_>, report: &mut Report) -> Vec<(String, String)> {
    let mut hosts = Vec::new();
    for (line, at) in service.texts("extra_hosts") {
        let Some((name, address)) = line.split_once('=') else { continue };
        let name_fits = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == ':');
        let fault = if !name_fits {
            Some(format!("`{name}` is not a host name"))
        } else if address != NODE_ITSELF && address.parse::<IpAddr>().is_err() {
            Some(format!("`{address}` is not an IP address"))
        } else {
            None
        };
        if let Some(fault) = fault {
            report.error(at, fault).path(service.path("extra_hosts")).hint(
                "write `NAME=ADDRESS`, as in `db=10.0.0.5`; `host-gateway` is the node itself",
            );
        }
        if address == NODE_ITSELF {
            let what = "`host-gateway` is the node the task is placed on";
            report.note(at, what).path(service.path("extra_hosts"));
        }
        hosts.push((name.to_owned(), address.to_owned()));
    }
    hosts
}
