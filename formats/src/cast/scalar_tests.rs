//! Casts of single values that the golden tables do not have.

use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};

use super::scalar::cast_scalars;
use crate::error::ErrorClass;
use crate::value::Value;

fn cast(value: Value, from: &DataType, to: &DataType) -> Result<Value, String> {
    cast_scalars(vec![value], from, to)
        .map(|mut values| values.remove(0))
        .map_err(|error| format!("{}: {}", error.class, error.message))
}

fn text(value: &str) -> Value {
    Value::str(value)
}

#[test]
fn integers_are_read_strictly() {
    for (input, to, number) in [
        ("0x10", DataType::Int64, Value::Int(16)),
        ("0xFF", DataType::Int8, Value::Int(-1)),
        ("-0", DataType::Int8, Value::Int(0)),
        ("18446744073709551615", DataType::UInt64, Value::UInt(u64::MAX)),
        ("-9223372036854775808", DataType::Int64, Value::Int(i64::MIN)),
    ] {
        assert_eq!(cast(text(input), &DataType::Utf8, &to), Ok(number));
    }
    for (input, to) in [
        (" 2", DataType::Int64),
        ("1_0", DataType::Int64),
        ("--1", DataType::Int64),
        ("-1", DataType::UInt8),
        ("128", DataType::Int8),
        ("0x", DataType::Int64),
        ("0x1FF", DataType::Int8),
        ("99999999999999999999999999999999999999999999", DataType::Int64),
    ] {
        let error = cast(text(input), &DataType::Utf8, &to).unwrap_err();
        assert!(error.starts_with("ArrowInvalid: Failed to parse string: "), "{error}");
    }
}

#[test]
fn of_several_texts_that_fail_the_last_one_is_reported() {
    let values = vec![text("x"), Value::Null, text("y"), text("1")];
    let error = cast_scalars(values, &DataType::Utf8, &DataType::Int64).unwrap_err();
    assert_eq!(error.message, "Failed to parse string: 'y' as a scalar of type int64");
    let values = vec![Value::Int(300), Value::Int(400)];
    let error = cast_scalars(values, &DataType::Int64, &DataType::Int8).unwrap_err();
    assert_eq!(error.message, "Integer value 300 not in range: -128 to 127");
}

#[test]
fn floats_are_read_without_plus_signs_and_infinite_digits() {
    for (input, number) in [(".5", 0.5), ("5.", 5.0), ("-INF", f64::NEG_INFINITY), ("1e-3", 0.001)] {
        assert_eq!(cast(text(input), &DataType::Utf8, &DataType::Float64), Ok(Value::Float(number)));
    }
    for input in ["+1", "1e400", "", "e5", "infinit"] {
        assert!(cast(text(input), &DataType::Utf8, &DataType::Float64).is_err(), "{input}");
    }
}

#[test]
fn floats_print_their_shortest_form() {
    for (number, from, expected) in [
        (1e15, DataType::Float64, "1e+15"),
        (123_456_789_012_345.0, DataType::Float64, "123456789012345"),
        (0.00001, DataType::Float64, "0.00001"),
        (-0.0, DataType::Float64, "-0"),
        (f64::from(0.1_f32), DataType::Float32, "0.1"),
        (1.5e-10, DataType::Float64, "1.5e-10"),
        (f64::NEG_INFINITY, DataType::Float64, "-inf"),
    ] {
        assert_eq!(cast(Value::Float(number), &from, &DataType::Utf8), Ok(text(expected)));
    }
}

#[test]
fn timestamps_with_a_zone_print_their_offset() {
    let zoned = |zone: &str| DataType::Timestamp(TimeUnit::Millisecond, Some(zone.into()));
    for (zone, expected) in [
        ("UTC", "2020-01-01 10:00:00.005Z"),
        ("Europe/Paris", "2020-01-01 11:00:00.005+0100"),
        ("-03:30", "2020-01-01 06:30:00.005-0330"),
    ] {
        let value = Value::Timestamp(1_577_872_800_005, TimeUnit::Millisecond, Some(zone.into()));
        assert_eq!(cast(value, &zoned(zone), &DataType::Utf8), Ok(text(expected)));
    }
}

#[test]
fn timestamps_are_read_with_a_zone_offset_when_their_type_has_a_zone() {
    let utc: Arc<str> = "UTC".into();
    let zoned = DataType::Timestamp(TimeUnit::Second, Some(utc.clone()));
    for input in
        ["2020-01-01T12:00:00+02:00", "2020-01-01 12+02", "2020-01-01T10:00Z", "2020-01-01 04:30:00-0530"]
    {
        let expected = Value::Timestamp(1_577_872_800, TimeUnit::Second, Some(utc.clone()));
        assert_eq!(cast(text(input), &DataType::Utf8, &zoned), Ok(expected), "{input}");
    }
    let error = cast(text("2020-01-01"), &DataType::Utf8, &zoned).unwrap_err();
    assert!(error.contains(": expected a zone offset. "), "{error}");
}

