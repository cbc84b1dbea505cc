//! Tables of text for a terminal.
//!
//! Owns the width of columns: as wide as their cells, cut at a bound. Counts characters; wide ones may shift a column.

use super::plain;

/// Cells are cut to this many characters.
const CELL_CHARS_MAX: usize = 60;

/// Which side of a column its cells lean to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under a header.
pub(super) struct Table {
    header: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(header: &[(&str, Align)]) -> Self {
        let header = header.iter().map(|(name, align)| (cell(name), *align)).collect();
        Self { header, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub(super) fn push<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(|text| cell(text.as_ref())).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each ended, none with white space at its end.
    pub(super) fn render(&self) -> String {
        let width = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let cells = cells.chain([&self.header[index].0]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let names: Vec<String> = self.header.iter().map(|(name, _)| name.clone()).collect();
        let mut text = String::new();
        for row in [&names].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (index, (width, (_, align))) in widths.iter().zip(&self.header).enumerate() {
                let cell = row.get(index).map_or("", String::as_str);
                let padding = " ".repeat(width - cell.chars().count());
                let (before, after) = if *align == Align::Left { ("", &*padding) } else { (&*padding, "") };
                let gap = if index == 0 { "" } else { "  " };
                line.extend([gap, before, cell, after]);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// One line of plain text, cut to the width of a cell.
fn cell(text: &str) -> String {
    let line = plain(text).replace('\n', "⏎");
    if line.chars().count() <= CELL_CHARS_MAX {
        return line;
    }
    line.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_long_cells_are_cut() {
        let mut table = Table::new(&[("step", Align::Left), ("jobs", Align::Right), ("note", Align::Left)]);
        table.push(["a", "12", "x"]);
        table.push(["longer", "1"]);
        table.push(["b\nc\u{7}", "3", &"y".repeat(100)]);
        let cut = format!("{}…", "y".repeat(59));
        assert_eq!(
            table.render(),
            format!("step    jobs  note\na         12  x\nlonger     1\nb⏎c\u{fffd}       3  {cut}\n")
        );
    }
}
