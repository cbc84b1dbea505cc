use outpost_model::limits;
use serde_json::{Value as Json, json};

use super::*;
use crate::simple_cases::{cases_of, file, params, read, rows_json};
use crate::{ErrorClass, Feature, Table};

fn tables(data: impl AsRef<[u8]>, options: Json) -> Result<Vec<Table>, FormatError> {
    read(&Csv, &file("data.csv", data), &params(options), None)
}

/// Rows as JSON objects; the options are those of a config.
fn rows(data: &str, options: Json) -> Json {
    Json::Array(rows_json(&tables(data, options).unwrap()))
}

fn error(data: &str, options: Json) -> (ErrorClass, String) {
    let error = tables(data, options).unwrap_err();
    (error.class, error.message)
}

fn features(columns: &[(&str, &str)]) -> Features {
    let column =
        |(name, dtype): &(&str, &str)| ((*name).into(), Feature::Value { dtype: (*dtype).into(), id: None });
    Features(columns.iter().map(column).collect())
}

fn steered(data: &str, columns: &[(&str, &str)]) -> Result<Json, FormatError> {
    let tables = read(&Csv, &file("data.csv", data), &Params::new(), Some(&features(columns)))?;
    Ok(Json::Array(rows_json(&tables)))
}

fn types(data: &str) -> Vec<String> {
    let tables = tables(data, json!({})).unwrap();
    tables[0].fields.iter().map(|field| field.data_type().to_string()).collect()
}

#[test]
fn reference_cases_of_one_file_give_the_reference_rows() {
    let cases = cases_of("csv");
    assert!(cases.len() > 40, "{}", cases.len());
    for case in cases {
        let options = if case.file.path.ends_with(".tsv") { json!({"sep": "\t"}) } else { json!({}) };
        case.check(read(&Csv, &case.file, &params(options), None));
    }
}

#[test]
fn a_header_alone_has_no_table() {
    assert_eq!(tables("a,b\n", json!({})).unwrap(), []);
    assert_eq!(tables("a,b", json!({})).unwrap(), []);
}

#[test]
fn files_without_columns_are_empty_data_errors() {
    let empty = (ErrorClass::EmptyDataError, "No columns to parse from file".to_owned());
    assert_eq!(error("", json!({})), empty);
    assert_eq!(error("\n\r\n \n", json!({})), empty);
    assert_eq!(error("", json!({"header": null})), empty);
}

#[test]
fn quotes_open_only_at_the_start_of_a_field() {
    let data = "a,b\n\"x,\"\"y\"\"\nz\",1\nx\"y\",2\n\"q\"r,3\n\\\"n,4\n";
    assert_eq!(
        rows(data, json!({})),
        json!([{"a": "x,\"y\"\nz", "b": 1}, {"a": "x\"y\"", "b": 2}, {"a": "qr", "b": 3}, {"a": "\\\"n", "b": 4}])
    );
}

#[test]
fn an_open_quote_at_the_end_is_a_parser_error() {
    let message = "Error tokenizing data. C error: EOF inside string starting at row 2".to_owned();
    assert_eq!(error("a,b\n1,2\n\"x,3\n", json!({})), (ErrorClass::ParserError, message));
}

#[test]
fn all_line_ends_end_lines() {
    for end in ["\n", "\r\n", "\r"] {
        let data = ["a,b", "1,2", "", "  \t", ",3"].join(end) + end;
        assert_eq!(rows(&data, json!({})), json!([{"a": 1.0, "b": 2}, {"a": null, "b": 3}]), "{end:?}");
    }
}

#[test]
fn indented_lines_that_end_in_a_bare_return_are_read_once() {
    assert_eq!(rows("a,b\r\r x,1\r\t\ry,2\r", json!({})), json!([{"a": " x", "b": 1}, {"a": "y", "b": 2}]));
}

#[test]
fn leading_whitespace_belongs_to_the_first_field() {
    assert_eq!(
        rows(" a,b\n x,1\n\t\"y\",2\n", json!({})),
        json!([{" a": " x", "b": 1}, {" a": "\t\"y\"", "b": 2}])
    );
}

