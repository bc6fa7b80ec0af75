//! What is wrong, where, and what to do about it.

use std::fmt;

use crate::source::{Span, Texts};

/// The most messages of one load that are shown; the rest is counted.
pub const MAX_SHOWN: usize = 50;

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
        if let Some(at) = &self.at {
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
}

impl Report {
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
        let finding = Finding {
            severity,
            message,
            path: String::new(),
            at,
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
    }

    /// How many findings there are so far.
    pub(crate) fn count(&self) -> usize {
        self.findings.len()
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The errors, if there are any, else the warnings and notes.
    pub(crate) fn finish(self, texts: &Texts) -> Result<Vec<Diagnostic>, Diagnostics> {
        let failed = self.has_errors();
        let mut findings = self.findings;
        findings.retain(|finding| !failed || finding.severity == Severity::Error);
        findings.sort_by(|a, b| (a.at, &a.message).cmp(&(b.at, &b.message)));
        // An anchor used twice brings the same mistake twice.
        findings.dedup_by(|a, b| a.at == b.at && a.message == b.message);
        let more = findings.len().saturating_sub(MAX_SHOWN);
        findings.truncate(MAX_SHOWN);
        let shown = findings.into_iter().map(|finding| finding.locate(texts)).collect();
        if failed { Err(Diagnostics { shown, more }) } else { Ok(shown) }
    }
}

impl Finding {
    fn locate(self, texts: &Texts) -> Diagnostic {
        Diagnostic {
            severity: self.severity,
            message: self.message,
            path: self.path,
            at: self.at.map(|at| texts.locate(at)),
            label: self.label,
            related: self.related.map(|(at, label)| (texts.locate(at), label)),
            hint: self.hint,
        }
    }
}
