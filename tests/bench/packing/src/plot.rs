//! A plot with logarithmic axes, as SVG.

use std::fmt::Write as _;

/// What is measured, by something.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Both are above zero.
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const MARGIN: f64 = 56.0;
/// Told apart without colour by their dashes.
const LOOKS: [(&str, &str); 4] =
    [("#1f6feb", "none"), ("#bc4c00", "8 4"), ("#1a7f37", "2 3"), ("#8250df", "10 3 2 3")];

/// Draws the lines; the titles are of both axes.
pub(crate) fn svg(lines: &[Line], (across, up): (&str, &str)) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let decades = |of: fn(&(f64, f64)) -> f64| {
        let logs: Vec<f64> = all().map(|point| of(point).log10()).collect();
        let least = logs.iter().copied().fold(f64::MAX, f64::min).floor();
        (least, logs.iter().copied().fold(f64::MIN, f64::max).ceil().max(least + 1.0))
    };
    let (xs, ys) = (decades(|point| point.0), decades(|point| point.1));
    let x = |log: f64| MARGIN + (log - xs.0) / (xs.1 - xs.0) * (WIDTH - 2.0 * MARGIN);
    let y = |log: f64| HEIGHT - MARGIN - (log - ys.0) / (ys.1 - ys.0) * (HEIGHT - 2.0 * MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for decade in xs.0 as i32..=xs.1 as i32 {
        let (at, foot) = (x(f64::from(decade)), HEIGHT - MARGIN);
        let label = 10_f64.powi(decade);
        let _ = writeln!(
            text,
            "<path d=\"M{at:.1} {MARGIN}V{foot}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{label}</text>",
            foot + 18.0
        );
    }
    for decade in ys.0 as i32..=ys.1 as i32 {
        let (at, right) = (y(f64::from(decade)), WIDTH - MARGIN);
        let label = 10_f64.powi(decade);
        let _ = writeln!(
            text,
            "<path d=\"M{MARGIN} {at:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{label}</text>",
            MARGIN - 6.0,
            at + 4.0
        );
    }
    for (index, line) in lines.iter().enumerate() {
        let (colour, dashes) = LOOKS[index % LOOKS.len()];
        let points: Vec<String> = line
            .points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0.log10()), y(point.1.log10())))
            .collect();
        let legend = MARGIN + 16.0 * (index as f64 + 1.0);
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dashes}\"/>\n<path d=\"M{:.1} {:.1}h28\" stroke=\"{colour}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dashes}\"/><text x=\"{:.1}\" y=\"{legend:.1}\">{}</text>",
            points.join(" "),
            MARGIN + 10.0,
            legend - 4.0,
            MARGIN + 46.0,
            line.name
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{across}</text>\n<text x=\"{MARGIN}\" y=\"{:.1}\" \
         text-anchor=\"middle\">{up}</text>\n</svg>",
        WIDTH / 2.0,
        HEIGHT - 14.0,
        MARGIN - 16.0
    );
    text
}
