//! Scores in words: what decided between the machines a task fits on.

use std::collections::BTreeSet;

use model::{Bytes, view::Verdict};
use scheduler_core::placement::Criterion;

/// A column of a score that is worth showing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    criterion: Criterion,
    index: usize,
}

/// The columns in which a machine scored anything; none for a score this program cannot read. The
/// last one only breaks ties, which a person sees by the others.
pub(super) fn columns(verdicts: &[Verdict]) -> Vec<Column> {
    let scores: Vec<&Vec<i64>> = verdicts.iter().filter_map(|seen| seen.score.as_ref()).collect();
    let Some(criteria) = scores.first().and_then(|score| Criterion::of_numbers(score.len())) else {
        return Vec::new();
    };
    let tells = |column: &Column| match column.criterion {
        Criterion::Node => false,
        Criterion::Left => true,
        _ => scores.iter().any(|score| score.get(column.index).is_some_and(|part| *part != 0)),
    };
    let all = criteria.into_iter().enumerate();
    all.map(|(index, criterion)| Column { criterion, index }).filter(tells).collect()
}

impl Column {
    pub(super) const fn title(self) -> &'static str {
        match self.criterion {
            Criterion::LeavesOut => "LEAVES OUT",
            Criterion::Spread => "SPREAD",
            Criterion::Replicas => "REPLICAS",
            Criterion::Scarce => "SCARCE",
            Criterion::Uneven => "UNEVEN",
            Criterion::Left => "LEFT FREE",
            Criterion::Node => "ORDER",
        }
    }

    /// What a machine scored, with its unit.
    pub(super) fn value(self, verdict: &Verdict) -> Option<String> {
        let part = *verdict.score.as_ref()?.get(self.index)?;
        Some(match self.criterion {
            Criterion::LeavesOut => if part == 0 { "no" } else { "yes" }.to_owned(),
            Criterion::Scarce | Criterion::Uneven => hundredths(part),
            Criterion::Left => Bytes(u64::try_from(part).unwrap_or_default()).to_string(),
            Criterion::Spread | Criterion::Replicas | Criterion::Node => part.to_string(),
        })
    }
}

/// Hundredths as a number with two decimals.
fn hundredths(part: i64) -> String {
    let (sign, size) = (if part < 0 { "-" } else { "" }, part.unsigned_abs());
    format!("{sign}{}.{:02}", size / 100, size % 100)
}

const fn meaning(criterion: Criterion) -> &'static str {
    match criterion {
        Criterion::LeavesOut => "whether services that share its volume find no room there",
        Criterion::Spread => "replicas on machines with the same label to spread over",
        Criterion::Replicas => "other replicas of the service on the machine",
        Criterion::Scarce => {
            "how much others depend on the machine that can go to few, in usual tasks"
        }
        Criterion::Uneven => "how much more unequal free memory and CPUs become, in usual tasks",
        Criterion::Left => {
            "memory that stays free; what is scarce, uneven and left free counts together"
        }
        Criterion::Node => "the machine that joined first",
    }
}

/// What the columns of these verdicts mean; empty when there are none.
pub(super) fn legend<'a>(verdicts: impl Iterator<Item = &'a [Verdict]>) -> String {
    let shown: BTreeSet<Criterion> =
        verdicts.flat_map(columns).map(|column| column.criterion).collect();
    if shown.is_empty() {
        return String::new();
    }
    let line = |criterion: &Criterion| {
        let column = Column { criterion: *criterion, index: 0 };
        format!("  {:<12}{}\n", column.title(), meaning(*criterion))
    };
    let lines: Vec<String> = shown.iter().map(line).collect();
    format!(
        "\nthe lowest number wins; the first of these that differs decides:\n{}",
        lines.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::placed;

    #[test]
    fn every_number_of_a_score_has_a_title_and_a_unit() {
        let mut verdict = placed("web", 1).verdicts.remove(0);
        verdict.score = Some(vec![1, 2, 3, 4, 5, 6, 7 << 30, 8]);
        let columns = columns(std::slice::from_ref(&verdict));
        let told: Vec<_> = columns
            .iter()
            .map(|column| format!("{} {}", column.title(), column.value(&verdict).unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                "LEAVES OUT yes",
                "SPREAD 2",
                "SPREAD 3",
                "REPLICAS 4",
                "SCARCE 0.05",
                "UNEVEN 0.06",
                "LEFT FREE 7.0 GiB",
            ]
        );
    }

    #[test]
    fn a_score_that_cannot_be_read_is_left_out() {
        let mut verdict = placed("web", 1).verdicts.remove(0);
        verdict.score = Some(vec![1, 2]);
        assert_eq!(columns(&[verdict]), []);
        assert_eq!(legend(std::iter::empty()), "");
    }
}
