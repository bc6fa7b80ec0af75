//! What was measured: samples with a name, a unit and what was wanted of them.

use std::fmt;

use serde_json::{Value, json};

/// What is wanted of a median.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    AtMost(f64),
    AtLeast(f64),
}

impl Wanted {
    fn is_met(self, median: f64) -> bool {
        match self {
            Self::AtMost(most) => median <= most,
            Self::AtLeast(least) => median >= least,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {}", amount(*most)),
            Self::AtLeast(least) => write!(f, "≥ {}", amount(*least)),
        }
    }
}

/// One row of the table.
#[derive(Debug)]
struct Figure {
    part: &'static str,
    what: String,
    unit: &'static str,
    samples: Vec<f64>,
    wanted: Option<Wanted>,
}

/// The middle of the samples, or the mean of the two in the middle.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(only), 1) => *only,
        (Some(upper), _) => f64::midpoint(sorted[middle - 1], *upper),
        (None, _) => f64::NAN,
    }
}

/// Everything that was measured in one run.
#[derive(Debug)]
pub(crate) struct Report {
    about: Value,
    figures: Vec<Figure>,
    remarks: Vec<String>,
}

impl Report {
    pub(crate) fn new(about: Value) -> Self {
        Self { about, figures: Vec::new(), remarks: Vec::new() }
    }

    /// Adds a row; samples are in `unit`.
    pub(crate) fn add(
        &mut self,
        part: &'static str,
        (what, unit): (impl Into<String>, &'static str),
        samples: Vec<f64>,
        wanted: Option<Wanted>,
    ) {
        let what = what.into();
        crate::say(&format!("{what}: {} {unit}", amount(median(&samples))));
        self.figures.push(Figure { part, what, unit, samples, wanted });
    }

    /// Adds a sentence below the table.
    pub(crate) fn remark(&mut self, text: impl Into<String>) {
        let text = text.into();
        crate::say(&text);
        self.remarks.push(text);
    }

    pub(crate) fn json(&self) -> Value {
        let figures = self.figures.iter().map(|figure| {
            let middle = median(&figure.samples);
            json!({
                "part": figure.part,
                "what": figure.what,
                "unit": figure.unit,
                "median": middle,
                "min": least(&figure.samples),
                "max": most(&figure.samples),
                "samples": figure.samples,
                "wanted": figure.wanted.map(|wanted| wanted.to_string()),
                "met": figure.wanted.map(|wanted| wanted.is_met(middle)),
            })
        });
        json!({
            "about": self.about,
            "figures": figures.collect::<Vec<_>>(),
            "remarks": self.remarks,
        })
    }
}

fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Three digits, as far as they mean something.
fn amount(value: f64) -> String {
    match value.abs() {
        small if small < 9.995 => format!("{value:.2}"),
        middle if middle < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A table in Markdown: read on a terminal, and kept in a document, as it is.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in self.about.as_object().into_iter().flatten() {
            writeln!(f, "{key}: {}", value.as_str().unwrap_or_default())?;
        }
        let head = ["what", "median", "min", "max", "unit", "wanted"].map(str::to_owned);
        let rows: Vec<[String; 6]> = self.figures.iter().map(row).collect();
        let mut widths = [0; 6];
        for cells in std::iter::once(&head).chain(&rows) {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: &[String; 6]| {
            let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
        };
        let rule = widths.map(|width| "-".repeat(width + 2)).join("|");
        writeln!(f, "\n{}\n|{rule}|", line(&head))?;
        for cells in &rows {
            writeln!(f, "{}", line(cells))?;
        }
        if !self.remarks.is_empty() {
            writeln!(f)?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "- {remark}"))
    }
}

fn row(figure: &Figure) -> [String; 6] {
    let middle = median(&figure.samples);
    let wanted = figure.wanted.map_or_else(String::new, |wanted| {
        let verdict = if wanted.is_met(middle) { "met" } else { "missed" };
        format!("{wanted}: {verdict}")
    });
    [
        figure.what.clone(),
        amount(middle),
        amount(least(&figure.samples)),
        amount(most(&figure.samples)),
        figure.unit.to_owned(),
        wanted,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_however_many_there_are() {
        for (samples, expected) in [(&[3.0, 1.0, 2.0][..], 2.0), (&[4.0, 1.0], 2.5), (&[7.0], 7.0)]
        {
            assert!((median(samples) - expected).abs() < f64::EPSILON, "{samples:?}");
        }
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_figure_that_falls_short_is_shown_as_such() {
        let mut report = Report::new(json!({"machine": "two cores"}));
        report.add("start", ("ready", "ms"), vec![120.0, 90.0, 100.0], Some(Wanted::AtMost(99.0)));
        report.add("start", ("size", "MB"), vec![9.0], Some(Wanted::AtMost(15.0)));
        let text = report.to_string();
        assert!(text.starts_with("machine: two cores\n"), "{text}");
        assert!(
            text.contains("| ready | 100    | 90.0 | 120  | ms   | ≤ 99.0: missed |"),
            "{text}"
        );
        assert!(text.contains("≤ 15.0: met"), "{text}");
        assert_eq!(report.json()["figures"][0]["met"], false);
    }
}
