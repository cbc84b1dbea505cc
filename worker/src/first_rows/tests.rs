//! The first-rows algorithm against cases that were computed by hand.

use std::sync::Arc;

use outpost_formats::{Feature, Features, Media, MediaKind, Value};

use super::*;

const ADDRESS: SplitAddress<'static> = SplitAddress { dataset: "u/d", config: "c", split: "s" };

fn features(columns: &[(&str, Feature)]) -> Features {
    Features(columns.iter().map(|(name, feature)| ((*name).into(), feature.clone())).collect())
}

fn string() -> Feature {
    Feature::value("string")
}

/// A split with one string column `a`.
fn texts(texts: &[&str]) -> SplitHead {
    let rows = texts.iter().map(|text| vec![("a".into(), Value::str(text))]).collect();
    SplitHead { features: features(&[("a", string())]), rows, exhausted: true }
}

fn limits(bytes_max: usize, cell_bytes_min: usize, rows_min: usize) -> FirstRowsLimits {
    FirstRowsLimits { bytes_max, cell_bytes_min, rows_min, columns_max: 3 }
}

fn body(head: &SplitHead, limits: &FirstRowsLimits) -> String {
    String::from_utf8(assemble(ADDRESS, head, limits, None).unwrap()).unwrap()
}

/// The `rows` text and the `truncated` flag of a body.
fn rows_of(head: &SplitHead, limits: &FirstRowsLimits) -> (String, bool) {
    let body = body(head, limits);
    let value: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), body, "the body is compact JSON");
    (value["rows"].to_string(), value["truncated"].as_bool().unwrap())
}

/// Bytes of the response of [`texts`] without rows.
const BASE: usize = 154;
/// Bytes of an item whose string cell has `n` ASCII characters, for a one-digit `row_idx`.
const fn item_bytes(n: usize) -> usize {
    49 + n
}

#[test]
fn a_small_split_is_written_whole_in_the_key_order_of_the_api() {
    let head = texts(&["x", "é\n\u{1}\""]);
    let expected = concat!(
        r#"{"dataset":"u/d","config":"c","split":"s","#,
        r#""features":[{"feature_idx":0,"name":"a","type":{"dtype":"string","_type":"Value"}}],"#,
        r#""rows":[{"row_idx":0,"row":{"a":"x"},"truncated_cells":[]},"#,
        r#"{"row_idx":1,"row":{"a":"é\n\u0001\""},"truncated_cells":[]}],"truncated":false}"#
    );
    assert_eq!(body(&head, &FirstRowsLimits::default()), expected);
    assert_eq!(body(&texts(&[]), &FirstRowsLimits::default()).len(), BASE);
    let one = body(&texts(&["xyz"]), &FirstRowsLimits::default());
    assert_eq!(one.len(), BASE + item_bytes(3));
}

#[test]
fn rows_after_the_first_ones_are_added_while_they_stay_below_the_budget() {
    let head = texts(&["x"; 5]);
    // total = 2 + 5 * (50 + 1) = 257 must stay below the budget.
    let all = limits(BASE + 258, 100, 2);
    let (rows, truncated) = rows_of(&head, &all);
    assert_eq!((rows.matches("row_idx").count(), truncated), (5, false));
    let (rows, truncated) = rows_of(&head, &limits(BASE + 257, 100, 2));
    assert_eq!((rows.matches("row_idx").count(), truncated), (4, true));
    // total of the two first rows = 104: below the budget nothing is cut, and the third does not fit.
    let (rows, truncated) = rows_of(&head, &limits(BASE + 105, 100, 2));
    assert_eq!((rows.matches("row_idx").count(), truncated), (2, true));
    assert!(rows.ends_with("\"truncated_cells\":[]}]"));
}

#[test]
fn the_first_rows_are_kept_by_cutting_cells_from_the_last_row_backwards() {
    let head = texts(&["aaaaaaaaaa", "bbbbbbbbbb"]);
    // total = 2 + 2 * (59 + 1) = 122 reaches each of these budgets; the list has 121 bytes. Cutting the last cell
    // from 12 bytes to `"bbbb` as a string, 8 bytes, and naming its column, 3 bytes, makes it 120.
    let (rows, truncated) = rows_of(&head, &limits(BASE + 122, 5, 10));
    assert_eq!(rows.matches("\"truncated_cells\":[]").count(), 2, "121 < 122: nothing needs cutting");
    assert!(!truncated);
    let (rows, truncated) = rows_of(&head, &limits(BASE + 121, 5, 10));
    assert_eq!(
        rows,
        concat!(
            r#"[{"row_idx":0,"row":{"a":"aaaaaaaaaa"},"truncated_cells":[]},"#,
            r#"{"row_idx":1,"row":{"a":"\"bbbb"},"truncated_cells":["a"]}]"#
        )
    );
    assert!(!truncated, "no row was dropped");
    let (rows, _) = rows_of(&head, &limits(BASE + 120, 5, 10));
    assert_eq!(rows.matches("\"truncated_cells\":[\"a\"]").count(), 2, "120 is not below 120");
}

