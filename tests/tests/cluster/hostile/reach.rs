//! What a container reaches of the machine it runs on and of the network around it.

use std::{io::Read as _, net::TcpListener, sync::mpsc, thread};

use siso_tests::{Ctl, PATIENT, World, wait_until};

/// Ports of an engine that listens to the network, which ours must not.
const ENGINE_PORTS: [u16; 2] = [2375, 2376];

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// What the scheduler writes of the container's TLS, which is older than 1.3. What one of today hears without a
/// certificate is in `intruders`.
const TOO_OLD: &str = "peer is incompatible";

const STACK: &str = "
name: inside
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 32m
    extra_hosts: ['host.docker.internal:host-gateway']
  caged:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 32m
    networks: [cage]
networks:
  cage: {internal: true}
";

/// What a shell in the container prints.
fn inside(ctl: &Ctl, service: &str, line: &str) -> String {
    let target = format!("inside/{service}");
    let answer = ctl.run(&["exec", &target, "--", "sh", "-c", line]);
    answer.stdout + &answer.stderr
}

fn port(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// The scheduler listens to every address of the machine, as on a real one.
fn listen_everywhere(world: &mut World) {
    let endpoint = world.endpoint();
    world.scheduler.stop();
    let flags = &mut world.scheduler.arguments;
    let listen = flags.iter().position(|flag| flag == "--listen").expect("--listen");
    flags[listen + 1] = format!("0.0.0.0:{}", port(&endpoint));
    flags.extend(["--advertise".to_owned(), endpoint]);
    world.start_scheduler();
    world.wait_session(true);
}

/// A listener of the test: what it would be heard by, and what each who knocks says first.
fn listener() -> (u16, mpsc::Receiver<u8>) {
    let control = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = control.local_addr().expect("its address").port();
    let (heard, first) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in control.incoming().flatten() {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_ok() && heard.send(byte[0]).is_err() {
                return;
            }
        }
    });
    (port, first)
}

#[test]
fn a_container_gets_no_answer_from_scheduler_agent_or_engine_without_a_certificate() {
    let Some(mut world) = World::new("reach") else { return };
    listen_everywhere(&mut world);
    world.apply(STACK).expect(0);
    world.wait_running("inside", 2);
    let gateway =
        inside(&world.ctl, "web", "ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p'");
    let gateway = gateway.trim().to_owned();
    assert!(gateway.parse::<std::net::IpAddr>().is_ok(), "{gateway:?}");
    let scheduler = port(&world.endpoint());
    let probes = [world.scheduler_metrics(), world.agent_metrics()].map(|address| port(&address));
    let knock = |port: u16, bytes: &str| {
        let line =
            format!("printf '{bytes}' | nc -w 5 {gateway} {port} | head -c 4000; echo; echo END");
        inside(&world.ctl, "web", &line)
    };
    let (listening, first) = listener();
    let hears = |what: &str| {
        first.recv_timeout(PATIENT).unwrap_or_else(|_| panic!("{what} does not reach the machine"))
    };
    knock(listening, "x");
    assert_eq!(hears("a container"), b'x');
    let get = "GET /metrics HTTP/1.0\\r\\nHost: 127.0.0.1\\r\\n\\r\\n";
    let http2 = "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n";
    for (what, port, bytes) in [
        ("the scheduler, in plain text", scheduler, get),
        ("the scheduler, as gRPC without TLS", scheduler, http2),
        ("the scheduler's figures", probes[0], get),
        ("the agent's figures", probes[1], get),
        ("the agent's address for others", 7401, get),
        ("the engine", ENGINE_PORTS[0], get),
        ("the engine, where it has TLS", ENGINE_PORTS[1], get),
    ] {
        let answer = knock(port, bytes);
        assert!(answer.contains("END"), "{what}: {answer:?}");
        assert!(!answer.contains("HTTP/") && !answer.contains("siso"), "{what}: {answer:?}");
    }
    let wget = |url: &str| {
        let line = format!("wget -T 5 -q -O - --no-check-certificate {url} 2>&1; echo END");
        let answer = inside(&world.ctl, "web", &line);
        assert!(answer.contains("END") && !answer.contains("siso"), "{url}: {answer:?}");
    };
    for machine in [gateway.as_str(), "host.docker.internal"] {
        for (scheme, speaks) in [("http", b'G'), ("https", HANDSHAKE)] {
            let to = |port: u16| format!("{scheme}://{machine}:{port}/");
            // It waits for an answer and gets none.
            wget(&to(listening));
            assert_eq!(hears(&to(listening)), speaks);
            wget(&to(scheduler));
        }
    }
    let socket =
        inside(&world.ctl, "web", "ls /var/run/docker.sock /run/docker.sock 2>&1; echo END");
    assert_eq!(socket.matches("No such file").count(), 2, "{socket}");
    wait_until("the scheduler has told of both who came with TLS", PATIENT, || {
        let said = world.scheduler.output("stderr");
        if said.matches(TOO_OLD).count() == 2 { Ok(()) } else { Err(said) }
    });
    world.expect_unharmed();
}

/// Siso keeps no container from the network of its machine: it says so where a file asks for that.
#[test]
fn a_network_that_asks_to_be_closed_is_told_that_it_is_not() {
    let world = World::scheduler_only("caged");
    let answer = world.apply_with(&["--detach"], STACK).expect(0);
    assert!(answer.stderr.contains("reach the outside all the same"), "{answer}");
}
