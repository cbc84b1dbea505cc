//! Reading single fields: missing and null alike, any numeric type for a number.

use mongodb::bson::{Bson, DateTime, Document};
use outpost_model::TimestampMs;

use super::Misfit;

/// A field's value, `None` when it is missing or null.
pub(crate) fn present<'a>(document: &'a Document, field: &str) -> Option<&'a Bson> {
    document.get(field).filter(|value| !matches!(value, Bson::Null | Bson::Undefined))
}

/// A text field.
pub(crate) fn text<'a>(document: &'a Document, field: &'static str) -> Result<Option<&'a str>, Misfit> {
    match present(document, field) {
        None => Ok(None),
        Some(Bson::String(value)) => Ok(Some(value)),
        Some(other) => Err(wrong_type(field, "text", other)),
    }
}

/// A text field that every document has.
pub(crate) fn required_text<'a>(document: &'a Document, field: &'static str) -> Result<&'a str, Misfit> {
    text(document, field)?.ok_or_else(|| Misfit::field(field, &"is missing"))
}

/// A number, whole or not.
pub(crate) fn number(document: &Document, field: &'static str) -> Result<Option<f64>, Misfit> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a progress or a duration, where a double is what is stored"
    )]
    match present(document, field) {
        None => Ok(None),
        Some(Bson::Double(value)) => Ok(Some(*value)),
        Some(Bson::Int32(value)) => Ok(Some(f64::from(*value))),
        Some(Bson::Int64(value)) => Ok(Some(*value as f64)),
        Some(other) => Err(wrong_type(field, "a number", other)),
    }
}

/// A whole number that fits `T`.
pub(crate) fn integer<T: TryFrom<i64>>(
    document: &Document,
    field: &'static str,
) -> Result<Option<T>, Misfit> {
    let value = match present(document, field) {
        None => return Ok(None),
        Some(Bson::Int32(value)) => i64::from(*value),
        Some(Bson::Int64(value)) => *value,
        #[expect(clippy::cast_possible_truncation, reason = "a whole double below 2^53 is an exact integer")]
        Some(Bson::Double(value)) if value.fract() == 0.0 && value.abs() < 9e15 => *value as i64,
        Some(other) => return Err(wrong_type(field, "a whole number", other)),
    };
    T::try_from(value).map(Some).map_err(|_| Misfit::field(field, &format!("is out of range: {value}")))
}

/// A date. One before 1970 reads as 1970: times here only say how old something is.
pub(crate) fn date(document: &Document, field: &'static str) -> Result<Option<TimestampMs>, Misfit> {
    match present(document, field) {
        None => Ok(None),
        Some(Bson::DateTime(date)) => Ok(Some(from_date(*date))),
        Some(other) => Err(wrong_type(field, "a date", other)),
    }
}

/// The stored form of a time; one beyond what a date holds is cut to the last date.
pub(crate) fn to_date(time: TimestampMs) -> DateTime {
    DateTime::from_millis(i64::try_from(time.0).unwrap_or(i64::MAX))
}

/// See [`date`].
pub(crate) fn from_date(date: DateTime) -> TimestampMs {
    TimestampMs(u64::try_from(date.timestamp_millis()).unwrap_or(0))
}

fn wrong_type(field: &'static str, expected: &str, found: &Bson) -> Misfit {
    Misfit::field(field, &format!("is of BSON type {:?}, not {expected}", found.element_type()))
}
