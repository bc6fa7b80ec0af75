//! The agent's settings, as its service unit reads them. What a person wrote there stays as it stands, with
//! their remarks; a setting that is named anew takes the place of the old one.

/// Settings that every agent needs and that `node add` chooses itself.
pub(super) const CHOSEN: [&str; 4] =
    ["SISO_DATA_DIR", "SISO_SCHEDULER", "SISO_TOKEN_FILE", "SISO_NAME"];

/// A file of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pieces: Vec<Piece>,
}

/// A setting over all its lines, or a line that is none: empty, or a remark.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// As it stands in the file, its last line break included.
    text: String,
    setting: Option<(String, String)>,
}

impl Settings {
    /// Those of a machine that had none.
    pub(super) fn new() -> Self {
        let text = "# Made by sisoctl node add.\n".to_owned();
        Self { pieces: vec![Piece { text, setting: None }] }
    }

    /// Those of a file, read as systemd reads it. The error says why nothing can be added to it safely.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return Err("it is not UTF-8".to_owned());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = piece(rest).ok_or_else(|| {
                let line = text.len() - rest.len();
                let line = text.get(..line).unwrap_or_default().lines().count() + 1;
                format!("what begins in line {line} does not end")
            })?;
            pieces.push(piece);
            rest = after;
        }
        Ok(Self { pieces })
    }

    /// What a setting is; of several of one name the last one counts.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let settings = self.pieces.iter().rev().filter_map(|piece| piece.setting.as_ref());
        settings.filter(|(held, _)| held == key).map(|(_, value)| value.as_str()).next()
    }

    /// Gives a setting a value, in its place or at the end. The value holds no quotes, `\\`, `$` or line
    /// breaks: whoever asks has seen to that.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        if self.get(key) == Some(value) {
            return;
        }
        let quote = if value.contains([' ', '\'', '#', ';']) { "\"" } else { "" };
        let text = format!("{key}={quote}{value}{quote}\n");
        let piece = Piece { text, setting: Some((key.to_owned(), value.to_owned())) };
        let named = |held: &&mut Piece| held.setting.as_ref().is_some_and(|(held, _)| held == key);
        match self.pieces.iter_mut().rev().find(named) {
            Some(held) => *held = piece,
            None => self.pieces.push(piece),
        }
    }

    /// The names of the settings, as they stand.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| Some(piece.setting.as_ref()?.0.as_str()))
    }

    /// The file.
    pub(super) fn text(&self) -> String {
        self.pieces.iter().map(|piece| piece.text.as_str()).collect()
    }
}

/// Where in a setting a character stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the value, or behind a quoted part of it.
    Before,
    Value,
    Single,
    Double,
}

/// The first piece of a text and what follows it; `None` when a quote or a line that is to go on never ends.
fn piece(text: &str) -> Option<(Piece, &str)> {
    let line = text.split_inclusive('\n').next().unwrap_or(text);
    let start = line.trim_start();
    let setting = start.split_once('=').filter(|_| !start.starts_with(['#', ';']));
    let Some((key, _)) = setting else {
        let piece = Piece { text: ended(line), setting: None };
        return Some((piece, text.get(line.len()..)?));
    };
    let begins = line.len() - start.len() + key.len() + 1;
    let (value, length) = value(text.get(begins..)?)?;
    let (whole, rest) = text.split_at_checked(begins + length)?;
    let setting = Some((key.trim_end().to_owned(), value));
    Some((Piece { text: ended(whole), setting }, rest))
}

/// With a line break at its end.
fn ended(text: &str) -> String {
    format!("{}\n", text.strip_suffix('\n').unwrap_or(text))
}