#[test]
fn too_many_fields_name_the_line() {
    let message = "Error tokenizing data. C error: Expected 2 fields in line 4, saw 3\n".to_owned();
    assert_eq!(error("a,b\n\n1,2\n3,4,5\n", json!({})), (ErrorClass::ParserError, message));
    let message = "Error tokenizing data. C error: Expected 1 fields in line 2, saw 2\n".to_owned();
    assert_eq!(error("1\n3,4\n", json!({"header": null})), (ErrorClass::ParserError, message));
}

#[test]
fn the_first_row_of_a_chunk_may_be_longer() {
    let data = "a,b\n1,2\n3,4\n5,6,7\n8,9\n";
    assert_eq!(rows(data, json!({"chunksize": 2})).as_array().unwrap()[2], json!({"a": 5, "b": 6}));
    let (_, message) = error("a,b\n1,2\n3,4\n5,6\n8,9,10\n", json!({"chunksize": 2}));
    assert_eq!(message, "Error tokenizing data. C error: Expected 2 fields in line 5, saw 3\n");
}

#[test]
fn types_are_inferred_per_chunk() {
    let tables = tables("a\n1\n2\n3\nx\n", json!({"chunksize": 2})).unwrap();
    let types: Vec<String> = tables.iter().map(|table| table.fields[0].data_type().to_string()).collect();
    assert_eq!(types, ["Int64", "Utf8"]);
    assert_eq!(tables[0].row_count, 2);
}

#[test]
fn only_the_asked_rows_are_materialised_but_all_are_inferred() {
    let file = file("data.csv", "a\n1\n2\nx\n");
    let mut reader = Csv.open(&file, &Params::new(), None).unwrap();
    let table = reader.next_table(1).unwrap().unwrap();
    assert_eq!((table.rows.len(), table.row_count), (1, 3));
    assert_eq!(rows_json(&[table]), [json!({"a": "1"})]);
    assert_eq!(reader.next_table(1).unwrap(), None);
}

#[test]
fn integers_above_64_bits_become_text() {
    assert_eq!(
        rows("a\n18446744073709551616\n1\n", json!({})),
        json!([{"a": "18446744073709551616"}, {"a": "1"}])
    );
    assert_eq!(types("a\n18446744073709551615\n1\n"), ["UInt64"]);
    assert_eq!(types("a\n18446744073709551615\n-1\n"), ["Utf8"]);
    assert_eq!(types("a\n18446744073709551615\n1.5\n"), ["Float64"]);
    assert_eq!(types("a,b\n-9223372036854775809,1\n"), ["Utf8", "Int64"]);
}

#[test]
fn missing_beside_large_unsigned_keeps_its_text() {
    let data = "a,b\n18446744073709551615,1\nNA,2\n";
    assert_eq!(rows(data, json!({}))[1], json!({"a": "NA", "b": 2}));
    // With text in the column the attempt is over and missing cells are null again.
    let data = "a,b\n18446744073709551615,1\nx,2\nNA,3\n";
    assert_eq!(rows(data, json!({}))[2], json!({"a": null, "b": 3}));
}

#[test]
fn the_least_integer_marks_missing_ones() {
    assert_eq!(rows("a,b\n-9223372036854775808,1\n,2\n", json!({}))[0], json!({"a": null, "b": 1}));
}

#[test]
fn booleans_keep_nulls_and_do_not_mix_with_numbers() {
    assert_eq!(rows("a,b\nTrue,1\n,2\nfalse,3\n", json!({}))[1], json!({"a": null, "b": 2}));
    assert_eq!(types("a\nTrue\n1\n"), ["Utf8"]);
    assert_eq!(types("a\nT\nyes\n"), ["Utf8"]);
}

#[test]
fn a_cell_ends_at_nul() {
    assert_eq!(rows("a,b\nx\0y,2\n", json!({})), json!([{"a": "x", "b": 2}]));
}

