//! Text that has to fit: on more lines, or with its end cut off.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Fewer columns than this hold no text worth reading: the terminal wraps it as it likes.
const MIN_ROOM: usize = 10;

/// Lines of at most `room` columns, broken between words; a word that is longer is broken itself.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    if room < MIN_ROOM {
        return vec![text.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        for (index, piece) in pieces(word, room).into_iter().enumerate() {
            let gap = usize::from(index == 0 && !line.is_empty());
            if !line.is_empty() && (index > 0 || line.width() + gap + piece.width() > room) {
                lines.push(std::mem::take(&mut line));
            } else {
                line.push_str(&" ".repeat(gap));
            }
            line.push_str(&piece);
        }
    }
    lines.push(line);
    lines
}

/// A word in pieces of at most `room` columns.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut used = 0;
    for c in word.chars() {
        let width = c.width().unwrap_or(0);
        if used + width > room {
            pieces.push(String::new());
            used = 0;
        }
        used += width;
        pieces.last_mut().iter_mut().for_each(|piece| piece.push(c));
    }
    pieces
}

/// Text of at most `room` columns; what is cut is marked.
pub fn cut(text: &str, room: usize, unicode: bool) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mark = if unicode { "…" } else { "..." };
    let mut used = mark.width();
    let keep = text.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= room
    });
    keep.chain(mark.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_lose_none() {
        for (text, room, lines) in [
            ("", 10, &[""][..]),
            ("one two", 10, &["one two"]),
            ("one two three four", 10, &["one two", "three four"]),
            ("needs /a/very/long/path here", 12, &["needs", "/a/very/long", "/path here"]),
            ("東京東京東京 x", 10, &["東京東京東", "京 x"]),
            ("too narrow for words", 9, &["too narrow for words"]),
        ] {
            assert_eq!(wrap(text, room), lines, "{text}");
        }
    }

    #[test]
    fn what_is_cut_is_marked() {
        assert_eq!(cut("exceeded", 8, true), "exceeded");
        assert_eq!(cut("exceeded its limit", 8, true), "exceede…");
        assert_eq!(cut("exceeded its limit", 8, false), "excee...");
    }
}
