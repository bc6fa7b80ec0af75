//! Values as JSON documents and lines.

use serde::Serialize;

use super::{Out, safe};
use crate::error::Error;

/// Prints one indented document.
pub fn document(out: &mut Out, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::unprintable(&error))?;
    out.data_line(&safe::json(&text))
}

/// Prints one value on one line, for streams.
pub fn record(out: &mut Out, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|error| Error::unprintable(&error))?;
    out.data_line(&safe::json(&text))
}