#[test]
fn a_byte_order_mark_is_dropped() {
    assert_eq!(rows("\u{feff}\"a\",b\n1,2\n", json!({})), json!([{"a": 1, "b": 2}]));
}

#[test]
fn header_names_are_filled_in_and_numbered() {
    assert_eq!(rows("a,a,a.1,a\n1,2,3,4\n", json!({})), json!([{"a": 1, "a.2": 2, "a.1": 3, "a.3": 4}]));
    assert_eq!(rows("a,a.1,a,a.1\n1,2,3,4\n", json!({})), json!([{"a": 1, "a.1": 2, "a.2": 3, "a.1.1": 4}]));
    assert_eq!(
        rows(",Unnamed: 0,\n1,2,3\n", json!({})),
        json!([{"Unnamed: 0.1": 1, "Unnamed: 0": 2, "Unnamed: 2": 3}])
    );
}

#[test]
fn surplus_fields_become_index_columns_at_the_end() {
    assert_eq!(
        rows("a,b\n1,2,3\n4,5\n", json!({})),
        json!([{"a": 2, "b": 3.0, "__index_level_0__": 1}, {"a": 5, "b": null, "__index_level_0__": 4}])
    );
    assert_eq!(rows("a,b\n1,2,3\n4,5,6\n", json!({"index_col": false}))[1], json!({"a": 4, "b": 5}));
}

#[test]
fn index_columns_can_be_chosen() {
    let data = "a,b,c\n1,2,3\n";
    assert_eq!(rows(data, json!({"index_col": 0})), json!([{"b": 2, "c": 3, "a": 1}]));
    assert_eq!(rows(data, json!({"index_col": ["c", "a"]})), json!([{"b": 2, "c": 3, "a": 1}]));
    assert_eq!(rows(data, json!({"index_col": -1})), json!([{"a": 1, "b": 2, "c": 3}]));
    assert_eq!(rows(",b\n1,2\n", json!({"index_col": 0})), json!([{"b": 2, "__index_level_0__": 1}]));
    assert_eq!(error(data, json!({"index_col": "z"})).1, "Index z invalid");
    let (class, message) = error("a,b\n1,2,3\n", json!({"index_col": [0, 1]}));
    assert_eq!(class, ErrorClass::ParserError);
    assert!(message.starts_with("Could not construct index. Requested to use 2"), "{message}");
}

#[test]
fn names_and_header_options_work_together() {
    assert_eq!(rows("1,2\n3\n", json!({"header": null})), json!([{"0": 1, "1": 2.0}, {"0": 3, "1": null}]));
    assert_eq!(rows("x\na,b\n1,2\n", json!({"header": 1})), json!([{"a": 1, "b": 2}]));
    assert_eq!(rows("a,b\n1,2\n", json!({"names": ["p", "q"], "header": 0})), json!([{"p": 1, "q": 2}]));
    assert_eq!(rows("1,2\n", json!({"names": ["a", "b", "c"]})), json!([{"a": 1, "b": 2, "c": null}]));
    assert_eq!(rows("1,2\n", json!({"names": ["a"]})), json!([{"a": 2, "__index_level_0__": 1}]));
    assert_eq!(rows("", json!({"column_names": ["a"]})), json!([]));
    assert_eq!(rows("", json!({"column_names": ["a"], "header": 0})), json!([]));
    assert_eq!(
        error("a,b\n1,2\n", json!({"names": ["p", "q", "r"], "header": 0})).1,
        "Too many columns specified: expected 3 and found 2"
    );
    assert_eq!(error("x\na\n", json!({"header": 5})).1, "Passed header=5 but only 2 lines in file");
}

