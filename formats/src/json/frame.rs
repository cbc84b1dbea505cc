//! Documents as pandas' `read_json` makes frames of them: rows in a field, and what Arrow refused (dataset-loading.md section 1.7).
//!
//! Lists of objects, lists of values, objects of lists and objects of objects become rows. Column types are those of
//! pandas and pyarrow, not of the JSON reader. Non-ISO spellings of dates stay strings.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use indexmap::IndexMap;
use outpost_model::limits;

use super::dom::{self, Dom, Passes};
use super::frame_types::{ColumnType, column_type};
use super::lexer::{Grammar, Lexer, SyntaxError, Token};
use super::rows::too_many_values;
use crate::error::{ErrorClass, FormatError};
use crate::features::Features;
use crate::table::Table;
use crate::value::Value;

/// A missing cell.
static MISSING: Dom = Dom::Null;

/// The rows of a whole document.
pub(super) fn read_document(
    text: &[u8],
    row_limit: usize,
    features: Option<&Features>,
) -> Result<Table, FormatError> {
    let mut lexer = Lexer::new(text, Grammar::Ujson);
    check_size(text.len())?;
    let document = dom::read(&mut lexer, Passes::One).map_err(value_error)?;
    lexer.end_of_text().map_err(value_error)?;
    table(&frame(document)?, row_limit, features)
}

/// The rows in one field of a document.
pub(super) fn read_field(
    text: &[u8],
    field: &str,
    row_limit: usize,
    features: Option<&Features>,
) -> Result<Table, FormatError> {
    let mut lexer = Lexer::new(text, Grammar::Ujson);
    let value = field_value(&mut lexer, field)?;
    table(&frame(value)?, row_limit, features)
}

fn field_value(lexer: &mut Lexer<'_>, field: &str) -> Result<Dom, FormatError> {
    let token = lexer.token().map_err(value_error)?;
    if token != Token::OpenObject {
        let message = match token {
            Token::OpenArray => "list indices must be integers or slices, not str",
            Token::Quote => "string indices must be integers, not 'str'",
            Token::Null | Token::NonFinite(_) => "'NoneType' object is not subscriptable",
            Token::Bool(_) => "'bool' object is not subscriptable",
            _ => "'int' object is not subscriptable",
        };
        return Err(FormatError::new(ErrorClass::TypeError, message));
    }
    let mut found = None;
    let mut more = lexer.object_name(true).map_err(value_error)?;
    while more {
        let name = lexer.string().map_err(value_error)?.unescaped();
        lexer.colon().map_err(value_error)?;
        let start = lexer.at;
        // Other fields are checked and dropped one by one.
        let value = dom::read(lexer, Passes::Two).map_err(value_error)?;
        if *name == *field.as_bytes() {
            check_size(lexer.at - start)?;
            found = Some(value);
        }
        more = lexer.next_member().map_err(value_error)? && lexer.object_name(false).map_err(value_error)?;
    }
    lexer.end_of_text().map_err(value_error)?;
    found.ok_or_else(|| FormatError::new(ErrorClass::KeyError, format!("'{field}'")))
}

fn check_size(len: usize) -> Result<(), FormatError> {
    if len <= limits::JSON_DOCUMENT_BYTES_MAX {
        return Ok(());
    }
    Err(FormatError::new(
        ErrorClass::LimitExceeded,
        format!(
            "This JSON document has {len} bytes, more than the {} that are read at once; write it as JSON Lines.",
            limits::JSON_DOCUMENT_BYTES_MAX
        ),
    ))
}

fn value_error(error: SyntaxError) -> FormatError {
    match error {
        SyntaxError::Message(message) => FormatError::new(ErrorClass::ValueError, message),
        SyntaxError::Limit(error) => error,
    }
}

fn invalid(message: &str) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

/// Columns of equal length.
struct Frame {
    columns: Vec<(String, Vec<Dom>)>,
    rows: usize,
    /// Whether the only column has no name of its own.
    is_unnamed: bool,
}

fn frame(document: Dom) -> Result<Frame, FormatError> {
    match document {
        Dom::Null => Ok(Frame { columns: Vec::new(), rows: 0, is_unnamed: false }),
        Dom::Array(items) if matches!(items.first(), Some(Dom::Object(_))) => frame_of_records(items),
        Dom::Array(items) if matches!(items.first(), Some(Dom::Array(_))) => frame_of_lists(items),
        Dom::Array(items) if items.is_empty() => {
            Ok(Frame { columns: Vec::new(), rows: 0, is_unnamed: false })
        }
        Dom::Array(items) => {
            Ok(Frame { rows: items.len(), columns: vec![("0".to_owned(), items)], is_unnamed: true })
        }
        Dom::Object(members) => frame_of_columns(members),
        _ => Err(invalid("DataFrame constructor not properly called!")),
    }
}

