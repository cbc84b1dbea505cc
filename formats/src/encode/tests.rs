use super::*;

fn encoded(value: Value, feature: &Feature) -> Result<Value, (ErrorClass, String)> {
    encode(value, feature).map_err(|error| (error.class, error.message))
}

fn labels() -> Feature {
    Feature::ClassLabel { names: ["cat".into(), "dog".into()].into() }
}

#[test]
fn values_become_what_python_makes_of_them() {
    for (value, dtype, expected) in [
        (Value::str(" 1_0 "), "int32", Value::Int(10)),
        (Value::Float(-1.9), "int64", Value::Int(-1)),
        (Value::Bool(true), "uint8", Value::UInt(1)),
        (Value::Int(2), "float32", Value::Float(2.0)),
        (Value::str("1e3"), "double", Value::Float(1000.0)),
        (Value::Int(2), "string", Value::str("2")),
        (Value::Float(1e-7), "string", Value::str("1e-07")),
        (Value::Float(1e16), "string", Value::str("1e+16")),
        (Value::Float(100.0), "large_string", Value::str("100.0")),
        (Value::Float(f64::NAN), "string", Value::str("nan")),
        (Value::Bool(false), "string", Value::str("False")),
        (Value::Bytes(b"a\n".as_slice().into()), "string", Value::str("b'a\\n'")),
        (Value::List(vec![Value::str("a"), Value::Null]), "string", Value::str("['a', None]")),
        (Value::str(""), "bool", Value::Bool(false)),
        (Value::str("2020"), "timestamp[s]", Value::str("2020")),
        (Value::Null, "int64", Value::Null),
    ] {
        let found = encoded(value.clone(), &Feature::value(dtype)).unwrap();
        assert_eq!(found, expected, "{value:?} as {dtype}");
    }
}

#[test]
fn values_that_python_cannot_convert_fail_with_its_words() {
    for (value, feature, class, message) in [
        (
            Value::str("a"),
            Feature::value("int64"),
            ErrorClass::ValueError,
            "invalid literal for int() with base 10: 'a'",
        ),
        (
            Value::Float(f64::INFINITY),
            Feature::value("int64"),
            ErrorClass::OverflowError,
            "cannot convert float infinity to integer",
        ),
        (
            Value::str("a"),
            Feature::value("float64"),
            ErrorClass::ValueError,
            "could not convert string to float: 'a'",
        ),
        (
            Value::List(Vec::new()),
            Feature::value("float64"),
            ErrorClass::TypeError,
            "float() argument must be a string or a real number, not 'list'",
        ),
        (
            Value::Int(1),
            Feature::Struct(Features::default()),
            ErrorClass::AttributeError,
            "'int' object has no attribute 'get'",
        ),
        (
            Value::Int(1),
            Feature::list(Feature::value("int64")),
            ErrorClass::TypeError,
            "object of type 'int' has no len()",
        ),
    ] {
        assert_eq!(encoded(value, &feature).unwrap_err(), (class, message.to_owned()));
    }
}

#[test]
fn labels_are_names_or_ids() {
    for (value, expected) in [
        (Value::str("dog"), 1),
        (Value::str(" dog "), 1),
        (Value::str("0"), 0),
        (Value::Int(-1), -1),
        (Value::UInt(1), 1),
    ] {
        assert_eq!(encoded(value, &labels()).unwrap(), Value::Int(expected));
    }
    assert_eq!(encoded(Value::str("2"), &labels()).unwrap_err().1, "Invalid string class label 2");
    let message = "Class label 2 greater than configured num_classes 2";
    assert_eq!(encoded(Value::Int(2), &labels()).unwrap_err().1, message);
}

#[test]
fn rows_get_the_columns_of_the_features_in_their_order() {
    let features = Features(vec![("b".into(), Feature::value("int64")), ("c".into(), labels())]);
    let row = vec![("a".into(), Value::Int(1)), ("b".into(), Value::str("2"))];
    assert_eq!(encode_example(row, &features).unwrap(), [Value::Int(2), Value::Null]);
}
