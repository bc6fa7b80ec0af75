//! Syntax errors in the words of a person who forgot a space.

use granit_parser::{ErrorKind, ScanError};

use crate::{diagnostic::Report, source::Span};

/// Reports a syntax error at `at`.
pub(super) fn explain(error: &ScanError, at: Span, text: &str, report: &mut Report) {
    let (what, hint) = match error.kind() {
        ErrorKind::MappingValueNotAllowed => second_colon(at, text),
        kind => words(kind),
    };
    let message = what.map_or_else(|| format!("this is not YAML: {}", error.kind()), str::to_owned);
    // At the end of the file there is no line to show: the last one with content is.
    let trimmed = text.trim_end();
    let at = if at.start as usize >= trimmed.len() && !trimmed.is_empty() {
        Span::new(at.file, trimmed.len() - 1, trimmed.len())
    } else {
        at
    };
    let finding = report.error(at, message);
    if let Some(hint) = hint {
        finding.hint(hint);
    }
}

/// A colon that makes a key where none can be: in a text, after a forgotten space, or on a line
/// that is indented too far.
fn second_colon(at: Span, text: &str) -> (Option<&'static str>, Option<&'static str>) {
    let before = text.get(..at.start as usize).unwrap_or(text);
    let (above, line) = before.rsplit_once('\n').unwrap_or(("", before));
    let above = above.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim();
    if line.contains(": ") {
        return (
            Some("a text with a colon and a space in it must be quoted"),
            Some("put the whole text into quotes"),
        );
    }
    if above.contains(':') && !above.contains(": ") && !above.ends_with(':') {
        return (
            Some("a `key: value` cannot follow the line above"),
            Some("a space is missing after the colon there"),
        );
    }
    (Some("this line is indented further than the one it belongs to"), Some(INDENT))
}

const INDENT: &str = "keys of the same mapping begin in the same column; what belongs to a key is \
                      indented further than the key";
const SPACES: &str = "indent with spaces; most editors can convert tabs";
const QUOTE: &str = "close the quotation; a quote inside quotes is doubled ('') or escaped (\\\")";

fn words(kind: &ErrorKind) -> (Option<&'static str>, Option<&'static str>) {
    match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart => {
            (Some("YAML cannot be indented with tabs"), Some(SPACES))
        }
        ErrorKind::InvalidIndentation | ErrorKind::ExpectedBlockMappingKey => {
            (Some("the indentation does not fit the lines above"), Some(INDENT))
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            Some("a `key: value` was expected here"),
            Some(
                "a key is followed by a colon and a space; what belongs to it is indented further",
            ),
        ),
        ErrorKind::UnclosedQuotedScalar => (Some("this quotation is never closed"), Some(QUOTE)),
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => (
            Some("text follows a closed quotation"),
            Some("put the whole value into one pair of quotes"),
        ),
        ErrorKind::InvalidColonPlacement
        | ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::ExpectedFlowMappingSeparator => (
            Some("a `[` or `{` is never closed, or a comma is missing"),
            Some("close it, or quote a text that begins with `[` or `{`"),
        ),
        ErrorKind::RecursionLimitExceeded => (
            Some("values are nested too deep"),
            Some("a stack file needs about ten levels; is this the right file?"),
        ),
        ErrorKind::BlockSequenceEntryNotAllowed | ErrorKind::ExpectedBlockSequenceEntry => (
            Some("a list item (`- `) cannot stand here"),
            Some("put the list below its key, every `-` in the same column"),
        ),
        _ => (None, None),
    }
}
