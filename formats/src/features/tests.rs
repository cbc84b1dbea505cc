use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::extension::{EXTENSION_TYPE_METADATA_KEY, EXTENSION_TYPE_NAME_KEY};
use arrow_schema::{DataType, Field, FieldRef};
use serde_json::json;

use super::naming::snakecase_to_camelcase;
use super::{Feature, Features, repr};
use crate::error::ErrorClass;

fn field(name: &str, data_type: DataType, nullable: bool) -> FieldRef {
    Arc::new(Field::new(name, data_type, nullable))
}

fn list_of(item: &str, nullable: bool) -> DataType {
    DataType::List(field(item, DataType::Int64, nullable))
}

fn from_schema(fields: &[FieldRef], features: &serde_json::Value) -> serde_json::Value {
    let metadata = json!({"info": {"features": features}}).to_string();
    Features::from_schema(fields, Some(&metadata)).unwrap().to_json()
}

#[test]
fn declared_features_count_where_their_field_equals_the_physical_one() {
    let label = json!({"names": ["a", "b"], "_type": "ClassLabel"});
    let labels = json!({"feature": label, "_type": "List"});
    let declared = json!({
        "same": label, "required": label, "narrow": label, "absent": label, "element": labels, "items": labels,
    });
    let fields = [
        field("same", DataType::Int64, true),
        field("required", DataType::Int64, false),
        field("narrow", DataType::Int32, true),
        field("element", list_of("element", true), true),
        field("items", list_of("item", false), true),
    ];
    let int64 = json!({"dtype": "int64", "_type": "Value"});
    let expected = json!({
        "same": label, "required": int64, "narrow": {"dtype": "int32", "_type": "Value"}, "element": labels,
        "items": {"feature": int64, "_type": "List"},
    });
    assert_eq!(from_schema(&fields, &declared), expected);
}

#[test]
fn schema_metadata_without_features_leaves_the_physical_types() {
    let fields = [field("a", DataType::Utf8, true)];
    let expected = json!({"a": {"dtype": "string", "_type": "Value"}});
    for metadata in [None, Some("{}"), Some(r#"{"info": {"features": null}}"#)] {
        assert_eq!(Features::from_schema(&fields, metadata).unwrap().to_json(), expected);
    }
}

#[test]
fn broken_schema_metadata_is_an_error() {
    let unknown = r#"{"info": {"features": {"absent": {"_type": "Nope"}}}}"#;
    for metadata in ["{", unknown] {
        assert_eq!(Features::from_schema(&[], Some(metadata)).unwrap_err().class, ErrorClass::ValueError);
    }
}

#[test]
fn array_columns_go_through_their_extension_type() {
    let array = json!({"shape": [null, 3], "dtype": "float32", "_type": "Array2D"});
    let feature = Feature::from_json(&array).unwrap();
    let physical = feature.to_arrow("a").unwrap();
    assert_eq!(physical.metadata()[EXTENSION_TYPE_METADATA_KEY], r#"[[null, 3], "float32"]"#);
    assert_eq!(Feature::from_arrow(&physical).unwrap(), feature);
    assert_eq!(from_schema(&[Arc::new(physical)], &json!({"a": array})), json!({"a": array}));
}

#[test]
fn an_array_column_with_a_broken_mark_is_an_error() {
    let name = "datasets.features.features.Array2DExtensionType";
    for metadata in ["", "[]", "[[1], \"int8\"]", "[[1, -1], \"int8\"]"] {
        let marks = HashMap::from([
            (EXTENSION_TYPE_NAME_KEY.to_owned(), name.to_owned()),
            (EXTENSION_TYPE_METADATA_KEY.to_owned(), metadata.to_owned()),
        ]);
        let field = Field::new("a", list_of("item", true), true).with_metadata(marks);
        Feature::from_arrow(&field).unwrap_err();
    }
}

#[test]
fn dictionaries_have_the_dtype_of_their_values_and_unknown_extensions_that_of_their_storage() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::LargeUtf8));
    assert_eq!(
        Feature::from_arrow(&Field::new("d", dictionary, true)).unwrap(),
        Feature::value("large_string")
    );
    let mark = HashMap::from([(EXTENSION_TYPE_NAME_KEY.to_owned(), "geoarrow.wkb".to_owned())]);
    let field = Field::new("g", DataType::Binary, true).with_metadata(mark);
    assert_eq!(Feature::from_arrow(&field).unwrap(), Feature::value("binary"));
}

