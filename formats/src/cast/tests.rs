use std::sync::Arc;

use arrow_schema::{DataType, Field};
use serde_json::json;

use super::{cast_table_to_features, cast_table_to_schema};
use crate::error::ErrorClass;
use crate::features::Features;
use crate::table::Table;
use crate::value::Value;

fn table(columns: &[(&str, DataType)], rows: Vec<Vec<Value>>) -> Table {
    let fields = columns.iter().map(|(name, data_type)| Arc::new(Field::new(*name, data_type.clone(), true)));
    Table { fields: fields.collect(), row_count: rows.len() + 1, rows }
}

fn features(json: &serde_json::Value) -> Features {
    Features::from_json(json).unwrap()
}

fn int64() -> serde_json::Value {
    json!({"dtype": "int64", "_type": "Value"})
}

#[test]
fn missing_columns_become_nulls_and_the_order_is_that_of_the_features() {
    let features = features(&json!({"b": {"dtype": "string", "_type": "Value"}, "a": int64()}));
    for cast in [cast_table_to_features, cast_table_to_schema] {
        let table = table(&[("a", DataType::Int32)], vec![vec![Value::Int(1)]]);
        let cast = cast(table, &features).unwrap();
        assert_eq!(cast.rows, [[Value::Null, Value::Int(1)]]);
        assert_eq!(cast.fields, features.to_arrow().unwrap());
        assert_eq!(cast.row_count, 2);
    }
}

#[test]
fn an_extra_column_is_a_cast_error_with_both_schemas() {
    let features = features(&json!({"x": int64(), "y": int64()}));
    let columns = [("x", DataType::Int64), ("z", DataType::Int64)];
    let error = cast_table_to_schema(table(&columns, vec![]), &features).unwrap_err();
    assert_eq!(error.class, ErrorClass::CastError);
    assert_eq!(
        error.message,
        "Couldn't cast\nx: int64\nz: int64\nto\n{'x': Value('int64'), 'y': Value('int64')}\nbecause column names don't match"
    );
    let error = cast_table_to_features(table(&columns, vec![]), &features).unwrap_err();
    assert!(error.message.starts_with("Couldn't cast\nx: int64\nz: int64\ny: null\nto\n"), "{error}");
}

#[test]
fn two_columns_of_one_name_are_a_cast_error() {
    let features = features(&json!({"x": int64()}));
    let columns = [("x", DataType::Int64), ("x", DataType::Int64)];
    for cast in [cast_table_to_features, cast_table_to_schema] {
        let error = cast(table(&columns, vec![]), &features).unwrap_err();
        assert_eq!(error.class, ErrorClass::CastError);
    }
}

#[test]
fn equal_schemas_are_not_checked() {
    let features = features(&json!({"label": {"names": ["a"], "_type": "ClassLabel"}}));
    let row = || vec![vec![Value::Int(7)]];
    let cast = cast_table_to_schema(table(&[("label", DataType::Int64)], row()), &features).unwrap();
    assert_eq!(cast.rows, row());
    let error = cast_table_to_schema(table(&[("label", DataType::Int32)], row()), &features).unwrap_err();
    assert_eq!(error.message, "Class label 7 greater than configured num_classes 1");
}

#[test]
fn json_text_is_judged_per_row_when_iterating_and_per_table_in_a_builder() {
    let features = features(&json!({"j": {"_type": "Json"}}));
    let rows = || ["[1]", "hello"].map(|text| vec![Value::str(text)]).to_vec();
    let columns = [("j", DataType::Utf8)];
    let by_row = cast_table_to_features(table(&columns, rows()), &features).unwrap();
    assert_eq!(by_row.rows, [[Value::str("[1]")], [Value::str("\"hello\"")]]);
    let by_table = cast_table_to_schema(table(&columns, rows()), &features).unwrap();
    assert_eq!(by_table.rows, [[Value::str("\"[1]\"")], [Value::str("\"hello\"")]]);
}

#[test]
fn nested_columns_of_a_mismatch_are_listed_with_their_children() {
    let features = features(&json!({"x": int64()}));
    let member =
        Arc::new(Field::new("a", DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), false));
    let columns = [("s", DataType::Struct(vec![member].into()))];
    let error = cast_table_to_schema(table(&columns, vec![]), &features).unwrap_err();
    let schema = "s: struct<a: list<item: string> not null>\n  child 0, a: list<item: string> not null\n    child 0, item: string";
    assert!(error.message.contains(schema), "{error}");
}
