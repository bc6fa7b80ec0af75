//! The texts a stack is read from, and places in them.

use crate::diagnostic::Location;

/// The largest file read: a thousand times a usual stack file, small enough to hold several.
pub const MAX_FILE_BYTES: usize = Bounds::APPLIED.file_bytes;

/// How much may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The largest file.
    pub file_bytes: usize,
    /// How many values a file may hold once aliases are expanded.
    pub values: usize,
    /// The most services of one stack.
    pub services: usize,
}

impl Bounds {
    /// Of a stack that is applied: what one request makes a cluster do. 500 services of 200 values each,
    /// twice.
    pub const APPLIED: Self = Self { file_bytes: 1 << 20, values: 200_000, services: 500 };
    /// Of a stack that is planned on imagined machines: as many tasks as half a cluster may have.
    pub const IMAGINED: Self = Self { file_bytes: 16 << 20, values: 1_000_000, services: 10_000 };
}

impl Default for Bounds {
    fn default() -> Self {
        Self::APPLIED
    }
}
/// The most files one stack may be read from; far beyond any real project.
pub(crate) const MAX_FILES: usize = 256;
/// What is kept of a source line in a message; longer lines are cut around the place.
const SHOWN_COLUMNS: usize = 120;

/// A file as the caller read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The name shown in messages, usually the path as the person wrote it.
    pub name: String,
    /// Its content, not yet known to be text.
    pub bytes: Vec<u8>,
}

impl SourceFile {
    /// A file called `name` holding `bytes`.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

/// A range of bytes in one of the files of a load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) file: u16,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(file: u16, start: usize, end: usize) -> Self {
        // Offsets are below MAX_FILE_BYTES, so the conversions do not lose anything.
        let fit = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { file, start: fit(start), end: fit(end.max(start)) }
    }

    /// The part of this span from `from` to `to`, counted in bytes from its start.
    pub(crate) fn part(self, from: usize, to: usize) -> Self {
        let start = self.start as usize;
        Self::new(self.file, start + from, (start + to).min(self.end as usize))
    }
}

#[derive(Debug)]
struct Text {
    name: String,
    content: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// All files of one load, so that a span can be shown with its line.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    files: Vec<Text>,
}

impl Texts {
    /// Remembers a file; `None` once there are [`MAX_FILES`].
    pub(crate) fn add(&mut self, name: &str, text: String) -> Option<u16> {
        if self.files.len() >= MAX_FILES {
            return None;
        }
        let number = u16::try_from(self.files.len()).ok()?;
        let lines = std::iter::once(0)
            .chain(
                text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1),
            )
            .collect();
        self.files.push(Text { name: name.to_owned(), content: text, lines });
        Some(number)
    }

    pub(crate) fn text(&self, file: u16) -> &str {
        self.files.get(usize::from(file)).map_or("", |file| &file.content)
    }

    /// The source text under a span.
    pub(crate) fn slice(&self, at: Span) -> &str {
        self.text(at.file).get(at.start as usize..at.end as usize).unwrap_or("")
    }

    /// Bytes `from..to` of a text that was written at `at`; the whole of it when escapes, folding or
    /// variables made the text differ from what stands in the file.
    pub(crate) fn within(&self, at: Span, text: &str, from: usize, to: usize) -> Span {
        let written = self.slice(at);
        let quote = usize::from(written.starts_with(['"', '\'']));
        if written.get(quote..).is_some_and(|written| written.starts_with(text)) {
            at.part(quote + from, quote + to.max(from + 1))
        } else {
            at
        }
    }

    /// The line a span begins on, counted from 1.
    pub(crate) fn line(&self, at: Span) -> usize {
        let lines = self.files.get(usize::from(at.file)).map_or(&[][..], |file| &file.lines);
        lines.partition_point(|begin| *begin <= at.start as usize).max(1)
    }

    /// File, line, column and the line itself, for showing.
    pub(crate) fn locate(&self, at: Span) -> Location {
        let Some(file) = self.files.get(usize::from(at.file)) else {
            return Location::default();
        };
        let mut start = (at.start as usize).min(file.content.len());
        while !file.content.is_char_boundary(start) {
            start -= 1;
        }
        let line = file.lines.partition_point(|begin| *begin <= start).saturating_sub(1);
        let begin = file.lines.get(line).copied().unwrap_or(0);
        let source = file.content[begin..].lines().next().unwrap_or("");
        let before = file.content[begin..start].chars().count();
        let end = (at.end as usize).min(begin + source.len()).max(start);
        let width = file.content.get(start..end).map_or(1, |text| text.trim_end().chars().count());
        let (source, offset) = window(source, before);
        Location {
            file: file.name.clone(),
            line: line + 1,
            column: before + 1,
            width: width.clamp(1, source.chars().count().saturating_sub(offset).max(1)),
            source,
            offset,
        }
    }
}

/// The part of a line around column `at` that is shown, and where `at` is in it.
fn window(line: &str, at: usize) -> (String, usize) {
    let length = line.chars().count();
    if length <= SHOWN_COLUMNS {
        return (line.to_owned(), at);
    }
    let from = at.saturating_sub(SHOWN_COLUMNS / 2).min(length - SHOWN_COLUMNS);
    let shown: String = line.chars().skip(from).take(SHOWN_COLUMNS).collect();
    (shown, at - from)
}
