use std::sync::Arc;

use serde_json::json;

use super::infer_features;
use crate::error::{ErrorClass, FormatError};
use crate::features::Features;
use crate::value::Value;

fn column(values: Vec<Value>) -> Result<Features, FormatError> {
    let rows: Vec<_> = values.into_iter().map(|value| vec![(Arc::from("c"), value)]).collect();
    infer_features(&rows)
}

#[test]
fn no_rows_are_a_stop_iteration() {
    assert_eq!(infer_features(&[]).unwrap_err().class, ErrorClass::StopIteration);
}

#[test]
fn columns_that_some_rows_lack_are_kept_in_order_of_appearance() {
    let rows = [
        vec![(Arc::from("b"), Value::Int(1))],
        vec![(Arc::from("a"), Value::str("x")), (Arc::from("b"), Value::Null)],
    ];
    let features = infer_features(&rows).unwrap();
    assert_eq!(
        features.to_json().to_string(),
        r#"{"b":{"dtype":"int64","_type":"Value"},"a":{"dtype":"string","_type":"Value"}}"#
    );
}

#[test]
fn members_of_inferred_structs_are_sorted() {
    let value = Value::Struct(vec![(Arc::from("b"), Value::Int(1)), (Arc::from("a"), Value::Null)]);
    let features = column(vec![value]).unwrap();
    assert_eq!(
        features.to_json()["c"].to_string(),
        r#"{"a":{"dtype":"null","_type":"Value"},"b":{"dtype":"int64","_type":"Value"}}"#
    );
}

#[test]
fn the_first_deciding_value_hides_later_ones_from_inference_but_not_from_conversion() {
    let error = column(vec![Value::str("x"), Value::Int(1)]).unwrap_err();
    assert_eq!(error.class, ErrorClass::ArrowTypeError);
    assert_eq!(error.message, "Expected bytes, got a 'int' object");
    let error = column(vec![Value::str("x"), Value::List(vec![])]).unwrap_err();
    assert_eq!(error.message, "Expected bytes, got a 'list' object");
}

#[test]
fn lists_do_not_mix_with_other_values() {
    let error = column(vec![Value::List(vec![]), Value::Int(1)]).unwrap_err();
    assert_eq!(error.message, "cannot mix list and non-list, non-null values");
}

#[test]
fn decimals_take_the_widest_digits_on_both_sides_of_the_point() {
    for (texts, dtype) in [
        (["0.001", "12"], "decimal128(5, 3)"),
        (["1E+3", "0"], "decimal128(4, 0)"),
        (["0", "0"], "decimal128(1, 0)"),
        (["1E-7", "1"], "decimal128(8, 7)"),
    ] {
        let features = column(texts.map(|text| Value::Decimal(text.into())).to_vec()).unwrap();
        assert_eq!(features.to_json()["c"]["dtype"], json!(dtype));
    }
}

#[test]
fn values_nested_too_deeply_are_refused() {
    let deep = (0..100).fold(Value::Int(1), |value, _| Value::List(vec![value]));
    assert_eq!(column(vec![deep]).unwrap_err().class, ErrorClass::LimitExceeded);
}
