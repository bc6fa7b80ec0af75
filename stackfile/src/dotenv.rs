//! `.env` and `env_file`: `NAME=value` lines as Compose reads them.

use std::collections::BTreeMap;

use crate::{
    diagnostic::Report,
    interpolate::{Budget, TOO_MUCH, substitute},
    source::{Span, Texts},
};

/// A variable of the file; the value is absent when only the name stands there.
pub(crate) type Line = (String, Option<String>);

/// Reads the file. Values may use `outer` variables, which win, and those of earlier lines. Nothing is read
/// any more once the budget is over.
pub(crate) fn parse<'o>(
    file: u16,
    texts: &Texts,
    outer: &dyn Fn(&str) -> Option<&'o str>,
    budget: &mut Budget,
    report: &mut Report,
) -> Vec<Line> {
    let mut reader = Reader { file, text: texts.text(file), at: 0 };
    let mut lines: Vec<Line> = Vec::new();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    while let Some(item) = reader.next_line()
        && !budget.is_over()
    {
        let parsed = item.and_then(|Raw { name, value, at }| {
            let Some(value) = value else { return Ok((name, None)) };
            let inner = |wanted: &str| {
                let known: Option<&str> = known.get(wanted).map(String::as_str);
                outer(wanted).or(known)
            };
            let value = match value {
                Quoted::Literal(text) => text,
                Quoted::Template(text) => {
                    let value = substitute(&text, &inner, &mut Vec::new())
                        .map_err(|fault| (at, fault.what, fault.hint.unwrap_or_default()))?;
                    if !budget.spend(&value) {
                        let hint = "a value that names others is as long as all of them";
                        return Err((at, TOO_MUCH.to_owned(), hint.to_owned()));
                    }
                    value
                }
            };
            Ok((name, Some(value)))
        });
        match parsed {
            Ok((name, value)) => {
                if let Some(value) = &value {
                    known.insert(name.clone(), value.clone());
                }
                lines.push((name, value));
            }
            Err((at, what, hint)) => {
                report.error(at, what).hint(hint);
            }
        }
    }
    lines
}

/// Reads the file with nothing special but `=` and comments on lines of their own
/// (`format: raw`).
pub(crate) fn parse_raw(file: u16, texts: &Texts) -> Vec<Line> {
    let lines = texts.text(file).lines();
    lines
        .filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty())
        .map(|line| match line.split_once('=') {
            Some((name, value)) => (name.trim().to_owned(), Some(value.to_owned())),
            None => (line.trim().to_owned(), None),
        })
        .collect()
}

struct Raw {
    name: String,
    value: Option<Quoted>,
    at: Span,
}

enum Quoted {
    /// Nothing in it is special.
    Literal(String),
    /// Variables are substituted.
    Template(String),
}

/// Place, what is wrong, what to do.
type Wrong = (Span, String, String);

struct Reader<'t> {
    file: u16,
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    /// The next variable; blank lines and comments are passed over.
    fn next_line(&mut self) -> Option<Result<Raw, Wrong>> {
        loop {
            let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
            let line = rest.lines().next().unwrap_or("");
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                self.skip_line();
                continue;
            }
            return Some(self.variable(line));
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').map_or(rest.len(), |end| end + 1);
    }

    fn variable(&mut self, line: &'t str) -> Result<Raw, Wrong> {
        let begin = self.at + (line.len() - line.trim_start().len());
        let whole = Span::new(self.file, begin, begin + line.trim().len());
        let mut body = line.trim_start();
        if let Some(rest) = body.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']))
        {
            body = rest.trim_start();
        }
        let split = body.find(['=', ':']);
        let name = split.map_or(body, |at| &body[..at]).trim();
        let wrong = |what: String| {
            let hint = "write `NAME=value`, one per line; `#` begins a comment".to_owned();
            Err((whole, what, hint))
        };
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.skip_line();
            return wrong(format!("`{name}` is not the name of a variable"));
        }
        let name = name.to_owned();
        let Some(split) = split else {
            self.skip_line();
            return Ok(Raw { name, value: None, at: whole });
        };
        let value = &body[split + 1..];
        let start = self.at + (line.len() - value.len()) + (value.len() - value.trim_start().len());
        let value = if let Some(quote @ (b'\'' | b'"')) = self.text.as_bytes().get(start) {
            if let Some(value) = self.quoted(start, *quote) {
                value
            } else {
                self.skip_line();
                return wrong(format!("the quotation of `{name}` is never closed"));
            }
        } else {
            self.skip_line();
            let value = value.trim_start();
            let end = if value.starts_with('#') { 0 } else { comment(value) };
            Quoted::Template(value[..end].trim_end().to_owned())
        };
        Ok(Raw { name, value: Some(value), at: whole })
    }

    /// A value in quotes, which may go over several lines; what follows it on its line is dropped.
    fn quoted(&mut self, start: usize, quote: u8) -> Option<Quoted> {
        let body = &self.text[start + 1..];
        let mut escaped = false;
        let end = body.bytes().position(|byte| {
            let closes = byte == quote && !escaped;
            escaped = byte == b'\\' && !escaped && quote == b'"';
            closes
        })?;
        self.at = start + 1 + end;
        self.skip_line();
        let body = body[..end].replace("\r\n", "\n");
        Some(if quote == b'\'' { Quoted::Literal(body) } else { Quoted::Template(unescape(&body)) })
    }
}

