//! The known word a person probably meant.

/// The longest word compared: keys are shorter, and the work grows with the product of lengths.
const LONGEST: usize = 40;

/// The candidate that is few enough edits away from `word`, if there is one.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let word = plain(word);
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    // One slip in a short word, more in a long one.
    let allowed = match word.len() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut fewest = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                fewest = fewest.min(before[j - 1] + 1);
            }
            row.push(fewest);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_and_another_word_does_not() {
        let check = |word, expected| {
            let keys = ["image", "command", "environment", "ports", "mem_limit", "init"];
            assert_eq!(nearest(word, keys), expected, "{word}");
        };
        check("imgae", Some("image"));
        check("Image", Some("image"));
        check("comand", Some("command"));
        check("enviroment", Some("environment"));
        check("port", Some("ports"));
        check("mem-limit", Some("mem_limit"));
        check("memLimit", Some("mem_limit"));
        check("volumes", None);
        check("x", None);
        check("", None);
    }
}
