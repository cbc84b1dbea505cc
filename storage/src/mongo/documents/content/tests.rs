//! JSON to BSON and back, and what is refused.

use mongodb::bson::raw::{RawBson, RawDocumentBuf};
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Timestamp, doc, spec::BinarySubtype};
use outpost_model::limits;

use super::super::render::to_json;
use super::from_json;

fn round_trip(text: &str) -> String {
    String::from_utf8(to_json(&from_json(text.as_bytes()).unwrap()).unwrap()).unwrap()
}

fn refusal(text: &str) -> String {
    from_json(text.as_bytes()).unwrap_err().to_string()
}

fn rendered(value: impl Into<Bson>) -> Result<String, String> {
    let document = RawDocumentBuf::try_from(&doc! {"v": value.into()}).unwrap();
    to_json(&document).map(|text| String::from_utf8(text).unwrap())
}

#[test]
fn json_text_comes_back_byte_for_byte() {
    for text in [
        "{}",
        r#"{"b":1,"a":{"z":[],"y":[[],{}]},"":null,"a.b":true}"#,
        r#"{"floats":[1.0,-0.5,1e+16,1e-7,0.1,1.7976931348623157e+308],"ints":[1,-1,0]}"#,
        r#"{"wide":[2147483647,2147483648,-2147483649,9223372036854775807,-9223372036854775808]}"#,
        r#"{"text":"é \"quoted\" \\ \n \u0001 \u0000 🦀"}"#,
    ] {
        assert_eq!(round_trip(text), text);
    }
}

#[test]
fn integers_take_32_bits_when_they_fit_and_floats_stay_floats() {
    let document = from_json(br#"{"small":5,"large":5000000000,"whole":5.0}"#).unwrap();
    let value = |name| RawBson::from(document.get(name).unwrap().unwrap());
    assert_eq!(value("small"), RawBson::Int32(5));
    assert_eq!(value("large"), RawBson::Int64(5_000_000_000));
    assert_eq!(value("whole"), RawBson::Double(5.0));
}

#[test]
fn integers_beyond_64_bits_with_sign_are_refused_not_rounded() {
    for integer in
        ["9223372036854775808", "18446744073709551615", "-9223372036854775809", "123456789012345678901234"]
    {
        let refusal = refusal(&format!(r#"{{"row":[{integer}]}}"#));
        assert!(refusal.contains(integer), "{refusal}");
    }
    // The same digits as text or as a float are no integers.
    let quoted = r#"{"a":"18446744073709551615\"18446744073709551616"}"#;
    assert_eq!(round_trip(quoted), quoted);
    assert_eq!(round_trip(r#"{"a":18446744073709551616.0}"#), r#"{"a":1.8446744073709552e+19}"#);
}

#[test]
fn keys_that_the_database_or_its_readers_refuse_are_refused() {
    assert!(refusal(r#"{"row":{"$oid":"1"}}"#).contains("$oid"));
    assert!(refusal(r#"{"a\u0000b":1}"#).contains("NUL"));
}

#[test]
fn only_whole_objects_within_the_bounds_are_stored() {
    assert!(refusal("[1]").contains("object"));
    assert!(refusal("{} x").contains("trailing"));
    assert!(refusal(r#"{"a":"#).contains("EOF"));
    let nested = format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    assert!(refusal(&nested).contains("recursion"));
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(limits::CONTENT_BYTES_MAX));
    assert!(refusal(&long).contains("bytes"));
    // Small numbers take six times their text.
    let many = format!(r#"{{"a":[{}]}}"#, vec!["1"; 2_000_000].join(","));
    assert!(refusal(&many).contains("BSON"));
}

#[test]
fn values_that_python_wrote_are_served_as_its_api_serves_them() {
    let date = |millis| Bson::DateTime(DateTime::from_millis(millis));
    assert_eq!(rendered(date(1_577_926_984_123)).unwrap(), r#"{"v":"2020-01-02T01:03:04.123000"}"#);
    assert_eq!(rendered(date(0)).unwrap(), r#"{"v":"1970-01-01T00:00:00"}"#);
    assert_eq!(rendered(date(951_782_400_001)).unwrap(), r#"{"v":"2000-02-29T00:00:00.001000"}"#);
    assert_eq!(rendered(date(-1)).unwrap(), r#"{"v":"1969-12-31T23:59:59.999000"}"#);
    let bytes = Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255, 1] };
    assert_eq!(rendered(bytes).unwrap(), r#"{"v":"AP8B"}"#);
    assert_eq!(rendered(f64::NAN).unwrap(), r#"{"v":null}"#);
    assert_eq!(rendered(f64::NEG_INFINITY).unwrap(), r#"{"v":null}"#);
    let decimal: Decimal128 = "1.50".parse().unwrap();
    assert_eq!(rendered(decimal).unwrap(), r#"{"v":"1.50"}"#);
}

#[test]
fn values_that_no_response_holds_are_refused() {
    assert!(rendered(Timestamp { time: 1, increment: 1 }).is_err());
    assert!(rendered(Bson::MaxKey).is_err());
    assert!(rendered(Bson::DateTime(DateTime::MAX)).is_err());
}
