//! Features from the first rows, for formats whose features are unknown at open (dataset-loading.md section 5.2).
//!
//! Owns the inference that `pyarrow` makes from Python values: the kind of each value, the winner among the kinds of a
//! column, and the check that every value converts to it. Widths are lost on the way, as they are in Python: every
//! integer is an int64, every instant has microseconds. Fails with `StopIteration` without rows, `ArrowInvalid`,
//! `ArrowTypeError` or `OverflowError` for columns of mixed kinds.

mod convert;

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use outpost_model::limits;

use crate::error::{ErrorClass, FormatError};
use crate::features::{Feature, Features};
use crate::value::Value;

/// Rows that the original looks at.
pub const INFERENCE_ROWS: usize = 5;

/// The features of rows, given as their columns; all given rows count. Members of inferred structs are sorted by name,
/// as the `pyarrow` of the viewer has them.
///
/// # Errors
/// See the module.
pub fn infer_features(rows: &[Vec<(Arc<str>, Value)>]) -> Result<Features, FormatError> {
    if rows.is_empty() {
        return Err(FormatError::new(ErrorClass::StopIteration, ""));
    }
    let mut columns: IndexMap<Arc<str>, Vec<&Value>> = IndexMap::new();
    for (index, row) in rows.iter().enumerate() {
        for (name, value) in row {
            let column = columns.entry(name.clone()).or_default();
            column.resize(index, &Value::Null);
            column.push(value);
        }
    }
    let mut features = Vec::with_capacity(columns.len());
    for (name, values) in columns {
        let mut kinds = Kinds::default();
        kinds.visit_all(values.iter().copied(), 0)?;
        let inferred = kinds.winner()?;
        for value in values {
            convert::check(value, &inferred)?;
        }
        features.push((name, inferred.into_feature()));
    }
    Ok(Features::from_columns(features))
}

/// The type of a column, as far as Python values tell.
#[derive(Debug, Clone, PartialEq)]
enum Inferred {
    Null,
    Bool,
    Int,
    Float,
    Decimal { precision: usize, scale: usize },
    Date,
    Time,
    Timestamp { zone: Option<Arc<str>> },
    Duration,
    Binary,
    Text,
    List(Box<Inferred>),
    Struct(BTreeMap<Arc<str>, Inferred>),
}

impl Inferred {
    fn into_feature(self) -> Feature {
        let dtype = match self {
            Self::List(item) => return Feature::list(item.into_feature()),
            Self::Struct(members) => {
                let members = members.into_iter().map(|(name, member)| (name, member.into_feature()));
                return Feature::Struct(Features(members.collect()));
            }
            Self::Decimal { precision, scale } => {
                let bits = if precision > 38 { 256 } else { 128 };
                return Feature::value(&format!("decimal{bits}({precision}, {scale})"));
            }
            Self::Timestamp { zone: Some(zone) } => {
                return Feature::value(&format!("timestamp[us, tz={zone}]"));
            }
            Self::Timestamp { zone: None } => "timestamp[us]",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int64",
            Self::Float => "float64",
            Self::Date => "date32",
            Self::Time => "time64[us]",
            Self::Duration => "duration[us]",
            Self::Binary => "binary",
            Self::Text => "string",
        };
        Feature::value(dtype)
    }
}

/// The kinds of value seen in a column.
#[derive(Debug, Default)]
struct Kinds {
    total: usize,
    nulls: usize,
    bools: bool,
    ints: bool,
    floats: bool,
    dates: bool,
    times: bool,
    durations: bool,
    binaries: bool,
    texts: bool,
    /// Zone of the first timestamp.
    timestamp: Option<Option<Arc<str>>>,
    /// Digits before and after the point.
    decimal: Option<(usize, usize)>,
    lists: usize,
    items: Option<Box<Kinds>>,
    structs: usize,
    members: BTreeMap<Arc<str>, Kinds>,
}

