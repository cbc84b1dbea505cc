//! The rules of dataset-loading.md section 1.7, one test each; answers were taken from the original.

use serde_json::json;

use super::{features, json_type, params, read, read_with, rows, value};
use crate::golden::{self, data_file};
use crate::json::Json;
use crate::{ErrorClass, Feature, Features, Module, Params, Value};

#[test]
fn a_blank_line_stops_the_search_for_mixed_values() {
    assert_eq!(features("{\"a\":{\"b\":1}}\n{\"a\":{\"c\":1}}\n")["a"], json_type());
    let with_blank = features("{\"a\":{\"b\":1}}\n\n{\"a\":{\"c\":1}}\n");
    assert_eq!(with_blank["a"], json!({"b": value("int64"), "c": value("int64")}));
}

#[test]
fn objects_over_several_lines_and_several_on_one_are_rows() {
    assert_eq!(rows("{\"a\":1}{\"a\":2} {\"a\":\n3}\n"), [json!({"a": 1}), json!({"a": 2}), json!({"a": 3})]);
}

#[test]
fn mixed_values_below_the_top_become_json_where_they_differ() {
    let text = "{\"a\":{\"b\":[{\"x\":1},5]},\"c\":1}\n{\"a\":{\"b\":[]},\"c\":2}\n";
    let list = json!({"feature": json_type(), "_type": "List"});
    assert_eq!(features(text), json!({"a": {"b": list}, "c": value("int64")}));
    assert_eq!(rows(text)[0], json!({"a": {"b": [{"x": 1}, 5]}, "c": 1}));
}

#[test]
fn a_first_object_without_members_makes_the_column_json() {
    assert_eq!(features("{\"a\":{}}\n{\"a\":{\"x\":1}}\n")["a"], json_type());
    assert_eq!(features("{\"a\":{\"x\":1}}\n{\"a\":{}}\n")["a"], json_type());
}

#[test]
fn a_type_change_of_scalars_makes_json_of_all_values() {
    let text = "{\"a\":1}\n{\"a\":\"x\"}\n{\"a\":\"7\"}\n{\"a\":true}\n";
    assert_eq!(features(text)["a"], json_type());
    assert_eq!(rows(text), [json!({"a": 1}), json!({"a": "x"}), json!({"a": 7}), json!({"a": true})]);
}

#[test]
fn a_column_that_becomes_json_joins_the_first_row_at_its_end() {
    let text = "{\"b\":1}\n{\"c\":2,\"a\":{\"x\":1}}\n{\"a\":{}}\n";
    let names: Vec<_> =
        read(text).unwrap().0.unwrap().0.into_iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["b", "a", "c"]);
}

#[test]
fn rewritten_rows_lose_what_ujson_does_not_keep() {
    let text = "{\"f\":0.1234567890123456,\"n\":NaN,\"j\":1}\n{\"f\":1e20,\"n\":1.5,\"j\":\"x\"}\n";
    assert_eq!(rows(text)[0], json!({"f": 0.123456789, "n": null, "j": 1}));
    assert_eq!(rows(text)[1]["f"], json!(1e20));
    assert_eq!(rows("{\"f\":0.1234567890123456}\n")[0]["f"], json!(0.1234567890123456));
}

#[test]
fn members_of_one_name_are_an_error_to_arrow_and_none_to_ujson() {
    let error = read("{\"a\":{\"b\":1,\"b\":2}}\n{\"c\":1}\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "ArrowInvalid: JSON parse error: Column(/a/b) was specified twice in row 0"
    );
    assert_eq!(rows("[{\"a\":1,\"a\":2}]"), [json!({"a": 2})]);
}

#[test]
fn only_strings_that_are_all_dates_become_timestamps() {
    let text = "{\"d\":[\"2020-01-01\",null],\"s\":{\"t\":\"2020-01-01 10:00:00+01:00\"}}\n";
    let list = json!({"feature": value("timestamp[s]"), "_type": "List"});
    assert_eq!(features(text), json!({"d": list, "s": {"t": value("timestamp[s]")}}));
    assert_eq!(rows(text)[0]["s"]["t"], json!({"$datetime": "2020-01-01T09:00:00"}));
    assert_eq!(features("{\"d\":\"2020-01-01\"}\n{\"d\":\"\"}\n")["d"], value("string"));
}

#[test]
fn all_rows_of_a_chunk_type_the_first_ones() {
    let text = "{\"a\":1}\n".repeat(5_000) + "{\"a\":0.5}\n";
    let file = data_file("a.jsonl", text);
    let mut reader = Json.open(&file, &Params::new(), None).unwrap();
    let table = reader.next_table(2).unwrap().unwrap();
    assert_eq!(table.rows, [[Value::Float(1.0)], [Value::Float(1.0)]]);
    assert_eq!(table.row_count, 5_001);
}

#[test]
fn chunks_end_with_a_line_and_are_typed_one_by_one() {
    let text = "{\"a\":1}\n{\"a\":2}\n{\"a\":3,\"b\":\"x\"}\n";
    let (features, rows) = read_with(text, &params(json!({"chunksize": 9}))).unwrap();
    assert_eq!(features.unwrap().to_json(), json!({"a": value("int64")}));
    assert_eq!(rows, [json!({"a": 1}), json!({"a": 2}), json!({"a": 3, "b": "x"})]);
}