fn frame_of_records(items: Vec<Dom>) -> Result<Frame, FormatError> {
    let rows = items.len();
    let mut columns: IndexMap<String, Vec<Dom>> = IndexMap::new();
    let mut cells_left = limits::CELL_VALUES_MAX;
    for (row, item) in items.into_iter().enumerate() {
        let Dom::Object(members) = item else {
            let message = "a list of objects has an item that is none";
            return Err(FormatError::new(ErrorClass::TypeError, message));
        };
        for (name, value) in members {
            put(columns.entry(name).or_default(), row, value, &mut cells_left)?;
        }
    }
    Ok(Frame { columns: columns.into_iter().collect(), rows, is_unnamed: false })
}

/// Sets a cell. Missing ones are only filled up to the last present one, and counted: rows may share no column.
fn put(column: &mut Vec<Dom>, row: usize, cell: Dom, cells_left: &mut usize) -> Result<(), FormatError> {
    let added = row + 1 - column.len();
    *cells_left = cells_left.checked_sub(added).ok_or_else(too_many_values)?;
    column.resize(row, Dom::Null);
    column.push(cell);
    Ok(())
}

fn frame_of_lists(items: Vec<Dom>) -> Result<Frame, FormatError> {
    let rows = items.len();
    let mut columns: Vec<(String, Vec<Dom>)> = Vec::new();
    let mut cells_left = limits::CELL_VALUES_MAX;
    for (row, item) in items.into_iter().enumerate() {
        let cells = match item {
            Dom::Array(cells) => cells,
            Dom::Null => Vec::new(),
            _ => return Err(invalid("a list of lists has an item that is none")),
        };
        for (at, cell) in cells.into_iter().enumerate() {
            if at == columns.len() {
                columns.push((at.to_string(), Vec::new()));
            }
            put(&mut columns[at].1, row, cell, &mut cells_left)?;
        }
    }
    let is_unnamed = columns.len() == 1;
    Ok(Frame { columns, rows, is_unnamed })
}

fn frame_of_columns(members: Vec<(String, Dom)>) -> Result<Frame, FormatError> {
    let has_lists = members.iter().any(|(_, value)| matches!(value, Dom::Array(_)));
    let has_objects = members.iter().any(|(_, value)| matches!(value, Dom::Object(_)));
    match (has_lists, has_objects) {
        (true, true) => Err(invalid("Mixing dicts with non-Series may lead to ambiguous ordering.")),
        (false, false) if members.is_empty() => Ok(Frame { columns: Vec::new(), rows: 0, is_unnamed: false }),
        (false, false) => Err(invalid("If using all scalar values, you must pass an index")),
        (true, false) => frame_of_column_lists(members),
        (false, true) => frame_of_column_objects(members),
    }
}

fn frame_of_column_lists(members: Vec<(String, Dom)>) -> Result<Frame, FormatError> {
    let mut lengths = members.iter().filter_map(|(_, value)| match value {
        Dom::Array(items) => Some(items.len()),
        _ => None,
    });
    let rows = lengths.next().unwrap_or(0);
    if lengths.any(|len| len != rows) {
        return Err(invalid("All arrays must be of the same length"));
    }
    let columns = members.into_iter().map(|(name, value)| match value {
        Dom::Array(items) => Ok((name, items)),
        scalar => repeated(scalar, rows).map(|column| (name, column)),
    });
    Ok(Frame { columns: columns.collect::<Result<_, _>>()?, rows, is_unnamed: false })
}

/// A scalar in every row, where that stays in bounds.
fn repeated(scalar: Dom, rows: usize) -> Result<Vec<Dom>, FormatError> {
    let size = size_of::<Dom>() + if let Dom::Str(text) = &scalar { text.len() } else { 0 };
    check_size(size.saturating_mul(rows) / 8)?;
    Ok(vec![scalar; rows])
}

