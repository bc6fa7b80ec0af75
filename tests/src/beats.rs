//! What strict singletons write down of themselves, and whether two of them ever ran at once.
//!
//! The container prints `beat SECONDS` over and over, SECONDS from `/proc/uptime`: the machine's clock that
//! counts sleep, and the same one for every container on it. A [`Recorder`] outside reads that straight from
//! the engine, past everything under test, with the epoch from the container's label. [`overlaps`] is told
//! what was recorded and finds any two that ran at once, or one of a lower epoch after a higher one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::engine::Engine;

/// The shell command that beats, every 50 ms; it ends at once when it is asked to.
const BEATING: &str = "trap 'exit 0' TERM; while :; do echo beat $(cut -d' ' -f1 /proc/uptime); \
                           usleep 50000; done";
/// A stack of this name with one strict singleton, `one`, that beats. What an engine starts a container with takes
/// some 15 MiB of its limit where control groups count what lies in memory files.
pub fn singleton(stack: &str) -> String {
    let command = BEATING.replace('$', "$$");
    format!(
        "
name: {stack}
services:
  one:
    image: siso/test:1
    command: [sh, -c, \"{command}\"]
    mem_limit: 64m
    stop_grace_period: 1s
    x-siso: {{ singleton: strict }}
"
    )
}

/// How often containers are looked for.
const GLANCE: Duration = Duration::from_millis(100);
const REQUEST_END: &str = " HTTP/1.0\r\nHost: localhost\r\n\r\n";

/// One sign of life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Beat {
    /// When, in hundredths of a second of the clock that counts sleep.
    pub at: u64,
    /// The epoch of its container.
    pub epoch: u64,
    /// Its container.
    pub container: String,
}

/// How long each container beat, for people.
pub fn told(beats: &[Beat]) -> String {
    let mut spans: BTreeMap<(u64, &str), (u64, u64)> = BTreeMap::new();
    for beat in beats {
        let span = spans.entry((beat.epoch, &beat.container)).or_insert((beat.at, beat.at));
        *span = (span.0.min(beat.at), span.1.max(beat.at));
    }
    let line = |((epoch, container), (first, last)): (&(u64, &str), &(u64, u64))| {
        format!("epoch {epoch}, {container:.12}: from {first}0 to {last}0 ms\n")
    };
    spans.iter().map(line).collect()
}

/// Two that ran at once, or in the wrong order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The one that had begun already.
    pub newer: Beat,
    /// The other, which was still, or again, there.
    pub older: Beat,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { newer, older } = self;
        let late = older.at - newer.at;
        write!(
            f,
            "epoch {} of {} beats {late}0 ms after epoch {} of {} began",
            older.epoch, older.container, newer.epoch, newer.container
        )
    }
}

/// The first two beats of one replica that show that it ran twice at once. Once a container has beaten,
/// none of a lower epoch may, and no other one of the same epoch.
pub fn overlaps(beats: &[Beat]) -> Option<Overlap> {
    let mut ordered: Vec<&Beat> = beats.iter().collect();
    ordered.sort();
    let mut newest: Option<&Beat> = None;
    for beat in ordered {
        match newest {
            Some(first) if beat.container == first.container => {}
            Some(first) if beat.epoch <= first.epoch => {
                return Some(Overlap { newer: first.clone(), older: beat.clone() });
            }
            // The first of a new epoch, or the first of all.
            Some(_) | None => newest = Some(beat),
        }
    }
    None
}

/// Reads the beats of one stack's containers from their engines while they run; see the module.
#[derive(Debug)]
pub struct Recorder {
    beats: Arc<Mutex<BTreeSet<Beat>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Where a recorder looks.
#[derive(Debug, Clone)]
struct Place {
    engine: Engine,
    cluster: String,
    stack: String,
}

impl Recorder {
    /// Records the containers of this stack of this cluster, on all of these engines.
    pub fn of(engines: impl IntoIterator<Item = Engine>, cluster: &str, stack: &str) -> Self {
        let (beats, over) = (Arc::<Mutex<BTreeSet<Beat>>>::default(), Arc::<AtomicBool>::default());
        let watch = |engine| {
            let (cluster, stack) = (cluster.to_owned(), stack.to_owned());
            let place = Place { engine, cluster, stack };
            let (beats, over) = (Arc::clone(&beats), Arc::clone(&over));
            thread::spawn(move || place.watch(&beats, &over))
        };
        let threads = engines.into_iter().map(watch).collect();
        Self { beats, over, threads }
    }

