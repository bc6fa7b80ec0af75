//! What can go wrong for the person at the keyboard, and what their shell is told.

use std::{fmt, io};

use serde_json::{Value, json};
use stackfile::{Diagnostic, Diagnostics};
use thiserror::Error as ThisError;

use crate::output::{Out, Tone, safe};

/// Who is to act, which is what an exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The person: their input is wrong; nothing was changed.
    Input,
    /// The cluster refused, or could not finish.
    Cluster,
    /// Nobody answered.
    Unreachable,
    /// The person stopped it.
    Interrupted,
}

impl Blame {
    /// The exit code of the process. Usage errors (2) are reported by the argument parser.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Input => 1,
            Self::Cluster => 3,
            Self::Unreachable => 4,
            Self::Interrupted => 130,
        }
    }
}

/// Why a command ended early.
#[derive(Debug, ThisError)]
pub enum Error {
    /// Something to tell in a sentence.
    #[error("{message}")]
    Told {
        /// Who is to act.
        blame: Blame,
        /// What went wrong.
        message: String,
        /// More about it, a line each.
        details: Vec<String>,
        /// What to do.
        hint: Option<String>,
    },
    /// Mistakes in stack files.
    #[error("{0}")]
    Stack(Diagnostics),
    /// Whoever reads standard output stopped reading, as `head` does.
    #[error("standard output was closed")]
    Closed,
}

impl Error {
    fn told(blame: Blame, message: impl fmt::Display) -> Self {
        Self::Told { blame, message: message.to_string(), details: Vec::new(), hint: None }
    }

    /// The person's input is wrong; nothing was changed.
    pub fn input(message: impl fmt::Display) -> Self {
        Self::told(Blame::Input, message)
    }

    /// The cluster refused or could not finish.
    pub fn cluster(message: impl fmt::Display) -> Self {
        Self::told(Blame::Cluster, message)
    }

    /// Nobody answered.
    pub fn unreachable(message: impl fmt::Display) -> Self {
        Self::told(Blame::Unreachable, message)
    }

    /// The person stopped it.
    pub fn interrupted() -> Self {
        Self::told(Blame::Interrupted, "interrupted")
    }

    /// Standard output took no more.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::cluster(format!("cannot write to standard output: {error}"))
    }

    /// A value has no JSON form; none of ours lacks one.
    pub(crate) fn unprintable(error: &serde_json::Error) -> Self {
        Self::cluster(format!("cannot print the answer: {error}"))
    }

    /// The same error with what to do about it.
    #[must_use]
    pub fn hint(mut self, text: impl fmt::Display) -> Self {
        if let Self::Told { hint, .. } = &mut self {
            *hint = Some(text.to_string());
        }
        self
    }

    /// The same error with more about it.
    #[must_use]
    pub fn details(mut self, lines: Vec<String>) -> Self {
        if let Self::Told { details, .. } = &mut self {
            *details = lines;
        }
        self
    }

    /// Whether it already says what to do.
    pub fn has_hint(&self) -> bool {
        matches!(self, Self::Told { hint: Some(_), .. } | Self::Stack(_))
    }

    /// Who is to act.
    pub fn blame(&self) -> Option<Blame> {
        match self {
            Self::Told { blame, .. } => Some(*blame),
            Self::Stack(_) => Some(Blame::Input),
            Self::Closed => None,
        }
    }

    /// The exit code of the process; a reader that had enough is no failure.
    pub fn exit_code(&self) -> u8 {
        self.blame().map_or(0, Blame::exit_code)
    }

    /// Tells the person, or the script when `-o json` is given, on standard error.
    pub fn report(&self, out: &mut Out) {
        let text = match self {
            Self::Closed => return,
            _ if out.is_json() => safe::json(&self.to_json().to_string()).into_owned(),
            Self::Stack(diagnostics) => in_colour(out, &diagnostics.to_string()),
            // Who pressed the keys knows; only what they may not know is told.
            Self::Told { blame: Blame::Interrupted, hint, .. } => match hint {
                Some(hint) => format!("interrupted: {}", safe::lines(hint)),
                // The shell's prompt begins on a line of its own.
                None if out.look.stderr_terminal => String::new(),
                None => return,
            },
            Self::Told { message, details, hint, .. } => {
                let mut parts = vec![format!("{} {}", error_word(out), safe::lines(message))];
                parts.extend(details.iter().map(|detail| format!("\n  {}", safe::line(detail))));
                if let Some(hint) = hint {
                    let word = out.paint_aside(Tone::Strong, "hint:");
                    parts.push(format!("\n\n{word} {}", safe::lines(hint)));
                }
                parts.concat()
            }
        };
        out.aside(&text);
    }

    fn to_json(&self) -> Value {
        let code = self.exit_code();
        match self {
            Self::Stack(diagnostics) => {
                let shown: Vec<Value> = diagnostics.shown.iter().map(diagnostic_json).collect();
                let first = diagnostics.shown.first();
                json!({
                    "error": first.map_or_else(String::new, diagnostic_line),
                    "hint": first.and_then(|first| first.hint.as_ref()),
                    "code": code,
                    "diagnostics": shown,
                    "more": diagnostics.more,
                })
            }
            Self::Told { details, hint, .. } => {
                json!({"error": self.to_string(), "hint": hint, "code": code, "details": details})
            }
            Self::Closed => Value::Null,
        }
    }
}

