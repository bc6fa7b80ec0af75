//! Shares of a whole as bars.

use model::Bytes;

use super::Look;

/// How many columns a bar has.
pub const BAR_COLUMNS: usize = 30;

/// A bar of the memory of a node: what is taken, what a plan adds, what is free.
///
/// Something that is there takes at least one column, so that nothing is hidden by rounding; a node
/// with anything free never looks full.
pub fn bar(taken: Bytes, added: Bytes, whole: Bytes, look: &Look) -> String {
    let [full, new, free] = if look.unicode { ['█', '▓', '░'] } else { ['#', '+', '.'] };
    let taken_columns = columns(taken, whole);
    let both = columns(taken.saturating_add(added), whole).max(taken_columns);
    let both =
        if added > Bytes::ZERO { both.max((taken_columns + 1).min(BAR_COLUMNS)) } else { both };
    let taken_columns =
        if added > Bytes::ZERO { taken_columns.min(both - 1) } else { taken_columns };
    let part = |mark: char, count: usize| std::iter::repeat_n(mark, count);
    part(full, taken_columns)
        .chain(part(new, both - taken_columns))
        .chain(part(free, BAR_COLUMNS - both))
        .collect()
}

fn columns(amount: Bytes, whole: Bytes) -> usize {
    if amount == Bytes::ZERO || whole == Bytes::ZERO {
        return 0;
    }
    let exact = u128::from(amount.0) * BAR_COLUMNS as u128;
    let columns = (exact + u128::from(whole.0) / 2) / u128::from(whole.0);
    let most = if amount < whole { BAR_COLUMNS - 1 } else { BAR_COLUMNS };
    usize::try_from(columns).unwrap_or(most).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(taken: u64, added: u64, whole: u64, expected: [usize; 3]) {
        let look = Look { unicode: false, ..Look::plain() };
        let text = bar(Bytes(taken), Bytes(added), Bytes(whole), &look);
        let counts = ['#', '+', '.'].map(|mark| text.matches(mark).count());
        assert_eq!(counts, expected, "{text}");
        assert_eq!(text.len(), BAR_COLUMNS);
    }

    #[test]
    fn a_bar_shows_shares_and_hides_nothing() {
        check(0, 0, 30, [0, 0, 30]);
        check(15, 0, 30, [15, 0, 15]);
        check(10, 5, 30, [10, 5, 15]);
        check(1, 0, 3000, [1, 0, 29]);
        check(2999, 0, 3000, [29, 0, 1]);
        check(3000, 0, 3000, [30, 0, 0]);
        check(15, 1, 3000, [1, 1, 28]);
        check(2999, 1, 3000, [29, 1, 0]);
        check(9, 0, 0, [0, 0, 30]);
        check(60, 0, 30, [30, 0, 0]);
    }
}
