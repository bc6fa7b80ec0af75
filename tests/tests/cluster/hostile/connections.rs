//! Connections: very many, and such that only stand there.

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use siso_tests::{PATIENT, World, required};
use tokio::{net::TcpSocket, runtime::Runtime};

use super::files::service;

/// Connections of each kind that only stand there.
const IDLERS: usize = 300;
/// Connections that come one after the other as fast as they can, and the files a test of them opens besides.
const CROWD: usize = 10_000;
const FILES_OF_A_TEST: usize = 1_000;
/// Of a hundred of them so many must come about: the system may lose one.
const CONNECTED_PERCENT: usize = 99;
/// Addresses they come from: one alone gets half of the places only.
const ADDRESSES: u8 = 4;
/// How many may stand at the door at one time (`HANDSHAKES_MAX` of the scheduler), and the files it has open
/// besides, at most.
const DOOR: usize = 256;
const FILES_OF_A_SCHEDULER: usize = 128;
/// After how many of them it is looked who stands there, and people ask something.
const LOOK_EVERY: usize = 500;

/// A connection from this address, which nobody waits for when it is read.
fn connect_from(runtime: &Runtime, from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect(to).await?.into_std()
    })
}

/// How many of them the other side has not closed.
fn open(streams: &[TcpStream]) -> usize {
    let is_open = |stream: &&TcpStream| matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    streams.iter().filter(is_open).count()
}

#[test]
fn ten_thousand_connections_at_once_leave_people_served() {
    let world = World::scheduler_only("crowd");
    let limit = open_files_max();
    let enough = if limit > CROWD + FILES_OF_A_TEST {
        Ok(())
    } else {
        Err(format!("this process may open {limit} files"))
    };
    if required("ten thousand connections", "SISO_REQUIRE_FILES", enough).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("one");
    let endpoint = world.endpoint().parse().expect("an address");
    let files = format!("/proc/{}/fd", world.scheduler.pid());
    let (mut streams, mut failed, mut most) = (Vec::new(), Vec::new(), 0);
    for (number, address) in (1..=CROWD).zip((1..=ADDRESSES).cycle()) {
        match connect_from(&runtime, Ipv4Addr::new(127, 0, 1, address), endpoint) {
            Ok(stream) => streams.push(stream),
            Err(error) => failed.push(error.to_string()),
        }
        if number % LOOK_EVERY == 0 {
            most = most.max(open(&streams));
            let held = fs::read_dir(&files).expect("its files").count();
            assert!(held <= DOOR + FILES_OF_A_SCHEDULER, "the scheduler has {held} files open");
            world.ctl.run(&["stack", "ls"]).expect(0);
        }
    }
    assert!(streams.len() * 100 >= CROWD * CONNECTED_PERCENT, "{}: {failed:?}", streams.len());
    assert!(most * 10 >= DOOR * 9, "at most {most} stood at the door, where {DOOR} may");
    // They are still there.
    for number in 0..3 {
        let stack = service("").replace("name: x", &format!("name: x{number}"));
        world.apply_with(&["--detach"], &stack).expect(0);
    }
    drop(streams);
    world.expect_unharmed();
}

/// How many files this process may have open.
fn open_files_max() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn connections_that_only_stand_there_are_closed_and_hold_up_nobody() {
    let world = World::scheduler_only("idlers");
    // The first words of a greeting whose rest never comes.
    let stalled: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    let began = Instant::now();
    let connect = |first: &[u8]| {
        let mut stream = TcpStream::connect(world.endpoint()).expect("a connection");
        stream.set_read_timeout(Some(PATIENT)).expect("a timeout");
        // One that was closed already is what is wanted.
        let _ = stream.write_all(first);
        stream
    };
    let silent = (0..IDLERS).map(|_| connect(b""));
    let mut streams: Vec<_> = silent.collect();
    streams.extend((0..IDLERS).map(|_| connect(stalled)));
    streams.extend((0..IDLERS).map(|_| connect(b"GET / HTTP/1.1\r\nX: ")));
    for _ in 0..5 {
        world.ctl.run(&["stack", "ls"]).expect(0);
    }
    // One byte a second keeps nobody's place.
    let slow = thread::spawn({
        let mut stream = connect(&stalled[..5]);
        move || {
            while began.elapsed() < PATIENT {
                if stream.write_all(b"\x01").is_err() {
                    return true;
                }
                thread::sleep(Duration::from_secs(1));
            }
            false
        }
    });
    for mut stream in streams {
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("still open after {:?}", began.elapsed());
            }
            _ => assert!(!answer.starts_with(b"HTTP"), "{answer:?}"),
        }
    }
    assert!(slow.join().expect("the slow one"), "it was let talk for ever");
    world.expect_unharmed();
}
