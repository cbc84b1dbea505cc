use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, Date64Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Float16Array, Float32Array,
    IntervalYearMonthArray, MapArray, RunArray, StringViewArray, StructArray, TimestampMillisecondArray,
    UInt64Array,
};
use arrow_schema::{DataType, Field, TimeUnit};

use super::{array_value, decimal_text};
use crate::error::ErrorClass;
use crate::value::Value;

fn values(array: &dyn Array) -> Vec<Value> {
    (0..array.len()).map(|row| array_value(array, row).unwrap()).collect()
}

#[test]
fn scalars_keep_their_width_and_nulls() {
    assert_eq!(values(&UInt64Array::from(vec![Some(u64::MAX), None])), [Value::UInt(u64::MAX), Value::Null]);
    assert_eq!(values(&Float32Array::from(vec![0.1])), [Value::Float(f64::from(0.1_f32))]);
    let halves = Float16Array::from(vec![half::f16::from_f64(0.1)]);
    assert_eq!(values(&halves), [Value::Float(0.099_975_585_937_5)]);
    assert_eq!(values(&StringViewArray::from(vec!["é"])), [Value::str("é")]);
    let fixed = FixedSizeBinaryArray::try_from_iter([[1_u8, 2]].into_iter()).unwrap();
    assert_eq!(values(&fixed), [Value::Bytes(Arc::from([1_u8, 2].as_slice()))]);
}

#[test]
fn dates_before_the_epoch_round_down_to_their_day() {
    assert_eq!(values(&Date64Array::from(vec![-1, 86_400_000])), [Value::Date(-1), Value::Date(1)]);
}

#[test]
fn a_timestamp_keeps_its_unit_and_zone() {
    let array = TimestampMillisecondArray::from(vec![5]).with_timezone("Europe/Paris");
    assert_eq!(values(&array), [Value::Timestamp(5, TimeUnit::Millisecond, Some(Arc::from("Europe/Paris")))]);
}

#[test]
fn dictionaries_and_runs_are_decoded() {
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    assert_eq!(values(&dictionary), [Value::str("a"), Value::Null, Value::str("a")]);
    let runs: RunArray<Int32Type> = vec![Some("x"), Some("x"), None].into_iter().collect();
    assert_eq!(values(&runs), [Value::str("x"), Value::str("x"), Value::Null]);
    assert_eq!(values(&runs.slice(1, 2)), [Value::str("x"), Value::Null]);
}

#[test]
fn lists_and_structs_nest() {
    let mut builder = ListBuilder::new(Int32Builder::new());
    builder.append_value([Some(1), None]);
    builder.append_null();
    let lists = builder.finish();
    let field = Arc::new(Field::new("l", lists.data_type().clone(), true));
    let array = StructArray::from(vec![(field, Arc::new(lists) as _)]);
    let member = |value| Value::Struct(vec![(Arc::from("l"), value)]);
    assert_eq!(values(&array), [member(Value::List(vec![Value::Int(1), Value::Null])), member(Value::Null)]);
}

#[test]
fn a_map_is_a_list_of_pairs() {
    let map = MapArray::new_from_strings(["k"].into_iter(), &UInt64Array::from(vec![3]), &[0, 1]).unwrap();
    assert_eq!(values(&map), [Value::List(vec![Value::List(vec![Value::str("k"), Value::UInt(3)])])]);
}

#[test]
fn intervals_and_rows_outside_of_the_array_are_refused() {
    let error = array_value(&IntervalYearMonthArray::from(vec![1]), 0).unwrap_err();
    assert_eq!(error.class, ErrorClass::ArrowNotImplementedError);
    let error = array_value(&UInt64Array::from(vec![1]), 1).unwrap_err();
    assert_eq!(error.class, ErrorClass::ArrowInvalid);
}

#[test]
fn nesting_beyond_the_limit_is_refused() {
    let mut array: arrow_array::ArrayRef = Arc::new(UInt64Array::from(vec![1]));
    for _ in 0..70 {
        let field = Arc::new(Field::new("a", array.data_type().clone(), true));
        array = Arc::new(StructArray::from(vec![(field, array)]));
    }
    assert_eq!(array_value(&array, 0).unwrap_err().class, ErrorClass::LimitExceeded);
}

#[test]
fn decimals_print_as_python_prints_them() {
    for (unscaled, scale, text) in [
        ("150", 2, "1.50"),
        ("-5", 2, "-0.05"),
        ("0", 2, "0.00"),
        ("0", 0, "0"),
        ("1", 7, "1E-7"),
        ("12", 8, "1.2E-7"),
        ("1", 6, "0.000001"),
        ("123", -2, "1.23E+4"),
        ("1", -3, "1E+3"),
    ] {
        assert_eq!(decimal_text(unscaled, scale), text);
    }
    let array = Decimal128Array::from(vec![-12345]).with_precision_and_scale(10, 3).unwrap();
    assert_eq!(values(&array), [Value::Decimal(Arc::from("-12.345"))]);
    assert_eq!(array.data_type(), &DataType::Decimal128(10, 3));
}
