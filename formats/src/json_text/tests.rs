use std::sync::Arc;

use arrow_schema::TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};

use super::{DatetimeForm, ujson, write_json};
use crate::features::{Feature, Features};
use crate::value::Value;

fn exact(value: &Value) -> String {
    json(value, None, DatetimeForm::Exact)
}

fn json(value: &Value, feature: Option<&Feature>, form: DatetimeForm) -> String {
    let mut out = Vec::new();
    write_json(value, feature, form, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn floats_have_the_shortest_text_and_a_signed_exponent() {
    for (number, text) in [
        (1.0, "1.0"),
        (1e16, "1e+16"),
        (1e-7, "1e-7"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (f64::from(0.1_f32), "0.10000000149011612"),
        (123_456_789.123_456_79, "123456789.12345679"),
        (1e15, "1000000000000000.0"),
        (f64::NAN, "null"),
        (f64::NEG_INFINITY, "null"),
    ] {
        assert_eq!(exact(&Value::Float(number)), text);
    }
}

#[test]
fn integers_reach_both_ends_of_64_bits() {
    assert_eq!(exact(&Value::UInt(u64::MAX)), "18446744073709551615");
    assert_eq!(exact(&Value::Int(i64::MIN)), "-9223372036854775808");
}

#[test]
fn strings_escape_only_quotes_backslashes_and_controls() {
    assert_eq!(
        exact(&Value::str("\"\\/\n\t\r\u{8}\u{c}\u{1}\u{1f}\u{7f}é\u{2028}😀")),
        "\"\\\"\\\\/\\n\\t\\r\\b\\f\\u0001\\u001f\u{7f}é\u{2028}😀\""
    );
}

#[test]
fn bytes_are_base64_and_decimals_are_strings() {
    assert_eq!(exact(&Value::Bytes(Arc::from([255_u8, 0].as_slice()))), "\"/wA=\"");
    assert_eq!(exact(&Value::Decimal("1.50".into())), "\"1.50\"");
}

#[test]
fn dates_and_times_print_in_iso_form() {
    assert_eq!(exact(&Value::Date(18_263)), "\"2020-01-02\"");
    assert_eq!(exact(&Value::Date(-719_162)), "\"0001-01-01\"");
    assert_eq!(exact(&Value::Date(i32::MAX)), "null");
    assert_eq!(exact(&Value::Time(11_045, Second)), "\"03:04:05\"");
    assert_eq!(exact(&Value::Time(11_045_000_006_999, Nanosecond)), "\"03:04:05.000006\"");
}

#[test]
fn timestamps_print_their_zone_in_the_exact_form_only() {
    let us = 1_577_934_245_123_456;
    for (zone, text) in [
        (None, "2020-01-02T03:04:05.123456"),
        (Some("UTC"), "2020-01-02T03:04:05.123456Z"),
        (Some("Europe/London"), "2020-01-02T03:04:05.123456Z"),
        (Some("+02:00"), "2020-01-02T05:04:05.123456+02:00"),
        (Some("America/New_York"), "2020-01-01T22:04:05.123456-05:00"),
    ] {
        let value = Value::Timestamp(us, Microsecond, zone.map(Arc::from));
        assert_eq!(exact(&value), format!("\"{text}\""));
        assert_eq!(json(&value, None, DatetimeForm::Cached), "\"2020-01-02T03:04:05.123000\"");
    }
    assert_eq!(exact(&Value::Timestamp(-1, Nanosecond, None)), "\"1969-12-31T23:59:59.999999\"");
    let before = Value::Timestamp(-1, Microsecond, None);
    assert_eq!(json(&before, None, DatetimeForm::Cached), "\"1969-12-31T23:59:59.999000\"");
    assert_eq!(exact(&Value::Timestamp(i64::MAX, Second, None)), "null");
}

#[test]
fn durations_print_as_python_prints_them() {
    for (count, unit, text) in [
        (90_061, Second, "1 day, 1:01:01"),
        (1, Millisecond, "0:00:00.001000"),
        (-5, Microsecond, "-1 day, 23:59:59.999995"),
        (172_800, Second, "2 days, 0:00:00"),
        (1_000, Nanosecond, "0 days 00:00:00.000001"),
        (-1, Nanosecond, "-1 days +23:59:59.999999999"),
        (i64::MAX, Second, "106751991167300 days, 15:30:07"),
    ] {
        assert_eq!(exact(&Value::Duration(count, unit)), format!("\"{text}\""));
    }
}

#[test]
fn json_cells_are_decoded_where_the_type_says_so() {
    let decoded = Feature::Json { decode: true };
    let cell = Value::str("{\"b\": 1, \"a\": [1.0, null], \"b\": 2}");
    assert_eq!(json(&cell, Some(&decoded), DatetimeForm::Exact), "{\"b\":2,\"a\":[1.0,null]}");
    assert_eq!(json(&Value::str("{oops"), Some(&decoded), DatetimeForm::Exact), "\"{oops\"");
    let raw = Feature::Json { decode: false };
    assert_eq!(json(&Value::str("[1]"), Some(&raw), DatetimeForm::Exact), "\"[1]\"");
    let nested = Feature::Struct(Features(vec![(Arc::from("l"), Feature::list(decoded))]));
    let value =
        Value::Struct(vec![(Arc::from("x"), Value::str("[1]")), (Arc::from("l"), Value::List(vec![cell]))]);
    assert_eq!(
        json(&value, Some(&nested), DatetimeForm::Exact),
        "{\"x\":\"[1]\",\"l\":[{\"b\":2,\"a\":[1.0,null]}]}"
    );
}

#[test]
fn ujson_keeps_ten_decimals_and_ascii() {
    for (number, text) in [
        (0.123_456_789_012_345_6, "0.123456789"),
        (1e-12, "0.0"),
        (1.0, "1.0"),
        (-2.5, "-2.5"),
        (0.05, "0.05"),
        (0.999_999_999_99, "1.0"),
        (1e20, "1e+20"),
        (1.5e-20, "1.5e-20"),
        (f64::NAN, "null"),
    ] {
        assert_eq!(ujson::dump(&Value::Float(number)), text);
    }
    assert_eq!(ujson::dump(&Value::str("a/é😀\"\n")), "\"a\\/\\u00e9\\ud83d\\ude00\\\"\\n\"");
    let value = Value::Struct(vec![(Arc::from("a"), Value::List(vec![Value::Int(1), Value::Null]))]);
    assert_eq!(ujson::dump(&value), "{\"a\":[1,null]}");
    assert_eq!(ujson::dump(&Value::Timestamp(2, Second, None)), "2000");
}

#[test]
fn ujson_reads_with_its_own_arithmetic_and_leniency() {
    for (text, json) in [
        ("0.123456789", "0.12345678900000001"),
        ("0.3", "0.30000000000000004"),
        ("-1.5e3", "-1500.0"),
        ("007", "7"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("[1, NaN, -Infinity]", "[1,null,null]"),
        (r#" {"a" : "\u00e9\ud83d\ude00\/", } "#, r#"{"a":"é😀/"}"#),
        ("1e400", "null"),
    ] {
        assert_eq!(ujson::loads(text).map(|json| json.to_string()).as_deref(), Some(json), "{text}");
    }
    let refused = [
        "",
        "hello",
        "[1,]",
        "[1 2]",
        "{1:2}",
        "18446744073709551616",
        "-9223372036854775809",
        "1 2",
        r#""\ud83d\u0041""#,
        r#""a"#,
    ];
    for text in refused {
        assert_eq!(ujson::loads(text), None, "{text}");
    }
    assert_eq!(ujson::loads(&"[".repeat(100_000)), None);
}

#[test]
fn members_of_wide_structs_find_their_types_in_any_order() {
    let name = |index: usize| Arc::from(format!("m{index}"));
    let features = (0..50).map(|index| (name(index), Feature::Json { decode: true })).collect();
    let feature = Feature::Struct(Features(features));
    let members = (0..50).rev().map(|index| (name(index), Value::str("[]"))).collect();
    let text = json(&Value::Struct(members), Some(&feature), DatetimeForm::Exact);
    assert!(text.starts_with(r#"{"m49":[],"m48":[],"#), "{text}");
    assert!(!text.contains(r#""[]""#), "{text}");
}
