use std::{collections::BTreeSet, net::IpAddr};

use super::{items, mapping, text};
use crate::{
    grammar::{PORT, Place, Walk},
    tree::{Node, Value},
    values::port_range,
};

const EXAMPLE: &str = "[\"8080:80\"]";

/// `ports`: short forms become one mapping per container port.
pub(crate) fn ports(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let (list, shell) = match items(node, place, walk, EXAMPLE) {
        Ok(found) => found,
        Err(node) => return node,
    };
    let mut out: Vec<Node> = Vec::new();
    let mut known = BTreeSet::new();
    for (index, item) in list.into_iter().enumerate() {
        let below = place.item(index);
        let at = item.at;
        let more = match &item.value {
            Value::Text(short) => match parse(short) {
                Ok(found) => found.into_iter().map(|port| port.canonical(&item)).collect(),
                Err(why) => {
                    walk.wrong(&item, &below, format!("`{short}` is not a port: {why}"))
                        .hint("write `\"8080:80\"`: the node's port, then the container's; quoted");
                    vec![item.broken()]
                }
            },
            Value::Int(number) => match port_range(&number.to_string()) {
                Ok(range) => {
                    let port = Short { target: *range.start(), ..Short::default() };
                    vec![port.canonical(&item)]
                }
                Err(why) => {
                    let finding =
                        walk.wrong(&item, &below, format!("`{number}` is not a port: {why}"));
                    // 22:22 and 56:80 are numbers to base 60 in old YAML.
                    finding
                        .hint("write `\"8080:80\"`: the node's port, then the container's; quoted");
                    vec![item.broken()]
                }
            },
            Value::Map(_) => vec![long(item, &below, walk)],
            Value::Broken => vec![item],
            _ => {
                walk.expected(&item, &below, "a port such as `\"8080:80\"`");
                vec![item.broken()]
            }
        };
        if !walk.spend_ports(more.len(), at) {
            break;
        }
        // The same port twice is one port.
        out.extend(more.into_iter().filter(|port| known.insert(port.identity())));
    }
    Node { value: Value::List(out), ..shell }
}

/// One container port of a short form.
#[derive(Debug, Clone, Default, PartialEq)]
struct Short {
    host_ip: Option<String>,
    /// A port or a range.
    published: Option<String>,
    target: u16,
    protocol: String,
}

impl Short {
    fn canonical(self, item: &Node) -> Node {
        let protocol = if self.protocol.is_empty() { "tcp".to_owned() } else { self.protocol };
        mapping(
            item.at,
            [
                ("mode", text("ingress")),
                ("host_ip", self.host_ip.and_then(text)),
                ("target", Some(Value::Int(i64::from(self.target)))),
                ("published", self.published.and_then(text)),
                ("protocol", text(protocol)),
            ],
        )
    }
}

/// `[[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]`; ranges go pairwise.
fn parse(short: &str) -> Result<Vec<Short>, String> {
    let (rest, protocol) = match short.rsplit_once('/') {
        Some((rest, protocol)) => (rest, protocol.to_ascii_lowercase()),
        None => (short, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("`{protocol}` is not a protocol; use tcp or udp"));
    }
    let (rest, target) = rest.rsplit_once(':').map_or((None, rest), |(a, b)| (Some(a), b));
    if target.is_empty() {
        return Err("the container's port is missing after the colon".to_owned());
    }
    let targets = port_range(target)?;
    let (host_ip, published) = match rest {
        None => (None, ""),
        Some(rest) => match rest.rsplit_once(':') {
            Some((address, published)) => (Some(host_ip(address)?), published),
            None => (None, rest),
        },
    };
    let count = targets.len();
    let published = match published {
        "" => None,
        text => Some(port_range(text)?),
    };
    if let Some(range) = &published
        && range.len() != count
        && count != 1
    {
        return Err(format!("{} ports are published for {count}", range.len()));
    }
    let name = |index: usize| {
        let range = published.as_ref()?;
        if count == 1 && range.len() > 1 {
            return Some(format!("{}-{}", range.start(), range.end()));
        }
        range.clone().nth(index).map(|port| port.to_string())
    };
    Ok(targets
        .enumerate()
        .map(|(index, target)| Short {
            host_ip: host_ip.clone(),
            published: name(index),
            target,
            protocol: protocol.clone(),
        })
        .collect())
}

fn host_ip(address: &str) -> Result<String, String> {
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    match bare.parse::<IpAddr>() {
        Ok(_) => Ok(bare.to_owned()),
        Err(_) => Err(format!("`{address}` is not an IP address")),
    }
}

