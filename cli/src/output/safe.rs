//! Foreign text made harmless: whoever chose a label, an error message or a log line must not steer
//! the terminal of the person who reads it, nor make them read another order than is written.

use std::{borrow::Cow, fmt::Write as _};

/// Whether a character could steer a terminal, hide, or reorder what is read.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Marks and overrides of direction.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Invisible characters and line separators.
            | '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{2060}' | '\u{feff}'
            // Tag characters: an invisible alphabet.
            | '\u{e0000}'..='\u{e007f}')
}

/// Text for one line or table cell: every unsafe character is spelt out (`\u{1b}`, `\n`).
pub fn line(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        Cow::Owned(text.chars().fold(String::with_capacity(text.len()), spell))
    } else {
        Cow::Borrowed(text)
    }
}

/// Text of several lines: line ends and tabs stay, every other unsafe character is spelt out.
pub fn lines(text: &str) -> Cow<'_, str> {
    let harmless = |c| matches!(c, '\n' | '\t') || !is_unsafe(c);
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let keep_or_spell = |mut shown: String, c| {
        if harmless(c) {
            shown.push(c);
            shown
        } else {
            spell(shown, c)
        }
    };
    Cow::Owned(text.chars().fold(String::with_capacity(text.len()), keep_or_spell))
}

/// A log line for a terminal. Colours are dropped, since programs that write them are many and a
/// spelt-out colour hides the text; everything else unsafe is spelt out, and bytes that are not
/// UTF-8 are shown as `\xNN`.
pub fn log_line(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if let Some(after) = after_colour(rest) {
            rest = after;
            continue;
        }
        let (c, after) = next_char(rest);
        match c {
            Ok('\t') => shown.push('\t'),
            Ok(c) if is_unsafe(c) => shown = spell(shown, c),
            Ok(c) => shown.push(c),
            Err(byte) => push_formatted(&mut shown, format_args!("\\x{byte:02x}")),
        }
        rest = after;
    }
    shown
}

/// JSON text in which unsafe characters, which can only stand inside strings, are `\uXXXX`: the same
/// document, harmless on a terminal.
pub fn json(text: &str) -> Cow<'_, str> {
    // Line ends are JSON's own; serde_json escapes those inside strings.
    let harmless = |c| c == '\n' || !is_unsafe(c);
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if harmless(c) {
            shown.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                push_formatted(&mut shown, format_args!("\\u{unit:04x}"));
            }
        }
    }
    Cow::Owned(shown)
}

fn spell(mut shown: String, c: char) -> String {
    if is_unsafe(c) {
        shown.extend(c.escape_default());
    } else {
        shown.push(c);
    }
    shown
}

fn push_formatted(shown: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = shown.write_fmt(what);
}

/// What follows a complete colour sequence (`ESC [ digits ; digits m`) at the start of `bytes`.
fn after_colour(bytes: &[u8]) -> Option<&[u8]> {
    let parameters = bytes.strip_prefix(b"\x1b[")?;
    let end = parameters.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    let (last, after) = parameters[end..].split_first()?;
    (*last == b'm').then_some(after)
}

/// The first character of `bytes`, or its first byte when that begins no character.
fn next_char(bytes: &[u8]) -> (Result<char, u8>, &[u8]) {
    /// The longest UTF-8 sequence.
    const LONGEST: usize = 4;
    let head = &bytes[..bytes.len().min(LONGEST)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(c) => (Ok(c), &bytes[c.len_utf8()..]),
        None => (Err(bytes[0]), &bytes[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_spelt_out() {
        for (text, shown) in [
            ("plain", "plain"),
            ("Zürich 東京 🐘", "Zürich 東京 🐘"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{1b}]52;c;aGk=\u{7}", "\\u{1b}]52;c;aGk=\\u{7}"),
            ("a\rb", "a\\rb"),
            ("a\nb", "a\\nb"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("user\u{202e}cod.exe", "user\\u{202e}cod.exe"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("a\u{200b}b", "a\\u{200b}b"),
            ("\u{e0041}", "\\u{e0041}"),
            ("\u{7f}\0", "\\u{7f}\\u{0}"),
        ] {
            assert_eq!(line(text), shown);
        }
    }

    #[test]
    fn several_lines_keep_their_ends_and_tabs() {
        assert_eq!(lines("a\n\tb"), "a\n\tb");
        assert_eq!(lines("a\n\u{1b}[1mb\r"), "a\n\\u{1b}[1mb\\r");
    }

    #[test]
    fn a_log_line_loses_its_colours_and_nothing_else() {
        for (bytes, shown) in [
            (&b"\x1b[1;32mINFO\x1b[0m ready"[..], "INFO ready"),
            (b"\x1b[38:5:196mred\x1b[m", "red"),
            (b"\x1b[2Jgone", "\\u{1b}[2Jgone"),
            (b"\x1b[31", "\\u{1b}[31"),
            (b"\x1b", "\\u{1b}"),
            (b"\x1b]0;title\x07x", "\\u{1b}]0;title\\u{7}x"),
            (b"a\tb\rc", "a\tb\\rc"),
            (b"caf\xc3\xa9 \xff\xfe", "café \\xff\\xfe"),
            (b"cut \xe2\x82", "cut \\xe2\\x82"),
            (b"\xc2\x9b31m", "\\u{9b}31m"),
        ] {
            assert_eq!(log_line(bytes), shown);
        }
    }

    #[test]
    fn json_stays_the_same_document() {
        let text = serde_json::to_string(&["\u{1b}[2J\u{9b}\u{202e}\u{e0041}é"]).unwrap();
        let shown = json(&text);
        assert!(!shown.chars().any(is_unsafe));
        let (before, after): (Vec<String>, Vec<String>) =
            (serde_json::from_str(&text).unwrap(), serde_json::from_str(&shown).unwrap());
        assert_eq!(before, after);
    }
}
