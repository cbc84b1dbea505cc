//! First rows against a table computed by hand from worker-and-store.md sections 5.4 to 5.6.
//!
//! The arithmetic stands beside each case. An item of one column `a` has 47 bytes around its cell:
//! `{"row_idx":0,"row":{"a":` has 24 and `},"truncated_cells":[]}` has 23.

use arrow_schema::TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
use outpost_formats::{Feature, Features, Value};

use super::*;

const ADDRESS: SplitAddress<'static> = SplitAddress { dataset: "u/d", config: "c", split: "s" };

/// A split of rows whose cells stand in the order of the columns.
fn split(columns: &[(&str, Feature)], rows: &[&[Value]]) -> SplitHead {
    let named = |row: &&[Value]| {
        columns.iter().zip(*row).map(|((name, _), value)| ((*name).into(), value.clone())).collect()
    };
    let features = columns.iter().map(|(name, feature)| ((*name).into(), feature.clone())).collect();
    SplitHead { features: Features(features), rows: rows.iter().map(named).collect(), exhausted: true }
}

fn texts(texts: &[&str]) -> SplitHead {
    let cells: Vec<[Value; 1]> = texts.iter().map(|text| [Value::str(text)]).collect();
    let rows: Vec<&[Value]> = cells.iter().map(<[Value; 1]>::as_slice).collect();
    split(&[("a", Feature::value("string"))], &rows)
}

/// What is left for rows (`budget`), the size up to which cells stay, the number of first rows.
#[derive(Clone, Copy)]
struct Fit {
    budget: usize,
    cell_bytes_min: usize,
    rows_min: usize,
}

/// The text of `rows` and the `truncated` flag.
fn fitted(head: &SplitHead, fit: Fit) -> (String, bool) {
    let limits = |bytes_max| FirstRowsLimits {
        bytes_max,
        cell_bytes_min: fit.cell_bytes_min,
        rows_min: fit.rows_min,
        columns_max: 8,
    };
    let without_rows = SplitHead { rows: Vec::new(), ..head.clone() };
    let base = assemble(ADDRESS, &without_rows, &limits(100_000), None).unwrap().len();
    let body = assemble(ADDRESS, head, &limits(base + fit.budget), None).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (body["rows"].to_string(), body["truncated"].as_bool().unwrap())
}

