//! Types of a frame's columns: pandas' rules for columns, pyarrow's for what is nested in them.
//!
//! Columns *named* like dates become timestamps (dataset-loading.md section 1.7, step 1). Values that do not go together are an
//! error, as they are when pandas' frame becomes a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::dom::Dom;
use crate::error::{ErrorClass, FormatError};
use crate::features::repr::quoted;

/// Numbers up to this many seconds after 1970 are no dates.
const DATE_SECONDS_MIN: f64 = 31_536_000.0;
/// Units that a number of a date column is tried in, as nanoseconds.
const DATE_UNITS_NS: [i64; 4] = [1_000_000_000, 1_000_000, 1_000, 1];

/// The type of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ColumnType {
    Null,
    Bool,
    Int,
    /// Integers that were doubles in between.
    IntOfFloats,
    UInt,
    Float,
    Text,
    Timestamp {
        zone: Option<Arc<str>>,
        reading: DateReading,
    },
    List(Box<ColumnType>),
    Struct(Vec<(Arc<str>, ColumnType)>),
}

/// How the cells of a date column are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum DateReading {
    Text,
    /// Numbers in this many nanoseconds.
    Units(i64),
}

impl DateReading {
    /// Nanoseconds since 1970 in UTC.
    pub(super) fn nanoseconds(self, cell: &Dom) -> Option<i64> {
        match (self, cell) {
            (Self::Text, Dom::Str(text)) => date(text).map(|(nanoseconds, _)| nanoseconds),
            (Self::Units(unit), cell) => date_number(cell).and_then(|number| in_unit(number, unit)),
            _ => None,
        }
    }
}

/// The type of a column; `has_missing` when it has fewer cells than the frame has rows.
pub(super) fn column_type(name: &str, cells: &[Dom], has_missing: bool) -> Result<ColumnType, FormatError> {
    if is_date_name(name)
        && let Some(found) = date_type(cells)
    {
        return Ok(found);
    }
    let inferred = nested_type(cells.iter()).map_err(|mix| mix.into_error(name))?;
    let has_nulls = has_missing || cells.contains(&Dom::Null);
    Ok(match inferred {
        ColumnType::Int if has_nulls => ColumnType::IntOfFloats,
        ColumnType::Float if cells.iter().all(is_integral) => ColumnType::IntOfFloats,
        other => other,
    })
}

fn is_integral(cell: &Dom) -> bool {
    match cell {
        Dom::Null | Dom::Int(_) => true,
        Dom::Float(value) => value.fract() == 0.0 && value.abs() < 9.2e18,
        _ => false,
    }
}

/// Values that no type holds.
enum Mix {
    /// A value of another type than the one that was tried.
    Types { value: String, type_of: &'static str, tried: &'static str },
    /// A nested integer beyond `int64`.
    Overflow,
}

impl Mix {
    fn into_error(self, column: &str) -> FormatError {
        let (value, type_of, tried) = match self {
            Self::Types { value, type_of, tried } => (value, type_of, tried),
            Self::Overflow => {
                let message = "Python int too large to convert to C long";
                return FormatError::new(ErrorClass::OverflowError, message);
            }
        };
        let (class, what) = match tried {
            "bytes" => (ErrorClass::ArrowTypeError, format!("Expected bytes, got a '{type_of}' object")),
            "struct" | "list" => {
                (ErrorClass::ArrowInvalid, format!("cannot mix {tried} and non-{tried}, non-null values"))
            }
            _ => (
                ErrorClass::ArrowInvalid,
                format!("Could not convert {value} with type {type_of}: tried to convert to {tried}"),
            ),
        };
        let column = format!("Conversion failed for column {column} with type object");
        FormatError::new(class, format!("({}, {})", quoted(&what), quoted(&column)))
    }
}

/// The type that pyarrow infers from Python values.
fn nested_type<'a>(cells: impl Iterator<Item = &'a Dom> + Clone) -> Result<ColumnType, Mix> {
    let Some(first) = cells.clone().find(|cell| **cell != Dom::Null) else { return Ok(ColumnType::Null) };
    let rank = |cell: &Dom| match cell {
        Dom::Null => 0,
        Dom::Bool(_) => 1,
        Dom::Int(_) | Dom::UInt(_) | Dom::Float(_) => 2,
        Dom::Str(_) => 3,
        Dom::Array(_) => 4,
        Dom::Object(_) => 5,
    };
    if let Some(other) = cells.clone().find(|cell| rank(cell) != 0 && rank(cell) != rank(first)) {
        let tried = match (first, other) {
            (Dom::Str(_), _) => "bytes",
            (Dom::Object(_), _) | (_, Dom::Object(_)) => "struct",
            (Dom::Array(_), _) | (_, Dom::Array(_)) => "list",
            (Dom::Bool(_), _) => "boolean",
            (Dom::Float(_), _) => "double",
            _ => "int64",
        };
        return Err(Mix::Types { value: python_text(other), type_of: python_type(other), tried });
    }
    Ok(match first {
        Dom::Null => ColumnType::Null,
        Dom::Bool(_) => ColumnType::Bool,
        Dom::Int(_) | Dom::UInt(_) | Dom::Float(_) => number_type(cells),
        Dom::Str(_) => ColumnType::Text,
        Dom::Array(_) => {
            let items = cells.filter_map(|cell| match cell {
                Dom::Array(items) => Some(items.iter()),
                _ => None,
            });
            let items: Vec<&Dom> = items.flatten().collect();
            ColumnType::List(Box::new(inner_type(&items)?))
        }
        Dom::Object(_) => struct_type(cells)?,
    })
}