/// A value without its quotes and escapes, and how many bytes it takes in the file.
fn value(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    // Blanks within a value count, those behind it do not.
    let mut blanks = String::new();
    let mut at = At::Before;
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match (at, c) {
            (At::Before | At::Value, '\n') => return Some((value, index + 1)),
            (At::Before, '\'') => at = At::Single,
            (At::Before, '"') => at = At::Double,
            (At::Single, '\'') | (At::Double, '"') => at = At::Before,
            (At::Single, c) => value.push(c),
            (_, '\\') => {
                let (_, next) = chars.next()?;
                if at == At::Before {
                    at = At::Value;
                }
                value.push_str(&std::mem::take(&mut blanks));
                match next {
                    '\n' => {}
                    '"' | '\\' | '`' | '$' => value.push(next),
                    _ if at == At::Double => value.extend(['\\', next]),
                    _ => value.push(next),
                }
            }
            (At::Double, c) => value.push(c),
            (At::Before, ' ' | '\t' | '\r') => {}
            (At::Value, ' ' | '\t' | '\r') => blanks.push(c),
            (At::Before | At::Value, c) => {
                at = At::Value;
                value.push_str(&std::mem::take(&mut blanks));
                value.push(c);
            }
        }
    }
    matches!(at, At::Before | At::Value).then_some((value, text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "# ours; \"keep\"\n\nSISO_SCHEDULER=mini-1:7400\n\
                       SISO_RESERVE_MEMORY='2 GiB' # not a remark\n  SISO_ALLOW_BIND=/srv,\\\n/data\n\
                       SISO_LABEL=\"role=db,\nzone=a b\"\nno setting\nSISO_LOG_LEVEL=debug \n";

    #[test]
    fn what_a_person_wrote_is_read_as_systemd_reads_it_and_stays_as_it_stands() {
        let settings = Settings::read(OWN).unwrap();
        for (key, value) in [
            ("SISO_SCHEDULER", "mini-1:7400"),
            ("SISO_RESERVE_MEMORY", "2 GiB# not a remark"),
            ("SISO_ALLOW_BIND", "/srv,/data"),
            ("SISO_LABEL", "role=db,\nzone=a b"),
            ("SISO_LOG_LEVEL", "debug"),
        ] {
            assert_eq!(settings.get(key), Some(value), "{key}");
        }
        assert_eq!(settings.get("SISO_NAME"), None);
        assert_eq!(settings.text(), OWN);
        assert_eq!(settings.names().count(), 5);
    }

    #[test]
    fn a_setting_that_is_named_takes_the_place_of_the_old_one_over_all_its_lines() {
        let mut settings = Settings::read(OWN).unwrap();
        settings.set("SISO_ALLOW_BIND", "/srv");
        settings.set("SISO_LABEL", "disk=fast ssd");
        settings.set("SISO_SCHEDULER", "mini-1:7400");
        settings.set("SISO_NAME", "mini-2");
        let expected = OWN
            .replace("  SISO_ALLOW_BIND=/srv,\\\n/data\n", "SISO_ALLOW_BIND=/srv\n")
            .replace("\"role=db,\nzone=a b\"", "\"disk=fast ssd\"");
        assert_eq!(settings.text(), expected + "SISO_NAME=mini-2\n");
        assert_eq!(Settings::read(&settings.text()), Ok(settings));
    }

    #[test]
    fn the_last_one_of_a_name_counts_and_a_last_line_needs_no_break() {
        let mut settings = Settings::read("A=1\nA=2").unwrap();
        assert_eq!(settings.get("A"), Some("2"));
        settings.set("B", "3");
        settings.set("A", "4");
        assert_eq!(settings.text(), "A=1\nA=4\nB=3\n");
        assert_eq!(Settings::read("").unwrap().text(), "");
    }

    #[test]
    fn to_what_has_no_end_nothing_is_added() {
        for (text, line) in [("A=1\nB=\"x\nC=2\n", 2), ("A='", 1), ("A=\\", 1)] {
            let why = Settings::read(text).unwrap_err();
            assert_eq!(why, format!("what begins in line {line} does not end"), "{text:?}");
        }
        assert!(Settings::read("A=\u{fffd}").unwrap_err().contains("UTF-8"));
    }
}
