//! Texts that are broken or built to hurt: every one ends in an error or in rows, within bounds.

use outpost_model::limits;

use super::{params, read, read_with};
use crate::json::Json;
use crate::simple_cases::file;
use crate::{ErrorClass, Module, Params};

#[test]
fn nesting_is_bounded_under_both_grammars() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
    let texts = [
        format!("{{\"a\":{}}}\n", deep("[", "]")),
        format!("{{\"a\":{}}}\n\n", deep("{\"b\":", "}")),
        format!("[{}]", deep("[", "]")),
    ];
    for text in texts {
        assert_eq!(read(text).unwrap_err().class, ErrorClass::LimitExceeded);
    }
    let in_field = format!("{{\"data\":{}}}", deep("[", "]"));
    let error = read_with(in_field, &params(serde_json::json!({"field": "data"}))).unwrap_err();
    assert_eq!(error.class, ErrorClass::LimitExceeded);
}

#[test]
fn text_inside_of_text_is_not_followed_down() {
    let inner = "[".repeat(50_000) + &"]".repeat(50_000);
    let (_, rows) = read(format!("{{\"a\":\"{inner}\"}}\n{{\"a\":1}}\n")).unwrap();
    assert_eq!(rows[0]["a"], serde_json::json!(inner));
}

#[test]
fn names_that_are_data_are_refused_in_words_before_they_fill_memory() {
    let member = |index: usize| format!("\"key{index}\":{{\"v\":1}}");
    let members: Vec<_> = (0..120_000).map(member).collect();
    let error = read(format!("{{{}}}\n", members.join(","))).unwrap_err();
    assert_eq!(error.class, ErrorClass::LimitExceeded);
    assert!(error.message.contains("members"), "{error}");
}

#[test]
fn frames_of_rows_that_share_no_column_are_refused_in_words() {
    let items: Vec<_> = (0..20_000).map(|index| format!("{{\"key{index}\":1}}")).collect();
    let text = format!("{{\"data\":[{}]}}", items.join(","));
    let error = read_with(text, &params(serde_json::json!({"field": "data"})))
        .map(|(_, rows)| rows.len())
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::LimitExceeded);
}

#[test]
fn objects_of_ever_new_members_below_a_column_become_json() {
    let rows: String = (0..150_000).map(|index| format!("{{\"a\":{{\"key{index}\":1}}}}\n")).collect();
    let (features, rows) = read(rows).unwrap();
    assert_eq!(features.unwrap().to_json()["a"], super::json_type());
    assert_eq!(rows[2], serde_json::json!({"a": {"key2": 1}}));
}

#[test]
fn rows_of_too_many_values_are_refused_in_words() {
    let items = "1,".repeat(9_000_000) + "1";
    for text in [format!("{{\"a\":[{items}]}}\n"), format!("{{\"data\":[{items}]}}")] {
        let options =
            if text.contains("data") { serde_json::json!({"field": "data"}) } else { serde_json::json!({}) };
        let error = read_with(text, &params(options)).unwrap_err();
        assert_eq!(error.class, ErrorClass::LimitExceeded);
    }
}

/// Random edits of small texts: nothing panics, whatever the answer is.
#[test]
fn damaged_texts_fail_without_a_panic() {
    let texts = [
        "{\"a\":1,\"b\":[\"x\\u00e9\",{\"c\":null}],\"d\":\"2020-01-01T10:00:00Z\"}\n{\"a\":1.5e3,\"b\":[],\"d\":\"x\"}\n",
        "[{\"a\":{\"x\":1}},{\"a\":{\"y\":\"\\ud83d\\ude00\"}},{\"a\":-7}]",
        "{\n \"a\": [1, 2],\n \"b\": {\"x\": true, \"y\": NaN}\n}\n",
    ];
    let alphabet = b"{}[]\",:\\0123456789.eE+-truefalsn \n\r\xff\x00u";
    let mut state = 0xda3e_39cb_94b9_5bdb_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut failures = 0;
    for round in 0..9_000 {
        let mut text = texts[round % texts.len()].as_bytes().to_vec();
        for _ in 0..=random(3) {
            let at = random(text.len());
            text[at] = alphabet[random(alphabet.len())];
        }
        failures += usize::from(read(text).is_err());
    }
    assert!(failures > 3_000);
}

#[test]
fn rows_beyond_what_a_table_holds_are_left_out_and_the_table_says_so() {
    let row = format!("{{\"a\":\"{}\"}},", "x".repeat(limits::TABLE_BYTES_MAX / 3));
    let text = format!("[{}{{\"a\":\"\"}}]", row.repeat(4));
    let file = file("data.json", text);
    let table = Json.open(&file, &Params::new(), None).unwrap().next_table(100).unwrap().unwrap();
    assert_eq!((table.rows.len(), table.row_count, table.is_cut(100)), (3, 5, true));
}

#[test]
fn an_array_larger_than_what_is_held_gives_its_first_rows() {
    let row = "{\"a\":1},".repeat(1000);
    let text = format!("[{}{{\"a\":1}}]", row.repeat(limits::WHOLE_FILE_BYTES_MAX / row.len() + 1));
    let file = file("data.json", text);
    let table = Json.open(&file, &Params::new(), None).unwrap().next_table(100).unwrap().unwrap();
    assert_eq!(table.rows.len(), 100);
}
