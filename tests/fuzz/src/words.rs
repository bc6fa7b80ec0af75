//! Lists of words, in the form libFuzzer reads too: one a line, in quotes, with `\\`, `\"` and `\xHH`.

/// The words of a list.
#[allow(clippy::panic, reason = "this is how a test fails")]
pub(crate) fn read(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| word(line).unwrap_or_else(|| panic!("{line} is no word in quotes"))).collect()
}

fn word(line: &str) -> Option<Vec<u8>> {
    let mut rest = line.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let mut word = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            word.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first()?;
        rest = after;
        word.push(match kind {
            b'\\' | b'"' => kind,
            b'x' => {
                let (digits, after) = rest.split_first_chunk::<2>()?;
                rest = after;
                u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_stands_between_the_quotes() {
        let words = read("# no word\n\n\"a: \"\n\"\\x0a\\\\\\\"\"\n");
        assert_eq!(words, [b"a: ".to_vec(), b"\n\\\"".to_vec()]);
        for broken in ["a", "\"a", "\"\\x0\"", "\"\\n\"", "\"\\\""] {
            assert_eq!(word(broken), None, "{broken}");
        }
    }
}
