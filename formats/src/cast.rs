//! Casts of tables to features (dataset-loading.md section 4.5).
//!
//! Owns the two levels at which the original casts: when a builder yields a table ([`cast_table_to_schema`]) and when
//! rows are iterated ([`cast_table_to_features`]). Casts are Arrow's safe ones and fail with its classes and messages.
//! A cell of a `Json` column stays its JSON text ([`Value::Str`]); [`crate::write_json`] writes it decoded.

mod bytes;
mod decimal;
mod feature;
mod nested;
mod number;
mod parse;
mod scalar;
mod storage;
mod temporal;
mod text;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};

pub use feature::cast_column;

use crate::error::{ErrorClass, FormatError};
use crate::features::Features;
use crate::features::arrow::fields_equal;
use crate::features::repr::{features_text, short_text};
use crate::features::type_text::schema_text;
use crate::table::Table;
use crate::value::Value;

/// Casts at the level of row iteration: missing columns become nulls, columns that the features do not name are an
/// error, and each row is cast by itself, so what one row holds never decides about another.
///
/// # Errors
/// `CastError` when the column names differ, else what [`cast_column`] says.
pub fn cast_table_to_features(mut table: Table, features: &Features) -> Result<Table, FormatError> {
    let present: HashSet<&str> = table.fields.iter().map(|field| field.name().as_str()).collect();
    let missing: Vec<FieldRef> = features
        .0
        .iter()
        .filter(|(name, _)| !present.contains(&**name))
        .map(|(name, _)| Arc::new(Field::new(&**name, DataType::Null, true)))
        .collect();
    for row in &mut table.rows {
        row.extend(missing.iter().map(|_| Value::Null));
    }
    table.fields.extend(missing);
    let target = features.to_arrow()?;
    if schemas_equal(&table.fields, &target) {
        return Ok(Table { fields: target, ..table });
    }
    if table.fields.len() != features.0.len() || !names_are_declared(&table.fields, features) {
        return Err(cast_error(&table.fields, features));
    }
    let sources = sources(&table.fields, features);
    let mut rows = Vec::with_capacity(table.rows.len());
    for mut row in table.rows {
        let mut cast = Vec::with_capacity(row.len());
        for ((_, feature), source) in features.0.iter().zip(&sources) {
            let Some(index) = *source else { continue };
            let value = row.get_mut(index).map_or(Value::Null, std::mem::take);
            cast.extend(cast_column(vec![value], &table.fields[index], feature)?);
        }
        rows.push(cast);
    }
    Ok(Table { fields: target, rows, row_count: table.row_count })
}

/// Casts at the level of a builder: missing columns become nulls, columns that the features do not name are an error.
/// The columns of the table are cast as a whole.
///
/// # Errors
/// `CastError` for a column beyond the features, else what [`cast_column`] says.
pub fn cast_table_to_schema(mut table: Table, features: &Features) -> Result<Table, FormatError> {
    let target = features.to_arrow()?;
    if schemas_equal(&table.fields, &target) {
        return Ok(Table { fields: target, ..table });
    }
    if !names_are_declared(&table.fields, features) {
        return Err(cast_error(&table.fields, features));
    }
    let mut rows: Vec<Vec<Value>> = table.rows.iter().map(|_| Vec::with_capacity(target.len())).collect();
    for ((_, feature), source) in features.0.iter().zip(sources(&table.fields, features)) {
        let column = match source {
            Some(index) => {
                let take = |row: &mut Vec<Value>| row.get_mut(index).map_or(Value::Null, std::mem::take);
                let column = table.rows.iter_mut().map(take).collect();
                cast_column(column, &table.fields[index], feature)?
            }
            None => vec![Value::Null; rows.len()],
        };
        for (row, value) in rows.iter_mut().zip(column) {
            row.push(value);
        }
    }
    Ok(Table { fields: target, rows, row_count: table.row_count })
}

fn schemas_equal(left: &[FieldRef], right: &[FieldRef]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| fields_equal(left, right))
}

fn names_are_declared(fields: &[FieldRef], features: &Features) -> bool {
    let declared: HashSet<&str> = features.0.iter().map(|(name, _)| &**name).collect();
    let present: HashSet<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    present.len() == fields.len() && present.is_subset(&declared)
}

/// Where the table has the column of each feature.
fn sources(fields: &[FieldRef], features: &Features) -> Vec<Option<usize>> {
    let indices: HashMap<&str, usize> = fields.iter().map(|field| field.name().as_str()).zip(0..).collect();
    features.0.iter().map(|(name, _)| indices.get(&**name).copied()).collect()
}

fn cast_error(fields: &[FieldRef], features: &Features) -> FormatError {
    let (from, to) = (short_text(&schema_text(fields)), short_text(&features_text(features)));
    let message = format!("Couldn't cast\n{from}\nto\n{to}\nbecause column names don't match");
    FormatError::new(ErrorClass::CastError, message)
}

#[cfg(test)]
mod scalar_tests;
#[cfg(test)]
mod tests;
