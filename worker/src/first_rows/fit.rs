//! Fitting rows into the budget (worker-and-store.md section 5.4 steps 4 to 6).
//!
//! Owns the sizes of items, the cutting of cells and the choice of rows. Rows are pushed one at a time; of a cell that
//! is certain to be cut only the start is kept, so memory follows the budget and not the cells.

use outpost_formats::json_text::write_json_string;
use outpost_model::limits::FirstRowsLimits;

use super::FirstRowsError;
use super::cells::RowCells;
use super::columns::Column;

const OPEN: &str = "{\"row_idx\":";
const ROW: &str = ",\"row\":{";
const CUT: &str = "},\"truncated_cells\":[";
const CLOSE: &str = "]}";

/// Size of an empty JSON list.
const EMPTY_LIST: usize = 2;

/// Takes rows and keeps those that fit.
pub(super) struct Fitter<'a> {
    columns: &'a [Column<'a>],
    limits: &'a FirstRowsLimits,
    budget: usize,
    items: Vec<Item>,
    /// Size of the list of kept items, counting a comma after each.
    total: usize,
    pushed: usize,
    /// No further row is kept.
    full: bool,
}

/// One kept row.
struct Item {
    row_idx: usize,
    cells: Vec<Cell>,
    /// Indexes of the columns that were cut, in order.
    cut: Vec<usize>,
}

/// One kept cell.
struct Cell {
    /// Its JSON text; of a cell that is certain to be cut, the start of it.
    text: Box<[u8]>,
    /// Size of the whole text.
    size: usize,
}

impl<'a> Fitter<'a> {
    pub(super) fn new(columns: &'a [Column<'a>], limits: &'a FirstRowsLimits, budget: usize) -> Self {
        Self { columns, limits, budget, items: Vec::new(), total: EMPTY_LIST, pushed: 0, full: false }
    }

    /// Takes the next row; also one that is not kept must be showable.
    pub(super) fn push(&mut self, row: &RowCells<'_>) -> Result<(), FirstRowsError> {
        let row_idx = self.pushed;
        self.pushed += 1;
        if row_idx == self.limits.rows_min && self.must_cut() {
            self.full = true;
        }
        if self.full {
            return row.check();
        }
        let item = self.item(row_idx, row)?;
        let total = self.total + item.size(self.columns) + 1;
        if row_idx >= self.limits.rows_min && total >= self.budget {
            self.full = true;
            return Ok(());
        }
        self.total = total;
        self.items.push(item);
        Ok(())
    }

    /// Cuts cells if needed, writes the kept items to `out`, and says whether rows were dropped.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> bool {
        if self.must_cut() {
            self.cut_cells();
        }
        for (position, item) in self.items.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            item.write(self.columns, out);
        }
        self.items.len() < self.pushed
    }

    /// Whether the first rows alone, which are always kept, exceed the budget.
    fn must_cut(&self) -> bool {
        self.items.len() <= self.limits.rows_min && self.total >= self.budget
    }

    fn item(&self, row_idx: usize, row: &RowCells<'_>) -> Result<Item, FirstRowsError> {
        let cell_bytes_min = self.limits.cell_bytes_min;
        let mut cells = Vec::with_capacity(self.columns.len());
        row.for_each(|column, text| {
            let certain_to_be_cut = !column.protected && text.len() > self.budget.max(cell_bytes_min);
            let kept = if certain_to_be_cut { &text[..cell_bytes_min] } else { text };
            cells.push(Cell { text: kept.into(), size: text.len() });
        })?;
        Ok(Item { row_idx, cells, cut: Vec::new() })
    }

    /// From the last item to the first, until the list fits; it may not fit even then.
    fn cut_cells(&mut self) {
        let mut current = if self.items.is_empty() { EMPTY_LIST } else { self.total - 1 };
        for item in self.items.iter_mut().rev() {
            if current < self.budget {
                break;
            }
            let before = item.size(self.columns);
            item.cut_cells(self.columns, self.limits.cell_bytes_min);
            current = current - before + item.size(self.columns);
        }
    }
}

impl Item {
    fn cut_cells(&mut self, columns: &[Column<'_>], bytes_max: usize) {
        for (index, (cell, column)) in self.cells.iter_mut().zip(columns).enumerate() {
            if cell.size > bytes_max && !column.protected {
                cell.cut(bytes_max);
                self.cut.push(index);
            }
        }
    }

    fn size(&self, columns: &[Column<'_>]) -> usize {
        let frame = OPEN.len() + decimal_digits(self.row_idx) + ROW.len() + CUT.len() + CLOSE.len();
        let cells =
            self.cells.iter().zip(columns).map(|(cell, column)| column.name_json.len() + 1 + cell.size);
        let cut = self.cut.iter().map(|index| columns[*index].name_json.len());
        let commas = self.cells.len().saturating_sub(1) + self.cut.len().saturating_sub(1);
        frame + cells.sum::<usize>() + cut.sum::<usize>() + commas
    }

    fn write(&self, columns: &[Column<'_>], out: &mut Vec<u8>) {
        out.extend_from_slice(OPEN.as_bytes());
        out.extend_from_slice(self.row_idx.to_string().as_bytes());
        out.extend_from_slice(ROW.as_bytes());
        for (index, (cell, column)) in self.cells.iter().zip(columns).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&column.name_json);
            out.push(b':');
            out.extend_from_slice(&cell.text);
        }
        out.extend_from_slice(CUT.as_bytes());
        for (position, index) in self.cut.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&columns[*index].name_json);
        }
        out.extend_from_slice(CLOSE.as_bytes());
    }
}

impl Cell {
    /// Replaces the cell by a string that holds the first `bytes_max` bytes of its text.
    fn cut(&mut self, bytes_max: usize) {
        let mut text = Vec::with_capacity(bytes_max + 8);
        write_json_string(utf8_start(&self.text, bytes_max), &mut text);
        self.size = text.len();
        self.text = text.into();
    }
}

/// The first `bytes_max` bytes of UTF-8 text, less the bytes of a character that does not fit.
fn utf8_start(text: &[u8], bytes_max: usize) -> &str {
    let start = &text[..text.len().min(bytes_max)];
    match std::str::from_utf8(start) {
        Ok(whole) => whole,
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default(),
    }
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_on_character_boundaries() {
        let cases = [
            ("\"aaaaaaaaaa\"", 5, "\"aaaa"),
            ("\"éééééééééé\"", 5, "\"éé"),
            ("\"éééééééééé\"", 6, "\"éé"),
            ("[1,2,3,4,5,6]", 5, "[1,2,"),
            ("null", 3, "nul"),
        ];
        for (text, bytes_max, start) in cases {
            assert_eq!(utf8_start(text.as_bytes(), bytes_max), start, "{text} {bytes_max}");
        }
    }

    #[test]
    fn digits_are_counted() {
        for number in [0, 9, 10, 99, 100] {
            assert_eq!(decimal_digits(number), number.to_string().len());
        }
    }
}
