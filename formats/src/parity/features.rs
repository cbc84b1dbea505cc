//! The tables about features.

use std::sync::Arc;

use arrow_schema::DataType;
use serde_json::{Value as Json, json};

use super::{arrow_types, check_equal, check_outcome, check_rows, table, table_with_release};
use crate::features::dtype::string_to_arrow;
use crate::features::naming::camelcase_to_snakecase;
use crate::features::type_text::arrow_type_text;
use crate::features::{Feature, Features};
use crate::infer::infer_features;

fn check_features(row: &Json, features: &Features) -> Result<(), String> {
    check_equal("features", &features.to_json(), &row["features"])?;
    let fields = features.to_arrow().map_err(|error| error.to_string())?;
    let text = arrow_type_text(&DataType::Struct(fields.into()));
    check_equal("arrow", &Json::from(text), &row["arrow"])?;
    let again = Features::from_json(&features.to_json()).map_err(|error| error.to_string())?;
    if again == *features { Ok(()) } else { Err(format!("read again as {again:?}")) }
}

#[test]
fn readme_features_are_read_and_written_as_the_original_does() {
    check_rows(&table_with_release("yaml_features"), &[], |row| {
        check_outcome(row, Features::from_yaml(&row["yaml"]), |features| {
            check_features(row, &features)?;
            check_equal("round trip", &features.to_yaml(), &row["round_trip"])
        })
    });
}

#[test]
fn json_features_are_read_and_written_as_the_original_does() {
    check_rows(&table_with_release("json_features"), &[], |row| {
        let features = Features::from_json(&json!({"col": row["json"]}));
        check_outcome(row, features, |features| check_features(row, &features))
    });
}

#[test]
fn arrow_types_become_the_features_of_the_original() {
    check_rows(&table("arrow_to_feature"), &[], |row| {
        let field = arrow_types::field("col", row["arrow"].as_str().unwrap());
        check_outcome(row, Feature::from_arrow(&field), |feature| {
            check_equal("feature", &feature.to_json(), &row["feature"])
        })
    });
}

#[test]
fn dtype_strings_become_the_arrow_types_of_the_original() {
    check_rows(&table("dtype_string_to_arrow"), &[], |row| {
        check_outcome(row, string_to_arrow(row["dtype"].as_str().unwrap()), |data_type| {
            check_equal("arrow", &Json::from(arrow_type_text(&data_type)), &row["arrow"])?;
            let value = Feature::from_json(&json!({"dtype": row["dtype"], "_type": "Value"})).unwrap();
            check_equal("canonical", &value.to_json()["dtype"], &row["canonical"])
        })
    });
}

#[test]
fn type_names_become_snake_case() {
    let names = super::cases()["tables"]["camelcase_to_snakecase"].clone();
    for (name, snake) in names.as_object().unwrap() {
        assert_eq!(camelcase_to_snakecase(name), *snake);
    }
}

#[test]
fn first_rows_give_the_features_and_errors_of_the_original() {
    check_rows(&table("first_rows_inference"), &[], |row| {
        let values = row["values"].as_array().unwrap();
        let rows: Vec<_> =
            values.iter().map(|value| vec![(Arc::from("col"), super::values::untyped(value))]).collect();
        check_outcome(row, infer_features(&rows), |features| {
            check_equal("feature", &features.to_json()["col"], &row["feature"])
        })
    });
}
