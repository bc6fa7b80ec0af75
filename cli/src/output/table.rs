//! Columns without lines, as container people know them. Every cell is made harmless here.

use unicode_width::UnicodeWidthStr as _;

use super::{Out, Tone, safe, wrap::wrap};
use crate::error::Error;

/// Spaces between columns.
const GAP: usize = 3;
/// How much further than its row a last cell begins that stands below it.
const BELOW: usize = 4;

/// One cell: text, its tone, its side.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    /// Text; `None` and empty text are shown as `-`.
    pub fn new<'a>(text: impl Into<Option<&'a str>>) -> Self {
        let text = text.into().filter(|text| !text.is_empty()).unwrap_or("-");
        Self { text: safe::line(text).into_owned(), tone: Tone::Plain, right: false }
    }

    /// The same in a tone.
    #[must_use]
    pub fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// A number or amount, on the right side of its column; `None` is `-`.
    pub fn amount(amount: impl Into<Option<String>>) -> Self {
        Self { right: true, ..Self::new(amount.into().as_deref()) }
    }

    /// The same without a dash when empty, for a last column of remarks.
    pub fn remark(text: &str) -> Self {
        Self { text: safe::line(text).into_owned(), tone: Tone::Plain, right: false }
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// Rows under a header.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// What stands below a row, by its number.
    below: Vec<(usize, Cell)>,
    indent: usize,
    spare: &'static [&'static str],
}

