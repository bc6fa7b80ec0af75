//! The error of the door.

use std::fmt::Display;

use thiserror::Error;

/// The longest part of a path that comes from the sender (a map's key), in characters.
const KEY_SHOWN_MAX: usize = 80;

/// A field that cannot be believed, e.g. `spec.services.web.resources.memory: missing`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{why}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct BadField {
    /// Where it is, from the outermost message.
    pub path: String,
    /// What is wrong with it.
    pub why: String,
}

impl BadField {
    /// An error about the value at hand; [`At`] adds where it is.
    pub fn new(why: impl Display) -> Self {
        Self { path: String::new(), why: why.to_string() }
    }

    /// The value is not there.
    pub fn missing() -> Self {
        Self::new("missing")
    }

    /// The same error seen from one level further out.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        let outer: String = outer.chars().take(KEY_SHOWN_MAX).collect();
        let path = match self.path.chars().next() {
            None => outer,
            Some('[') => format!("{outer}{}", self.path),
            Some(_) => format!("{outer}.{}", self.path),
        };
        Self { path, why: self.why }
    }
}

/// What was wrong with the request, for whoever sent it.
impl From<BadField> for tonic::Status {
    fn from(error: BadField) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Says where a value stands.
pub trait At {
    /// Puts `name` before the error's path.
    #[must_use]
    fn at(self, name: &str) -> Self;
}

impl<T> At for Result<T, BadField> {
    fn at(self, name: &str) -> Self {
        self.map_err(|error| error.within(name))
    }
}
