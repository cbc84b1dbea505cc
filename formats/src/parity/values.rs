//! Python values of the golden tables as our values.

use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use serde_json::Value as Json;

use crate::json_text::time::units_per_second;
use crate::value::Value;

/// The values of a column with this type.
pub(super) fn column(json: &Json, data_type: &DataType) -> Vec<Value> {
    json.as_array().unwrap().iter().map(|json| typed(json, data_type)).collect()
}

fn typed(json: &Json, data_type: &DataType) -> Value {
    match (json, data_type) {
        (
            Json::Array(items),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
        ) => Value::List(items.iter().map(|json| typed(json, item.data_type())).collect()),
        (Json::Object(_), DataType::Struct(fields)) => Value::Struct(
            fields
                .iter()
                .map(|field| {
                    (Arc::from(field.name().as_str()), typed(&json[field.name()], field.data_type()))
                })
                .collect(),
        ),
        (Json::Number(number), _) if data_type.is_unsigned_integer() => Value::UInt(number.as_u64().unwrap()),
        (Json::Number(number), _) if data_type.is_floating() => Value::Float(number.as_f64().unwrap()),
        (_, DataType::Timestamp(unit, zone)) => match untyped(json) {
            Value::Timestamp(us, ..) => {
                let per_second = i128::from(units_per_second(*unit));
                let count = i128::from(us) * per_second / 1_000_000;
                Value::Timestamp(i64::try_from(count).unwrap(), *unit, zone.clone())
            }
            other => other,
        },
        _ => untyped(json),
    }
}

/// A Python value: tagged objects are dates, times, bytes, decimals and special floats.
pub(super) fn untyped(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => Value::Float(number.as_f64().unwrap()),
        },
        Json::String(text) => Value::str(text),
        Json::Array(items) => Value::List(items.iter().map(untyped).collect()),
        Json::Object(members) => match members.iter().next() {
            Some((tag, argument)) if tag.starts_with('$') => tagged(tag, argument),
            _ => Value::Struct(
                members.iter().map(|(name, json)| (Arc::from(name.as_str()), untyped(json))).collect(),
            ),
        },
    }
}

fn tagged(tag: &str, argument: &Json) -> Value {
    let text = argument.as_str().unwrap_or_default();
    match tag {
        "$datetime" => datetime(text),
        "$date" => {
            let date: NaiveDate = text.parse().unwrap();
            Value::Date(date.num_days_from_ce() - 719_163)
        }
        "$time" => {
            let time: NaiveTime = text.parse().unwrap();
            let us = i64::from(time.num_seconds_from_midnight()) * 1_000_000
                + i64::from(time.nanosecond()) / 1_000;
            Value::Time(us, TimeUnit::Microsecond)
        }
        "$timedelta_us" => Value::Duration(argument.as_i64().unwrap(), TimeUnit::Microsecond),
        "$decimal" => Value::Decimal(text.into()),
        "$bytes_b64" => Value::Bytes(STANDARD.decode(text).unwrap().into()),
        "$float" => Value::Float(text.parse().unwrap()),
        other => panic!("unknown tag {other}"),
    }
}

fn datetime(text: &str) -> Value {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        assert_eq!(instant.offset().local_minus_utc(), 0, "only UTC occurs in the tables");
        return Value::Timestamp(instant.timestamp_micros(), TimeUnit::Microsecond, Some("UTC".into()));
    }
    let instant: NaiveDateTime = text.parse().unwrap();
    Value::Timestamp(instant.and_utc().timestamp_micros(), TimeUnit::Microsecond, None)
}
