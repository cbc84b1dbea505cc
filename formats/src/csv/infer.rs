//! Column types, found while rows stream by.
//!
//! Owns the order int64, uint64, float64, bool, string of dataset-loading.md section 1.6 and its quirks. A column's state is a
//! few flags, so a chunk is never held in memory: each cell is looked at once, only for the types still possible.

use super::cells::{CellRules, Missing};
use super::number::{self, NotInteger, Unsigned};

/// The type that a column's cells share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inferred {
    Int64,
    UInt64,
    /// Integers with missing cells among them: floats, each converted from the integer.
    FloatFromInt,
    Float64,
    Bool,
    Text,
    /// Text in which even missing cells keep their text: unsigned integers with missing or negative ones among them.
    RawText,
}

/// How far the attempt to read integers has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Integers {
    Signed,
    /// A cell was over the signed maximum.
    Unsigned,
    /// A cell was over the unsigned maximum: pandas gives up on numbers.
    Overflown,
    /// Some cell is no integer.
    No,
}

/// What is known of a column after the cells so far.
#[derive(Debug, Clone)]
pub(super) struct ColumnState {
    integers: Integers,
    float: bool,
    bool: bool,
    /// Whether a cell was missing.
    pub(super) missing: bool,
    seen_negative: bool,
    seen_unsigned: bool,
}

/// Cells longer than this may overflow as floats even when they are small integers.
const SAFE_INTEGER_BYTES: usize = 300;

impl ColumnState {
    pub(super) fn new(rules: &CellRules) -> Self {
        Self {
            integers: if rules.integers { Integers::Signed } else { Integers::No },
            float: true,
            bool: true,
            missing: false,
            seen_negative: false,
            seen_unsigned: false,
        }
    }

    /// Whether further cells cannot change the type.
    pub(super) fn is_settled(&self) -> bool {
        match self.integers {
            Integers::Overflown => true,
            Integers::No => !self.float && !self.bool,
            Integers::Signed | Integers::Unsigned => false,
        }
    }

    /// Takes the next cell.
    pub(super) fn observe(&mut self, cell: &[u8], missing: &Missing, rules: &CellRules) {
        if self.is_settled() {
            return;
        }
        if missing.contains(cell) {
            self.missing = true;
            return;
        }
        if self.bool {
            self.bool = rules.parse_bool(cell).is_some();
        }
        let implies_float = self.observe_integer(cell, rules);
        if self.float && !implies_float {
            self.float = number::parse_f64(cell, rules.numbers).is_some();
        }
    }

    /// Follows the integer attempt; true when the cell is certain to be a float too.
    fn observe_integer(&mut self, cell: &[u8], rules: &CellRules) -> bool {
        if self.integers == Integers::Signed {
            match number::parse_i64(cell, rules.numbers) {
                Ok(value) => {
                    self.seen_negative |= value < 0 || number::is_negative(cell);
                    return rules.numbers.thousands.is_none() && cell.len() < SAFE_INTEGER_BYTES;
                }
                Err(NotInteger::Overflow) => self.integers = Integers::Unsigned,
                Err(NotInteger::Malformed) => self.integers = Integers::No,
            }
        }
        if self.integers == Integers::Unsigned {
            match number::parse_u64(cell, rules.numbers) {
                Ok(Unsigned::Value(value)) => self.seen_unsigned |= i64::try_from(value).is_err(),
                Ok(Unsigned::Negative) => self.seen_negative = true,
                Err(NotInteger::Overflow) => self.integers = Integers::Overflown,
                Err(NotInteger::Malformed) => self.integers = Integers::No,
            }
        }
        false
    }

    /// The type of the column.
    pub(super) fn inferred(&self) -> Inferred {
        match self.integers {
            Integers::Signed if self.missing => Inferred::FloatFromInt,
            Integers::Signed => Inferred::Int64,
            Integers::Unsigned if self.seen_unsigned && (self.seen_negative || self.missing) => {
                Inferred::RawText
            }
            Integers::Unsigned if self.seen_negative => Inferred::Text,
            Integers::Unsigned => Inferred::UInt64,
            Integers::Overflown => Inferred::Text,
            Integers::No if self.float => Inferred::Float64,
            Integers::No if self.bool => Inferred::Bool,
            Integers::No => Inferred::Text,
        }
    }

    /// Whether no cell had a value: nothing spoke against any type.
    pub(super) fn only_missing(&self) -> bool {
        self.missing && self.bool && self.float
    }

    /// Whether the integer attempt ended in a cell over the unsigned maximum.
    pub(super) fn overflown(&self) -> bool {
        self.integers == Integers::Overflown
            || (self.integers == Integers::Unsigned && self.seen_negative && !self.seen_unsigned)
    }
}
