use std::{collections::BTreeMap, sync::Arc};

use model::{Desired, Epoch, Generation, NodeId, ServiceName, ServiceSpec, StackName, TaskId};

use super::*;
use crate::runtime::{Container, ContainerId, ContainerState, Place};

fn port(published: Option<u16>, host_ip: Option<&str>, protocol: Protocol) -> Port {
    Port { host_ip: host_ip.map(str::to_owned), published, target: 80, protocol }
}

fn assignment(task: u64, ports: &[Port]) -> Assignment {
    let mut spec = ServiceSpec::new("image");
    spec.ports = ports.to_vec();
    Assignment {
        task: TaskId::new(task),
        stack: StackName::new("shop").unwrap(),
        service: ServiceName::new("web").unwrap(),
        slot: 1,
        epoch: Epoch(task),
        desired: Desired::Prepare,
        spec: Arc::new(spec),
        volumes: BTreeMap::new(),
    }
}

fn container(task: u64, state: ContainerState) -> Container {
    Container {
        id: ContainerId(format!("c{task}")),
        task: TaskId::new(task),
        node: None,
        place: Place { stack: "shop".to_owned(), service: "web".to_owned(), slot: 1 },
        epoch: Epoch(task),
        state,
        health: model::Health::None,
        probe: None,
        started_at: None,
        finished_at: None,
        exit_code: None,
        oom_killed: false,
        leased: None,
        volumes: BTreeMap::new(),
        binds: BTreeMap::new(),
    }
}

#[test]
fn a_port_that_a_task_has_or_a_stray_may_have_is_not_asked_for() {
    let (own, shared) = (port(Some(81), None, Protocol::Tcp), port(Some(80), None, Protocol::Tcp));
    let chosen = port(None, None, Protocol::Tcp);
    let new = assignment(2, &[own.clone(), shared.clone(), chosen]);
    let set = AssignmentSet {
        cluster: "c1".to_owned(),
        node: NodeId::new(1),
        generation: Generation(1),
        stacks: Vec::new(),
        tasks: vec![assignment(1, &[shared]), new.clone()],
        remove_volumes: Vec::new(),
    };
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
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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
