//! Casts to and from decimals, on their digits.
//!
//! Owns the change of scale, which never loses digits except when a float is rounded, and the check of precisions.
//! Fails with `ArrowInvalid`. Digit strings are bounded: exponents beyond [`EXPONENT_MAX`] are refused before use.

use arrow_schema::DataType;

use super::number::{float_value, integer_range, integer_value, whole};
use super::scalar::{Convert, invalid, mismatch};
use crate::arrow_values::decimal_text;
use crate::error::FormatError;
use crate::value::Value;

/// Largest exponent of a decimal that is handled; twice what a decimal256 can hold.
const EXPONENT_MAX: i32 = 160;

/// An integer with a sign and a scale: digits × 10^-scale.
struct Digits {
    negative: bool,
    /// Without leading zeros; empty for zero.
    digits: String,
    scale: i32,
}

impl Digits {
    /// Reads `-12.50`, `.5`, `1E+3`; no spaces, at least one digit.
    fn read(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (number, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        if scale.abs() > EXPONENT_MAX {
            return None;
        }
        Some(Self { negative, digits: digits.trim_start_matches('0').into(), scale })
    }

    /// The digits at another scale, `None` when some would be lost.
    fn rescaled(&self, scale: i32) -> Option<String> {
        if self.digits.is_empty() {
            return Some(String::new());
        }
        let growth = scale - self.scale;
        if growth >= 0 {
            return Some(format!("{}{}", self.digits, "0".repeat(growth.unsigned_abs() as usize)));
        }
        let kept = self.digits.len().checked_sub(growth.unsigned_abs() as usize)?;
        let (kept, lost) = self.digits.split_at(kept);
        lost.bytes().all(|byte| byte == b'0').then(|| kept.to_owned())
    }
}

/// Name, precision and scale of a decimal type.
fn parts(data_type: &DataType) -> (&'static str, usize, i32) {
    match data_type {
        DataType::Decimal32(precision, scale) => ("Decimal32", (*precision).into(), (*scale).into()),
        DataType::Decimal64(precision, scale) => ("Decimal64", (*precision).into(), (*scale).into()),
        DataType::Decimal256(precision, scale) => ("Decimal256", (*precision).into(), (*scale).into()),
        DataType::Decimal128(precision, scale) => ("Decimal128", (*precision).into(), (*scale).into()),
        _ => ("Decimal128", 0, 0),
    }
}

fn fit(number: &Digits, to: &DataType) -> Result<Value, FormatError> {
    let (name, precision, scale) = parts(to);
    let digits = number
        .rescaled(scale)
        .ok_or_else(|| invalid(format!("Rescaling {name} value would cause data loss")))?;
    if digits.len() > precision {
        return Err(invalid(format!("Decimal value does not fit in precision {precision}")));
    }
    Ok(value(number.negative, &digits, scale))
}

fn value(negative: bool, digits: &str, scale: i32) -> Value {
    let digits = if digits.is_empty() { "0" } else { digits };
    let sign = if negative && digits != "0" { "-" } else { "" };
    Value::Decimal(decimal_text(&format!("{sign}{digits}"), scale).into())
}

/// Reads text as a decimal of this type.
pub(super) fn parse(text: &str, to: &DataType) -> Result<Value, FormatError> {
    let number = Digits::read(text).ok_or_else(|| {
        let name = parts(to).0.to_lowercase();
        invalid(format!("The string '{text}' is not a valid {name} number"))
    })?;
    fit(&number, to)
}

/// The conversion of a type that is neither text nor bytes to a decimal.
pub(super) fn to_decimal<'a>(
    from: &'a DataType,
    to: &'a DataType,
) -> Option<Result<Convert<'a>, FormatError>> {
    if let Some((low, _)) = integer_range(from) {
        return Some(integer_to_decimal(from, to, low < 0));
    }
    if from.is_floating() {
        return Some(Ok(Box::new(move |value| match value {
            Value::Float(number) => float_to_decimal(number, to),
            other => Err(mismatch(&other, from)),
        })));
    }
    if !super::scalar::is_decimal(from) {
        return None;
    }
    Some(Ok(Box::new(move |value| match &value {
        Value::Decimal(text) => parse(text, to),
        other => Err(mismatch(other, from)),
    })))
}

fn integer_to_decimal<'a>(
    from: &'a DataType,
    to: &'a DataType,
    signed: bool,
) -> Result<Convert<'a>, FormatError> {
    let (_, precision, scale) = parts(to);
    let Ok(places) = usize::try_from(scale) else {
        return Err(invalid("Scale must be non-negative"));
    };
    let digits = match (from.primitive_width(), signed) {
        (Some(1), _) => 3,
        (Some(2), _) => 5,
        (Some(4), _) => 10,
        (_, true) => 19,
        (_, false) => 20,
    };
    if precision < digits + places {
        let message = format!(
            "Precision is not great enough for the result. It should be at least {}",
            digits + places
        );
        return Err(invalid(message));
    }
    Ok(Box::new(move |value| match whole(&value) {
        Some(number) => parse(&number.to_string(), to),
        None => Err(mismatch(&value, from)),
    }))
}

/// Rounds a float to the scale.
fn float_to_decimal(number: f64, to: &DataType) -> Result<Value, FormatError> {
    let (name, precision, scale) = parts(to);
    if !number.is_finite() {
        return Err(invalid(format!("Cannot convert {number} to {name}")));
    }
    let text = match usize::try_from(scale) {
        Ok(places) => format!("{number:.places$}"),
        Err(_) => format!("{:.0}", number / 10_f64.powi(-scale)),
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.as_str()),
    };
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    if digits.len() > precision {
        let message =
            format!("Cannot convert {number} to {name}(precision = {precision}, scale = {scale}): overflow");
        return Err(invalid(message));
    }
    Ok(value(negative, digits, scale))
}

/// The conversion of a decimal to an integer or float.
pub(super) fn to_number<'a>(from: &'a DataType, to: &'a DataType) -> Option<Convert<'a>> {
    if to.is_floating() {
        return Some(Box::new(move |value| match &value {
            Value::Decimal(text) => Ok(float_value(text.parse().unwrap_or(f64::NAN), to)),
            other => Err(mismatch(other, from)),
        }));
    }
    let range = integer_range(to)?;
    Some(Box::new(move |value| match &value {
        Value::Decimal(text) => decimal_to_integer(text, from, to, range),
        other => Err(mismatch(other, from)),
    }))
}

fn decimal_to_integer(
    text: &str,
    from: &DataType,
    to: &DataType,
    (low, high): (i128, i128),
) -> Result<Value, FormatError> {
    let number = Digits::read(text).ok_or_else(|| mismatch(&Value::str(text), from))?;
    let digits = number
        .rescaled(0)
        .ok_or_else(|| invalid(format!("Rescaling {} value would cause data loss", parts(from).0)))?;
    let magnitude = if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
    let number = magnitude.map(|magnitude| if number.negative { -magnitude } else { magnitude });
    match number.filter(|number| (low..=high).contains(number)) {
        Some(number) => Ok(integer_value(number, to)),
        None => Err(invalid("Integer value out of bounds")),
    }
}