#[test]
fn known_features_are_met_by_nulls_and_by_text_of_objects() {
    let features = Features(vec![
        ("gone".into(), Feature::value("int64")),
        ("text".into(), Feature::value("string")),
        ("j".into(), Feature::Json { decode: true }),
    ]);
    let text = "{\"text\":{\"d\":\"2020-01-01\",\"x\":0.5},\"j\":{\"k\":[1]}}\n{\"text\":null,\"j\":\"é\"}\n";
    let mut reader = Json.open(&data_file("a.jsonl", text), &Params::new(), Some(&features)).unwrap();
    let table = reader.next_table(10).unwrap().unwrap();
    let names: Vec<_> = table.fields.iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["text", "j", "gone"]);
    let first = [Value::str("{\"d\":1577836800000,\"x\":0.5}"), Value::str("{\"k\":[1]}"), Value::Null];
    assert_eq!(table.rows[0], first);
    assert_eq!(table.rows[1], [Value::Null, Value::str("\"\\u00e9\""), Value::Null]);
}

#[test]
fn arrays_are_rows_of_objects_or_of_a_column_text() {
    assert_eq!(rows("[{\"a\":1},null]"), [json!({"a": 1}), json!({"a": null})]);
    assert_eq!(rows("[\"x\",null]"), [json!({"text": "x"}), json!({"text": null})]);
    assert_eq!(rows("[[1],[2]]"), [json!({"text": [1]}), json!({"text": [2]})]);
    // The first brace comes after the first string.
    assert_eq!(rows("[\"x\",{\"a\":1}]"), [json!({"text": "\"x\""}), json!({"text": "{\"a\":1}"})]);
}

#[test]
fn broken_arrays_fail_in_the_words_of_ujson() {
    let message = |text: &str| read(text).unwrap_err().to_string();
    assert_eq!(message("[1] x"), "ValueError: Trailing data");
    assert_eq!(message("[1,]"), "ValueError: Unexpected character found when decoding array value (1)");
    assert_eq!(message("[1"), "ValueError: Unexpected character found when decoding array value (2)");
    assert_eq!(message("[{\"a\":-9223372036854775809}]"), "ValueError: Value is too small");
}

#[test]
fn rows_that_are_no_objects_are_no_mappings() {
    let message = |text: &str| read(text).unwrap_err().to_string();
    assert_eq!(message("1.5\n"), "TypeError: 'float' object is not a mapping");
    assert_eq!(message("\"x\"\n"), "TypeError: 'str' object is not a mapping");
    assert_eq!(message("{\"a\":1}\n2\n"), "TypeError: 'str' object is not a mapping");
}

#[test]
fn a_null_line_is_a_row_of_nulls() {
    assert_eq!(rows("{\"a\":1}\nnull\n{\"a\":2}\n"), [json!({"a": 1}), json!({"a": null}), json!({"a": 2})]);
}

#[test]
fn a_byte_order_mark_is_dropped() {
    assert_eq!(rows("\u{feff}{\"a\":1}\n"), [json!({"a": 1})]);
    assert_eq!(rows("\u{feff}[{\"a\":1}]"), [json!({"a": 1})]);
}

#[test]
fn other_encodings_are_decoded() {
    let utf16: Vec<u8> = "{\"a\":\"é\"}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (_, rows) = read_with(utf16, &params(json!({"encoding": "utf-16-le"}))).unwrap();
    assert_eq!(rows, [json!({"a": "é"})]);
    let (_, rows) = read_with(b"{\"a\":\"\xe9\"}\n", &params(json!({"encoding": "latin-1"}))).unwrap();
    assert_eq!(rows, [json!({"a": "é"})]);
}

#[test]
fn bytes_that_are_no_text_fail_when_a_row_shows_them() {
    let error = read(b"{\"a\":\"x\xff\"}\n").unwrap_err();
    assert_eq!(error.class, ErrorClass::UnicodeDecodeError);
    assert_eq!(error.message, "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte");
}

#[test]
fn type_changes_are_errors_when_the_config_says_so() {
    let options = params(json!({"on_mixed_types": null}));
    let error = read_with("{\"a\":1}\n{\"a\":\"x\"}\n", &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ArrowInvalid: JSON parse error: Column(/a) changed from number to string in row 1"
    );
    let error = read_with("{}\n", &params(json!({"newlines_in_values": true}))).unwrap_err();
    assert_eq!(error.class, ErrorClass::ValueError);
}

#[test]
fn a_file_behind_an_empty_one_is_typed_without_the_search_for_mixed_values() {
    let files = [data_file("a.jsonl", ""), data_file("b.jsonl", "{\"a\":{\"b\":1}}\n{\"a\":{\"c\":1}}\n")];
    let (features, rows) = golden::read(&Json, &files, &Params::new(), 10).unwrap();
    assert_eq!(features.unwrap().to_json()["a"], json!({"b": value("int64"), "c": value("int64")}));
    assert_eq!(rows.len(), 2);
}