#[test]
fn malformed_dates_and_timestamps_are_refused() {
    let naive = DataType::Timestamp(TimeUnit::Nanosecond, None);
    for input in [
        "2020-13-01",
        "2020-02-30",
        "20-01-01",
        "2020-01-01T",
        "2020-01-01 24:00:00",
        "2020-01-01 10:00:00.",
        "2020-01-01 10:00.5",
        "2020-01-01 1:00",
        "2020-01-01 10:00:00:00",
        "9999-01-01",
        "é020-01-01",
    ] {
        assert!(cast(text(input), &DataType::Utf8, &naive).is_err(), "{input}");
    }
}

#[test]
fn decimals_keep_all_digits_or_fail() {
    let narrow = DataType::Decimal128(4, 2);
    let decimal = |text: &str| Value::Decimal(text.into());
    assert_eq!(cast(text("1e1"), &DataType::Utf8, &narrow), Ok(decimal("10.00")));
    assert_eq!(cast(decimal("-1.500"), &DataType::Decimal128(9, 3), &narrow), Ok(decimal("-1.50")));
    assert_eq!(cast(decimal("12.00"), &narrow, &DataType::Int8), Ok(Value::Int(12)));
    assert_eq!(cast(decimal("0.5"), &narrow, &DataType::Float64), Ok(Value::Float(0.5)));
    assert_eq!(cast(Value::Float(-0.001), &DataType::Float64, &narrow), Ok(decimal("0.00")));
    for (value, from, to, message) in [
        (text("1.255"), DataType::Utf8, narrow.clone(), "Rescaling Decimal128 value would cause data loss"),
        (text("123"), DataType::Utf8, narrow.clone(), "Decimal value does not fit in precision 4"),
        (
            text("1e999999999"),
            DataType::Utf8,
            narrow.clone(),
            "The string '1e999999999' is not a valid decimal128 number",
        ),
        (decimal("1.50"), narrow.clone(), DataType::Int8, "Rescaling Decimal128 value would cause data loss"),
        (decimal("300.00"), DataType::Decimal128(5, 2), DataType::Int8, "Integer value out of bounds"),
        (
            Value::Float(1e10),
            DataType::Float64,
            narrow.clone(),
            "Cannot convert 10000000000 to Decimal128(precision = 4, scale = 2): overflow",
        ),
    ] {
        assert_eq!(cast(value, &from, &to), Err(format!("ArrowInvalid: {message}")));
    }
}

#[test]
fn instants_change_their_unit_only_without_loss() {
    let seconds = DataType::Timestamp(TimeUnit::Second, None);
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let error = cast(Value::Timestamp(i64::MAX, TimeUnit::Second, None), &seconds, &nanos).unwrap_err();
    assert_eq!(
        error,
        format!(
            "ArrowInvalid: Casting from timestamp[s] to timestamp[ns] would result in out of bounds timestamp: {}",
            i64::MAX
        )
    );
    let before = Value::Timestamp(-1, TimeUnit::Second, None);
    assert_eq!(cast(before.clone(), &seconds, &DataType::Date32), Ok(Value::Date(-1)));
    let clock = DataType::Time32(TimeUnit::Second);
    assert_eq!(cast(before, &seconds, &clock), Ok(Value::Time(86_399, TimeUnit::Second)));
    let late = Value::Timestamp(1, TimeUnit::Nanosecond, None);
    assert_eq!(cast(late, &nanos, &clock), Err("ArrowInvalid: Cast would lose data: 1".into()));
}

#[test]
fn pairs_without_a_cast_name_the_function() {
    for (from, to, message) in [
        (
            DataType::Boolean,
            DataType::Date32,
            "Unsupported cast from bool to date32 using function cast_date32",
        ),
        (
            DataType::Int32,
            DataType::Timestamp(TimeUnit::Second, None),
            "Unsupported cast from int32 to timestamp using function cast_timestamp",
        ),
        (
            DataType::Boolean,
            DataType::Decimal128(5, 2),
            "Unsupported cast from bool to decimal128 using function cast_decimal",
        ),
    ] {
        let error = cast_scalars(vec![Value::Bool(true)], &from, &to).unwrap_err();
        assert_eq!((error.class, error.message.as_str()), (ErrorClass::ArrowNotImplementedError, message));
    }
}