fn error_word(out: &Out) -> String {
    out.paint_aside(Tone::Bad, "error:")
}

/// Diagnostics arrive rendered and harmless; only their leading word gets a colour.
fn in_colour(out: &Out, text: &str) -> String {
    let coloured = text.lines().map(|line| match line.strip_prefix("error:") {
        Some(rest) => format!("{}{rest}", error_word(out)),
        None => line.to_owned(),
    });
    coloured.collect::<Vec<_>>().join("\n")
}

/// A message about a stack file on one line: `file:line:column: message`, with all places.
pub fn diagnostic_line(diagnostic: &Diagnostic) -> String {
    match diagnostic.places() {
        Some(places) => format!("{places}: {}", diagnostic.message),
        None => diagnostic.message.clone(),
    }
}

/// The same for scripts, whole.
fn diagnostic_json(diagnostic: &Diagnostic) -> Value {
    let at = diagnostic.at.as_ref();
    json!({
        "severity": diagnostic.severity.as_str(),
        "message": diagnostic.message,
        "path": diagnostic.path,
        "file": at.map(|at| &at.file),
        "line": at.map(|at| at.line),
        "column": at.map(|at| at.column),
        "related": diagnostic.related.as_ref().map(|(at, what)| {
            json!({"file": at.file, "line": at.line, "column": at.column, "what": what})
        }),
        "hint": diagnostic.hint,
    })
}

/// A gRPC status in terms of who is to act. Its message is a sentence for a person; a hint may follow
/// it after `\nhint: `.
impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        use tonic::Code;
        let (message, hint) = match status.message().split_once("\nhint: ") {
            Some((message, hint)) => (message, Some(hint)),
            None => (status.message(), None),
        };
        let message = if message.is_empty() { status.code().description() } else { message };
        let error = match status.code() {
            Code::InvalidArgument | Code::NotFound | Code::OutOfRange => Self::input(message),
            Code::Unavailable | Code::DeadlineExceeded => Self::unreachable(message),
            Code::Unimplemented => Self::cluster("the scheduler does not know this request").hint(
                "it is of an earlier version than sisoctl: compare `sisoctl version` with `sisoctl scheduler ls`, \
                 and update it",
            ),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => Self::cluster(message),
        };
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;
    use crate::{args::Format, output::Look, testing::streams};

    fn told(error: &Error, format: Format) -> String {
        let (mut out, _, told) = streams(Look { format, ..Look::plain() });
        error.report(&mut out);
        told.text()
    }

    #[test]
    fn the_exit_code_says_who_is_to_act() {
        for (code, expected) in [
            (Code::InvalidArgument, 1),
            (Code::NotFound, 1),
            (Code::OutOfRange, 1),
            (Code::FailedPrecondition, 3),
            (Code::Aborted, 3),
            (Code::ResourceExhausted, 3),
            (Code::PermissionDenied, 3),
            (Code::Unauthenticated, 3),
            (Code::Internal, 3),
            (Code::Unknown, 3),
            (Code::Unimplemented, 3),
            (Code::Unavailable, 4),
            (Code::DeadlineExceeded, 4),
        ] {
            assert_eq!(Error::from(Status::new(code, "x")).exit_code(), expected, "{code:?}");
        }
        assert_eq!(Error::interrupted().exit_code(), 130);
        assert_eq!(Error::Closed.exit_code(), 0);
        assert_eq!(Error::output(&io::ErrorKind::BrokenPipe.into()).exit_code(), 0);
        assert_eq!(Error::output(&io::ErrorKind::StorageFull.into()).exit_code(), 3);
    }

    #[test]
    fn an_error_says_what_and_then_what_to_do() {
        let status = Status::not_found("there is no stack `shpo`\nhint: did you mean `shop`?");
        let error = Error::from(status).details(vec!["one".to_owned(), "two".to_owned()]);
        insta::assert_snapshot!(told(&error, Format::Text), @r"
        error: there is no stack `shpo`
          one
          two

        hint: did you mean `shop`?
        ");
        assert_eq!(
            told(&error, Format::Json),
            "{\"code\":1,\"details\":[\"one\",\"two\"],\"error\":\"there is no stack `shpo`\",\
             \"hint\":\"did you mean `shop`?\"}\n"
        );
    }

    #[test]
    fn an_error_of_strangers_cannot_steer_the_terminal() {
        let error = Error::from(Status::internal("\u{1b}]0;owned\u{7}\u{202e}x"));
        for format in [Format::Text, Format::Json] {
            let text = told(&error, format);
            assert!(!text.trim_end().chars().any(safe::is_unsafe), "{text}");
        }
    }
}