#[test]
fn maps_have_no_feature() {
    let entries = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)].into(),
    );
    let map = DataType::Map(field("entries", entries, false), false);
    let error = Feature::from_arrow(&Field::new("m", map, true)).unwrap_err();
    assert_eq!(error.message, "Arrow type map<string, int64> does not have a datasets dtype equivalent.");
}

#[test]
fn features_nested_too_deeply_are_refused_in_every_form() {
    let deep =
        |key: &str| (0..100).fold(json!({"dtype": "int8", "_type": "Value"}), |inner, _| json!({key: inner}));
    assert_eq!(Features::from_json(&deep("a")).unwrap_err().class, ErrorClass::LimitExceeded);
    let yaml = json!([{"name": "a", "list": deep("list")}]);
    assert_eq!(Features::from_yaml(&yaml).unwrap_err().class, ErrorClass::LimitExceeded);
    let arrow = (0..100).fold(DataType::Int8, |inner, _| DataType::List(field("item", inner, true)));
    let error = Feature::from_arrow(&Field::new("a", arrow, true)).unwrap_err();
    assert_eq!(error.class, ErrorClass::LimitExceeded);
}

#[test]
fn malformed_features_are_errors() {
    for json in [
        json!({"c": 1}),
        json!({"c": "int64"}),
        json!({"c": []}),
        json!({"c": {"_type": null}}),
        json!({"c": {"_type": "Value"}}),
        json!({"c": {"_type": "Value", "dtype": 1}}),
        json!({"c": {"_type": "List"}}),
        json!({"c": {"_type": "List", "feature": {}, "length": 3_000_000_000_u64}}),
        json!({"c": {"_type": "List", "feature": {}, "other": 1}}),
        json!({"c": {"_type": "Array2D", "shape": [1], "dtype": "int8"}}),
        json!({"c": {"_type": "Array3D", "shape": [1, null, 2], "dtype": "int8"}}),
        json!({"c": {"_type": "ClassLabel", "names": {"0": "a"}}}),
        json!({"c": {"_type": "Translation"}}),
        json!({"_type": "Value", "dtype": "int8"}),
        json!([]),
    ] {
        assert!(Features::from_json(&json).is_err(), "{json}");
    }
    for yaml in [json!({"a": "int8"}), json!(null), json!([1]), json!([{"name": 1, "dtype": "int8"}])] {
        assert!(Features::from_yaml(&yaml).is_err(), "{yaml}");
    }
}

#[test]
fn python_texts_name_every_part() {
    for (json, text) in [
        (json!({"a'b": {"dtype": "int64", "_type": "Value"}}), r#"{"a'b": Value('int64')}"#),
        (
            json!({"_type": "Audio", "sampling_rate": 16000}),
            "Audio(sampling_rate=16000, decode=True, num_channels=None, stream_index=None)",
        ),
        (
            json!({"_type": "Array2D", "shape": [null, 2], "dtype": "int8"}),
            "Array2D(shape=(None, 2), dtype='int8')",
        ),
        (json!({"_type": "ClassLabel", "names": ["x", "y"]}), "ClassLabel(names=['x', 'y'])"),
        (json!({"_type": "Json", "decode": false}), "Json(decode=False)"),
    ] {
        assert_eq!(repr::feature_text(&Feature::from_json(&json).unwrap()), text);
    }
    let long = "é".repeat(3_001);
    assert_eq!(repr::short_text(&long).chars().count(), 3_005);
    assert_eq!(repr::short_text(&long[2..]), long[2..]);
}

#[test]
fn camel_case_joins_words_at_single_underscores() {
    for (snake, camel) in [
        ("class_label", "ClassLabel"),
        ("array2_d", "Array2D"),
        ("array2d", "Array2d"),
        ("a__b_c", "A__BC"),
        ("_a_", "A"),
        ("ABC", "Abc"),
    ] {
        assert_eq!(snakecase_to_camelcase(snake), camel);
    }
}
