//! BSON to JSON text, as dataset-viewer's API serves what it reads.
//!
//! Owns the conversions of worker-and-store.md section 1.1: dates without an offset, binary as base64, numbers that
//! JSON cannot hold as null, decimals as text. Refuses the types that only a database uses (code, patterns, keys
//! that sort first or last) and dates beyond the year 9999: nothing that wrote a response makes them.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mongodb::bson::DateTime;
use mongodb::bson::raw::{RawArray, RawBsonRef, RawDocument};
use outpost_model::limits;

/// Renders a document as the text of a JSON object.
///
/// # Errors
/// What in it cannot be rendered.
pub(crate) fn to_json(document: &RawDocument) -> Result<Vec<u8>, String> {
    let mut text = Vec::with_capacity(document.as_bytes().len());
    write_document(&mut text, document, 0)?;
    Ok(text)
}

fn write_document(text: &mut Vec<u8>, document: &RawDocument, depth: usize) -> Result<(), String> {
    check_depth(depth)?;
    text.push(b'{');
    for (index, member) in document.iter().enumerate() {
        let (key, value) = member.map_err(|error| error.to_string())?;
        if index > 0 {
            text.push(b',');
        }
        write_text(text, key.as_str());
        text.push(b':');
        write_value(text, value, depth)?;
    }
    text.push(b'}');
    Ok(())
}

fn write_array(text: &mut Vec<u8>, array: &RawArray, depth: usize) -> Result<(), String> {
    check_depth(depth)?;
    text.push(b'[');
    for (index, value) in array.into_iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write_value(text, value.map_err(|error| error.to_string())?, depth)?;
    }
    text.push(b']');
    Ok(())
}

fn check_depth(depth: usize) -> Result<(), String> {
    if depth < limits::MONGO_NESTING_DEPTH_MAX { Ok(()) } else { Err("it is nested too deep".to_owned()) }
}

fn write_value(text: &mut Vec<u8>, value: RawBsonRef<'_>, depth: usize) -> Result<(), String> {
    match value {
        RawBsonRef::Document(document) => write_document(text, document, depth + 1)?,
        RawBsonRef::Array(array) => write_array(text, array, depth + 1)?,
        RawBsonRef::String(string) | RawBsonRef::Symbol(string) => write_text(text, string),
        RawBsonRef::Null | RawBsonRef::Undefined => text.extend_from_slice(b"null"),
        RawBsonRef::Boolean(value) => text.extend_from_slice(if value { b"true" } else { b"false" }),
        RawBsonRef::Int32(value) => write_display(text, value),
        RawBsonRef::Int64(value) => write_display(text, value),
        RawBsonRef::Double(value) => write_double(text, value),
        RawBsonRef::Binary(binary) => write_text(text, &STANDARD.encode(binary.bytes)),
        RawBsonRef::ObjectId(id) => write_text(text, &id.to_hex()),
        RawBsonRef::Decimal128(value) => write_text(text, &value.to_string()),
        RawBsonRef::DateTime(date) => write_text(text, &naive(date)?),
        other => return Err(format!("a value of BSON type {:?} has no JSON form", other.element_type())),
    }
    Ok(())
}

/// NaN and the infinities have no JSON form and are served as null; others as the shortest text of the same double.
fn write_double(text: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        serde_json::to_writer(text, &value).expect("writing a number to memory cannot fail");
    } else {
        text.extend_from_slice(b"null");
    }
}

fn write_text(text: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(text, value).expect("writing text to memory cannot fail");
}

fn write_display(text: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(text, "{value}").expect("writing to memory cannot fail");
}

/// The date as Python's driver reads it and orjson writes it: UTC without an offset, six digits of fraction or none.
fn naive(date: DateTime) -> Result<String, String> {
    let (days, of_day) =
        (date.timestamp_millis().div_euclid(86_400_000), date.timestamp_millis().rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    if !(1..=9999).contains(&year) {
        return Err("a date beyond the years 1 to 9999 has no text".to_owned());
    }
    let (seconds, millis) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if millis > 0 {
        text.push_str(&format!(".{millis:03}000"));
    }
    Ok(text)
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are counted from March, so
/// that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    /// Days from 0000-03-01 to 1970-01-01.
    const EPOCH: i64 = 719_468;
    /// Days of 400 years.
    const CYCLE: i64 = 146_097;
    let shifted = days + EPOCH;
    let (cycle, of_cycle) = (shifted.div_euclid(CYCLE), shifted.rem_euclid(CYCLE));
    let of_400 = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * of_400 + of_400 / 4 - of_400 / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (cycle * 400 + of_400 + i64::from(month <= 2), month, day)
}
