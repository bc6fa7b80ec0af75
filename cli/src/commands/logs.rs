//! `logs`: what tasks write, interleaved as it arrives.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proto::v1::{LogEntry, LogLine, LogOptions};
use regex::bytes::Regex;
use serde::Serialize;

use crate::{
    args::Logs,
    client::Client,
    error::Error,
    output::{Out, Tone, json, safe},
};

/// Different reasons why a log could not be read that are told; more tell a person nothing new.
const MAX_FAILURES: usize = 100;

/// Carries out `logs`.
pub async fn run(args: &Logs, client: &Client, out: &mut Out) -> Result<(), Error> {
    let grep = args.grep.as_deref().map(pattern).transpose()?;
    let options = LogOptions {
        follow: args.follow,
        since: args.since.map(|since| since.millis(Timestamp::now())),
        tail: args.tail,
    };
    let mut answers = match client.logs(&args.target, options).await {
        Ok(answers) => answers,
        Err(error) => {
            let service = args.target.service.as_ref().map(AsRef::as_ref);
            return Err(client.with_nearest(error, args.target.stack.as_str(), service).await);
        }
    };
    let mut printer = Printer::new(args, grep);
    let mut unread = BTreeSet::new();
    while let Some(entry) = answers.next().await? {
        if let Some(why) = &entry.error {
            let line = format!("{}.{} on {}: {why}", entry.service, entry.replica, entry.node);
            if unread.len() < MAX_FAILURES && !unread.contains(&line) {
                if args.follow {
                    out.note(&safe::line(&line));
                }
                unread.insert(line);
            }
        } else {
            printer.print(&entry, out)?;
        }
    }
    if unread.is_empty() {
        if !printer.printed && !out.is_json() {
            out.note("nothing to print: no task wrote a line that was asked for");
        }
        return Ok(());
    }
    Err(Error::cluster("not all logs could be read").details(unread.into_iter().collect()))
}

fn pattern(text: &str) -> Result<Regex, Error> {
    /// A larger pattern is a mistake; this bounds its memory.
    const MAX_COMPILED: usize = 10 << 20;
    let built = regex::bytes::RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
    built.map_err(|error| {
        // The last line says what is wrong; those before repeat the pattern.
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Error::input(format!("--grep {text:?} is not a regular expression: {why}"))
            .hint("put a backslash before characters that are meant as they are, such as ( or [")
    })
}

/// A line for scripts.
#[derive(Debug, Serialize)]
struct Record<'a> {
    at: Option<String>,
    service: &'a str,
    replica: u32,
    task: &'a str,
    node: &'a str,
    stream: &'static str,
    text: String,
}

struct Printer<'a> {
    args: &'a Logs,
    grep: Option<Regex>,
    /// In the order they were first seen, which gives each its colour.
    services: Vec<String>,
    /// The longest task name so far, so that lines stand under each other.
    width: usize,
    /// Whether there was a line that was asked for.
    printed: bool,
}

impl<'a> Printer<'a> {
    const fn new(args: &'a Logs, grep: Option<Regex>) -> Self {
        Self { args, grep, services: Vec::new(), width: 0, printed: false }
    }

    fn print(&mut self, entry: &LogEntry, out: &mut Out) -> Result<(), Error> {
        let Some(line) = &entry.line else { return Ok(()) };
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(&line.text)) {
            return Ok(());
        }
        self.printed = true;
        if out.is_json() {
            return json::record(out, &record(entry, line));
        }
        let mut bytes = Vec::with_capacity(line.text.len() + 64);
        if !self.args.no_log_prefix {
            bytes.extend_from_slice(self.prefix(entry, out).as_bytes());
        }
        if self.args.timestamps {
            bytes.extend_from_slice(time(line.at).unwrap_or_default().as_bytes());
            bytes.push(b' ');
        }
        // A terminal must not be steered; a file or another program gets what was written.
        if out.look.stdout_terminal {
            bytes.extend_from_slice(safe::log_line(&line.text).as_bytes());
        } else {
            bytes.extend_from_slice(&line.text);
        }
        bytes.push(b'\n');
        out.data_bytes(&bytes)
    }

    fn prefix(&mut self, entry: &LogEntry, out: &Out) -> String {
        let name = format!("{}.{}", safe::line(&entry.service), entry.replica);
        self.width = self.width.max(name.len());
        let hue = self.services.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.services.push(name.clone());
            self.services.len() - 1
        });
        let width = self.width;
        format!("{} ", out.paint(Tone::Hue(hue), &format!("{name:<width$} |")))
    }
}

