//! What is wrong, where, and what to do about it.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use crate::source::{Bounds, Span, Texts};

/// The most messages of one load that are shown; the rest is counted.
pub const MAX_SHOWN: usize = 50;

/// The most places of one message that are named.
const MAX_PLACES: usize = 20;

/// Past so many errors a file is wrong as a whole; looking for the nearest name of each would take
/// long.
const MAX_KEPT: usize = 1_000;

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The stack cannot be used.
    Error,
    /// The stack can be used, but something in it probably does not do what was meant.
    Warning,
    /// Something is translated or weaker here than on a single machine.
    Note,
}

impl Severity {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A place in a file, with the line that stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// The file's name as the caller gave it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
    /// The line, or the part of a very long line around the place.
    pub source: String,
    /// Where `column` is in `source`, in characters counted from 0.
    pub offset: usize,
}

/// One message about a stack file. `Display` renders it over several lines, ready for a terminal:
/// control characters of the file are made visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, in one line without a full stop.
    pub message: String,
    /// The key it is about, as `services.web.ports[0]`; empty when it is about a whole file.
    pub path: String,
    /// Where; absent when no file is to blame.
    pub at: Option<Location>,
    /// Where the same is to be said again; of errors each is said at its own place.
    pub also: Vec<Location>,
    /// Words under the caret.
    pub label: Option<String>,
    /// A second place and what is there.
    pub related: Option<(Location, String)>,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity.as_str(), Visible(&self.message))?;
        if let (Some(places), false) = (self.places(), self.also.is_empty()) {
            write!(f, "\n --> {}", Visible(&places))?;
        } else if let Some(at) = &self.at {
            let margin = self.related.iter().map(|(at, _)| at.line).fold(at.line, usize::max);
            let margin = margin.to_string().len();
            write!(f, "\n{:margin$}--> {}:{}:{}", "", Visible(&at.file), at.line, at.column)?;
            write!(f, "\n{:margin$} |", "")?;
            at.quote(f, margin, '^', self.label.as_deref())?;
            if let Some((at, label)) = &self.related {
                write!(f, "\n{:margin$} |", "")?;
                at.quote(f, margin, '-', Some(label))?;
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", Visible(hint))?;
        }
        Ok(())
    }
}

impl Diagnostic {
    /// Everywhere it is said of, in words: `a.yaml:4:5, 9:5 and b.yaml:2:5`. None when no file is to blame.
    pub fn places(&self) -> Option<String> {
        let first = self.at.as_ref()?;
        let mut text = format!("{}:{}:{}", first.file, first.line, first.column);
        let mut file = &first.file;
        let shown = self.also.len().min(MAX_PLACES - 1);
        for (index, at) in self.also.iter().take(shown).enumerate() {
            let last = index + 1 == self.also.len();
            text.push_str(if last { " and " } else { ", " });
            if at.file != *file {
                text.push_str(&at.file);
                text.push(':');
                file = &at.file;
            }
            // Writing into a string cannot fail.
            let _ = write!(text, "{}:{}", at.line, at.column);
        }
        let more = self.also.len() - shown;
        if more > 0 {
            let _ = write!(text, " and {more} more places");
        }
        Some(text)
    }
}

impl Location {
    fn quote(
        &self,
        f: &mut fmt::Formatter<'_>,
        margin: usize,
        mark: char,
        label: Option<&str>,
    ) -> fmt::Result {
        let Self { line, offset, width, .. } = self;
        write!(f, "\n{line:margin$} | {}", Aligned(&self.source))?;
        let marks: String = std::iter::repeat_n(mark, *width).collect();
        write!(f, "\n{:margin$} | {:offset$}{marks}", "", "")?;
        label.map_or(Ok(()), |label| write!(f, " {}", Visible(label)))
    }
}

/// Whether a character could steer a terminal or reorder what is read.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text of strangers with its control characters spelt out.
struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_unsafe(c) { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

/// The same for a source line, one column per character so that the caret stays under its place.
struct Aligned<'a>(&'a str);

