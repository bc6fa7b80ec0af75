//! Amounts and times as people say them.

use jiff::Timestamp;

/// How long ago an RFC 3339 time was: `45s`, `3m`, `5h`, `12d`. Empty when it is no time; `0s` when
/// it lies ahead, because clocks differ.
pub fn age(since: &str, now: Timestamp) -> String {
    since.parse::<Timestamp>().map_or_else(
        |_| String::new(),
        |since| span(u64::try_from(now.as_second() - since.as_second()).unwrap_or(0)),
    )
}

/// Seconds in the largest unit that leaves a whole number.
pub fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3_600, "h"), (60, "m")];
    UNITS
        .iter()
        .find(|(size, _)| seconds >= *size)
        .map_or_else(|| format!("{seconds}s"), |(size, unit)| format!("{}{unit}", seconds / size))
}

/// `1 task`, `2 tasks`.
pub fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The candidate that was probably meant by `name`, if one is near enough.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may differ: more, and the suggestion is a guess.
    let allowed = name.chars().count().div_ceil(3).max(1);
    // People rarely miss the first letter.
    let begins_otherwise = |candidate: &str| candidate.chars().next() != name.chars().next();
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), begins_otherwise(candidate), candidate))
        .filter(|(distance, _, _)| *distance <= allowed)
        .min()
        .map(|(_, _, candidate)| candidate)
}

/// Letters to insert, delete, replace or swap with their neighbour to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best =
                (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_whole_numbers_of_the_largest_unit() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (since, shown) in [
            ("2026-03-01T12:00:00Z", "0s"),
            ("2026-03-01T11:59:01.5Z", "59s"),
            ("2026-03-01T11:57:00Z", "3m"),
            ("2026-03-01T10:00:30Z", "1h"),
            ("2026-02-27T12:00:00Z", "2d"),
            ("2026-03-01T12:05:00Z", "0s"),
            ("never", ""),
        ] {
            assert_eq!(age(since, now), shown);
        }
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let names = ["postgres", "db", "neo4j", "web", "brain-api"];
        for (name, expected) in [
            ("postgers", Some("postgres")),
            ("postgre", Some("postgres")),
            ("neo4", Some("neo4j")),
            ("wbe", Some("web")),
            ("wb", Some("web")),
            ("brainapi", Some("brain-api")),
            ("redis", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, names), expected, "{name}");
        }
    }

    #[test]
    fn counts_agree_with_their_noun() {
        assert_eq!(count(1_u32, "task"), "1 task");
        assert_eq!(count(0_u32, "task"), "0 tasks");
    }
}
