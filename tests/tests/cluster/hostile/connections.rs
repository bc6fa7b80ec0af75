//! Connections: very many, and such that only stand there.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use siso_tests::{PATIENT, World, required, wait_until};

use super::files::service;

/// Connections of each kind that only stand there.
const IDLERS: usize = 300;
/// Connections that all come at once, and the files a test of them opens besides.
const CROWD: usize = 10_000;
const FILES_OF_A_TEST: usize = 1_000;

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
    let mut streams = Vec::new();
    for _ in 0..CROWD {
        // Of those beyond its places the scheduler may let some wait and turn others away.
        if let Ok(stream) = TcpStream::connect(world.endpoint()) {
            streams.push(stream);
        }
    }
    assert!(streams.len() > CROWD / 2, "{} connections", streams.len());
    // However long the scheduler takes to turn away as many, people get their turn.
    for number in 0..3 {
        let stack = service("").replace("name: x", &format!("name: x{number}"));
        wait_until("people are served", PATIENT, || {
            let answer = world.apply_with(&["--detach"], &stack);
            if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
        });
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
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("still open after {:?}", began.elapsed());
            }
            _ => assert!(!answer.starts_with(b"HTTP"), "{answer:?}"),
        }
    }
    assert!(slow.join().expect("the slow one"), "it was let talk for ever");
    world.expect_unharmed();
}
