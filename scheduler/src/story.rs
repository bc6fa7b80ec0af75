//! Errors as people read them.

use std::error::Error;

/// The error with all its causes, in one line: what cannot be written says little without the system's reason.
pub fn story(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