impl fmt::Display for Aligned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\t' => write!(f, "→")?,
                c if is_unsafe(c) => write!(f, "\u{fffd}")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// Everything that is wrong with a stack, in the order of the files. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// At most [`MAX_SHOWN`], sorted by place.
    pub shown: Vec<Diagnostic>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.shown.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\n\n… and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A message before its place is looked up.
#[derive(Debug)]
pub(crate) struct Finding {
    severity: Severity,
    message: String,
    path: String,
    at: Option<Span>,
    also: Vec<Span>,
    label: Option<String>,
    related: Option<(Span, String)>,
    hint: Option<String>,
}

impl Finding {
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn path(&mut self, path: impl Into<String>) -> &mut Self {
        self.path = path.into();
        self
    }

    pub(crate) fn related(&mut self, at: Span, label: impl Into<String>) -> &mut Self {
        self.related = Some((at, label.into()));
        self
    }
}

/// Collects findings; every layer adds to the same one.
#[derive(Debug, Default)]
pub(crate) struct Report {
    findings: Vec<Finding>,
    /// How many of them are errors.
    errors: usize,
    bounds: Bounds,
}

impl Report {
    /// With how much may be read.
    pub(crate) fn within(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// How much may be read.
    pub(crate) const fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub(crate) fn error(
        &mut self,
        at: impl Into<Option<Span>>,
        what: impl Into<String>,
    ) -> &mut Finding {
        self.add(Severity::Error, at.into(), what.into())
    }

    pub(crate) fn warning(
        &mut self,
        at: impl Into<Option<Span>>,
        what: impl Into<String>,
    ) -> &mut Finding {
        self.add(Severity::Warning, at.into(), what.into())
    }

    pub(crate) fn note(
        &mut self,
        at: impl Into<Option<Span>>,
        what: impl Into<String>,
    ) -> &mut Finding {
        self.add(Severity::Note, at.into(), what.into())
    }

    fn add(&mut self, severity: Severity, at: Option<Span>, message: String) -> &mut Finding {
        self.errors += usize::from(severity == Severity::Error);
        let finding = Finding {
            severity,
            message,
            path: String::new(),
            at,
            also: Vec::new(),
            label: None,
            related: None,
            hint: None,
        };
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// Takes over the findings of another.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.findings.append(&mut other.findings);
        self.errors += other.errors;
    }

    /// How many findings there are so far.
    pub(crate) fn count(&self) -> usize {
        self.findings.len()
    }

    /// Whether there are so many errors that more are not worth looking for.
    pub(crate) fn is_full(&self) -> bool {
        self.errors >= MAX_KEPT
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// The errors, if there are any, else the warnings and notes.
    pub(crate) fn finish(self, texts: &Texts) -> Result<Vec<Diagnostic>, Diagnostics> {
        let failed = self.has_errors();
        let mut findings = self.findings;
        findings.retain(|finding| !failed || finding.severity == Severity::Error);
        findings.sort_by(|a, b| (a.at, &a.message).cmp(&(b.at, &b.message)));
        // An anchor used twice brings the same mistake twice.
        findings.dedup_by(|a, b| a.at == b.at && a.message == b.message);
        let mut findings = once_each(findings);
        let more = findings.len().saturating_sub(MAX_SHOWN);
        findings.truncate(MAX_SHOWN);
        let shown = findings.into_iter().map(|finding| finding.locate(texts)).collect();
        if failed { Err(Diagnostics { shown, more }) } else { Ok(shown) }
    }
}

/// Of several notes or warnings with the same words, the first, with the places of the others.
fn once_each(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    let mut said: BTreeMap<(String, Option<String>), usize> = BTreeMap::new();
    for finding in findings {
        let plain = finding.label.is_none() && finding.related.is_none();
        let (Some(at), true) = (finding.at, plain && finding.severity != Severity::Error) else {
            kept.push(finding);
            continue;
        };
        let words = (finding.message.clone(), finding.hint.clone());
        if let Some(first) = said.get(&words).and_then(|index| kept.get_mut(*index)) {
            first.also.push(at);
        } else {
            said.insert(words, kept.len());
            kept.push(finding);
        }
    }
    kept
}

impl Finding {
    fn locate(self, texts: &Texts) -> Diagnostic {
        Diagnostic {
            severity: self.severity,
            message: self.message,
            path: self.path,
            at: self.at.map(|at| texts.locate(at)),
            also: self.also.into_iter().map(|at| texts.locate(at)).collect(),
            label: self.label,
            related: self.related.map(|(at, label)| (texts.locate(at), label)),
            hint: self.hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Span;

    /// What is shown for bytes `from..to` of `text`.
    fn show(text: &str, from: usize, to: usize) -> String {
        let (mut texts, mut report) = (Texts::default(), Report::default());
        let file = texts.add("f.yaml", text.to_owned()).unwrap();
        report.error(Span::new(file, from, to), "wrong").label("here").hint("mend it");
        report.finish(&texts).unwrap_err().to_string()
    }

    #[test]
    fn the_caret_stands_under_its_place() {
        assert_eq!(
            show("a: 1\nkey: value\n", 10, 15),
            "error: wrong\n --> f.yaml:2:6\n  |\n2 | key: value\n  |      ^^^^^ here\nhint: mend it"
        );
    }

    #[test]
    fn columns_are_characters_and_a_tab_is_one() {
        assert_eq!(
            show("\täö: x\n", 7, 8),
            "error: wrong\n --> f.yaml:1:6\n  |\n1 | →äö: x\n  |      ^ here\nhint: mend it"
        );
    }

    #[test]
    fn a_place_outside_the_text_is_still_shown() {
        let end = "error: wrong\n --> f.yaml:2:1\n  |\n2 | \n  | ^ here\nhint: mend it";
        assert_eq!(show("a: 1\n", 5, 5), end);
        assert_eq!(show("a: 1\n", 999, 1000), end);
        // A place that begins inside a character is that of the character.
        assert!(show("ä\n", 1, 2).contains("f.yaml:1:1"));
    }

    #[test]
    fn a_place_over_several_lines_ends_with_its_first() {
        assert!(show("a: |\n  b\n  c\n", 3, 12).contains("|    ^ here"));
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let text = format!("{}WRONG{}", "x".repeat(5000), "y".repeat(5000));
        let shown = show(&text, 5000, 5005);
        assert!(shown.contains("f.yaml:1:5001") && shown.len() < 500, "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[3].find("WRONG"), lines[4].find("^^^^^"));
    }

    #[test]
    fn nothing_of_the_file_reaches_the_terminal_as_control() {
        let mut report = Report::default();
        report.error(None, "a\u{1b}[31mb\u{202e}c\u{7}").hint("\u{9b}x\ny");
        let shown = report.finish(&Texts::default()).unwrap_err().to_string();
        assert_eq!(shown, "error: a\\u{1b}[31mb\\u{202e}c\\u{7}\nhint: \\u{9b}x\\ny");
        assert!(show("a: \u{1b}[31m\n", 3, 8).contains("a: \u{fffd}[31m"));
    }

    #[test]
    fn errors_come_in_the_order_of_the_file_and_each_once() {
        let (mut texts, mut report) = (Texts::default(), Report::default());
        let file = texts.add("f", "abc".to_owned()).unwrap();
        for at in [2, 0, 1, 0] {
            report.error(Span::new(file, at, at + 1), format!("at {at}"));
        }
        report.note(None, "only with a stack that can be used");
        let messages: Vec<String> = report
            .finish(&texts)
            .unwrap_err()
            .shown
            .into_iter()
            .map(|error| error.message)
            .collect();
        assert_eq!(messages, ["at 0", "at 1", "at 2"]);
    }
}
