//! Ports of this machine that a service publishes, and programs that are no tasks.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
};

use model::{
    Assignment, AssignmentSet,
    spec::{Port, Protocol},
};

use crate::reconcile::Observed;

/// The ports of a task that no other task has or may still have here: what has them is another program.
/// None while a container that is not assigned (any more) is alive, which may have any.
pub fn of_no_other_task(
    assignment: &Assignment,
    set: &AssignmentSet,
    observed: &Observed,
) -> Vec<Port> {
    let is_assigned = |task| set.tasks.iter().any(|held| held.task == task);
    let stray =
        observed.containers.values().any(|held| held.state.is_alive() && !is_assigned(held.task));
    if stray {
        return Vec::new();
    }
    let key = |port: &Port| (port.published, port.protocol);
    let others = set.tasks.iter().filter(|other| other.task != assignment.task);
    let theirs: Vec<_> = others.flat_map(|other| other.spec.ports.iter().map(key)).collect();
    let own = assignment.spec.ports.iter().filter(|port| port.published.is_some());
    own.filter(|port| !theirs.contains(&key(port))).cloned().collect()
}

/// Whether something on this machine listens there, so that the engine could not. It is asked as the engine
/// does it: by listening, for a moment.
pub fn is_taken(port: &Port) -> bool {
    let Some(published) = port.published else { return false };
    let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let Ok(address) = port.host_ip.as_deref().map_or(Ok(all), str::parse) else { return false };
    let listened = match port.protocol {
        Protocol::Tcp => TcpListener::bind((address, published)).map(drop),
        Protocol::Udp => UdpSocket::bind((address, published)).map(drop),
    };
    listened.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

/// The engine's words for a port it cannot have, with the port and the way out in front.
pub fn in_words(message: &str) -> Option<String> {
    let port = [" failed: port is already allocated", ": bind: address already in use"]
        .iter()
        .find_map(|said| message.split_once(said)?.0.rsplit(':').next())
        .or_else(|| {
            let listens = message.split_once("failed to bind host port for ")?.1;
            message.contains("address already in use").then_some(())?;
            // `0.0.0.0:8080:172.17.0.2:80/tcp` or `[::]:8080:[fd00::2]:80/tcp`.
            let after = listens.split_once("]:").or_else(|| listens.split_once(':'))?.1;
            after.split(':').next()
        })?;
    Some(format!("{} ({message})", taken(port.parse().ok()?)))
}

/// That a port is taken, and the way out.
pub fn taken(port: u16) -> String {
    format!(
        "host port {port} is taken by another program of this machine: end that, or publish another port"
    )
}

#[cfg(test)]
mod tests;