#[test]
fn columns_can_be_left_out() {
    assert_eq!(rows("a,b,c\n1,2,3\n", json!({"usecols": [2, 0]})), json!([{"a": 1, "c": 3}]));
    assert_eq!(rows("a,b\n1,2\n3,4,5\n", json!({"usecols": ["a"]})), json!([{"a": 1}, {"a": 3}]));
    assert_eq!(
        error("a,b\n1,2\n", json!({"usecols": ["b", "z"]})).1,
        "Usecols do not match columns, columns expected but not found: ['z']"
    );
}

#[test]
fn lines_can_be_left_out() {
    assert_eq!(rows("x,\"\ny\"\na\n1\n", json!({"skiprows": 1})), json!([{"a": 1}]));
    assert_eq!(rows("x\na\n1\n2\n", json!({"skiprows": [0, 2]})), json!([{"a": 2}]));
    assert_eq!(rows("a\n1\n2\n3\n", json!({"nrows": 2})), json!([{"a": 1}, {"a": 2}]));
    assert_eq!(rows("a,b\n1,2\n3,4,5\n6,7\n", json!({"on_bad_lines": "warn"}))[1], json!({"a": 6, "b": 7}));
    assert_eq!(rows("#x\na,b#c\n1,2#z\n#y\n3,4\n", json!({"comment": "#"}))[1], json!({"a": 3, "b": 4}));
    let kept = rows("a,b\n1,2\n\n3,4\n", json!({"skip_blank_lines": false}));
    assert_eq!(kept[1], json!({"a": null, "b": null}));
}

#[test]
fn dialect_options_change_the_tokens() {
    let cases = [
        ("a;b\n1;2\n", json!({"delimiter": ";", "sep": ","}), json!({"a": 1, "b": 2})),
        ("a  b\n1   2\n 3 4 \n", json!({"sep": "\\s+"}), json!({"a": 1, "b": 2})),
        ("a,b\n1\\,2,3\n", json!({"escapechar": "\\"}), json!({"a": "1,2", "b": 3})),
        ("a,b\n\"x\\\"y\",4\n", json!({"escapechar": "\\"}), json!({"a": "x\"y", "b": 4})),
        ("a,b;1,2;3,4", json!({"lineterminator": ";"}), json!({"a": 1, "b": 2})),
        ("a,b\n\"1\",2\n", json!({"quoting": 3}), json!({"a": "\"1\"", "b": 2})),
        ("a,b\n\"1\",2\n", json!({"quoting": 2}), json!({"a": 1.0, "b": 2.0})),
        ("a, b\n 1, \"x,y\"\n", json!({"skipinitialspace": true}), json!({"a": 1, "b": "x,y"})),
        ("a,b\n\"x\"\"y\",1\n", json!({"doublequote": false}), json!({"a": "x\"y\"", "b": 1})),
    ];
    for (data, options, row) in cases {
        assert_eq!(rows(data, options)[0], row, "{data:?}");
    }
}

#[test]
fn options_of_the_reference_case_give_its_rows() {
    let options = json!({
        "sep": ";", "na_values": ["-"], "true_values": ["yes"], "false_values": ["no"],
        "thousands": ".", "decimal": ",", "quotechar": "'"
    });
    let data = "a;b;c;d\n1.000,5;yes;-;'x;y'\n2,5;no;3;z\n";
    assert_eq!(
        rows(data, options),
        json!([{"a": 1000.5, "b": true, "c": null, "d": "x;y"}, {"a": 2.5, "b": false, "c": 3.0, "d": "z"}])
    );
}

#[test]
fn missing_markers_follow_the_options() {
    assert_eq!(rows("a\n-999.00\n1.5\n", json!({"na_values": [-999]})), json!([{"a": null}, {"a": 1.5}]));
    let by_column = json!({"na_values": {"a": "-"}});
    assert_eq!(rows("a,b\n-,-\n1,2\n", by_column), json!([{"a": null, "b": "-"}, {"a": 1.0, "b": "2"}]));
    assert_eq!(rows("a\nNA\n", json!({"keep_default_na": false})), json!([{"a": "NA"}]));
    assert_eq!(rows("a,b\n,1\n", json!({"na_filter": false})), json!([{"a": "", "b": 1}]));
}