fn record<'a>(entry: &'a LogEntry, line: &LogLine) -> Record<'a> {
    Record {
        at: time(line.at),
        service: &entry.service,
        replica: entry.replica,
        task: &entry.task,
        node: &entry.node,
        stream: if line.stderr { "stderr" } else { "stdout" },
        text: String::from_utf8_lossy(&line.text).into_owned(),
    }
}

fn time(millis: u64) -> Option<String> {
    let at = Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()?;
    Some(format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        args::{Args, Command, Format},
        output::Look,
        testing::streams,
    };

    fn entry(service: &str, text: &[u8]) -> LogEntry {
        LogEntry {
            service: service.to_owned(),
            replica: 1,
            task: "t1".to_owned(),
            node: "mini-1".to_owned(),
            line: Some(LogLine { at: 1_500, stderr: true, text: text.to_vec() }),
            error: None,
        }
    }

    #[track_caller]
    fn check(flags: &[&str], look: Look, expected: &str) {
        let line = ["sisoctl", "logs", "shop"].iter().chain(flags);
        let Command::Logs(args) = Args::try_parse_from(line).unwrap().command else {
            panic!("logs")
        };
        let grep = args.grep.as_deref().map(|text| pattern(text).unwrap());
        let mut printer = Printer::new(&args, grep);
        let (mut out, stdout, _) = streams(look);
        for (service, text) in
            [("postgres", &b"\x1b[32mready\x1b[0m"[..]), ("web", b"\x1b]0;owned\x07 x\xff")]
        {
            printer.print(&entry(service, text), &mut out).unwrap();
        }
        assert_eq!(stdout.text_lossy(), expected);
        assert_eq!(printer.printed, !expected.is_empty());
    }

    #[test]
    fn lines_carry_their_task_and_are_harmless_on_a_terminal_only() {
        let terminal = Look { stdout_terminal: true, ..Look::plain() };
        check(&[], terminal, "postgres.1 | ready\nweb.1      | \\u{1b}]0;owned\\u{7} x\\xff\n");
        check(
            &[],
            Look::plain(),
            "postgres.1 | \u{1b}[32mready\u{1b}[0m\nweb.1      | \u{1b}]0;owned\u{7} x\u{fffd}\n",
        );
        check(&["--no-log-prefix", "--grep", "^..{3}ready"], Look::plain(), "");
        check(
            &["--no-log-prefix", "--grep", "read[y]"],
            Look::plain(),
            "\u{1b}[32mready\u{1b}[0m\n",
        );
        check(
            &["--timestamps", "--grep", "ready"],
            terminal,
            "postgres.1 | 1970-01-01T00:00:01.500Z ready\n",
        );
    }

    #[test]
    fn a_line_for_scripts_is_one_json_object() {
        let json = Look { format: Format::Json, ..Look::plain() };
        check(
            &["--grep", "ready"],
            json,
            "{\"at\":\"1970-01-01T00:00:01.500Z\",\"service\":\"postgres\",\"replica\":1,\
             \"task\":\"t1\",\"node\":\"mini-1\",\"stream\":\"stderr\",\
             \"text\":\"\\u001b[32mready\\u001b[0m\"}\n",
        );
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_the_persons_mistake() {
        for text in ["(", "[", "a{99999999}"] {
            let error = pattern(text).unwrap_err();
            assert_eq!(error.exit_code(), 1);
            assert!(error.to_string().contains("--grep"), "{error}");
        }
    }
}
