//! Whoever writes down everything an engine does with containers, however short it is to be seen.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};

use crate::engine::{Engine, percent};

/// How long a silent engine keeps the witness from noticing that it may go.
const GLANCE: Duration = Duration::from_millis(200);
const REQUEST_END: &str = " HTTP/1.0\r\nHost: localhost\r\n\r\n";

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// `create`, `start`, `die` or `destroy`.
    pub action: String,
    /// The container.
    pub container: String,
    /// Its labels, with its name and image.
    pub labels: BTreeMap<String, String>,
}

/// Follows the events of an engine over its restarts; see the module.
#[derive(Debug)]
pub struct Witness {
    deeds: Arc<Mutex<Vec<Deed>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Listens to this engine from its first event on.
    pub fn of(engine: &Engine) -> Self {
        let (deeds, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (engine, deeds, over) = (engine.clone(), Arc::clone(&deeds), Arc::clone(&over));
            move || {
                while !over.load(Ordering::SeqCst) {
                    // An engine that is away is asked again.
                    let _ = follow(&engine, &deeds, &over);
                    thread::sleep(GLANCE);
                }
            }
        });
        Self { deeds, over, thread: Some(thread) }
    }

    /// What happened so far, in its order.
    pub fn deeds(&self) -> Vec<Deed> {
        self.deeds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Until the engine ends. An engine remembers the events since its own start, and tells them first.
fn follow(engine: &Engine, deeds: &Mutex<Vec<Deed>>, over: &AtomicBool) -> std::io::Result<()> {
    let mut stream = engine.connect()?;
    stream.set_read_timeout(Some(GLANCE))?;
    let wanted = json!({"type": ["container"], "event": ["create", "start", "die", "destroy"]});
    let request = format!("GET /events?since=1&filters={}", percent(&wanted.to_string()));
    stream.write_all([request.as_str(), REQUEST_END].concat().as_bytes())?;
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while !over.load(Ordering::SeqCst) {
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {
                if let Some(deed) = deed(&line) {
                    deeds.lock().unwrap_or_else(PoisonError::into_inner).push(deed);
                }
                line.clear();
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Nothing for the lines of the answer's head.
fn deed(line: &[u8]) -> Option<Deed> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let labels = event["Actor"]["Attributes"].as_object()?.iter();
    let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned()));
    Some(Deed {
        action: event["Action"].as_str()?.to_owned(),
        container: event["Actor"]["ID"].as_str()?.to_owned(),
        labels: labels.collect(),
    })
}