#[test]
fn encodings_and_their_errors_follow_the_options() {
    let latin = tables(b"a,b\n1,caf\xe9\n", json!({"encoding": "latin-1"})).unwrap();
    assert_eq!(rows_json(&latin), [json!({"a": 1, "b": "café"})]);
    let error = tables(b"a\n\xff\n", json!({})).unwrap_err();
    assert_eq!(error.class, ErrorClass::UnicodeDecodeError);
    assert_eq!(error.message, "'utf-8' codec can't decode byte 0xff in position 2: invalid start byte");
    let replaced = tables(b"a\n\xff\n", json!({"encoding_errors": "replace"})).unwrap();
    assert_eq!(rows_json(&replaced), [json!({"a": "\u{fffd}"})]);
}

#[test]
fn options_that_cannot_be_honoured_are_refused() {
    let cases = [
        (json!({"sep": "::"}), ErrorClass::ValueError),
        (json!({"sep": null}), ErrorClass::ValueError),
        (json!({"skipfooter": 1}), ErrorClass::ValueError),
        (json!({"chunksize": 0}), ErrorClass::ValueError),
        (json!({"header": true}), ErrorClass::TypeError),
        (json!({"header": -1}), ErrorClass::ValueError),
        (json!({"prefix": "x"}), ErrorClass::TypeError),
        (json!({"quotechar": null}), ErrorClass::TypeError),
        (json!({"quoting": 9}), ErrorClass::TypeError),
        (json!({"names": ["a", "a"]}), ErrorClass::ValueError),
        (json!({"usecols": ["a", 1]}), ErrorClass::ValueError),
        (json!({"encoding": "zzz"}), ErrorClass::ValueError),
        (json!({"on_bad_lines": "x"}), ErrorClass::ValueError),
        (json!({"engine": "pyarrow"}), ErrorClass::ValueError),
        (json!({"dialect": "excel"}), ErrorClass::ValueError),
    ];
    for (options, class) in cases {
        assert_eq!(error("a,b\n1,2\n", options.clone()).0, class, "{options}");
    }
}

#[test]
fn features_keep_text_and_choose_columns() {
    assert_eq!(
        steered("a,b\n007,1\nNA,2\n", &[("a", "string")]).unwrap(),
        json!([{"a": "007"}, {"a": null}])
    );
    assert_eq!(
        steered("a,b\n1,2\n", &[("b", "int8"), ("a", "string")]).unwrap(),
        json!([{"b": 2, "a": "1"}])
    );
    let error = steered("a\n1\n", &[("z", "int64")]).unwrap_err();
    assert_eq!(error.class, ErrorClass::KeyError);
    assert_eq!(error.message, "'Field \"z\" does not exist in schema'");
}

#[test]
fn features_with_labels_leave_the_columns_to_the_cast() {
    let label = Feature::ClassLabel { names: ["x".into()].into() };
    let features = Features(vec![("a".into(), label)]);
    let tables = read(&Csv, &file("data.csv", "b,a\n1,007\n"), &Params::new(), Some(&features)).unwrap();
    assert_eq!(rows_json(&tables), [json!({"b": 1, "a": "007"})]);
}

#[test]
fn features_convert_what_pandas_converts() {
    let cases = [
        ("300", "int8", json!(44)),
        ("-1", "uint8", json!(255)),
        ("1.0", "int32", json!(1)),
        ("True", "int64", json!(1)),
        ("18446744073709551615", "uint64", json!(u64::MAX)),
        ("0.1", "float32", json!(f64::from(0.1_f32))),
        ("True", "float64", json!(1.0)),
        ("1", "bool", json!(true)),
        ("0.0", "bool", json!(false)),
        ("2020-01-01", "list", json!("2020-01-01")),
    ];
    for (cell, dtype, value) in cases {
        assert_eq!(
            steered(&format!("a\n{cell}\n"), &[("a", dtype)]).unwrap()[0]["a"],
            value,
            "{cell} as {dtype}"
        );
    }
}

