use serde_json::json;

use super::*;
use crate::simple_cases::{file, params, read};

fn sentences(data: impl AsRef<[u8]>, options: Json) -> Result<Vec<Vec<String>>, FormatError> {
    let tables = read(&Conll, &file("data.conll", data), &params(options), None)?;
    let text = |value: &Value| match value {
        Value::Str(text) => text.to_string(),
        other => panic!("{other:?}"),
    };
    let tokens = |row: &Vec<Value>| match row.as_slice() {
        [Value::List(tokens)] => tokens.iter().map(text).collect(),
        other => panic!("{other:?}"),
    };
    Ok(tables.iter().flat_map(|table| table.rows.iter().map(tokens)).collect())
}

#[test]
fn a_sentence_is_the_first_column_of_its_lines() {
    let text = "-DOCSTART- -X- O\n\nEU NNP B\nrejects VBZ O\n\n\n \t\nPeter NNP B\n";
    assert_eq!(sentences(text, json!({})).unwrap(), [vec!["EU", "rejects"], vec!["Peter"]]);
    assert_eq!(sentences(text.replace('\n', "\r\n"), json!({})).unwrap().len(), 2);
    assert_eq!(sentences("a b", json!({})).unwrap(), [["a"]]);
    assert_eq!(sentences("  a\x1fb\n", json!({})).unwrap(), [["a"]]);
}

#[test]
fn files_without_a_token_have_no_rows() {
    for text in ["", "\n\n", "-DOCSTART-\n\n", " "] {
        assert!(sentences(text, json!({})).unwrap().is_empty(), "{text:?}");
    }
}

#[test]
fn options_choose_the_lines_that_count_and_their_delimiter() {
    assert_eq!(sentences("# x\na\n", json!({"comment_prefix": "#"})).unwrap(), [["a"]]);
    assert_eq!(sentences("# x\na\n", json!({})).unwrap(), [["#", "a"]]);
    assert_eq!(sentences("-DOCSTART- x\n", json!({"skip_docstart": false})).unwrap(), [["-DOCSTART-"]]);
    assert_eq!(sentences("a b\tc\n\td\n", json!({"delimiter": "\t"})).unwrap(), [["a b", ""]]);
    assert_eq!(sentences(b"caf\xe9\n", json!({"encoding": "latin-1"})).unwrap(), [["caf\u{e9}"]]);
}

#[test]
fn options_of_another_kind_are_refused() {
    for options in [json!({"delimiter": ""}), json!({"delimiter": 1}), json!({"skip_docstart": "no"})] {
        assert_eq!(sentences("a\n", options).unwrap_err().class, ErrorClass::ValueError);
    }
    assert_eq!(sentences(b"\xff\n", json!({})).unwrap_err().class, ErrorClass::UnicodeDecodeError);
}

#[test]
fn rows_beyond_the_limit_are_counted_and_tables_end_with_a_sentence() {
    let text = "token x\n\n".repeat(limits::CHUNK_BYTES / 9 + 10);
    let mut reader = Conll.open(&file("a.conll", &text), &Params::new(), None).unwrap();
    let first = reader.next_table(2).unwrap().unwrap();
    assert_eq!(first.rows.len(), 2);
    let second = reader.next_table(2).unwrap().unwrap();
    assert_eq!(first.row_count + second.row_count, limits::CHUNK_BYTES / 9 + 10);
    assert!(reader.next_table(2).unwrap().is_none());
}
