//! What stands between two of our processes, or between an agent and its engine, and stops doing so.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

const BUFFER: usize = 16 << 10;
/// What a broken engine says.
const FAILURE: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n\
                       Connection: close\r\nContent-Length: 29\r\n\r\n{\"message\":\"something broke\"}";

/// Carries bytes until either end is gone; drops them on the floor while `swallows`.
fn carry(mut from: impl Read, mut to: impl Write, swallows: &AtomicBool) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !swallows.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// A way to a scheduler on which bytes get lost: connections stay open, and nothing arrives.
#[derive(Debug)]
pub struct Relay {
    address: String,
    swallows: Arc<AtomicBool>,
}

impl Relay {
    /// A way to this address. It is there until the test's process ends.
    pub fn to(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let relay = Self { address: listener.local_addr()?.to_string(), swallows: Arc::default() };
        let (target, swallows) = (address.to_owned(), Arc::clone(&relay.swallows));
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&target) else { continue };
                let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else {
                    continue;
                };
                for (from, to) in [(near, far), (far_too, near_too)] {
                    let swallows = Arc::clone(&swallows);
                    thread::spawn(move || {
                        carry(&from, &to, &swallows);
                        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    });
                }
            }
        });
        Ok(relay)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether bytes get lost from now on.
    pub fn swallow(&self, swallows: bool) {
        self.swallows.store(swallows, Ordering::SeqCst);
    }
}

/// A socket in front of an engine's that answers everything with 500 on request.
#[derive(Debug)]
pub struct BrokenEngine {
    broken: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

impl BrokenEngine {
    /// Listens at `socket`; whole at first. It is there until the test's process ends.
    pub fn before(engine: &Path, socket: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let held = Self { broken: Arc::default(), open: Arc::default() };
        let (broken, open) = (Arc::clone(&held.broken), Arc::clone(&held.open));
        let engine = engine.to_owned();
        thread::spawn(move || {
            for mut near in listener.incoming().flatten() {
                if broken.load(Ordering::SeqCst) {
                    thread::spawn(move || {
                        let _ = near.read(&mut [0; BUFFER]);
                        let _ = near.write_all(FAILURE.as_bytes());
                    });
                    continue;
                }
                let Ok(far) = UnixStream::connect(&engine) else { continue };
                let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else {
                    continue;
                };
                let kept = [near.try_clone(), far.try_clone()].into_iter().flatten();
                open.lock().unwrap_or_else(PoisonError::into_inner).extend(kept);
                for (from, to) in [(near, far), (far_too, near_too)] {
                    thread::spawn(move || {
                        carry(&from, &to, &AtomicBool::new(false));
                        // A side that is done speaking may still be listening.
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        Ok(held)
    }

    /// From now on everything is answered with 500, or nothing is; what is under way is cut off.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
