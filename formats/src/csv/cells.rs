//! What the text of a cell may mean: missing, true, false.
//!
//! Owns the missing-value markers and the words for booleans (dataset-loading.md section 1.6), with those that the options add.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::number::NumberStyle;

/// Whether a text is one of pandas' default markers of a missing value.
fn is_default_missing(cell: &[u8]) -> bool {
    cell.len() <= 8
        && matches!(
            cell,
            b"" | b"#N/A"
                | b"#N/A N/A"
                | b"#NA"
                | b"-1.#IND"
                | b"-1.#QNAN"
                | b"-NaN"
                | b"-nan"
                | b"1.#IND"
                | b"1.#QNAN"
                | b"<NA>"
                | b"N/A"
                | b"NA"
                | b"NULL"
                | b"NaN"
                | b"None"
                | b"n/a"
                | b"nan"
                | b"null"
        )
}

/// The missing-value markers of one column.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Missing {
    /// Whether pandas' own markers count.
    pub(super) defaults: bool,
    /// Further markers.
    pub(super) texts: HashSet<Vec<u8>>,
    /// Floats that mean missing.
    pub(super) floats: Vec<f64>,
}

impl Missing {
    /// Whether a cell is missing by its text.
    pub(super) fn contains(&self, cell: &[u8]) -> bool {
        (self.defaults && is_default_missing(cell)) || (!self.texts.is_empty() && self.texts.contains(cell))
    }

    /// Whether a float cell is missing by its value.
    pub(super) fn contains_float(&self, value: f64) -> bool {
        self.floats.contains(&value)
    }
}

/// The markers of all columns (`na_values`, `keep_default_na`, `na_filter`).
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct MissingRules {
    /// Markers of columns that have none of their own.
    pub(super) common: Arc<Missing>,
    /// Markers by column name.
    pub(super) by_column: HashMap<String, Arc<Missing>>,
}

impl MissingRules {
    /// The markers of a column.
    pub(super) fn of_column(&self, name: Option<&str>) -> &Arc<Missing> {
        name.and_then(|name| self.by_column.get(name)).unwrap_or(&self.common)
    }
}

/// How cells are read as values.
#[derive(Debug, Clone)]
pub(super) struct CellRules {
    pub(super) numbers: NumberStyle,
    pub(super) true_words: HashSet<Vec<u8>>,
    pub(super) false_words: HashSet<Vec<u8>>,
    /// Whether integers are tried at all; not with `quoting: 2`.
    pub(super) integers: bool,
}

impl CellRules {
    /// A boolean cell.
    pub(super) fn parse_bool(&self, cell: &[u8]) -> Option<bool> {
        if !self.true_words.is_empty() && self.true_words.contains(cell) {
            return Some(true);
        }
        if !self.false_words.is_empty() && self.false_words.contains(cell) {
            return Some(false);
        }
        if cell.eq_ignore_ascii_case(b"true") {
            Some(true)
        } else if cell.eq_ignore_ascii_case(b"false") {
            Some(false)
        } else {
            None
        }
    }
}