#[test]
fn cut_cells_hold_the_start_of_their_json_on_a_character_boundary() {
    let columns = [("a", string()), ("b", Feature::list(Feature::value("int64"))), ("c", string())];
    let row = |text: &str| {
        let list = (1..=6).map(Value::Int).collect();
        vec![("a".into(), Value::str(text)), ("b".into(), Value::List(list)), ("c".into(), Value::Null)]
    };
    let split = |text| SplitHead { features: features(&columns), rows: vec![row(text)], exhausted: true };
    for (text, cell_bytes_min, cells) in [
        ("aaaaaaaaaa", 5, r#"{"a":"\"aaaa","b":"[1,2,","c":null}"#),
        ("éééééééééé", 5, r#"{"a":"\"éé","b":"[1,2,","c":null}"#),
        ("éééééééééé", 6, r#"{"a":"\"éé","b":"[1,2,3","c":null}"#),
        ("a", 3, r#"{"a":"a","b":"[1,","c":"nul"}"#),
    ] {
        let open = body(&SplitHead { rows: Vec::new(), ..split("") }, &limits(10_000, 5, 10)).len();
        let (rows, truncated) = rows_of(&split(text), &limits(open, cell_bytes_min, 10));
        assert!(rows.contains(cells), "{rows}");
        assert!(!truncated);
    }
}

#[test]
fn ten_or_fewer_rows_keep_truncated_false_although_cells_are_cut() {
    let long = "x".repeat(1_000);
    let head = texts(&[long.as_str(); 10]);
    let (rows, truncated) = rows_of(&head, &limits(2_000, 100, 10));
    assert_eq!(rows.matches("\"truncated_cells\":[\"a\"]").count(), 10);
    assert_eq!(rows.matches(&format!("\"\\\"{}\"", "x".repeat(99))).count(), 10);
    assert!(!truncated);
    let more = texts(&[long.as_str(); 11]);
    let (rows, truncated) = rows_of(&more, &limits(2_000, 100, 10));
    assert_eq!((rows.matches("row_idx").count(), truncated), (10, true));
}

#[test]
fn columns_of_web_addresses_are_never_cut() {
    let url = format!("https://{}", "x".repeat(300));
    let row = |a: &str| vec![("a".into(), Value::str(a)), ("b".into(), Value::str(&"y".repeat(300)))];
    let columns = features(&[("a", string()), ("b", string())]);
    let of_ten = |urls: usize| {
        let rows = (0..10).map(|index| row(if index < urls { &url } else { "no" })).collect();
        SplitHead { features: columns.clone(), rows, exhausted: true }
    };
    let (rows, _) = rows_of(&of_ten(4), &limits(1_000, 100, 10));
    assert_eq!(rows.matches(&url).count(), 4, "40 % of the rows protect the column");
    assert_eq!(rows.matches("\"truncated_cells\":[\"b\"]").count(), 10);
    let (rows, _) = rows_of(&of_ten(3), &limits(1_000, 100, 10));
    assert_eq!(rows.matches(&url).count(), 0, "30 % do not");
}

#[test]
fn a_split_with_more_rows_than_fetched_is_truncated() {
    let head = SplitHead { exhausted: false, ..texts(&["x"]) };
    assert!(rows_of(&head, &FirstRowsLimits::default()).1);
    let hundred_and_one = texts(&["x"; 101]);
    let (rows, truncated) = rows_of(&hundred_and_one, &FirstRowsLimits::default());
    assert_eq!((rows.matches("row_idx").count(), truncated), (100, true));
}

#[test]
fn missing_columns_are_null_and_unknown_ones_are_dropped() {
    let row =
        vec![("z".into(), Value::Int(1)), ("b".into(), Value::Float(f64::NAN)), ("a".into(), Value::Int(2))];
    let columns = [("a", Feature::value("int64")), ("b", Feature::value("float64")), ("c", string())];
    let head = SplitHead { features: features(&columns), rows: vec![row], exhausted: true };
    let (rows, _) = rows_of(&head, &FirstRowsLimits::default());
    assert_eq!(rows, r#"[{"row_idx":0,"row":{"a":2,"b":null,"c":null},"truncated_cells":[]}]"#);
}

#[test]
fn timestamps_are_written_as_the_cache_gives_them_back() {
    let unit = arrow_schema::TimeUnit::Microsecond;
    let row = vec![("a".into(), Value::Timestamp(1_577_934_245_123_456, unit, Some("+02:00".into())))];
    let columns = [("a", Feature::value("timestamp[us, tz=+02:00]"))];
    let head = SplitHead { features: features(&columns), rows: vec![row], exhausted: true };
    let (rows, _) = rows_of(&head, &FirstRowsLimits::default());
    assert!(rows.contains(r#"{"a":"2020-01-02T03:04:05.123000"}"#), "{rows}");
}

#[test]
fn cells_that_contradict_their_type_are_refused() {
    let pair = Feature::List { feature: Box::new(string()), length: Some(2) };
    let item = Feature::Struct(features(&[("k", string())]));
    let stranger = Value::Struct(vec![("x".into(), Value::Null)]);
    for (feature, value) in [
        (pair.clone(), Value::List(vec![Value::Null])),
        (pair, Value::str("ab")),
        (item.clone(), stranger.clone()),
        (Feature::list(item), Value::List(vec![stranger])),
    ] {
        let rows = vec![vec![("a".into(), value)]];
        let head = SplitHead { features: features(&[("a", feature)]), rows, exhausted: true };
        let error = assemble(ADDRESS, &head, &FirstRowsLimits::default(), None).unwrap_err();
        assert_eq!(error.code(), ErrorCode::RowsPostProcessingError, "{error}");
    }
}

#[test]
fn a_bad_cell_of_a_row_that_is_not_kept_still_refuses_the_split() {
    let columns = features(&[("a", Feature::list(string()))]);
    let mut rows: Vec<Vec<(Arc<str>, Value)>> = vec![vec![("a".into(), Value::List(Vec::new()))]; 5];
    rows.push(vec![("a".into(), Value::Int(1))]);
    let head = SplitHead { features: columns, rows, exhausted: true };
    assert!(assemble(ADDRESS, &head, &limits(300, 100, 1), None).is_err());
}

#[test]
fn column_limits_are_named() {
    let check = |columns: &[(&str, Feature)]| {
        check_columns(&features(columns), &limits(1_000, 100, 10), MediaSupport::None)
    };
    let four = ["a", "b", "c", "d"].map(|name| (name, string()));
    assert_eq!(check(&four).unwrap_err().code(), ErrorCode::TooManyColumnsError);
    assert_eq!(check(&four[..3]), Ok(()));
    let (fits, long) = ("é".repeat(500), "é".repeat(501));
    assert_eq!(check(&[(&fits, string())]), Ok(()));
    assert_eq!(check(&[(&long, string())]).unwrap_err().code(), ErrorCode::TooLongColumnNameError);
    let image = Feature::Media(Media { kind: MediaKind::Image, options: Vec::new() });
    let error = check(&[("pictures", Feature::list(image))]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::RowsPostProcessingError);
    assert!(error.to_string().contains("Image") && error.to_string().contains("pictures"), "{error}");
}

#[test]
fn a_response_that_does_not_fit_without_rows_is_refused() {
    let error = assemble(ADDRESS, &texts(&[]), &limits(BASE - 1, 100, 10), None).unwrap_err();
    assert_eq!(error, FirstRowsError::TooBig { bytes: BASE, bytes_max: BASE - 1 });
    assert!(assemble(ADDRESS, &texts(&[]), &limits(BASE, 100, 10), None).is_ok());
}

#[test]
fn feature_types_are_written_as_the_api_has_them() {
    let columns = [
        ("label", Feature::ClassLabel { names: ["n".into(), "p".into()].into() }),
        ("pair", Feature::List { feature: Box::new(Feature::value("int64")), length: Some(2) }),
        ("grid", Feature::Array { shape: vec![None, Some(3)], dtype: "float32".into() }),
        ("who", Feature::Struct(features(&[("z", string()), ("a", Feature::Json { decode: true })]))),
    ];
    let head = SplitHead { features: features(&columns), rows: Vec::new(), exhausted: true };
    let text = body(&head, &FirstRowsLimits::default());
    for expected in [
        r#"{"feature_idx":0,"name":"label","type":{"names":["n","p"],"_type":"ClassLabel"}}"#,
        r#""type":{"feature":{"dtype":"int64","_type":"Value"},"length":2,"_type":"List"}}"#,
        r#""type":{"shape":[null,3],"dtype":"float32","_type":"Array2D"}}"#,
        r#""type":{"z":{"dtype":"string","_type":"Value"},"a":{"_type":"Json"}}}"#,
    ] {
        assert!(text.contains(expected), "{text}");
    }
}
