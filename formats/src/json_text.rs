//! Values as JSON text: compact, in the bytes that responses carry (worker-and-store.md section 5.6).
//!
//! Owns the writer of cells and strings. The type of a column guides it only where the value alone does not tell: a
//! `Json` cell that is to be decoded is written as the JSON that it holds, or as a plain string when its text is not
//! JSON. Nothing here fails: what JSON cannot say (NaN, infinities, instants beyond any calendar) becomes `null`.

pub mod time;
pub mod ujson;

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::features::Feature;
use crate::value::Value;

/// Structs with more members than this get an index of their names.
const WIDE_STRUCT_MEMBERS: usize = 32;

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatetimeForm {
    /// As Python's `isoformat` has it: microseconds, `Z` for a zero offset, else the offset of the zone.
    Exact,
    /// As the cache gives it back (worker-and-store.md section 1.1): in UTC, cut to milliseconds, without a zone.
    Cached,
}

/// Appends the JSON text of a value. `feature` is the type of the column that it comes from, when known.
pub fn write_json(value: &Value, feature: Option<&Feature>, form: DatetimeForm, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::UInt(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Float(number) => write_serializable(number, out),
        Value::Str(text) => write_text(text, feature, out),
        Value::Bytes(bytes) => write_ascii(&STANDARD.encode(bytes), out),
        Value::Date(days) => write_optional(time::date_text(*days), out),
        Value::Time(count, unit) => write_ascii(&time::time_text(*count, *unit), out),
        Value::Timestamp(count, unit, zone) => {
            let text = match form {
                DatetimeForm::Exact => time::timestamp_text(*count, *unit, zone.as_deref()),
                DatetimeForm::Cached => time::cached_timestamp_text(*count, *unit),
            };
            write_optional(text, out);
        }
        Value::Duration(count, unit) => write_ascii(&time::duration_text(*count, *unit), out),
        Value::Decimal(text) => write_json_string(text, out),
        Value::List(items) => {
            let item_feature = feature.and_then(item_feature);
            write_separated(b'[', b']', items, out, |item, out| write_json(item, item_feature, form, out));
        }
        Value::Struct(members) => {
            let features = MemberFeatures::new(feature, members.len());
            let mut index = 0;
            write_separated(b'{', b'}', members, out, |(name, member), out| {
                write_json_string(name, out);
                out.push(b':');
                write_json(member, features.get(index, name), form, out);
                index += 1;
            });
        }
    }
}

/// Appends a JSON string: quotes, backslashes and control characters are escaped and nothing else.
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    write_serializable(text, out);
}

fn write_serializable<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value)
        .expect("strings, numbers and JSON trees serialize, and a Vec takes all bytes");
}

fn write_text(text: &str, feature: Option<&Feature>, out: &mut Vec<u8>) {
    if let Some(Feature::Json { decode: true }) = feature
        && let Some(decoded) = ujson::loads(text)
    {
        return write_serializable(&decoded, out);
    }
    write_json_string(text, out);
}

/// Appends text that needs no escapes as a string.
fn write_ascii(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn write_optional(text: Option<String>, out: &mut Vec<u8>) {
    match text {
        Some(text) => write_ascii(&text, out),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_separated<T>(
    open: u8,
    close: u8,
    items: &[T],
    out: &mut Vec<u8>,
    mut write: impl FnMut(&T, &mut Vec<u8>),
) {
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

fn item_feature(feature: &Feature) -> Option<&Feature> {
    match feature {
        Feature::List { feature, .. } | Feature::LargeList { feature } => Some(feature),
        _ => None,
    }
}

/// Types of a struct's members, found by position or else by name.
struct MemberFeatures<'a> {
    features: &'a [(Arc<str>, Feature)],
    /// For wide structs only, where looking through all names for each member would take too long.
    by_name: HashMap<&'a str, &'a Feature>,
}

impl<'a> MemberFeatures<'a> {
    fn new(feature: Option<&'a Feature>, members: usize) -> Self {
        let features = match feature {
            Some(Feature::Struct(features)) => features.0.as_slice(),
            _ => &[],
        };
        let is_wide = features.len().min(members) > WIDE_STRUCT_MEMBERS;
        let by_name = features.iter().filter(|_| is_wide).map(|(name, feature)| (&**name, feature));
        Self { features, by_name: by_name.collect() }
    }

    fn get(&self, index: usize, name: &str) -> Option<&'a Feature> {
        match self.features.get(index) {
            Some((at_index, feature)) if **at_index == *name => Some(feature),
            _ if self.by_name.is_empty() => {
                self.features.iter().find(|(member, _)| **member == *name).map(|(_, feature)| feature)
            }
            _ => self.by_name.get(name).copied(),
        }
    }
}

#[cfg(test)]
mod tests;
