//! Ports that stay a test's own.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below what a system hands out to whoever asks for any, unless it was told otherwise, and above what services
/// have by convention.
const FIRST: u16 = 12_000;
/// Two runs of tests at once mostly begin at different ones of so many, so far apart.
const BEGINNINGS: u32 = 40;
const APART: u16 = 500;

/// A port that nobody else in this process gets. Not one the system hands out to whoever asks for any: while who
/// has it is restarted, it would be given to a connection of another test.
pub fn own_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let beginning = u16::try_from(std::process::id() % BEGINNINGS).expect("small");
    let first = FIRST + beginning * APART;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}
