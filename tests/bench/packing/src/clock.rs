//! Time on the processor: other work on the machine counts as little as possible.

use std::{fs, time::Instant};

/// A measurement that has begun.
#[derive(Debug)]
pub(crate) struct Clock {
    begun: Instant,
    on_processor: Option<u64>,
}

/// Nanoseconds this thread has run, where the system tells.
fn on_processor() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { on_processor: on_processor(), begun: Instant::now() }
    }

    /// Milliseconds since: on the processor, or at all where that is not told. The system counts in
    /// ticks of some milliseconds here and there; what is shorter is taken from the clock on the wall.
    pub(crate) fn milliseconds(&self) -> f64 {
        let wall = self.begun.elapsed().as_secs_f64() * 1e3;
        let ran =
            on_processor().zip(self.on_processor).map(|(now, then)| (now - then) as f64 / 1e6);
        match ran {
            Some(ran) if ran > 0.0 => ran.min(wall),
            Some(_) | None => wall,
        }
    }
}

/// Seconds of processor time that all threads of this process have taken.
pub(crate) fn process_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may contain anything.
    let fields = stat.rsplit_once(") ").map_or("", |(_, after)| after).split(' ');
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}