fn number_type<'a>(mut cells: impl Iterator<Item = &'a Dom> + Clone) -> ColumnType {
    if cells.clone().any(|cell| matches!(cell, Dom::Float(_))) {
        return ColumnType::Float;
    }
    if !cells.clone().any(|cell| matches!(cell, Dom::UInt(_))) {
        return ColumnType::Int;
    }
    let has_other = cells.any(|cell| matches!(cell, Dom::Int(value) if *value < 0) || *cell == Dom::Null);
    if has_other { ColumnType::Float } else { ColumnType::UInt }
}

fn struct_type<'a>(cells: impl Iterator<Item = &'a Dom>) -> Result<ColumnType, Mix> {
    // pyarrow sorts the members that it infers.
    let mut members: BTreeMap<&str, Vec<&Dom>> = BTreeMap::new();
    for cell in cells {
        if let Dom::Object(cells) = cell {
            for (name, value) in cells {
                members.entry(name).or_default().push(value);
            }
        }
    }
    let typed =
        members.into_iter().map(|(name, values)| Ok((Arc::from(name), nested_type(values.into_iter())?)));
    Ok(ColumnType::Struct(typed.collect::<Result<_, _>>()?))
}

/// The type of what is inside of cells, where integers must fit `int64`.
fn inner_type(values: &[&Dom]) -> Result<ColumnType, Mix> {
    if values.iter().any(|value| matches!(value, Dom::UInt(_))) {
        return Err(Mix::Overflow);
    }
    nested_type(values.iter().copied())
}

fn python_type(cell: &Dom) -> &'static str {
    match cell {
        Dom::Null => "NoneType",
        Dom::Bool(_) => "bool",
        Dom::Int(_) | Dom::UInt(_) => "int",
        Dom::Float(_) => "float",
        Dom::Str(_) => "str",
        Dom::Array(_) => "list",
        Dom::Object(_) => "dict",
    }
}

/// A scalar as Python's `repr` shows it.
fn python_text(cell: &Dom) -> String {
    match cell {
        Dom::Bool(true) => "True".to_owned(),
        Dom::Bool(false) => "False".to_owned(),
        Dom::Int(value) => value.to_string(),
        Dom::UInt(value) => value.to_string(),
        Dom::Float(value) => format!("{value:?}"),
        Dom::Str(text) => quoted(text),
        Dom::Null | Dom::Array(_) | Dom::Object(_) => "a value".to_owned(),
    }
}

fn is_date_name(name: &str) -> bool {
    let name = name.to_lowercase();
    name.ends_with("_at")
        || name.ends_with("_time")
        || name.starts_with("timestamp")
        || name == "modified"
        || name == "date"
}

fn date_type(cells: &[Dom]) -> Option<ColumnType> {
    let present = || cells.iter().filter(|cell| **cell != Dom::Null);
    present().next()?;
    if present().all(|cell| date_number(cell).is_some()) {
        let numbers = || present().filter_map(date_number);
        if numbers().any(|number| number <= DATE_SECONDS_MIN) {
            return None;
        }
        let fits = |unit: &i64| numbers().all(|number| in_unit(number, *unit).is_some());
        let unit = DATE_UNITS_NS.into_iter().find(fits)?;
        return Some(ColumnType::Timestamp { zone: None, reading: DateReading::Units(unit) });
    }
    let mut zones = present().filter_map(|cell| match cell {
        Dom::Str(text) if text.is_empty() => None,
        Dom::Str(text) => Some(date(text).map(|(_, zone)| zone)),
        _ => Some(None),
    });
    let zone = match zones.next() {
        Some(zone) => zone?,
        None => None,
    };
    zones
        .all(|other| other == Some(zone))
        .then(|| ColumnType::Timestamp { zone: zone.map(zone_name), reading: DateReading::Text })
}

/// The number of a date cell: a number, or text of an integer.
fn date_number(cell: &Dom) -> Option<f64> {
    match cell {
        Dom::Int(value) => Some(*value as f64),
        Dom::UInt(value) => Some(*value as f64),
        Dom::Float(value) => Some(*value),
        Dom::Str(text) => text.trim().parse::<i64>().ok().map(|value| value as f64),
        _ => None,
    }
}

fn in_unit(number: f64, unit_ns: i64) -> Option<i64> {
    let nanoseconds = number * unit_ns as f64;
    if nanoseconds.abs() >= 9.223_372e18 {
        return None;
    }
    // Whole numbers keep all their digits.
    if number.fract() == 0.0 { (number as i64).checked_mul(unit_ns) } else { Some(nanoseconds as i64) }
}

/// An ISO date or time as nanoseconds in UTC, with its offset in seconds when it has one.
fn date(text: &str) -> Option<(i64, Option<i32>)> {
    let text = text.trim();
    if let Ok(zoned) = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
    {
        return Some((zoned.timestamp_nanos_opt()?, Some(zoned.offset().local_minus_utc())));
    }
    const FORMATS: [&str; 6] = [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
        "%Y/%m/%d %H:%M:%S%.f",
        "%Y/%m/%d %H:%M",
    ];
    let naive = FORMATS.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let naive = naive.or_else(|| {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .or_else(|_| NaiveDate::parse_from_str(text, "%Y/%m/%d"));
        date.ok()?.and_hms_opt(0, 0, 0)
    })?;
    Some((naive.and_utc().timestamp_nanos_opt()?, None))
}

fn zone_name(offset_seconds: i32) -> Arc<str> {
    if offset_seconds == 0 {
        return "UTC".into();
    }
    let sign = if offset_seconds < 0 { '-' } else { '+' };
    let minutes = offset_seconds.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60).into()
}
