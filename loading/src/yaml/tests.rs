use super::{TimestampKind, Yaml, load};

fn json(text: &str) -> serde_json::Value {
    load(text).unwrap_or_else(|error| panic!("{text:?}: {error}")).to_json()
}

fn class(text: &str) -> String {
    match load(text) {
        Ok(value) => panic!("{text:?} is {value:?}"),
        Err(error) => error.class.into_owned(),
    }
}

#[test]
fn scalars_mean_what_yaml_1_1_says() {
    for (text, expected) in [
        ("yes", "true"),
        ("Off", "false"),
        ("y", "\"y\""),
        ("~", "null"),
        ("NULL", "null"),
        ("nULL", "\"nULL\""),
        ("017", "15"),
        ("08", "\"08\""),
        ("0o17", "\"0o17\""),
        ("0x_1F", "31"),
        ("0x1G", "\"0x1G\""),
        ("-0b101", "-5"),
        ("1_000", "1000"),
        ("1:30:00", "5400"),
        ("4:60", "\"4:60\""),
        ("+12", "12"),
        ("1e5", "\"1e5\""),
        ("1.0e+5", "100000.0"),
        (".5", "0.5"),
        ("1.5_0", "1.5"),
        ("190:20:30.15", "685230.15"),
        ("1.2.3", "\"1.2.3\""),
        ("18446744073709551615", "18446744073709551615"),
        ("'017'", "\"017\""),
        ("\"yes\"", "\"yes\""),
        ("!!str 1", "\"1\""),
        ("!!float 1", "1.0"),
        ("! 1", "\"1\""),
        ("20220301.en", "\"20220301.en\""),
    ] {
        assert_eq!(json(&format!("a: {text}"))["a"].to_string(), expected, "{text}");
    }
    assert_eq!(load("-.inf").unwrap(), Yaml::Float(f64::NEG_INFINITY));
}

#[test]
fn dates_are_not_text() {
    assert_eq!(load("2020-01-31").unwrap(), Yaml::Timestamp(TimestampKind::Date, "2020-01-31".into()));
    assert_eq!(load("2001-2-4 1:59:43.10 -5").unwrap().type_name(), "datetime.datetime");
    assert_eq!(load("2001-2-4").unwrap().as_str(), Some("2001-2-4"));
    assert_eq!(class("2020-02-30"), "ValueError");
}

#[test]
fn of_duplicate_keys_the_last_value_stays_at_the_first_place() {
    assert_eq!(json("k: 1\nz: 2\nk: 3").to_string(), r#"{"k":3,"z":2}"#);
}

#[test]
fn merge_keys_bring_in_what_the_mapping_does_not_say() {
    assert_eq!(json("x: 2\n<<: {x: 1, y: 3}").to_string(), r#"{"x":2,"y":3}"#);
    assert_eq!(json("<<: [{a: 1}, {a: 2, b: 3}]\nc: 4").to_string(), r#"{"a":1,"b":3,"c":4}"#);
    assert_eq!(json("base: &b {x: 1}\nd:\n  <<: *b\n  y: 2")["d"].to_string(), r#"{"x":1,"y":2}"#);
    assert_eq!(class("<<: 3"), "ConstructorError");
    assert_eq!(json("\"<<\": 3").to_string(), r#"{"<<":3}"#);
}

#[test]
fn errors_have_the_classes_of_pyyaml() {
    for (text, expected) in [
        ("a: b: c", "ScannerError"),
        ("a: 'x", "ScannerError"),
        ("a: @b", "ScannerError"),
        ("a: \"\\q\"", "ScannerError"),
        ("a:\n- b\n-c", "ScannerError"),
        ("a:\n\t- b", "ScannerError"),
        ("a: b\n c: d", "ScannerError"),
        ("a: - b", "ScannerError"),
        ("a: [1,2", "ParserError"),
        ("a: {b", "ParserError"),
        ("- a\nb: c", "ParserError"),
        ("a:\n  - b\n c", "ParserError"),
        ("a: ]", "ParserError"),
        ("a: 'b'c", "ParserError"),
        ("a: \u{7}", "ReaderError"),
        ("a: *x", "ComposerError"),
        ("a: b\n---\nc: d", "ComposerError"),
        ("a: &x\n  b: *x", "ComposerError"),
        ("a: !foo b", "ConstructorError"),
        ("!!python/object:x.y {}", "ConstructorError"),
        ("? [a]\n: b", "ConstructorError"),
        ("a: =", "ConstructorError"),
    ] {
        assert_eq!(class(text), expected, "{text:?}");
    }
}

#[test]
fn an_empty_document_is_null() {
    assert_eq!(load("").unwrap(), Yaml::Null);
    assert_eq!(load("# nothing\n").unwrap(), Yaml::Null);
}

#[test]
fn aliases_are_copies_up_to_a_bound() {
    assert_eq!(json("a: &x [1]\nb: *x").to_string(), r#"{"a":[1],"b":[1]}"#);
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
    }
    assert_eq!(class(&bomb), "LimitExceeded");
}

#[test]
fn nesting_has_a_bound() {
    assert_eq!(class(&format!("{}{}", "[".repeat(100), "]".repeat(100))), "LimitExceeded");
    assert!(load(&format!("{}{}", "[".repeat(60), "]".repeat(60))).is_ok());
    let mut chain = String::from("a0: &a0 [x]\n");
    for level in 1..100 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert_eq!(class(&chain), "LimitExceeded");
}

#[test]
fn values_print_as_in_python() {
    let value = load("{a: [1, 2.0, 'it''s'], b: null, c: yes}").unwrap();
    assert_eq!(value.repr(), r#"{'a': [1, 2.0, "it's"], 'b': None, 'c': True}"#);
}

#[test]
fn indentation_means_nothing_inside_brackets_and_quotes() {
    assert_eq!(
        json("a: [b,\nc\n]\nd: {e: f,\ng: h}\n").to_string(),
        r#"{"a":["b","c"],"d":{"e":"f","g":"h"}}"#
    );
    assert_eq!(json("a: 'x\n\ny''s'\nb: \"p\n\\\"q\\\nr\"\n").to_string(), r#"{"a":"x\ny's","b":"p \"qr"}"#);
    assert_eq!(class("a: 'x\ny"), "ScannerError");
    assert_eq!(class(&format!("a: [{}]", "b,\n".repeat(100))), "ScannerError");
}