    /// What was recorded so far, by its time.
    pub fn beats(&self) -> Vec<Beat> {
        lock(&self.beats).iter().cloned().collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // One that panicked recorded less, which the test has seen.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    /// Listens to each container that runs, until it is over. An engine that was away is found again.
    fn watch(&self, beats: &Arc<Mutex<BTreeSet<Beat>>>, over: &AtomicBool) {
        let known = Arc::<Mutex<BTreeSet<String>>>::default();
        while !over.load(Ordering::SeqCst) {
            for container in self.engine.listed(&self.cluster) {
                let labels = &container["Labels"];
                let epoch = labels["siso.epoch"].as_str().and_then(|text| text.parse().ok());
                let id = container["Id"].as_str().unwrap_or_default().to_owned();
                let (Some(epoch), true) = (epoch, labels["siso.stack"] == self.stack) else {
                    continue;
                };
                if container["State"] == "running" && lock(&known).insert(id.clone()) {
                    let (engine, beats) = (self.engine.clone(), Arc::clone(beats));
                    let known = Arc::clone(&known);
                    thread::spawn(move || {
                        // It ends when the container is removed or the engine is away.
                        let _ = listen(&engine, &beats, (epoch, &id));
                        lock(&known).remove(&id);
                    });
                }
            }
            thread::sleep(GLANCE);
        }
    }
}

/// Follows the log of a container, over its restarts, until it is removed.
fn listen(
    engine: &Engine,
    beats: &Mutex<BTreeSet<Beat>>,
    (epoch, container): (u64, &str),
) -> std::io::Result<()> {
    loop {
        let mut stream = engine.connect()?;
        let path = format!("GET /containers/{container}/logs?stdout=1&follow=1");
        stream.write_all([path.as_str(), REQUEST_END].concat().as_bytes())?;
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        // From the beginning each time; a beat is the same one whenever it is heard.
        while lines.read_until(b'\n', &mut line)? > 0 {
            if let Some(at) = beat(&line) {
                lock(beats).insert(Beat { at, epoch, container: container.to_owned() });
            }
            line.clear();
        }
        if engine.inspect(container).is_null() {
            return Ok(());
        }
        thread::sleep(GLANCE);
    }
}

/// The time in a line of a log, which has the frame of the engine's stream before it.
fn beat(line: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(line);
    let (_, seconds) = text.rsplit_once("beat ")?;
    let (whole, hundredths) = seconds.trim().split_once('.')?;
    let whole: u64 = whole.parse().ok()?;
    Some(whole * 100 + hundredths.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beats as `(hundredths, epoch, container)`.
    fn history(beats: &[(u64, u64, &str)]) -> Vec<Beat> {
        let beat = |&(at, epoch, container): &(u64, u64, &str)| Beat {
            at,
            epoch,
            container: container.to_owned(),
        };
        beats.iter().map(beat).collect()
    }

    #[test]
    fn one_after_the_other_is_no_overlap_in_whatever_order_it_was_heard() {
        assert_eq!(overlaps(&[]), None);
        let fine = history(&[(30, 2, "b"), (10, 1, "a"), (40, 2, "b"), (20, 1, "a"), (90, 5, "c")]);
        assert_eq!(overlaps(&fine), None);
        // The same container stops and is started again.
        assert_eq!(overlaps(&history(&[(10, 1, "a"), (9_000, 1, "a"), (9_100, 2, "b")])), None);
    }

    #[test]
    fn two_epochs_at_once_are_found_however_briefly() {
        let bad = history(&[(10, 1, "a"), (20, 2, "b"), (21, 1, "a"), (30, 2, "b")]);
        let found = overlaps(&bad).unwrap();
        assert_eq!((found.newer.at, found.older.at), (20, 21));
        let text = "epoch 1 of a beats 10 ms after epoch 2 of b began";
        assert_eq!(found.to_string(), text);
    }

    #[test]
    fn a_lower_epoch_after_a_higher_one_is_found_also_when_that_has_ended() {
        assert!(overlaps(&history(&[(10, 2, "b"), (9_000, 1, "a")])).is_some());
        assert!(overlaps(&history(&[(10, 1, "a"), (20, 2, "b"), (9_000, 1, "a")])).is_some());
    }

    #[test]
    fn two_containers_of_one_epoch_are_found() {
        assert!(overlaps(&history(&[(10, 1, "a"), (20, 1, "b")])).is_some());
        assert!(overlaps(&history(&[(10, 1, "a"), (10, 1, "b")])).is_some());
    }

    #[test]
    fn a_beat_is_read_from_a_line_with_the_frame_of_the_engine() {
        assert_eq!(beat(b"\x01\0\0\0\0\0\0\x0ebeat 27692.07\n"), Some(2_769_207));
        assert_eq!(beat(b"HTTP/1.0 200 OK\r\n"), None);
        assert_eq!(beat(b"beat \n"), None);
    }
}
