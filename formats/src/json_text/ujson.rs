//! JSON text as pandas' `ujson` dumps and loads it: what the original stores in a `Json` column and reads from it
//! (dataset-loading.md sections 4.5 and 5.3).
//!
//! Owns the rules that differ from the responses' JSON: ASCII only, `/` escaped, at most ten decimals, timestamps and
//! durations in milliseconds. Nothing here fails.

mod read;

use std::fmt::Write as _;

pub use read::loads;

use super::time;
use crate::value::Value;

/// Decimals that a float keeps.
const DECIMALS: usize = 10;
const DECIMALS_FACTOR: f64 = 1e10;
const FIXED_MAX: f64 = 1e16;
const FIXED_MIN: f64 = 1e-15;
const MS_PER_DAY: i64 = 86_400_000;

/// The text of a value.
#[must_use]
pub fn dump(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

/// Appends the text of a value.
pub fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => push_display(number, out),
        Value::UInt(number) => push_display(number, out),
        Value::Float(number) => write_float(*number, out),
        Value::Str(text) => write_string(text, out),
        Value::Bytes(bytes) => write_string(&String::from_utf8_lossy(bytes), out),
        Value::Date(days) => push_display(&(i64::from(*days) * MS_PER_DAY), out),
        Value::Time(count, unit) => write_string(&time::time_text(*count, *unit), out),
        Value::Timestamp(count, unit, _) | Value::Duration(count, unit) => {
            let ms = i128::from(*count) * 1_000 / i128::from(time::units_per_second(*unit));
            push_display(&ms, out);
        }
        Value::Decimal(text) => write_float(text.parse().unwrap_or(f64::NAN), out),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                push_comma(index, out);
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Struct(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                push_comma(index, out);
                write_string(name, out);
                out.push(':');
                write_value(member, out);
            }
            out.push('}');
        }
    }
}

fn push_comma(index: usize, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
}

fn push_display(value: &dyn std::fmt::Display, out: &mut String) {
    let _ = write!(out, "{value}");
}

/// Appends a string: everything outside of ASCII as `\uXXXX`, `/` as `\/`.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' => out.push_str("\\/"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='\u{7f}' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// Appends a float with at most ten decimals (`0.1234567890123456` is written `0.123456789`, `1e-12` is `0.0`), in
/// the form `1e+20` when it is huge or below 10^-15, `null` when it is not a number.
pub fn write_float(number: f64, out: &mut String) {
    if !number.is_finite() {
        return out.push_str("null");
    }
    let magnitude = number.abs();
    if number.is_sign_negative() && number != 0.0 {
        out.push('-');
    }
    if magnitude > FIXED_MAX || (magnitude != 0.0 && magnitude < FIXED_MIN) {
        return write_exponent(magnitude, out);
    }
    let mut whole = magnitude.trunc();
    let scaled = (magnitude - whole) * DECIMALS_FACTOR;
    let mut fraction = scaled.trunc();
    let rest = scaled - fraction;
    if rest > 0.5 || (rest == 0.5 && (fraction == 0.0 || fraction % 2.0 == 1.0)) {
        fraction += 1.0;
    }
    if fraction >= DECIMALS_FACTOR {
        fraction = 0.0;
        whole += 1.0;
    }
    let digits = format!("{fraction:0DECIMALS$}");
    let digits = digits.trim_end_matches('0');
    let _ = write!(out, "{whole}.{}", if digits.is_empty() { "0" } else { digits });
}

/// Ten significant digits with a signed exponent of at least two digits, as C's `%.10g`.
fn write_exponent(magnitude: f64, out: &mut String) {
    let text = format!("{magnitude:.precision$e}", precision = DECIMALS - 1);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    let _ = write!(out, "{digits}e{sign}{:02}", exponent.abs());
}
