//! The small languages inside values: sizes, CPU counts, durations, port ranges, words of a
//! command line. Each says what is wrong in a sentence that fits after "`x` is not …:".

mod cpus;
mod duration;
mod port;
mod words;

pub(crate) use cpus::cpus;
pub(crate) use duration::{duration, print_duration};
pub(crate) use port::port_range;
pub(crate) use words::words;

/// A size, or why it is none.
pub(crate) fn size(text: &str) -> Result<model::Bytes, String> {
    text.parse().map_err(|error: model::size::BadSize| error.to_string())
}

#[cfg(test)]
mod tests;
