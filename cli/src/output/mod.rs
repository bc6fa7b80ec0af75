//! Where everything a person or script reads goes through: data to standard output, everything else
//! to standard error, both with foreign text made harmless.

pub mod amount;
pub mod bars;
pub mod blocks;
pub mod drain;
pub mod json;
pub mod picture;
pub mod plan;
pub mod progress;
pub mod rebalance;
pub mod safe;
pub mod succession;
pub mod table;
pub mod what_if;
pub mod wrap;

use std::io::{self, IsTerminal as _, Write};

use owo_colors::{OwoColorize as _, Style};

use crate::{args::Format, error::Error};

/// How a piece of text is meant. Nothing depends on seeing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A heading or a name that matters.
    Strong,
    /// Beside the point.
    Faint,
    /// As it should be.
    Good,
    /// Worth a look.
    Careful,
    /// Wrong.
    Bad,
    /// One of several colours that tell neighbours apart.
    Hue(usize),
}

/// What the streams can show and what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// `-o`.
    pub format: Format,
    /// `-q`: no progress, no notes; lists print names only.
    pub quiet: bool,
    /// Whether standard output is a terminal.
    pub stdout_terminal: bool,
    /// Whether standard error is a terminal.
    pub stderr_terminal: bool,
    /// Whether standard input is a terminal.
    pub stdin_terminal: bool,
    /// Whether colours are wanted.
    pub colour: bool,
    /// Whether the locale can show more than ASCII.
    pub unicode: bool,
    /// Columns of the terminal; `None` when output is not cut.
    pub width: Option<usize>,
}

impl Look {
    /// What this process's streams and environment allow.
    pub fn of_process(format: Format, quiet: bool, no_color: bool) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let dumb = variable("TERM").is_some_and(|term| term == "dumb");
        let stdout_terminal = io::stdout().is_terminal();
        Self {
            format,
            quiet,
            stdout_terminal,
            stderr_terminal: io::stderr().is_terminal(),
            stdin_terminal: io::stdin().is_terminal(),
            colour: !no_color && !dumb && variable("NO_COLOR").is_none(),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
            width: stdout_terminal.then(terminal_columns).flatten(),
        }
    }

    /// A look for tests: text, no terminal, no colour.
    pub const fn plain() -> Self {
        Self {
            format: Format::Text,
            quiet: false,
            stdout_terminal: false,
            stderr_terminal: false,
            stdin_terminal: false,
            colour: false,
            unicode: true,
            width: None,
        }
    }
}

fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// The two streams of a command.
pub struct Out {
    /// What they can show.
    pub look: Look,
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out").field("look", &self.look).finish_non_exhaustive()
    }
}

impl Out {
    /// Writes to the given streams.
    pub fn new(look: Look, stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        Self { look, stdout, stderr }
    }

    /// Writes to the process's own streams.
    pub fn of_process(look: Look) -> Self {
        Self::new(look, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Whether `-o json` was given.
    pub fn is_json(&self) -> bool {
        self.look.format == Format::Json
    }

    /// Text in its tone, for standard output.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        paint(self.look.colour && self.look.stdout_terminal, tone, text)
    }

    /// Text in its tone, for standard error.
    pub fn paint_aside(&self, tone: Tone, text: &str) -> String {
        paint(self.look.colour && self.look.stderr_terminal, tone, text)
    }

    /// Prints data, as it is.
    pub fn data(&mut self, text: &str) -> Result<(), Error> {
        self.data_bytes(text.as_bytes())
    }

    /// Prints a line of data.
    pub fn data_line(&mut self, text: &str) -> Result<(), Error> {
        self.data_bytes(format!("{text}\n").as_bytes())
    }

    /// Prints raw data and flushes it, so that who follows sees it at once.
    pub fn data_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stdout
            .write_all(bytes)
            .and_then(|()| self.stdout.flush())
            .map_err(|error| Error::output(&error))
    }

    /// Passes raw bytes to standard error, for the error stream of a remote command.
    pub fn aside_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stderr
            .write_all(bytes)
            .and_then(|()| self.stderr.flush())
            .map_err(|error| Error::output(&error))
    }

    /// Says something that is not data, unless `-q`.
    pub fn note(&mut self, text: &str) {
        if !self.look.quiet {
            self.aside(text);
        }
    }

    /// Says something that is not data.
    pub fn aside(&mut self, text: &str) {
        // Nobody is left to be told when standard error is closed.
        let _ = writeln!(self.stderr, "{text}");
    }
}

fn paint(colour: bool, tone: Tone, text: &str) -> String {
    if !colour || tone == Tone::Plain {
        text.to_owned()
    } else {
        text.style(style(tone)).to_string()
    }
}

fn style(tone: Tone) -> Style {
    let plain = Style::new();
    let hues = [
        plain.cyan(),
        plain.yellow(),
        plain.magenta(),
        plain.green(),
        plain.blue(),
        plain.bright_cyan(),
        plain.bright_magenta(),
    ];
    match tone {
        Tone::Plain => plain,
        Tone::Strong => plain.bold(),
        Tone::Faint => plain.dimmed(),
        Tone::Good => plain.green(),
        Tone::Careful => plain.yellow(),
        Tone::Bad => plain.red(),
        Tone::Hue(number) => hues[number % hues.len()],
    }
}
