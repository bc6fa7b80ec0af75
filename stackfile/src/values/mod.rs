//! The small languages inside values: sizes, CPU counts, durations, port ranges, words of a
//! command line. Each says what is wrong in a sentence that fits after "`x` is not …:".

mod cpus;
mod duration;
mod size;

pub(crate) use cpus::cpus;
pub(crate) use duration::{duration, print_duration};
pub(crate) use size::size;

#[cfg(test)]
mod tests;