impl Kinds {
    /// Visits values until one whose kind decides: what comes after it is not looked at.
    fn visit_all<'a>(
        &mut self,
        values: impl Iterator<Item = &'a Value>,
        depth: usize,
    ) -> Result<(), FormatError> {
        for value in values {
            if self.visit(value, depth)? {
                break;
            }
        }
        Ok(())
    }

    /// Counts a value; true when its kind decides.
    fn visit(&mut self, value: &Value, depth: usize) -> Result<bool, FormatError> {
        if depth > limits::NESTING_DEPTH_MAX {
            let message = format!("values nested more than {} levels deep", limits::NESTING_DEPTH_MAX);
            return Err(FormatError::new(ErrorClass::LimitExceeded, message));
        }
        self.total += 1;
        match value {
            Value::Null => self.nulls += 1,
            Value::Int(_) | Value::UInt(_) => self.ints = true,
            Value::Decimal(text) => self.widen_decimal(text),
            Value::List(items) => {
                self.lists += 1;
                self.items.get_or_insert_default().visit_all(items.iter(), depth + 1)?;
            }
            Value::Struct(members) => {
                self.structs += 1;
                for (name, member) in members {
                    self.members.entry(name.clone()).or_default().visit(member, depth + 1)?;
                }
            }
            scalar => {
                self.note_scalar(scalar);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn note_scalar(&mut self, scalar: &Value) {
        match scalar {
            Value::Bool(_) => self.bools = true,
            Value::Float(_) => self.floats = true,
            Value::Date(_) => self.dates = true,
            Value::Time(..) => self.times = true,
            Value::Timestamp(_, _, zone) => {
                self.timestamp.get_or_insert_with(|| zone.clone());
            }
            Value::Duration(..) => self.durations = true,
            Value::Bytes(_) => self.binaries = true,
            _ => self.texts = true,
        }
    }

    fn widen_decimal(&mut self, text: &str) {
        let (whole, scale) = decimal_digits(text);
        let (whole_max, scale_max) = self.decimal.unwrap_or_default();
        self.decimal = Some((whole.max(whole_max), scale.max(scale_max)));
    }

    /// The type of the column.
    fn winner(self) -> Result<Inferred, FormatError> {
        let values = self.total - self.nulls;
        if self.lists > 0 {
            if self.lists != values {
                return Err(mixed("list"));
            }
            let items = self.items.map_or(Ok(Inferred::Null), |items| items.winner())?;
            return Ok(Inferred::List(Box::new(items)));
        }
        if self.structs > 0 {
            if self.structs != values {
                return Err(mixed("struct"));
            }
            let members = self.members.into_iter().map(|(name, kinds)| Ok((name, kinds.winner()?)));
            return Ok(Inferred::Struct(members.collect::<Result<_, FormatError>>()?));
        }
        Ok(match self {
            Self { decimal: Some((whole, scale)), .. } => {
                Inferred::Decimal { precision: (whole + scale).max(1), scale }
            }
            Self { floats: true, .. } => Inferred::Float,
            Self { ints: true, .. } => Inferred::Int,
            Self { dates: true, .. } => Inferred::Date,
            Self { times: true, .. } => Inferred::Time,
            Self { timestamp: Some(zone), .. } => Inferred::Timestamp { zone },
            Self { durations: true, .. } => Inferred::Duration,
            Self { bools: true, .. } => Inferred::Bool,
            Self { binaries: true, .. } => Inferred::Binary,
            Self { texts: true, .. } => Inferred::Text,
            _ => Inferred::Null,
        })
    }
}

fn mixed(kind: &str) -> FormatError {
    let message = format!("cannot mix {kind} and non-{kind}, non-null values");
    FormatError::new(ErrorClass::ArrowInvalid, message)
}

/// Digits before and after the point of a decimal in Python's spelling, which may have an exponent.
fn decimal_digits(text: &str) -> (usize, usize) {
    let unsigned = text.trim_start_matches('-');
    let (number, exponent) = unsigned.split_once(['E', 'e']).unwrap_or((unsigned, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0').len() as i64;
    let scale = fraction.len() as i64 - exponent;
    let whole = usize::try_from(digits - scale).unwrap_or(0);
    (whole, usize::try_from(scale).unwrap_or(0))
}

#[cfg(test)]
mod tests;
