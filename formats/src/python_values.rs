//! Values as Python names and prints them, for the messages of `datasets` and `pyarrow`.
//!
//! Owns the class names and the texts of cells, for every place that converts or refuses one.

use crate::features::repr::quoted;
use crate::json_text::time;
use crate::value::Value;

/// The name of its Python class.
pub(crate) fn class_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::UInt(_) => "int",
        Value::Float(_) => "float",
        Value::Str(_) => "str",
        Value::Bytes(_) => "bytes",
        Value::Date(_) => "datetime.date",
        Value::Time(..) => "datetime.time",
        Value::Timestamp(..) => "datetime.datetime",
        Value::Duration(..) => "datetime.timedelta",
        Value::Decimal(_) => "decimal.Decimal",
        Value::List(_) => "list",
        Value::Struct(_) => "dict",
    }
}

/// A value roughly as Python's `repr` has it; exact for the kinds that mix in practice.
pub(crate) fn repr_text(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Str(text) => quoted(text),
        Value::Bytes(bytes) => format!("b'{}'", bytes.escape_ascii()),
        Value::Date(days) => match time::date(*days) {
            Some(date) => date.format("datetime.date(%Y, %-m, %-d)").to_string(),
            None => format!("datetime.date({days})"),
        },
        Value::Decimal(text) => format!("Decimal('{text}')"),
        Value::Time(count, unit) => time::time_text(*count, *unit),
        Value::Timestamp(count, unit, zone) => {
            time::timestamp_text(*count, *unit, zone.as_deref()).unwrap_or_else(|| count.to_string())
        }
        Value::Duration(count, unit) => time::duration_text(*count, *unit),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(repr_text).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Struct(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}: {}", quoted(name), repr_text(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}