impl Table {
    /// An empty table.
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new(), below: Vec::new(), indent: 0, spare: &[] }
    }

    /// The same, each line beginning with this many spaces.
    #[must_use]
    pub fn indented(self, indent: usize) -> Self {
        Self { indent, ..self }
    }

    /// The same with columns that a narrow terminal does without, the most dispensable first. Off a
    /// terminal all are printed.
    #[must_use]
    pub fn sparing(self, spare: &'static [&'static str]) -> Self {
        Self { spare, ..self }
    }

    /// Adds a row; it has as many cells as the header.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a line below the row added last.
    pub fn line_below(&mut self, cell: Cell) {
        self.below.push((self.rows.len(), cell));
    }

    /// Prints header and rows; without rows only `empty`, to standard error.
    pub fn print(&self, out: &mut Out, empty: &str) -> Result<(), Error> {
        if self.rows.is_empty() {
            out.note(empty);
            return Ok(());
        }
        let text = self.render(out);
        out.data(&text)
    }

    /// Header and rows as text. On a terminal a last cell that does not fit stands below its row:
    /// it is the reason or the error, and the one that has to be read whole.
    pub fn render(&self, out: &Out) -> String {
        match (out.look.width, self.spare) {
            (Some(width), [title, spare @ ..]) if self.is_cramped(width) => {
                Self { spare, ..self.without(title) }.render(out)
            }
            _ => self.render_all(out),
        }
    }

    /// Whether the columns before the last one, with its title, do not fit.
    fn is_cramped(&self, width: usize) -> bool {
        let last = self.header.last().map_or(0, |title| title.width());
        before_last(&self.widths()) + self.indent + last > width
    }

    fn without(&self, title: &str) -> Self {
        let mut table = self.clone();
        if let Some(column) = self.header.iter().position(|other| *other == title) {
            table.header.remove(column);
            table.rows.iter_mut().for_each(|row| drop(row.remove(column)));
        }
        table
    }

    fn render_all(&self, out: &Out) -> String {
        let widths = self.widths();
        let before = before_last(&widths) + self.indent;
        let mut lines = Vec::new();
        if self.header.iter().any(|title| !title.is_empty()) {
            lines.push(self.line(&self.titles(), &widths, out));
        }
        for (number, row) in self.rows.iter().enumerate() {
            match (out.look.width, row.split_last()) {
                (Some(width), Some((last, others))) if before + last.width() > width => {
                    lines.push(self.line(others, &widths, out));
                    lines.extend(self.stand_below(last, out));
                }
                _ => lines.push(self.line(row, &widths, out)),
            }
            let below = self.below.iter().filter(|(after, _)| *after == number + 1);
            lines.extend(below.flat_map(|(_, cell)| self.stand_below(cell, out)));
        }
        lines.concat()
    }

    /// The lines of a cell that stands below its row.
    fn stand_below(&self, cell: &Cell, out: &Out) -> Vec<String> {
        let indent = self.indent + BELOW;
        let room = out.look.width.map_or(usize::MAX, |width| width.saturating_sub(indent));
        let line =
            |part: String| format!("{}{}\n", " ".repeat(indent), out.paint(cell.tone, &part));
        wrap(&cell.text, room).into_iter().map(line).collect()
    }

    fn titles(&self) -> Vec<Cell> {
        let is_right = |column: usize| {
            self.rows.first().and_then(|row| row.get(column)).is_some_and(|c| c.right)
        };
        let title = |(column, title): (usize, &&str)| Cell {
            text: (*title).to_owned(),
            tone: Tone::Faint,
            right: is_right(column),
        };
        self.header.iter().enumerate().map(title).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |column: usize, title: &str| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(Cell::width)
                .fold(title.width(), usize::max)
        };
        self.header.iter().enumerate().map(|(column, title)| widest(column, title)).collect()
    }

    fn line(&self, cells: &[Cell], widths: &[usize], out: &Out) -> String {
        let mut line = " ".repeat(self.indent);
        let last = widths.len().saturating_sub(1);
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            let painted = out.paint(cell.tone, &cell.text);
            match (cell.right, column == last) {
                (true, _) => line.extend([pad.as_str(), &painted]),
                (false, true) => line.push_str(&painted),
                (false, false) => line.extend([painted.as_str(), &pad]),
            }
            if column != last {
                line.push_str(&" ".repeat(GAP));
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// The columns up to the last one, with their gaps.
fn before_last(widths: &[usize]) -> usize {
    widths.iter().rev().skip(1).map(|width| width + GAP).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{output::Look, testing::streams};

    fn render(look: Look) -> String {
        let mut table = Table::new(&["NAME", "SIZE", "ERROR"]);
        table.row([Cell::new("web"), Cell::amount("1.5 GiB".to_owned()), Cell::remark("")]);
        table.row([
            Cell::new("東京\u{1b}[2J"),
            Cell::amount(None),
            Cell::remark("killed: exceeded its limit of 512.0 MiB, again and again"),
        ]);
        table.render(&streams(look).0)
    }

    #[test]
    fn columns_line_up_and_nothing_is_cut_off_a_terminal() {
        insta::assert_snapshot!(render(Look::plain()), @r"
        NAME               SIZE   ERROR
        web             1.5 GiB
        東京\u{1b}[2J         -   killed: exceeded its limit of 512.0 MiB, again and again
        ");
    }

    #[test]
    fn on_a_terminal_a_reason_that_does_not_fit_stands_whole_below_its_row() {
        insta::assert_snapshot!(render(Look { width: Some(60), ..Look::plain() }), @r"
        NAME               SIZE   ERROR
        web             1.5 GiB
        東京\u{1b}[2J         -
            killed: exceeded its limit of 512.0 MiB, again and again
        ");
        insta::assert_snapshot!(render(Look { width: Some(40), ..Look::plain() }), @r"
        NAME               SIZE   ERROR
        web             1.5 GiB
        東京\u{1b}[2J         -
            killed: exceeded its limit of 512.0
            MiB, again and again
        ");
    }

    #[test]
    fn a_narrow_terminal_does_without_spare_columns() {
        let mut table = Table::new(&["NAME", "ID", "SIZE", "ERROR"]).sparing(&["ID", "SIZE"]);
        table.row(["web", "t1", "1.5 GiB", "killed"].map(Cell::new));
        let header = |width| {
            let text = table.render(&streams(Look { width, ..Look::plain() }).0);
            text.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(header(None), "NAME ID SIZE ERROR");
        assert_eq!(header(Some(27)), "NAME ID SIZE ERROR");
        assert_eq!(header(Some(26)), "NAME SIZE ERROR");
        assert_eq!(header(Some(20)), "NAME ERROR");
    }
}
