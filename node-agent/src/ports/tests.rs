use model::ServiceSpec;

use super::*;
use crate::{
    runtime::{Container, ContainerState},
    testing::{assignment, container, set},
};

fn port(published: Option<u16>, host_ip: Option<&str>, protocol: Protocol) -> Port {
    Port { host_ip: host_ip.map(str::to_owned), published, target: 80, protocol }
}

fn publishing(task: u64, ports: &[Port]) -> Assignment {
    let mut spec = ServiceSpec::new("image");
    spec.ports = ports.to_vec();
    assignment(task, spec)
}

#[test]
fn a_port_that_a_task_has_or_a_stray_may_have_is_not_asked_for() {
    let (own, shared) = (port(Some(81), None, Protocol::Tcp), port(Some(80), None, Protocol::Tcp));
    let chosen = port(None, None, Protocol::Tcp);
    let new = publishing(2, &[own.clone(), shared.clone(), chosen]);
    let set = set(vec![publishing(1, &[shared]), new.clone()]);
    let seen = |containers: &[Container]| {
        let held = containers.iter().map(|held| (held.id.clone(), held.clone())).collect();
        let observed = Observed { known: true, containers: held, ..Observed::default() };
        of_no_other_task(&new, &set, &observed)
    };
    let running = container(1, ContainerState::Running);
    assert_eq!(seen(std::slice::from_ref(&running)), std::slice::from_ref(&own));
    assert_eq!(seen(&[running.clone(), container(9, ContainerState::Exited)]), [own]);
    assert_eq!(seen(&[running, container(9, ContainerState::Running)]), []);
}

#[test]
fn a_port_is_taken_while_something_listens_there() {
    // None of those that connections of other tests are given as soon as it is free.
    let mut ports = (11_000..12_000).map(|port| TcpListener::bind(("127.0.0.1", port)));
    let listener = ports.find_map(Result::ok).unwrap();
    let held = listener.local_addr().unwrap().port();
    let asked = |host_ip| port(Some(held), host_ip, Protocol::Tcp);
    assert!(is_taken(&asked(None)) && is_taken(&asked(Some("127.0.0.1"))));
    // Another address of this machine, one that is not its own, and one that is none.
    for elsewhere in ["127.0.0.2", "192.0.2.1", "web"] {
        assert!(!is_taken(&asked(Some(elsewhere))), "{elsewhere}");
    }
    drop(listener);
    assert!(!is_taken(&asked(Some("127.0.0.1"))));
    assert!(!is_taken(&port(None, None, Protocol::Tcp)));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let held = socket.local_addr().unwrap().port();
    assert!(is_taken(&port(Some(held), None, Protocol::Udp)));
}

#[test]
fn the_engines_words_for_a_taken_port_get_the_port_and_the_way_out() {
    for said in [
        "driver failed programming external connectivity on endpoint x (8f): Error starting userland \
         proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
        "driver failed programming external connectivity on endpoint x (8f): Bind for 0.0.0.0:8080 \
         failed: port is already allocated",
        "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use",
        "failed to bind host port for [::]:8080:[fd00::2]:80/tcp: address already in use",
    ] {
        let told = in_words(said).unwrap_or_default();
        let words = "host port 8080 is taken by another program of this machine: ";
        assert!(told.starts_with(words), "{told}");
        assert!(told.ends_with(&format!(" ({said})")), "{told}");
    }
    assert_eq!(in_words("no such image"), None);
    assert_eq!(in_words("x: bind: address already in use"), None);
}
