//! Our values in the notation of `cases.json`.

use base64::Engine;
use outpost_formats::json_text::{DatetimeForm, time, write_json};
use outpost_formats::{Feature, Features, Value};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

/// Bytes above this length are told by length and digest.
const INLINE_BYTES_MAX: usize = 64;

/// A row as a JSON object; the features decode `Json` columns.
pub fn row_json<N: AsRef<str>>(row: &[(N, Value)], features: Option<&Features>) -> Json {
    let cell = |(name, value): &(N, Value)| {
        let name = name.as_ref();
        (name.to_owned(), value_json(value, features.and_then(|features| features.get(name))))
    };
    Json::Object(row.iter().map(cell).collect())
}

fn value_json(value: &Value, feature: Option<&Feature>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::UInt(value) => json!(value),
        Value::Float(value) if value.is_nan() => json!({"$float": "nan"}),
        Value::Float(value) if value.is_infinite() => json!({"$float": value.to_string()}),
        Value::Float(value) => json!(value),
        Value::Str(_) if matches!(feature, Some(Feature::Json { .. })) => {
            let mut text = Vec::new();
            write_json(value, feature, DatetimeForm::Exact, &mut text);
            serde_json::from_slice(&text).expect("written values are JSON")
        }
        Value::Str(text) => json!(text),
        Value::Bytes(bytes) if bytes.len() <= INLINE_BYTES_MAX => {
            json!({"$bytes_b64": base64::engine::general_purpose::STANDARD.encode(bytes)})
        }
        Value::Bytes(bytes) => json!({"$bytes_len": bytes.len(), "$sha256": digest(bytes)}),
        Value::Date(days) => json!({"$date": time::date_text(*days)}),
        Value::Time(count, unit) => json!({"$time": time::time_text(*count, *unit)}),
        Value::Timestamp(count, unit, zone) => {
            let text = time::timestamp_text(*count, *unit, zone.as_deref()).unwrap_or_default();
            json!({"$datetime": text.replace('Z', "+00:00")})
        }
        Value::Duration(count, unit) => {
            json!({"$timedelta_us": count * 1_000_000 / time::units_per_second(*unit)})
        }
        Value::Decimal(text) => json!({"$decimal": text}),
        Value::List(items) => {
            let item = match feature {
                Some(Feature::List { feature, .. } | Feature::LargeList { feature }) => Some(&**feature),
                _ => None,
            };
            items.iter().map(|value| value_json(value, item)).collect()
        }
        Value::Struct(members) => {
            let features = match feature {
                Some(Feature::Struct(features)) => Some(features),
                _ => None,
            };
            row_json(members, features)
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a row is the expected one; files of the library's folder are those of the Hub.
pub fn is_equal(ours: &Json, expected: &Json) -> bool {
    match (ours, expected) {
        (Json::Object(ours), Json::Object(expected)) => {
            ours.len() == expected.len()
                && ours
                    .iter()
                    .all(|(key, value)| expected.get(key).is_some_and(|expected| is_equal(value, expected)))
        }
        (Json::Array(ours), Json::Array(expected)) => {
            ours.len() == expected.len()
                && ours.iter().zip(expected).all(|(ours, expected)| is_equal(ours, expected))
        }
        (Json::String(ours), Json::String(expected)) => match expected.split_once("<ROOT>/") {
            // Where the library worked on a folder we work on a Hub.
            Some((lead, path)) => {
                let address = ours.strip_prefix(lead).and_then(|rest| rest.strip_prefix("hf://datasets/"));
                let rest = address.and_then(|rest| rest.split_once('@'));
                rest.and_then(|(_, rest)| rest.split_once('/')).is_some_and(|(_, found)| found == path)
            }
            None => ours == expected,
        },
        _ => ours == expected,
    }
}