/// The only cell of a split of one row, as text.
fn cell(feature: &Feature, value: Value) -> String {
    let fit = Fit { budget: 100_000, cell_bytes_min: 100, rows_min: 10 };
    let head = split(&[("a", feature.clone())], &[&[value]]);
    let body =
        assemble(ADDRESS, &head, &FirstRowsLimits { bytes_max: fit.budget, ..Default::default() }, None)
            .unwrap();
    let text = String::from_utf8(body).unwrap();
    let (_, rows) = text.split_once(r#""rows":[{"row_idx":0,"row":{"a":"#).unwrap();
    rows.strip_suffix(r#"},"truncated_cells":[]}],"truncated":false}"#).unwrap().to_owned()
}

fn object(members: &[(&str, Value)]) -> Value {
    Value::Struct(members.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
}

fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::List(items.into_iter().collect())
}

fn strings(texts: &[&str]) -> Value {
    list(texts.iter().map(|text| Value::str(text)))
}

#[test]
fn numbers_and_texts_are_written_as_the_table_says() {
    for (dtype, value, expected) in [
        ("bool", Value::Bool(true), "true"),
        ("int64", Value::Int(i64::MIN), "-9223372036854775808"),
        ("uint64", Value::UInt(u64::MAX), "18446744073709551615"),
        ("float64", Value::Float(1.0), "1.0"),
        ("float64", Value::Float(-0.0), "-0.0"),
        ("float64", Value::Float(1e-7), "1e-7"),
        ("float64", Value::Float(f64::NAN), "null"),
        ("float64", Value::Float(f64::NEG_INFINITY), "null"),
        // The nearest float32 and float16 of 0.1, written out as the doubles that they are.
        ("float32", Value::Float(f64::from(0.1_f32)), "0.10000000149011612"),
        ("float16", Value::Float(0.099_975_585_937_5), "0.0999755859375"),
        (
            "string",
            Value::str("/\u{7f}é\u{1}\u{8}\u{c}\n\r\t\\\""),
            "\"/\u{7f}é\\u0001\\b\\f\\n\\r\\t\\\\\\\"\"",
        ),
        ("large_string", Value::str(""), "\"\""),
        // Three bytes are four characters, two are three and a sign of filling.
        ("binary", Value::Bytes([0, 255, 254].as_slice().into()), "\"AP/+\""),
        ("large_binary", Value::Bytes([0, 255].as_slice().into()), "\"AP8=\""),
        ("binary", Value::Bytes([].as_slice().into()), "\"\""),
        ("decimal128(5, 2)", Value::Decimal("-1.50".into()), "\"-1.50\""),
        (
            "decimal256(40, 0)",
            Value::Decimal("12345678901234567890123".into()),
            "\"12345678901234567890123\"",
        ),
        ("string", Value::Null, "null"),
    ] {
        assert_eq!(cell(&Feature::value(dtype), value), expected, "{dtype}");
    }
}

#[test]
fn dates_and_times_are_written_as_the_cache_gives_them_back() {
    let zone = || Some("+02:00".into());
    for (dtype, value, expected) in [
        // 2020-01-02 is day 18,262: 50 years of 365 days, 12 leap days, and one day.
        ("date32", Value::Date(50 * 365 + 12 + 1), "\"2020-01-02\""),
        ("date64", Value::Date(-1), "\"1969-12-31\""),
        ("time32[s]", Value::Time(3 * 3_600 + 4 * 60 + 5, Second), "\"03:04:05\""),
        ("time64[us]", Value::Time(6, Microsecond), "\"00:00:00.000006\""),
        ("timestamp[s]", Value::Timestamp(18_263 * 86_400, Second, None), "\"2020-01-02T00:00:00\""),
        ("timestamp[ms]", Value::Timestamp(1, Millisecond, None), "\"1970-01-01T00:00:00.001000\""),
        // Below a millisecond nothing is kept, and a moment before 1970 goes down to the one before it.
        ("timestamp[us]", Value::Timestamp(1_999, Microsecond, None), "\"1970-01-01T00:00:00.001000\""),
        ("timestamp[us]", Value::Timestamp(-1, Microsecond, None), "\"1969-12-31T23:59:59.999000\""),
        ("timestamp[ns]", Value::Timestamp(999_999, Nanosecond, None), "\"1970-01-01T00:00:00\""),
        // The count is in UTC; the zone is not shown.
        ("timestamp[s, tz=+02:00]", Value::Timestamp(7_200, Second, zone()), "\"1970-01-01T02:00:00\""),
        ("duration[s]", Value::Duration(86_400 + 3_661, Second), "\"1 day, 1:01:01\""),
        ("duration[ms]", Value::Duration(1, Millisecond), "\"0:00:00.001000\""),
        ("duration[us]", Value::Duration(-5, Microsecond), "\"-1 day, 23:59:59.999995\""),
    ] {
        assert_eq!(cell(&Feature::value(dtype), value), expected, "{dtype}");
    }
}

#[test]
fn structured_cells_are_written_as_the_table_says() {
    let ints = |items: &[i64]| list(items.iter().map(|item| Value::Int(*item)));
    let array = |shape: &[usize]| Feature::Array {
        shape: shape.iter().map(|side| Some(*side)).collect(),
        dtype: "int32".into(),
    };
    let deep = |depth: usize| (0..depth).fold(Value::Int(7), |inner, _| list([inner]));
    let label = Feature::ClassLabel { names: ["n".into(), "p".into()].into() };
    let translation = Feature::Translation { languages: vec!["en".into(), "fr".into()] };
    let variable = Feature::TranslationVariableLanguages {
        languages: Some(vec!["en".into(), "fr".into()]),
        num_languages: Some(2),
    };
    let json = || Feature::Json { decode: true };
    let record = Feature::Struct(Features(vec![
        ("k".into(), Feature::list(label.clone())),
        ("j".into(), json()),
        ("t".into(), Feature::value("timestamp[s]")),
    ]));
    let cells = [
        (array(&[2, 2]), list([ints(&[1, 2]), ints(&[3, 4])]), "[[1,2],[3,4]]"),
        (array(&[1, 1, 1]), deep(3), "[[[7]]]"),
        (array(&[1, 1, 1, 1]), deep(4), "[[[[7]]]]"),
        (array(&[1, 1, 1, 1, 1]), deep(5), "[[[[[7]]]]]"),
        (label.clone(), Value::Int(-1), "-1"),
        (label, Value::Null, "null"),
        (translation, object(&[("en", Value::str("a")), ("fr", Value::Null)]), r#"{"en":"a","fr":null}"#),
        (
            variable,
            object(&[("language", strings(&["en", "fr", "fr"])), ("translation", strings(&["a", "b", "c"]))]),
            r#"{"language":["en","fr","fr"],"translation":["a","b","c"]}"#,
        ),
        (json(), Value::str(r#"{"b": [1, 2.50, null], "a": "é"}"#), r#"{"b":[1,2.5,null],"a":"é"}"#),
        (json(), Value::str("\"text\""), "\"text\""),
        (json(), Value::str("{no"), "\"{no\""),
        (Feature::list(json()), strings(&["1", "{}"]), "[1,{}]"),
        (
            record.clone(),
            object(&[
                ("k", list([Value::Int(1), Value::Null])),
                ("j", Value::str("[0]")),
                ("t", Value::Timestamp(0, Second, None)),
            ]),
            r#"{"k":[1,null],"j":[0],"t":"1970-01-01T00:00:00"}"#,
        ),
        (Feature::list(record), list([Value::Null, object(&[("k", Value::Null)])]), r#"[null,{"k":null}]"#),
        (Feature::LargeList { feature: Box::new(Feature::value("int8")) }, list([]), "[]"),
        (
            Feature::List { feature: Box::new(Feature::value("int8")), length: Some(2) },
            ints(&[1, 2]),
            "[1,2]",
        ),
    ];
    for (feature, value, expected) in cells {
        assert_eq!(cell(&feature, value), expected, "{feature:?}");
    }
}

#[test]
fn cutting_goes_from_the_last_row_to_the_first_and_stops_below_the_budget() {
    let (a, c) = ("a".repeat(20), "c".repeat(20));
    let head = texts(&[&a, "b", &c]);
    // Items: 47 + 22 = 69, 47 + 3 = 50, 69. Total 2 + 70 + 51 + 70 = 193, the list itself 192. A cut cell is
    // `"\"cccc"`, 8 bytes for 22, and its column's name takes 3: the item has 58, which is 11 fewer.
    let whole = |index: usize, text: &str| {
        format!(r#"{{"row_idx":{index},"row":{{"a":"{text}"}},"truncated_cells":[]}}"#)
    };
    let cut = |index: usize, text: &str| {
        format!(r#"{{"row_idx":{index},"row":{{"a":"\"{text}"}},"truncated_cells":["a"]}}"#)
    };
    let (first, middle, last) = (whole(0, &a), whole(1, "b"), whole(2, &c));
    for (budget, rows) in [
        // 193 is below 194: nothing is cut. 193 is not below 193, but 192 is.
        (194, [&first, &middle, &last]),
        (193, [&first, &middle, &last]),
        // 192 - 11 = 181.
        (192, [&first, &middle, &cut(2, "cccc")]),
        (182, [&first, &middle, &cut(2, "cccc")]),
        // 181 is not below 181; `"b"` has 3 bytes and stays; 181 - 11 = 170, whatever the budget.
        (181, [&cut(0, "aaaa"), &middle, &cut(2, "cccc")]),
        (1, [&cut(0, "aaaa"), &middle, &cut(2, "cccc")]),
    ] {
        let fit = Fit { budget, cell_bytes_min: 5, rows_min: 10 };
        let rows = format!("[{}]", rows.map(String::as_str).join(","));
        assert_eq!(fitted(&head, fit), (rows, false), "budget {budget}");
    }
}

#[test]
fn rows_end_at_the_first_that_does_not_fit() {
    let indexes = |head: &SplitHead, budget: usize, rows_min: usize| {
        let (rows, truncated) = fitted(head, Fit { budget, cell_bytes_min: 100, rows_min });
        let rows: Vec<serde_json::Value> = serde_json::from_str(&rows).unwrap();
        let row_idx = rows.iter().map(|row| row["row_idx"].as_u64().unwrap());
        (row_idx.collect::<Vec<_>>(), truncated)
    };
    // Items 50, 79, 50: 2 + 51 = 53, then 133; the last alone would make 104.
    let long = "y".repeat(30);
    let head = texts(&["x", &long, "z"]);
    assert_eq!(indexes(&head, 120, 1), (vec![0], true));
    assert_eq!(indexes(&head, 133, 1), (vec![0], true));
    assert_eq!(indexes(&head, 134, 1), (vec![0, 1], true));
    // 133 + 51 = 184.
    assert_eq!(indexes(&head, 184, 1), (vec![0, 1], true));
    assert_eq!(indexes(&head, 185, 1), (vec![0, 1, 2], false));
    // A row_idx of two digits: 2 + 10 * 51 = 512, and 52 more.
    let eleven = texts(&["x"; 11]);
    assert_eq!(indexes(&eleven, 564, 10), ((0..10).collect(), true));
    assert_eq!(indexes(&eleven, 565, 10), ((0..11).collect(), false));
    // A later row that exceeds the budget alone: it and what follows are left out.
    let huge = "x".repeat(1_000);
    assert_eq!(indexes(&texts(&["x", &huge, "x"]), 200, 1), (vec![0], true));
}

#[test]
fn what_is_cut_and_what_stays() {
    let string = || Feature::value("string");
    let url = "https://aaaaaaaa";
    let columns = [("u", string()), ("t", string()), ("n", Feature::value("int64")), ("z", string())];
    let row = [Value::str(url), Value::str("tttttttt"), Value::Int(123_456), Value::Null];
    let head = split(&columns, &[&row]);
    let one = |columns: &[(&str, Feature)], value: Value| split(columns, &[&[value]]);
    let text = |text: &str| one(&columns[1..2], Value::str(text));
    let items = Feature::list(Feature::Struct(Features(vec![("k".into(), string())])));
    let items = one(&[("t", items)], list([object(&[("k", Value::str("vvvv"))])]));
    let json = one(&[("t", Feature::Json { decode: true })], Value::str("[1, 2, 3]"));
    let moment = one(&[("t", Feature::value("timestamp[s]"))], Value::Timestamp(0, Second, None));
    for (head, cell_bytes_min, row, cut) in [
        // The address is protected and `null` has 4 bytes; the others are cut in the order of the columns.
        (&head, 5, r#"{"u":"https://aaaaaaaa","t":"\"tttt","n":"12345","z":null}"#, r#"["t","n"]"#),
        (&head, 3, r#"{"u":"https://aaaaaaaa","t":"\"tt","n":"123","z":"nul"}"#, r#"["t","n","z"]"#),
        // As many bytes as the limit stay; one more does not.
        (&text("aaa"), 5, r#"{"t":"aaa"}"#, "[]"),
        (&text("aaaa"), 5, r#"{"t":"\"aaaa"}"#, r#"["t"]"#),
        // `"a😀😀"`: the fifth byte is the third of four; with six the first one is whole.
        (&text("a😀😀"), 5, r#"{"t":"\"a"}"#, r#"["t"]"#),
        (&text("a😀😀"), 6, r#"{"t":"\"a😀"}"#, r#"["t"]"#),
        // `"€€"`: quote, three bytes, and one of the next three.
        (&text("€€"), 5, r#"{"t":"\"€"}"#, r#"["t"]"#),
        // Escapes are cut like any text, and what is left of them is escaped again.
        (&text("\u{1}\u{1}"), 5, r#"{"t":"\"\\u00"}"#, r#"["t"]"#),
        (&text("\"\"\"\""), 5, r#"{"t":"\"\\\"\\\""}"#, r#"["t"]"#),
        (&text("\"\"\"\""), 4, r#"{"t":"\"\\\"\\"}"#, r#"["t"]"#),
        // `[{"k":"vvvv"}]`, `[1,2,3]` without the spaces of its text, `"1970-…"`.
        (&items, 8, r#"{"t":"[{\"k\":\"v"}"#, r#"["t"]"#),
        (&json, 6, r#"{"t":"[1,2,3"}"#, r#"["t"]"#),
        (&moment, 5, r#"{"t":"\"1970"}"#, r#"["t"]"#),
    ] {
        let fit = Fit { budget: 1, cell_bytes_min, rows_min: 10 };
        let expected = format!(r#"[{{"row_idx":0,"row":{row},"truncated_cells":{cut}}}]"#);
        assert_eq!(fitted(head, fit), (expected, false));
    }
}

#[test]
fn protection_counts_all_rows_and_only_columns_of_the_type_string() {
    let url = Value::str("http://x/aaaaaaaaaa");
    let cut = |feature: Feature, values: &[Value]| {
        let cells: Vec<[Value; 1]> = values.iter().map(|value| [value.clone()]).collect();
        let rows: Vec<&[Value]> = cells.iter().map(<[Value; 1]>::as_slice).collect();
        let (rows, _) =
            fitted(&split(&[("a", feature)], &rows), Fit { budget: 1, cell_bytes_min: 5, rows_min: 10 });
        rows.contains(r#""truncated_cells":["a"]"#)
    };
    let of = |urls: usize, nulls: usize| [vec![url.clone(); urls], vec![Value::Null; nulls]].concat();
    let string = || Feature::value("string");
    assert!(!cut(string(), &of(1, 2)), "1 of 3 is more than 30 %, nulls being counted");
    assert!(cut(string(), &of(1, 3)), "1 of 4 is not");
    assert!(cut(string(), &of(3, 7)), "3 of 10 are 30 % and not more");
    assert!(!cut(string(), &of(3, 6)), "3 of 9 are more");
    // Rows that do not fit count as well: 4 addresses among 13 rows.
    assert!(!cut(string(), &of(4, 9)));
    assert!(cut(Feature::value("large_string"), &of(3, 0)));
    assert!(cut(Feature::list(string()), &[list([url.clone()])]));
    assert!(cut(string(), &[Value::str("HTTP://x/aaaaaaaaaa")]), "the scheme is in lower case");
    assert!(cut(string(), &[Value::str(" http://x/aaaaaaaaaa")]), "and stands at the start");
}