fn long(item: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let mut item = walk.keys(item, PORT, place);
    let at = item.at;
    let Value::Map(map) = &mut item.value else { return item };
    if map.get("target").is_none() {
        walk.report
            .error(at, "a port needs a `target`, the container's port")
            .path(place.to_string());
        return item.broken();
    }
    for (name, check) in [
        ("published", (|text| port_range(text).map(drop)) as fn(&str) -> Result<(), String>),
        ("host_ip", |text| host_ip(text).map(drop)),
    ] {
        let fault = map
            .get(name)
            .and_then(|node| Some((node.at, node.as_text().filter(|text| !text.is_empty())?)))
            .and_then(|(at, text)| Some((at, format!("`{text}`: {}", check(text).err()?))));
        if let Some((at, fault)) = fault {
            walk.report
                .error(at, format!("`{name}` is not right, {fault}"))
                .path(place.to_string());
            map.set(name, at, Node::new(Value::Broken, at));
        }
    }
    if map.get("protocol").is_none() {
        map.push("protocol", at, Node::text("tcp", at));
    }
    if map.get("mode").is_none() {
        map.push("mode", at, Node::text("ingress", at));
    }
    item
}

/// `expose`: container ports as texts, ranges kept.
pub(crate) fn expose(node: Node, place: &Place<'_>, walk: &mut Walk<'_>) -> Node {
    let (list, shell) = match items(node, place, walk, "[\"80\"]") {
        Ok(found) => found,
        Err(node) => return node,
    };
    let mut out = Vec::new();
    for (index, item) in list.into_iter().enumerate() {
        let below = place.item(index);
        let at = item.at;
        let Some(text) = item.value.scalar_text() else {
            if item.value != Value::Broken {
                walk.expected(&item, &below, "a port such as `80`");
            }
            continue;
        };
        let (port, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
        let fault = match (port_range(port), protocol) {
            (Err(why), _) => Some(why),
            (Ok(_), "tcp" | "udp" | "sctp") => None,
            (Ok(_), _) => Some(format!("`{protocol}` is not a protocol; use tcp or udp")),
        };
        if let Some(why) = fault {
            walk.wrong(&item, &below, format!("`{text}` is not a port: {why}"));
        } else if !walk.spend_ports(port_range(port).map_or(1, |range| range.len()), at) {
            break;
        }
        out.push(Node { value: Value::Text(text), ..item });
    }
    Node { value: Value::List(out), ..shell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(short: &str, expected: Result<&[&str], &str>) {
        let show = |port: Short| {
            let address = port.host_ip.map(|ip| format!("{ip} ")).unwrap_or_default();
            let published = port.published.unwrap_or_else(|| "-".to_owned());
            format!("{address}{published} {} {}", port.target, port.protocol)
        };
        let found = parse(short).map(|ports| ports.into_iter().map(show).collect::<Vec<_>>());
        let expected = expected
            .map(|lines| lines.iter().map(|line| (*line).to_owned()).collect())
            .map_err(str::to_owned);
        assert_eq!(found, expected, "{short}");
    }

    #[test]
    fn short_ports_have_an_address_a_published_port_a_target_and_a_protocol() {
        check("80", Ok(&["- 80 tcp"]));
        check("8080:80", Ok(&["8080 80 tcp"]));
        check("127.0.0.1:8080:80/udp", Ok(&["127.0.0.1 8080 80 udp"]));
        check("127.0.0.1::80", Ok(&["127.0.0.1 - 80 tcp"]));
        check("[::1]:8080:80", Ok(&["::1 8080 80 tcp"]));
        check(":80", Ok(&["- 80 tcp"]));
    }

    #[test]
    fn ranges_go_pairwise_and_one_target_keeps_the_range() {
        check("3000-3001", Ok(&["- 3000 tcp", "- 3001 tcp"]));
        check("8000-8001:80-81", Ok(&["8000 80 tcp", "8001 81 tcp"]));
        check("8000-8002:80", Ok(&["8000-8002 80 tcp"]));
        check("8000-8002:80-81", Err("3 ports are published for 2"));
        check("81-80", Err("the range 81-80 runs backwards"));
    }

    #[test]
    fn what_is_not_a_port_is_said_in_words() {
        check("0:80", Err("port 0 does not exist"));
        check("8080:65536", Err("ports go from 1 to 65535"));
        check("http:80", Err("`http` is not a port number"));
        check("localhost:8080:80", Err("`localhost` is not an IP address"));
        check("8080:", Err("the container's port is missing after the colon"));
        check("80/http", Err("`http` is not a protocol; use tcp or udp"));
        check("-1:80", Err("a port is missing"));
    }
}