#[test]
fn features_that_do_not_fit_fail_with_the_words_of_pandas() {
    let cast = "cannot safely convert passed user dtype of";
    let cases = [
        ("a,b\n1,2\n,3\n", "int64", "Integer column has NA values in column 0".to_owned()),
        ("a\n1.5\n", "int64", format!("{cast} int64 for float64 dtyped data in column 0")),
        ("a\n1\nx\n", "int64", "invalid literal for int() with base 10: 'x'".to_owned()),
        ("a,b\n1,1\n,1\nx,1\n", "int64", "cannot convert float NaN to integer".to_owned()),
        ("a\nx\n", "float64", "could not convert string to float: 'x'".to_owned()),
        ("a\nTrue\nNA\n", "bool", "Bool column has NA values in column 0".to_owned()),
        ("a\n1\n2\n", "bool", format!("{cast} bool for int64 dtyped data in column 0")),
        ("a\n1\nNA\n", "bool", format!("{cast} bool for int64 dtyped data in column 0")),
        ("a\nx\n", "bool", format!("{cast} bool for object dtyped data in column 0")),
        ("a\n28446744073709551615\n", "int64", "Overflow".to_owned()),
        (
            "a\n2020-01-01\n",
            "date32",
            "the dtype datetime64[ms] is not supported for parsing, pass this column using parse_dates instead"
                .to_owned(),
        ),
    ];
    for (data, dtype, message) in cases {
        assert_eq!(steered(data, &[("a", dtype)]).unwrap_err().message, message, "{data:?} as {dtype}");
    }
}

#[test]
fn rows_across_blocks_are_whole() {
    let cell = "x".repeat(100_000);
    let data = format!("a,b\n\"{cell}\n\",1\r\n{cell},2\r\n{cell},3\r\n");
    let rows = rows(&data, json!({}));
    assert_eq!(rows[0]["a"], format!("{cell}\n"));
    assert_eq!(rows[2], json!({"a": cell, "b": 3}));
}

#[test]
fn hostile_bytes_never_panic() {
    let alphabet = b",\"\n\r \t\\#;1-e.x\0";
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % 1_000_003).unwrap()
    };
    let options = [
        json!({}),
        json!({"sep": "\\s+", "comment": "#"}),
        json!({"escapechar": "\\", "skip_blank_lines": false, "skiprows": 1, "header": null}),
        json!({"lineterminator": ";", "on_bad_lines": "skip", "chunksize": 2, "index_col": 0}),
    ];
    for _ in 0..4_000 {
        let data: Vec<u8> = (0..next() % 60).map(|_| alphabet[next() % alphabet.len()]).collect();
        let options = options[next() % options.len()].clone();
        // Any outcome is fine; reading must end.
        let _ = tables(&data, options).map(|tables| {
            for table in tables {
                assert_eq!(table.rows.len(), table.row_count);
                assert!(table.rows.iter().all(|row| row.len() == table.fields.len()));
            }
        });
    }
}

#[test]
fn rows_beyond_what_a_table_holds_are_left_out_and_the_table_says_so() {
    let row = "x".repeat(limits::TABLE_BYTES_MAX / 2) + "\n";
    let file = file("data.csv", format!("a\n{}", row.repeat(4)));
    let table = Csv.open(&file, &Params::new(), None).unwrap().next_table(100).unwrap().unwrap();
    assert_eq!((table.rows.len(), table.row_count, table.is_cut(100)), (2, 4, true));
}

#[test]
fn many_columns_of_empty_cells_count_too() {
    let columns = 50_000;
    let row = ",".repeat(columns - 1) + "\n";
    let file = file("data.csv", row.repeat(60));
    let table = Csv.open(&file, &params(json!({"header": null})), None).unwrap().next_table(100);
    let kept = table.unwrap().unwrap().rows.len();
    assert_eq!(kept, limits::TABLE_BYTES_MAX.div_ceil(columns * size_of::<crate::Value>()));
}