fn frame_of_column_objects(members: Vec<(String, Dom)>) -> Result<Frame, FormatError> {
    let mut index: IndexMap<String, ()> = IndexMap::new();
    for (_, value) in &members {
        if let Dom::Object(cells) = value {
            index.extend(cells.iter().map(|(label, _)| (label.clone(), ())));
        }
    }
    let rows = index.len();
    check_size(rows.saturating_mul(members.len()).saturating_mul(size_of::<Dom>()) / 8)?;
    let columns = members.into_iter().map(|(name, value)| match value {
        Dom::Object(cells) => {
            let mut column = vec![Dom::Null; rows];
            for (label, cell) in cells {
                if let Some(row) = index.get_index_of(&label) {
                    column[row] = cell;
                }
            }
            Ok((name, column))
        }
        scalar => repeated(scalar, rows).map(|column| (name, column)),
    });
    Ok(Frame { columns: columns.collect::<Result<_, _>>()?, rows, is_unnamed: false })
}

fn table(frame: &Frame, row_limit: usize, features: Option<&Features>) -> Result<Table, FormatError> {
    let shown = frame.rows.min(row_limit);
    let mut rows = vec![Vec::with_capacity(frame.columns.len()); shown];
    let mut fields = Vec::with_capacity(frame.columns.len());
    for (name, cells) in &frame.columns {
        let column = column_type(name, cells, cells.len() < frame.rows)?;
        fields.push(field(column_name(name, frame.is_unnamed, features), &column));
        for (row, values) in rows.iter_mut().enumerate() {
            values.push(value(cells.get(row).unwrap_or(&MISSING), &column));
        }
    }
    Ok(Table { fields, rows, row_count: frame.rows })
}

fn column_name<'a>(name: &'a str, is_unnamed: bool, features: Option<&'a Features>) -> &'a str {
    if !is_unnamed {
        return name;
    }
    match features {
        Some(features) if features.0.len() == 1 => &features.0[0].0,
        _ => "text",
    }
}

fn field(name: &str, column: &ColumnType) -> FieldRef {
    Arc::new(Field::new(name, data_type(column), true))
}

fn data_type(column: &ColumnType) -> DataType {
    match column {
        ColumnType::Null => DataType::Null,
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Int | ColumnType::IntOfFloats => DataType::Int64,
        ColumnType::UInt => DataType::UInt64,
        ColumnType::Float => DataType::Float64,
        ColumnType::Text => DataType::Utf8,
        ColumnType::Timestamp { zone, .. } => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
        ColumnType::List(item) => DataType::List(field("item", item)),
        ColumnType::Struct(members) => {
            DataType::Struct(members.iter().map(|(name, member)| field(name, member)).collect())
        }
    }
}

fn value(cell: &Dom, column: &ColumnType) -> Value {
    match (cell, column) {
        (Dom::Bool(value), ColumnType::Bool) => Value::Bool(*value),
        (Dom::Int(value), ColumnType::Int) => Value::Int(*value),
        // pandas held them as doubles, because a cell was missing.
        (cell, ColumnType::IntOfFloats) => number(cell).map_or(Value::Null, |value| Value::Int(value as i64)),
        (Dom::Int(value), ColumnType::UInt) => u64::try_from(*value).map_or(Value::Null, Value::UInt),
        (Dom::UInt(value), ColumnType::UInt) => Value::UInt(*value),
        (cell, ColumnType::Float) => number(cell).map_or(Value::Null, Value::Float),
        (Dom::Str(text), ColumnType::Text) => Value::str(text),
        (cell, ColumnType::Timestamp { zone, reading }) => match reading.nanoseconds(cell) {
            Some(units) => Value::Timestamp(units, TimeUnit::Nanosecond, zone.clone()),
            None => Value::Null,
        },
        (Dom::Array(items), ColumnType::List(item)) => {
            Value::List(items.iter().map(|cell| value(cell, item)).collect())
        }
        (Dom::Object(cells), ColumnType::Struct(members)) => {
            let cell =
                |name: &str| cells.iter().find(|(known, _)| known == name).map_or(&MISSING, |(_, cell)| cell);
            Value::Struct(
                members.iter().map(|(name, member)| (Arc::clone(name), value(cell(name), member))).collect(),
            )
        }
        _ => Value::Null,
    }
}

fn number(cell: &Dom) -> Option<f64> {
    match cell {
        Dom::Int(value) => Some(*value as f64),
        Dom::UInt(value) => Some(*value as f64),
        Dom::Float(value) => Some(*value),
        _ => None,
    }
}
