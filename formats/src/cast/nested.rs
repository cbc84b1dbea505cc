//! Casts by Arrow type, through lists and structs (`array_cast` of the original).
//!
//! Owns the rules of nested types: structs need the same names and are reordered, lists become fixed when every length
//! matches. Fails with `TypeError` for shapes that do not fit and with what [`super::scalar`] says for values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields};

use super::scalar::{cast_scalars, mismatch};
use crate::error::{ErrorClass, FormatError};
use crate::features::arrow::types_equal;
use crate::features::repr::short_text;
use crate::features::type_text::arrow_type_text;
use crate::value::Value;

/// The type of a column's values: dictionaries and runs are decoded by the time they are values.
pub(super) fn value_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => value_type(values),
        DataType::RunEndEncoded(_, values) => value_type(values.data_type()),
        other => other,
    }
}

/// The values of a column as another Arrow type.
///
/// # Errors
/// See the module.
pub(super) fn cast_to_type(
    values: Vec<Value>,
    from: &DataType,
    to: &DataType,
) -> Result<Vec<Value>, FormatError> {
    let from = value_type(from);
    if types_equal(from, to) {
        return Ok(values);
    }
    let fits = match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) if same_names(from, to) => {
            return cast_members(values, from, to);
        }
        (DataType::List(from) | DataType::LargeList(from), DataType::FixedSizeList(to, length)) => {
            all_of_length(&values, *length).then_some((from, to))
        }
        (DataType::FixedSizeList(from, from_length), DataType::FixedSizeList(to, to_length)) => {
            (from_length == to_length).then_some((from, to))
        }
        (
            DataType::List(from) | DataType::LargeList(from) | DataType::FixedSizeList(from, _),
            DataType::List(to) | DataType::LargeList(to),
        ) => Some((from, to)),
        (
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Struct(_),
            _,
        ) => None,
        (from, DataType::Null) if !from.is_null() => None,
        _ => return cast_scalars(values, from, to),
    };
    match fits {
        Some((from, to)) => cast_items(values, |items| cast_to_type(items, from.data_type(), to.data_type())),
        None => Err(cannot_cast(from, to)),
    }
}

fn cannot_cast(from: &DataType, to: &DataType) -> FormatError {
    let (from, to) = (short_text(&arrow_type_text(from)), short_text(&arrow_type_text(to)));
    FormatError::new(ErrorClass::TypeError, format!("Couldn't cast array of type {from} to {to}"))
}

/// Whether every list that is not null has this length.
pub(super) fn all_of_length(values: &[Value], length: i32) -> bool {
    values.iter().all(|value| match value {
        Value::List(items) => i32::try_from(items.len()) == Ok(length),
        _ => true,
    })
}

/// Casts the items of all lists as one column.
pub(super) fn cast_items(
    values: Vec<Value>,
    cast: impl FnOnce(Vec<Value>) -> Result<Vec<Value>, FormatError>,
) -> Result<Vec<Value>, FormatError> {
    let mut lengths = Vec::with_capacity(values.len());
    let mut items = Vec::new();
    for value in values {
        match value {
            Value::List(list) => {
                lengths.push(Some(list.len()));
                items.extend(list);
            }
            Value::Null => lengths.push(None),
            other => return Err(mismatch(&other, &DataType::List(item_of_any_type()))),
        }
    }
    let mut items = cast(items)?.into_iter();
    let lists = lengths.into_iter().map(|length| match length {
        Some(length) => Value::List(items.by_ref().take(length).collect()),
        None => Value::Null,
    });
    Ok(lists.collect())
}

fn item_of_any_type() -> FieldRef {
    Arc::new(Field::new("item", DataType::Null, true))
}

fn same_names(left: &Fields, right: &Fields) -> bool {
    let names = |fields: &Fields| {
        let mut names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    names(left) == names(right)
}

fn cast_members(values: Vec<Value>, from: &Fields, to: &Fields) -> Result<Vec<Value>, FormatError> {
    let mut structs = Structs::new(values, from)?;
    for field in to {
        let Some((source, column)) = structs.take(field.name()) else { continue };
        let column = cast_to_type(column, source.data_type(), field.data_type())?;
        structs.put(field.name(), column);
    }
    Ok(structs.finish())
}

/// The structs of a column, cast member by member.
pub(super) struct Structs<'a> {
    fields: &'a Fields,
    indices: HashMap<&'a str, usize>,
    columns: Vec<Option<Vec<Value>>>,
    nulls: Vec<bool>,
    cast: Vec<Vec<(Arc<str>, Value)>>,
}

impl<'a> Structs<'a> {
    /// Splits structs with these fields into columns; a null struct has null members.
    pub(super) fn new(values: Vec<Value>, fields: &'a Fields) -> Result<Self, FormatError> {
        let mut columns = vec![Vec::with_capacity(values.len()); fields.len()];
        let mut nulls = Vec::with_capacity(values.len());
        for value in values {
            nulls.push(value.is_null());
            match value {
                Value::Null => columns.iter_mut().for_each(|column| column.push(Value::Null)),
                Value::Struct(members) if members.len() == fields.len() => {
                    for (column, (_, member)) in columns.iter_mut().zip(members) {
                        column.push(member);
                    }
                }
                other => return Err(mismatch(&other, &DataType::Struct(fields.clone()))),
            }
        }
        let cast = vec![Vec::new(); nulls.len()];
        let names = fields.iter().enumerate().rev();
        // Of members with one name the first counts.
        let indices = names.map(|(index, field)| (field.name().as_str(), index)).collect();
        Ok(Self { fields, indices, columns: columns.into_iter().map(Some).collect(), nulls, cast })
    }

    /// Number of structs.
    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Takes the values of a member; `None` when there is no such member.
    pub(super) fn take(&mut self, name: &str) -> Option<(&'a FieldRef, Vec<Value>)> {
        let index = *self.indices.get(name)?;
        Some((&self.fields[index], self.columns[index].take()?))
    }

    /// Appends a member to every struct.
    pub(super) fn put(&mut self, name: &str, column: Vec<Value>) {
        let name: Arc<str> = name.into();
        for (members, value) in self.cast.iter_mut().zip(column) {
            members.push((name.clone(), value));
        }
    }

    /// The structs with the members that were put, in that order; nulls stay.
    pub(super) fn finish(self) -> Vec<Value> {
        let structs = self.cast.into_iter().zip(self.nulls);
        structs.map(|(members, null)| if null { Value::Null } else { Value::Struct(members) }).collect()
    }
}
