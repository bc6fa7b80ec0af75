//! The network between hosts: a switch nothing else is connected to, and what goes wrong on it.
//!
//! **Invariant:** no host has a way out: there is no default route, and the switch's namespace has no
//! other link.

use std::fs::File;

use rustix::{
    fd::AsFd as _,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::tool::{must, run};

/// Every namespace of this harness begins like this, and no other does.
pub(super) const PREFIX: &str = "siso-hosts-";
/// Where people are, with `sisoctl`: on the switch like a host.
const OPERATOR: &str = "operator";
const SWITCH: &str = "switch";
/// The last number of the operator's address.
const OPERATOR_NUMBER: u32 = 254;
/// The network of the hosts; their number is the rest of the address.
const NETWORK: &str = "10.214.77";
/// The states of a bridge's port that matter here.
const CUT: &str = "0";
const FORWARDING: &str = "3";

/// The address of a host.
pub(super) fn address(number: u32) -> String {
    format!("{NETWORK}.{number}")
}

/// The path by which `nsenter --net` finds a namespace.
pub(super) fn path(name: &str) -> String {
    format!("/run/netns/{PREFIX}{name}")
}

/// Those that are there.
pub(super) fn existing() -> Vec<String> {
    let listed = run("ip", &["netns", "list"]).unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| name.starts_with(PREFIX)).map(str::to_owned).collect()
}

/// Removes a namespace with its links.
pub(super) fn remove(name: &str) -> Result<(), String> {
    run("ip", &["netns", "delete", name]).map(drop)
}

/// Makes the switch, and the operator's place on it.
#[track_caller]
pub(super) fn make() {
    let switch = format!("{PREFIX}{SWITCH}");
    must("ip", &["netns", "add", &switch]);
    let bridge = ["link", "add", "br0", "type", "bridge", "forward_delay", "0"];
    must("ip", &[&["-n", &switch], &bridge[..]].concat());
    must("ip", &["-n", &switch, "link", "set", "br0", "up"]);
    join(OPERATOR, OPERATOR_NUMBER);
}

/// Makes the namespace of a host and plugs it in.
#[track_caller]
pub(super) fn add_host(number: u32) {
    join(&number.to_string(), number);
}

fn join(name: &str, number: u32) {
    let (space, switch) = (format!("{PREFIX}{name}"), format!("{PREFIX}{SWITCH}"));
    let port = port(number);
    must("ip", &["netns", "add", &space]);
    let pair = ["type", "veth", "peer", "name", "eth0", "netns", &space];
    let link = ["link", "add", &port, "netns", &switch];
    must("ip", &[&link[..], &pair[..]].concat());
    must("ip", &["-n", &switch, "link", "set", &port, "master", "br0", "up"]);
    must(
        "ip",
        &["-n", &space, "address", "add", &format!("{}/24", address(number)), "dev", "eth0"],
    );
    for device in ["lo", "eth0"] {
        must("ip", &["-n", &space, "link", "set", device, "up"]);
    }
}

fn port(number: u32) -> String {
    format!("port{number}")
}

/// Moves this thread, and whatever it starts from now on, to the operator's place.
#[track_caller]
pub(super) fn enter() {
    let space = File::open(path(OPERATOR)).expect("the operator's network");
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("root may enter it");
}

/// Pulls a host's plug, or puts it back: the link seems up, and nothing goes through it.
#[track_caller]
pub(super) fn plug(number: u32, connected: bool) {
    let place = format!("--net={}", path(SWITCH));
    let state = if connected { FORWARDING } else { CUT };
    let port = port(number);
    must("nsenter", &[&place, "bridge", "link", "set", "dev", &port, "state", state]);
}

/// From now on `to` receives nothing of `from`.
#[track_caller]
pub(super) fn deafen(to: u32, from: u32) {
    rule(to, &["-s", &address(from), "-j", "DROP"]);
}

/// From now on a host loses so many percent of what is sent to it.
#[track_caller]
pub(super) fn lose(number: u32, percent: u32) {
    assert!(percent <= 100, "{percent} % of all packets");
    let probability = format!("{}.{:02}", percent / 100, percent % 100);
    let chance = ["-m", "statistic", "--mode", "random", "--probability", &probability];
    rule(number, &[&chance[..], &["-j", "DROP"]].concat());
}

/// Before anything else looks at a packet, an engine's rules included.
fn rule(number: u32, what: &[&str]) {
    let place = format!("--net={}", path(&number.to_string()));
    let add = [&place, "iptables", "-w", "-t", "raw", "-A", "PREROUTING", "-i", "eth0"];
    must("nsenter", &[&add[..], what].concat());
}

/// Takes back what was done to a host's link.
#[track_caller]
pub(super) fn heal(number: u32) {
    let place = format!("--net={}", path(&number.to_string()));
    must("nsenter", &[&place, "iptables", "-w", "-t", "raw", "-F", "PREROUTING"]);
    plug(number, true);
}
