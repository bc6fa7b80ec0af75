//! What strict singletons write down of themselves, and whether two of them ever ran at once.
//!
//! The container prints `beat SECONDS` over and over, SECONDS from `/proc/uptime`: the machine's clock that
//! counts sleep, and the same one for every container on it. A [`Recorder`] outside reads that straight from
//! the engine, past everything under test, with the epoch from the container's label. [`overlaps`] is told
//! what was recorded and finds any two that ran at once, or one of a lower epoch after a higher one.

use std::{
    collections::BTreeSet,
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::engine::Engine;

/// The shell command that beats, every 50 ms; it ends at once when it is asked to.
pub const BEATING: &str = "trap 'exit 0' TERM; while :; do echo beat $(cut -d' ' -f1 /proc/uptime); \
                           usleep 50000; done";
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

/// Reads the beats of one stack's containers from the engine while they run; see the module.
#[derive(Debug)]
pub struct Recorder {
    beats: Arc<Mutex<Vec<Beat>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Records the containers of this stack of this cluster.
    pub fn of(engine: &Engine, cluster: &str, stack: &str) -> Self {
        let (beats, over) = (Arc::<Mutex<Vec<Beat>>>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (engine, beats, over) = (engine.clone(), Arc::clone(&beats), Arc::clone(&over));
            let (cluster, stack) = (cluster.to_owned(), stack.to_owned());
            move || {
                let mut known = BTreeSet::new();
                while !over.load(Ordering::SeqCst) {
                    for container in engine.listed(&cluster) {
                        let labels = &container["Labels"];
                        let epoch =
                            labels["siso.epoch"].as_str().and_then(|text| text.parse().ok());
                        let id = container["Id"].as_str().unwrap_or_default().to_owned();
                        let (Some(epoch), true) = (epoch, labels["siso.stack"] == stack) else {
                            continue;
                        };
                        if container["State"] == "running" && known.insert(id.clone()) {
                            let (engine, beats) = (engine.clone(), Arc::clone(&beats));
                            thread::spawn(move || {
                                // A container that goes ends its log, and this.
                                let _ = listen(&engine, &beats, (epoch, &id));
                            });
                        }
                    }
                    thread::sleep(GLANCE);
                }
            }
        });
        Self { beats, over, thread: Some(thread) }
    }

    /// What was recorded so far.
    pub fn beats(&self) -> Vec<Beat> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Follows the log of a container, over its restarts, until it is removed.
fn listen(
    engine: &Engine,
    beats: &Mutex<Vec<Beat>>,
    (epoch, container): (u64, &str),
) -> std::io::Result<()> {
    let mut heard = 0;
    loop {
        let mut stream = engine.connect()?;
        let path = format!("GET /containers/{container}/logs?stdout=1&follow=1");
        stream.write_all([path.as_str(), REQUEST_END].concat().as_bytes())?;
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        // From the beginning each time; what was heard before is passed over.
        let mut place = 0;
        while lines.read_until(b'\n', &mut line)? > 0 {
            if let Some(at) = beat(&line) {
                place += 1;
                if place > heard {
                    heard = place;
                    let beat = Beat { at, epoch, container: container.to_owned() };
                    beats.lock().unwrap_or_else(PoisonError::into_inner).push(beat);
                }
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
