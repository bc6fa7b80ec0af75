//! What containers do: their image says so.

use crate::chance::Chance;
use crate::event::End;

/// How containers of an image behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Runs until it is stopped.
    Serves,
    /// Runs; its image takes long to fetch.
    Slow,
    /// Runs; its image is fetched at the third attempt.
    Flaky,
    /// Runs; the engine refuses its first two starts.
    Stubborn,
    /// Ends well after a while.
    Job,
    /// Ends badly after a while, for ever.
    Crashes,
    /// Exceeds its memory after a while, for ever.
    Hungry,
    /// Its health check fails.
    Sick,
    /// There is no such image.
    Absent,
}

impl Behaviour {
    /// By the first word of the image's name.
    pub(crate) fn of(image: &str) -> Self {
        match image.split(':').next().unwrap_or_default() {
            "slow" => Self::Slow,
            "flaky" => Self::Flaky,
            "stubborn" => Self::Stubborn,
            "job" => Self::Job,
            "crash" => Self::Crashes,
            "hungry" => Self::Hungry,
            "sick" => Self::Sick,
            "absent" => Self::Absent,
            _ => Self::Serves,
        }
    }

    /// Whether, left alone, it ends up running.
    pub(crate) const fn is_good(self) -> bool {
        matches!(self, Self::Serves | Self::Slow | Self::Flaky | Self::Stubborn)
    }

    /// After how long a run ends by itself, and how.
    pub(crate) fn end(self, chance: &mut Chance) -> Option<(u64, End)> {
        match self {
            Self::Serves
            | Self::Slow
            | Self::Flaky
            | Self::Stubborn
            | Self::Sick
            | Self::Absent => None,
            Self::Job => Some((chance.between(50, 6_000), End::Exit(0))),
            Self::Crashes => Some((chance.between(10, 4_000), End::Exit(1))),
            Self::Hungry => Some((chance.between(500, 20_000), End::OutOfMemory)),
        }
    }

    /// How long fetching its image takes.
    pub(crate) fn fetch_takes(self, chance: &mut Chance) -> u64 {
        match self {
            Self::Slow => chance.between(10_000, 40_000),
            _ => chance.delay(300, 3_000),
        }
    }

    /// How often fetching fails at first; `None`: always.
    pub(crate) const fn fetch_failures(self) -> Option<u32> {
        match self {
            Self::Flaky => Some(2),
            Self::Absent => None,
            _ => Some(0),
        }
    }

    /// How many starts the engine refuses at first.
    pub(crate) const fn refused_starts(self) -> u32 {
        match self {
            Self::Stubborn => 2,
            _ => 0,
        }
    }
}
