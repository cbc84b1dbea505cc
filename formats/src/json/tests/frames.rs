//! Documents that pandas reads: rows in a field, and what Arrow refuses.

use serde_json::{Value as JsonValue, json};

use super::{params, read, read_with};
use crate::{ErrorClass, FormatError};

fn field(data: &str) -> Result<Vec<JsonValue>, FormatError> {
    let text = format!("{{\"version\":1,\"data\":{data}}}");
    read_with(text, &params(json!({"field": "data"}))).map(|(features, rows)| {
        assert_eq!(features, None);
        rows
    })
}

#[test]
fn numbers_that_are_all_whole_are_integers() {
    assert_eq!(field("[{\"a\":1.0},{\"a\":2.0}]").unwrap(), [json!({"a": 1}), json!({"a": 2})]);
    assert_eq!(
        field("[{\"a\":1},{\"b\":2.5}]").unwrap(),
        [json!({"a": 1, "b": null}), json!({"a": null, "b": 2.5})]
    );
    // Beside a missing cell they were doubles for a while.
    let rows = field("[{\"a\":9007199254740993},{}]").unwrap();
    assert_eq!(rows[0], json!({"a": 9_007_199_254_740_992_i64}));
}

#[test]
fn lists_of_values_are_a_column_text_and_lists_of_lists_are_columns() {
    assert_eq!(field("[\"x\",null]").unwrap(), [json!({"text": "x"}), json!({"text": null})]);
    assert_eq!(field("[[1,2],[3]]").unwrap(), [json!({"0": 1, "1": 2}), json!({"0": 3, "1": null})]);
}

#[test]
fn objects_of_lists_and_objects_of_objects_are_columns() {
    let expected = [json!({"a": 1, "b": "x"}), json!({"a": 2, "b": "x"})];
    assert_eq!(field("{\"a\":[1,2],\"b\":\"x\"}").unwrap(), expected);
    let expected = [json!({"a": 1, "b": null}), json!({"a": 2, "b": 3}), json!({"a": null, "b": 4})];
    assert_eq!(field("{\"a\":{\"x\":1,\"y\":2},\"b\":{\"y\":3,\"z\":4}}").unwrap(), expected);
    let message = |data: &str| field(data).unwrap_err().to_string();
    assert_eq!(message("{\"a\":[1,2],\"b\":[1]}"), "ValueError: All arrays must be of the same length");
    assert_eq!(message("{\"a\":1}"), "ValueError: If using all scalar values, you must pass an index");
}

#[test]
fn columns_named_like_dates_are_timestamps() {
    let time = |text: &str| json!({"$datetime": text});
    let rows = field("[{\"date\":\"2020-01-01\",\"x_at\":1577872800,\"day\":\"2020-01-01\"}]").unwrap();
    let expected = json!({"date": time("2020-01-01T00:00:00"), "x_at": time("2020-01-01T10:00:00"), "day": "2020-01-01"});
    assert_eq!(rows, [expected]);
    assert_eq!(field("[{\"date\":\"x\"}]").unwrap(), [json!({"date": "x"})]);
    assert_eq!(field("[{\"date\":5}]").unwrap(), [json!({"date": 5})]);
    let rows = field("[{\"modified\":\"2020-01-01T10:00:00Z\"},{\"modified\":null}]").unwrap();
    assert_eq!(rows[0], json!({"modified": time("2020-01-01T10:00:00+00:00")}));
}

#[test]
fn values_that_do_not_go_together_fail_in_the_words_of_pyarrow() {
    let message = |data: &str| field(data).unwrap_err().to_string();
    assert_eq!(
        message("[{\"a\":true},{\"a\":1}]"),
        "ArrowInvalid: ('Could not convert 1 with type int: tried to convert to boolean', \
         'Conversion failed for column a with type object')"
    );
    assert_eq!(
        message("[{\"a\":\"x\"},{\"a\":1}]"),
        "ArrowTypeError: (\"Expected bytes, got a 'int' object\", 'Conversion failed for column a with type object')"
    );
    assert_eq!(
        message("[{\"a\":[18446744073709551615]}]"),
        "OverflowError: Python int too large to convert to C long"
    );
}

#[test]
fn a_field_must_be_there() {
    let read = |text: &str| read_with(text, &params(json!({"field": "data"}))).unwrap_err();
    assert_eq!(read("{\"a\":1}").to_string(), "KeyError: 'data'");
    assert_eq!(read("[1]").class, ErrorClass::TypeError);
    assert_eq!(read("{\"data\":[1]} x").to_string(), "ValueError: Trailing data");
}

#[test]
fn documents_that_arrow_refuses_are_read_by_pandas_or_fail_as_arrow_did() {
    let (features, rows) = read("\n[\n{\"date\":\"2020-01-01\"}\n]").unwrap();
    assert_eq!(features, None);
    assert_eq!(rows, [json!({"date": {"$datetime": "2020-01-01T00:00:00"}})]);
    let (features, rows) = read("{\"a\":[1,2],\n\"b\":[\"x\",\"y\"],}").unwrap();
    assert_eq!((features, rows.len()), (None, 2));
    assert_eq!(
        read("{\"a\":[1,2]} x").unwrap_err().to_string(),
        "ArrowInvalid: JSON parse error: Invalid value. in row 1"
    );
}

#[test]
fn one_object_over_many_lines_is_a_frame_where_arrow_cuts_it() {
    let document = |items: usize| {
        format!("{{\n\"version\": \"1\",\n\"data\": [{}]\n}}\n", vec!["{\"a\": 1}"; items].join(",\n"))
    };
    let (features, rows) = read(document(10)).unwrap();
    assert_eq!((features.is_some(), rows.len()), (true, 1));
    let (features, rows) = read(document(50_000)).unwrap();
    assert_eq!((features.is_some(), rows.len()), (false, 100));
    assert_eq!(rows[0], json!({"version": "1", "data": {"a": 1}}));
}
