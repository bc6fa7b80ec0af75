//! What will happen and when. Of two things at the same time the one that was planned first is first,
//! so the order never depends on anything but the seed.

use std::collections::BTreeMap;

use crate::event::Event;

/// Events to come.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
}

impl Queue {
    /// Plans an event for a time in milliseconds since the beginning.
    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    /// The next event and its time.
    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// When the next event is.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }
}