/// Where ` #` begins a comment in an unquoted value.
fn comment(value: &str) -> usize {
    value.find(" #").into_iter().chain(value.find("\t#")).min().unwrap_or(value.len())
}

/// Escapes of a double-quoted value; a protected `$` becomes `$$`, which substitution turns back.
fn unescape(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
        let (mut texts, mut report) = (Texts::default(), Report::default());
        let file = texts.add(".env", text.to_owned()).unwrap();
        let outer = |name: &str| (name == "OUTER").then_some("outer");
        let lines = parse(file, &texts, &outer, &mut Budget::new(), &mut report);
        report.finish(&texts).map(|_| lines).map_err(|errors| errors.to_string())
    }

    #[track_caller]
    fn check(text: &str, value: &str) {
        let lines = read(text).unwrap();
        assert_eq!(
            lines.last().and_then(|(_, value)| value.clone()).as_deref(),
            Some(value),
            "{text}"
        );
    }

    #[test]
    fn values_are_plain_or_quoted() {
        check("A=1", "1");
        check("export A = 1 ", "1");
        check("A: 1", "1");
        check("A=", "");
        check("A=a b # comment", "a b");
        check("A=a#b", "a#b");
        check("A=#x", "");
        check("A='$X \\n' # c", "$X \\n");
        check("A=\"a\\n\\t\\\"b\\\" \\$X\"", "a\n\t\"b\" $X");
        check("A=\"two\nlines\"", "two\nlines");
        check("A=http://x:80/?a=b", "http://x:80/?a=b");
        check("A=$$x", "$x");
        check("\r\nA=1\r\n", "1");
    }

    #[test]
    fn values_use_outer_variables_and_earlier_lines() {
        check("A=1\nB=${A}2", "12");
        check("OUTER=inner\nB=$OUTER", "outer");
        check("B=${C:-d}", "d");
        check("A=1\nA=2\nB=$A", "2");
    }

    #[test]
    fn a_name_alone_has_no_value() {
        assert_eq!(
            read("A\n# c\n\nB=1\n"),
            Ok(vec![("A".to_owned(), None), ("B".to_owned(), Some("1".to_owned()))])
        );
    }

    #[test]
    fn what_is_no_line_is_an_error_with_its_place() {
        assert!(read("x\nA B=1").unwrap_err().contains(".env:2:1"));
        assert!(read("=1").unwrap_err().contains("is not the name of a variable"));
        assert!(read("A='x").unwrap_err().contains("the quotation of `A` is never closed"));
        assert!(read("A=${x").unwrap_err().contains("`${` is never closed"));
    }

    #[test]
    fn the_raw_format_takes_everything_literally() {
        let mut texts = Texts::default();
        let file = texts.add("f", "A=\"$X\" # c\n# d\nB\n".to_owned()).unwrap();
        let lines = parse_raw(file, &texts);
        assert_eq!(
            lines,
            [("A".to_owned(), Some("\"$X\" # c".to_owned())), ("B".to_owned(), None)]
        );
    }
}
