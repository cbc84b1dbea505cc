use serde_json::json;

use super::*;
use crate::Feature;
use crate::simple_cases::{cases_of, file, params, read, rows_json};

fn texts(data: impl AsRef<[u8]>, options: Json) -> Result<Vec<String>, FormatError> {
    let tables = read(&Text, &file("data.txt", data), &params(options), None)?;
    Ok(rows_json(&tables).iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn reference_cases_of_one_file_give_the_reference_rows() {
    let cases = cases_of("text");
    assert!(cases.len() >= 5, "{}", cases.len());
    for case in cases {
        case.check(read(&Text, &case.file, &Params::new(), None));
    }
}

#[test]
fn lines_end_only_at_newlines() {
    assert_eq!(
        texts("a\r\nb\rc\x0cd\u{2028}e\u{85}f\x1cg\n", json!({})).unwrap(),
        ["a", "b", "c\x0cd\u{2028}e\u{85}f\x1cg"]
    );
    assert_eq!(texts("\n\na\n", json!({})).unwrap(), ["", "", "a"]);
    assert_eq!(texts("a", json!({})).unwrap(), ["a"]);
    assert_eq!(texts("", json!({})).unwrap(), Vec::<String>::new());
}

#[test]
fn line_breaks_can_be_kept() {
    assert_eq!(texts("a\r\nb", json!({"keep_linebreaks": true})).unwrap(), ["a\n", "b"]);
}

#[test]
fn paragraphs_end_at_empty_lines() {
    let paragraphs = |data: &str| texts(data, json!({"sample_by": "paragraph"})).unwrap();
    assert_eq!(paragraphs("a\nb\n\nc\n"), ["a\nb", "c\n"]);
    assert_eq!(paragraphs("a\n\n\nb"), ["a", "\nb"]);
    assert_eq!(paragraphs("a\n\n\n\nb\n\n"), ["a", "b"]);
    assert_eq!(paragraphs("\n\na"), ["a"]);
    assert_eq!(paragraphs("\n"), ["\n"]);
    assert_eq!(paragraphs("\r\n\r\na\r\n"), ["a\n"]);
    assert_eq!(paragraphs(""), Vec::<String>::new());
}

#[test]
fn a_document_is_one_row() {
    let document = |data: &str| texts(data, json!({"sample_by": "document"})).unwrap();
    assert_eq!(document("a\r\n\nb\n"), ["a\n\nb\n"]);
    assert_eq!(document(""), [""]);
}

#[test]
fn tables_end_with_the_line_in_which_a_chunk_ends() {
    let file = file("data.txt", "aaaa\nbb\nc\n");
    let mut reader = Text.open(&file, &params(json!({"chunksize": 6})), None).unwrap();
    let first = reader.next_table(1).unwrap().unwrap();
    assert_eq!((first.rows.len(), first.row_count), (1, 2));
    let second = reader.next_table(1).unwrap().unwrap();
    assert_eq!(rows_json(&[second]), [json!({"text": "c"})]);
    assert_eq!(reader.next_table(1).unwrap(), None);
}

#[test]
fn rows_that_are_not_asked_for_are_counted() {
    for (sample, count) in [("line", 5), ("paragraph", 2), ("document", 1)] {
        let file = file("data.txt", "a\n\nb\nc\nd");
        let mut reader = Text.open(&file, &params(json!({"sample_by": sample})), None).unwrap();
        let table = reader.next_table(0).unwrap().unwrap();
        assert_eq!((table.rows.len(), table.row_count), (0, count), "{sample}");
    }
}

#[test]
fn the_column_is_named_by_the_features() {
    let feature = |name: &str| (name.into(), Feature::Value { dtype: "string".into(), id: None });
    let features = Features(vec![feature("line")]);
    let tables = read(&Text, &file("data.txt", "a\n"), &Params::new(), Some(&features)).unwrap();
    assert_eq!(rows_json(&tables), [json!({"line": "a"})]);
    let features = Features(vec![feature("a"), feature("b")]);
    let error = read(&Text, &file("data.txt", "a\n"), &Params::new(), Some(&features)).unwrap_err();
    assert_eq!(error.message, "Length of names (2) does not match length of arrays (1)");
}

#[test]
fn bad_bytes_fail_the_whole_chunk() {
    let error = texts(b"ok\n\xff\n", json!({})).unwrap_err();
    assert_eq!(error.class, ErrorClass::UnicodeDecodeError);
    assert_eq!(error.message, "'utf-8' codec can't decode byte 0xff in position 3: invalid start byte");
    assert_eq!(texts(b"\xff\n", json!({"encoding_errors": "replace"})).unwrap(), ["\u{fffd}"]);
    assert_eq!(texts(b"\xe9\n", json!({"encoding": "latin-1"})).unwrap(), ["é"]);
}

#[test]
fn newlines_across_blocks_count_once() {
    let mut after_return = false;
    let mut blocks: Vec<Vec<u8>> =
        [b"a\r".to_vec(), b"\nb\r".to_vec(), b"c\r".to_vec(), b"\r\n".to_vec()].into();
    for block in &mut blocks {
        translate_newlines(block, &mut after_return);
    }
    assert_eq!(blocks.concat(), b"a\nb\nc\n\n");
}

#[test]
fn unknown_options_are_refused() {
    for options in [json!({"sample_by": "word"}), json!({"encoding": "zzz"}), json!({"keep_linebreaks": "x"})]
    {
        assert_eq!(texts("a", options).unwrap_err().class, ErrorClass::ValueError);
    }
}

#[test]
fn rows_beyond_what_a_table_holds_are_left_out_and_the_table_says_so() {
    let line = "x".repeat(limits::TABLE_BYTES_MAX / 2) + "\n";
    let params = params(json!({"chunksize": limits::TABLE_BYTES_MAX * 2}));
    let mut reader = Text.open(&file("data.txt", line.repeat(4)), &params, None).unwrap();
    let table = reader.next_table(100).unwrap().unwrap();
    assert_eq!((table.rows.len(), table.row_count, table.is_cut(100)), (2, 4, true));
    assert!(!table.is_cut(2));
}
