//! The wall clock of whoever leads steps: in every third world. Entries are stamped with it, as is what
//! people ask until when; the clocks of machines are others.

use scheduler_core::Command;

use crate::{event::Event, world::World};

/// One world of so many has a clock that steps.
const ONE_WORLD_IN: u64 = 3;
/// The longest pause between two steps.
const PAUSE: u64 = 40_000;
/// From this form on it is written down when a drain began and that a token ended, and no service is held down by
/// stamps.
const FORM: u32 = 6;
const MINUTE: i64 = 60_000;
/// How far it is from true time after a step, in milliseconds: by a time server, by a wrong time zone, by
/// a battery that is empty.
const OFFSETS: [i64; 8] = [
    0,
    2_000,
    -2_000,
    5 * MINUTE,
    60 * MINUTE,
    -60 * MINUTE,
    30 * 24 * 60 * MINUTE,
    -2 * 365 * 24 * 60 * MINUTE,
];

impl World {
    /// Lets the clock step in some worlds.
    pub(crate) fn clocks_of(&mut self, seed: u64) {
        if seed % ONE_WORLD_IN == 1 {
            self.let_clock_step();
        }
    }

    pub(crate) fn let_clock_step(&mut self) {
        self.steps_clock = true;
        self.write(Command::RaiseForm { form: FORM });
        self.queue.push(PAUSE, Event::ClockSteps);
    }

    /// Somebody sets the clock. It stays like that when the faults stop.
    pub(crate) fn step_clock(&mut self) {
        if !self.faults.on {
            return;
        }
        let next = self.chance.between(500, PAUSE);
        self.queue.push(self.now + next, Event::ClockSteps);
        let offset = *self.chance.pick(&OFFSETS);
        self.trace(|| format!("the wall clock is {offset} ms from true time"));
        self.clock_offset = offset;
    }
}
